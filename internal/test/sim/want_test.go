package sim_test

import (
	"slices"
	"testing"
	"time"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/internal/test/sim"
)

// TestWant: a request that names neither provider nor model says what it wants, and its record shows what was sent. What
// the model cannot do costs nothing and is answered with what it can; of a lenient request it is left out and named.
func TestWant(t *testing.T) {
	sim.Run(t, sim.Options{}, func(t *testing.T, w *sim.World) {
		w.Publish(video, `{"id":"w1","want":{"prompt":"p","duration":7,"aspect_ratio":"9:16","audio":false}}`)
		w.Publish(video, `{"id":"w2","model":"hailuo-2.3","want":{"prompt":"p","seed":1,"resolution":"1080p"},"lenient":true}`)
		w.Publish(video, `{"id":"w4","want":{"prompt":"p","options":{"emulate":{"fail":"422"},"cfg_scale":0.5}}}`)
		w.Publish(video, `{"id":"w3","provider":"minimax","want":{"prompt":"p","image":"https://m.example/a.png"}}`)
		for _, r := range []struct {
			id, provider, model, input string
			warnings                   int
			usd                        float64
		}{
			{
				"w1", "fal", "fal-ai/kling-video/v3/pro/text-to-video",
				`{"aspect_ratio":"9:16","duration":"7","generate_audio":false,"prompt":"p"}`, 0, 0.784,
			},
			{"w2", "minimax", "MiniMax-Hailuo-2.3", `{"prompt":"p","resolution":"1080P"}`, 1, 0.49},
			{
				"w3", "minimax", "MiniMax-Hailuo-2.3", `{"first_frame_image":"https://m.example/a.png","prompt":"p"}`, 0, 0.28,
			},
		} {
			got := w.AwaitEnd("demo", r.id)
			if got.Status != events.StatusCompleted || got.Provider != r.provider || got.Model != r.model ||
				string(got.Input) != r.input || len(got.Warnings) != r.warnings || got.Want == nil || got.Want.Prompt != "p" {
				t.Errorf("%s: %s %s %s %s, warnings %q, want %+v", r.id, got.Status, got.Provider, got.Model, got.Input,
					got.Warnings, got.Want)
			}
			if got.Cost == nil || got.Cost.EstimatedUSD == nil || *got.Cost.EstimatedUSD != r.usd {
				t.Errorf("%s: cost %+v, want %v", r.id, got.Cost, r.usd)
			}
		}
		if got := w.AwaitEnd("demo", "w4"); got.Status != events.StatusFailed ||
			string(got.Input) != `{"cfg_scale":0.5,"emulate":{"fail":"422"},"prompt":"p"}` {
			t.Errorf("a script for the emulator: %s %s", got.Status, got.Input)
		}
		kv, err := w.JS.KeyValue(t.Context(), bucket.Schemas)
		if err != nil {
			t.Fatal(err)
		}
		// The emulator serves a schema of the one model and none of the other provider's.
		if keys, err := kv.Keys(t.Context()); err != nil || !slices.Equal(keys,
			[]string{"fal.fal-ai/kling-video/v3/pro/text-to-video"}) {
			t.Errorf("schemas %v, %v", keys, err)
		}
		jobs := len(w.Stack.Ledger("fal").Jobs()) + len(w.Stack.Ledger("minimax").Jobs())
		for _, r := range []struct {
			body, code, field string
			allowed           []string
		}{
			{`{"model":"hailuo-2.3","want":{"prompt":"p","duration":7}}`, events.CodeUnsupported, "want.duration", []string{"6", "10"}},
			{`{"model":"hailuo-2.3","want":{"prompt":"p","seed":7}}`, events.CodeUnsupported, "want.seed", nil},
			{`{"model":"hailuo-2.3","want":{}}`, events.CodeInvalidRequest, "want.prompt", nil},
			{`{"model":"hailuo-9","want":{"prompt":"p"}}`, events.CodeUnknownModel, "model", nil},
			{`{"provider":"acme","want":{"prompt":"p"}}`, events.CodeUnknownProvider, "provider", nil},
			{`{"want":{"prompt":"p"},"input":{}}`, events.CodeInvalidRequest, "want", nil},
		} {
			var reply events.TaskReply
			e := w.Ask(&reply, events.VerbSubmit, r.body, "demo", "video")
			if e == nil || e.Code != r.code || e.Field != r.field || !slices.Equal(e.Allowed, r.allowed) {
				t.Errorf("%s: answered %+v", r.body, e)
			}
		}
		askAboutModels(t, w)
		if n := len(w.Stack.Ledger("fal").Jobs()) + len(w.Stack.Ledger("minimax").Jobs()); n != jobs {
			t.Errorf("%d refused requests were paid for", n-jobs)
		}
	})
}

