package bucket

import "time"

const (
	// Schemas is the KV bucket of the input schemas that providers serve of their models, as JSON under each SchemaKey.
	// Losing it costs a call for each.
	Schemas = "reelay_schemas"
	// SchemaAge is how long one is used before it is asked for again.
	SchemaAge = 24 * time.Hour
	// MaxSchemaBytes is the largest that is kept.
	MaxSchemaBytes = 256 << 10
)

// SchemaKey is the key in Schemas of a provider's model.
func SchemaKey(provider, model string) string { return provider + "." + model }
