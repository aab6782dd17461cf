package bucket

import (
	"fmt"
	"strings"
	"time"

	"reelay/events"
)

const (
	// Forecasts is the KV bucket of what was learned about how long the providers take, under ForecastKeys. Losing it
	// loses nothing but that. Its values are the learner's own and carry a version.
	Forecasts = "reelay_forecasts"
	// ForecastAge is how long a value is kept that nothing is added to.
	ForecastAge = 90 * 24 * time.Hour
	// MaxForecastBytes is the largest value.
	MaxForecastBytes = 16 << 10

	// maxKeyModel is how many bytes of a model's name a key holds at most, escapes included: NATS subjects are short.
	maxKeyModel = 3 * events.MaxModelBytes
)

// ForecastKeys returns the keys under which the time of a task is learned, the general first: provider and task type,
// model, size class of the input, which may be "". Each is a valid key and no two classes share one, save that a model
// name over the limit counts to the level above.
func ForecastKeys(provider string, t events.TaskType, model, size string) []string {
	key := escapeKey(provider) + "." + string(t)
	keys := []string{key}
	model = escapeKey(model)
	if model == "" || len(model) > maxKeyModel {
		return keys
	}
	key += "." + model
	keys = append(keys, key)
	if size != "" {
		keys = append(keys, key+"."+size)
	}
	return keys
}

// escapeKey writes a name as one token of a KV key: what is not a letter, digit, slash, dash or underscore as =XX.
func escapeKey(name string) string {
	var b strings.Builder
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '/', c == '-', c == '_':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	return b.String()
}