// askAboutModels: what a model can be told, and what a task would cost and take, is known beforehand.
func askAboutModels(t *testing.T, w *sim.World) {
	var models events.ModelsReply
	if e := w.Ask(&models, events.VerbModels, `{"model":"kling-v3"}`, "demo"); e != nil || len(models.Models) != 1 {
		t.Fatalf("models: %+v, %+v", e, models)
	}
	sheet := models.Models[0]
	if sheet.Model != "fal-ai/kling-video/v3/pro" || sheet.SupportedDurations[0] != "3" || len(sheet.Forms) != 2 ||
		len(sheet.Prices) == 0 || sheet.Prices[0].USD != 0.112 || sheet.Typical == nil || sheet.Typical.WholeS <= 0 ||
		!slices.Equal(sheet.DefaultFor, []events.TaskType{events.Video}) {
		t.Errorf("sheet: %+v", sheet)
	}
	// The second was never wished for: the submitter asks for its schema.
	if !sheet.Forms[0].Served || !sheet.Forms[1].Served {
		t.Errorf("forms by the copy, although the provider serves their schemas: %+v", sheet.Forms)
	}
	var all events.ModelsReply
	if e := w.Ask(&all, events.VerbModels, ``, "demo"); e != nil || len(all.Models) < 30 || all.Models[0].Forms != nil {
		t.Errorf("all models: %+v, %d", e, len(all.Models))
	}
	var copied events.ModelsReply
	if e := w.Ask(&copied, events.VerbModels, `{"model":"veo3.1-lite"}`, "demo"); e != nil || copied.Models[0].Forms[0].Served {
		t.Errorf("a model whose schema is not served: %+v, %+v", e, copied)
	}
	if e := w.Ask(&models, events.VerbModels, `{"model":"hailuo-9"}`, "demo"); e == nil || e.Code != events.CodeUnknownModel {
		t.Errorf("a model that is not known: %+v", e)
	}
	var quote events.QuoteReply
	e := w.Ask(&quote, events.VerbQuote, `{"want":{"prompt":"p","duration":7,"audio":false}}`, "demo")
	if e != nil || quote.Provider != "fal" || quote.Model != "fal-ai/kling-video/v3/pro/text-to-video" ||
		string(quote.Input) != `{"duration":"7","generate_audio":false,"prompt":"p"}` || quote.Cost == nil ||
		*quote.Cost.EstimatedUSD != 0.784 || quote.Typical == nil {
		t.Errorf("quote: %+v, %+v", e, quote)
	}
	e = w.Ask(&quote, events.VerbQuote, `{"task_type":"video","provider":"minimax","model":"MiniMax-H3","input":`+
		`{"resolution":"2K","duration":4}}`, "demo")
	if e != nil || quote.Cost == nil || *quote.Cost.EstimatedUSD != 0.52 {
		t.Errorf("quote of an input: %+v, %+v", e, quote)
	}
	e = w.Ask(&quote, events.VerbQuote, `{"model":"hailuo-2.3","want":{"prompt":"p","duration":7}}`, "demo")
	if e == nil || e.Code != events.CodeUnsupported || e.Field != "want.duration" || len(e.Allowed) != 2 {
		t.Errorf("quote of what is not supported: %+v", e)
	}
}

// TestServedSchema: what the provider serves goes before the table of the program, and a day later it is asked again.
func TestServedSchema(t *testing.T) {
	sim.Run(t, sim.Options{}, func(t *testing.T, w *sim.World) {
		const model = "fal-ai/kling-video/v3/pro/text-to-video"
		kv, err := w.JS.KeyValue(t.Context(), bucket.Schemas)
		if err != nil {
			t.Fatal(err)
		}
		served := `{"required":["prompt"],"properties":{"prompt":{"type":"string"},"duration":{"type":"string","enum":["20"]}}}`
		if _, err := kv.PutString(t.Context(), bucket.SchemaKey("fal", model), served); err != nil {
			t.Fatal(err)
		}
		var reply events.TaskReply
		e := w.Ask(&reply, events.VerbSubmit, `{"want":{"prompt":"p","duration":5}}`, "demo", "video")
		if e == nil || e.Code != events.CodeUnsupported || !slices.Equal(e.Allowed, []string{"20"}) {
			t.Errorf("a length that is no longer taken: %+v", e)
		}
		e = w.Ask(&reply, events.VerbSubmit, `{"want":{"prompt":"p","duration":20}}`, "demo", "video")
		if e != nil || string(reply.Task.Input) != `{"duration":"20","prompt":"p"}` {
			t.Errorf("a length that is new: %+v, %s", e, reply.Task.Input)
		}
		if err := kv.Delete(t.Context(), bucket.SchemaKey("fal", model)); err != nil { // as its lifetime does
			t.Fatal(err)
		}
		w.Settle(2 * time.Hour)
		if e := w.Ask(&reply, events.VerbSubmit, `{"want":{"prompt":"p","duration":5}}`, "demo", "video"); e != nil {
			t.Errorf("by the schema that is served now: %+v", e)
		}
	})
}
