package schemas

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/internal/bus"
	"reelay/internal/provider"
	"reelay/internal/want"
)

// answerWait bounds a question to the process that sends for a lane, which may have to ask the provider.
const answerWait = fetchWait + time.Second

// A Reader tells other processes the schemas by which requests are checked.
type Reader struct {
	Bus   *bus.Bus
	Lanes []provider.Lane
}

// Kept reads all that are in KV; where it cannot be read there are none.
func (r Reader) Kept(ctx context.Context) want.Served {
	entries, _ := r.Bus.Bucket(bucket.Schemas, failpoint).All(ctx)
	kept := map[string]json.RawMessage{}
	for _, e := range entries {
		kept[e.Key] = e.Value
	}
	return func(provider, model string) (want.Schema, bool) {
		return parse(kept[bucket.SchemaKey(provider, model)])
	}
}

// Of asks who sends for the first lane of a provider, as a request that names no lane is checked, and where nobody
// answers reads what is in KV. It returns false where there is no schema.
func (r Reader) Of(ctx context.Context, of, model string) (schema want.Schema, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	i := slices.IndexFunc(r.Lanes, func(l provider.Lane) bool { return l.Provider == of })
	question, err := events.Marshal(events.SchemaRequest{Model: model})
	if i < 0 || err != nil {
		return schema, false
	}
	var raw []byte
	if m, err := r.Bus.Conn().RequestWithContext(ctx, events.LaneSchemaSubject(r.Lanes[i].Name), question); err == nil {
		raw = m.Data
	} else if e, err := r.Bus.Bucket(bucket.Schemas, failpoint).Get(ctx, bucket.SchemaKey(of, model)); err == nil {
		raw = e.Value
	}
	return parse(raw)
}

// parse reads a schema as it is kept; it returns false for one that has no properties.
func parse(raw []byte) (schema want.Schema, ok bool) {
	err := json.Unmarshal(raw, &schema)
	return schema, err == nil && len(schema.Properties) > 0
}
