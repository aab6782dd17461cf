package sim_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/test/sim"
)

// replicateRequest asks Replicate for a video by a model's version.
func replicateRequest(id, prompt, emulate string) string {
	return fmt.Sprintf(`{"id":%q,"provider":"replicate","model":"acme/wan:%s","input":{"prompt":%q,"emulate":%s}}`, id,
		strings.Repeat("0f", 32), prompt, orEmpty(emulate))
}

// TestReplicate: a prediction ends by its webhook, in the moment in which it is done, its outputs and its price are known,
// and what was lost, forged or late on the way changes nothing.
func TestReplicate(t *testing.T) {
	sim.Run(t, sim.Options{Webhooks: true}, func(t *testing.T, w *sim.World) {
		w.Publish(events.RequestSubject("demo", events.Image), `{"id":"wanted","provider":"replicate","want":{"prompt":"p",`+
			`"aspect_ratio":"16:9","options":{"num_outputs":3}}}`)
		if got := w.AwaitEnd("demo", "wanted"); got.Status != events.StatusCompleted ||
			string(got.Input) != `{"aspect_ratio":"16:9","num_outputs":3,"prompt":"p"}` || len(got.Result.Outputs) != 3 ||
			got.Result.Outputs[0].ExpiresAt.Sub(*got.CompletedAt) < 59*time.Minute || *got.Cost.ActualUSD != 0.009 {
			t.Errorf("wanted: %s %s %+v %+v %+v", got.Status, got.Input, got.Result, got.Cost, got.Error)
		}
		for _, row := range []struct {
			emulate string
			prompt  bool // by the webhook
		}{
			{"", true},
			{`{"webhook":"duplicate"}`, true},
			{`{"submit":"accept_then_hang"}`, true},
			{`{"webhook":"stranger,forged"}`, true},
			{`{"webhook":"bad_signature"}`, false},
			{`{"webhook":"old_timestamp"}`, false},
			{`{"webhook":"drop"}`, false},
			{`{"result":"object"}`, true},
		} {
			id := fmt.Sprintf("t%x", row.emulate)
			w.Publish(video, replicateRequest(id[:min(len(id), 60)], "p", row.emulate))
			task := w.AwaitEnd("demo", id[:min(len(id), 60)])
			if task.Status != events.StatusCompleted || len(task.Result.Outputs) != 1 || len(task.Attempts) != 1 {
				t.Errorf("%s: %s after %d attempts, %+v %+v", row.emulate, task.Status, len(task.Attempts), task.Result, task.Error)
				continue
			}
			took := task.CompletedAt.Sub(task.CreatedAt)
			if took > 5*time.Minute+10*time.Second && row.prompt {
				t.Errorf("%s: ended %v after it was asked for", row.emulate, took)
			}
		}
		for _, j := range w.Stack.Ledger("replicate").Jobs() {
			for _, d := range j.Deliveries {
				if d.Fooled != 0 {
					t.Errorf("a webhook that nobody has signed was taken: %+v", d)
				}
			}
		}
	})
}
