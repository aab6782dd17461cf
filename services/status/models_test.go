package status

import (
	"encoding/json"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/internal/catalog"
	"reelay/internal/provider"
	"reelay/internal/want"
)

// TestServedSchema: what is said of a model is what its requests are checked against: the schema that its provider
// serves, as the sender of the lane has it, else the table.
func TestServedSchema(t *testing.T) {
	const text, picture = "fal-ai/kling-video/v3/pro/text-to-video", "fal-ai/kling-video/v3/pro/image-to-video"
	planner, err := want.NewPlanner()
	must(t, err)
	o := Options{Lanes: []provider.Lane{{Name: "fal", Provider: "fal"}}, Catalog: catalog.Catalog{Wants: planner}}
	inLab(t, o, func(t *testing.T, l *lab) {
		served, err := json.Marshal(want.Schema{Required: []string{"prompt"}, Properties: map[string]want.Property{
			"prompt": {Type: "string"}, "duration": {Type: "string", Enum: []any{"5", "20"}}, "style": {Type: "string"},
		}})
		must(t, err)
		var asked atomic.Int64
		sub, err := l.client.Subscribe(events.LaneSchemaSubject("fal"), func(m *nats.Msg) {
			asked.Add(1)
			var r events.SchemaRequest
			must(t, json.Unmarshal(m.Data, &r))
			if r.Model == text {
				must(t, m.Respond(served))
				return
			}
			must(t, m.Respond([]byte("null")))
		})
		must(t, err)
		check := func(when string, durations, quotable []string, known bool) {
			t.Helper()
			sheet := into[events.ModelsReply](t, l.ask(`{"model":"kling-v3"}`, events.VerbModels, "demo")).Models[0]
			form := sheet.Forms[0]
			_, ratio := form.Wants["aspect_ratio"]
			if form.Model != text || form.Served != known || sheet.Forms[1].Served || sheet.Forms[1].Model != picture ||
				!slices.Equal(form.Wants["duration"], durations) || slices.Contains(form.Options, "style") != known || ratio == known {
				t.Errorf("%s: %+v", when, sheet)
			}
			for _, seconds := range []string{"7", "20"} {
				reply := l.ask(`{"task_type":"video","model":"kling-v3","want":{"prompt":"p","duration":`+seconds+`}}`,
					events.VerbQuote, "demo")
				var refused struct{ Error *events.Error }
				must(t, json.Unmarshal(reply.data, &refused))
				if (refused.Error == nil) != slices.Contains(quotable, seconds) ||
					refused.Error != nil && !slices.Equal(refused.Error.Allowed, durations) {
					t.Errorf("%s: a quote for %s s: %s", when, seconds, reply.data)
				}
			}
		}
		copied := []string{"3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15"}
		check("served", []string{"5", "20"}, []string{"20"}, true)
		before := asked.Load()
		all := into[events.ModelsReply](t, l.ask(nil, events.VerbModels, "demo")).Models
		if asked.Load() != before || !slices.Contains(all[0].SupportedDurations, "3") {
			t.Errorf("of all models: asked %d times, %+v", asked.Load()-before, all[0])
		}
		kept := l.bus.Bucket(bucket.Schemas, "schema")
		must(t, kept.Put(t.Context(), bucket.SchemaKey("fal", text), served))
		all = into[events.ModelsReply](t, l.ask(nil, events.VerbModels, "demo")).Models
		if !slices.Contains(all[0].SupportedDurations, "20") {
			t.Errorf("of all models, with a schema kept: %+v", all[0])
		}
		must(t, sub.Unsubscribe())
		check("nobody sends, and a schema is kept", []string{"5", "20"}, []string{"20"}, true)
		e, err := kept.Get(t.Context(), bucket.SchemaKey("fal", text))
		must(t, err)
		must(t, kept.Delete(t.Context(), bucket.SchemaKey("fal", text), e.Revision))
		check("nobody sends", copied, []string{"7"}, false)
	})
}
