package sim_test

import (
	"testing"

	"reelay/events"
	"reelay/internal/test/sim"
)

// TestSelfHosted: what a server of one's own makes costs nothing, and so nothing waits for a person: a lost answer is
// found in the server's list, a request that never arrived is sent again, and a task that was lost with its server may
// be asked for again.
func TestSelfHosted(t *testing.T) {
	request := func(id, script, more string) string {
		return `{"id":"` + id + `","provider":"openai-videos","model":"default","input":{"prompt":"` + id + `","emulate":` + script +
			`}` + more + `}`
	}
	sim.Run(t, sim.Options{}, func(t *testing.T, w *sim.World) {
		w.Publish(video, `{"id":"wanted","provider":"openai-videos","want":{"prompt":"p","duration":5,"resolution":"720p"}}`)
		if got := w.AwaitEnd("demo", "wanted"); got.Status != events.StatusCompleted ||
			string(got.Input) != `{"prompt":"p","seconds":"5","size":"1280x720"}` || *got.Cost.ActualUSD != 0 ||
			len(got.Result.Outputs) != 1 {
			t.Errorf("wanted: %s %s %+v %+v", got.Status, got.Input, got.Cost, got.Error)
		}
		for of, want := range map[events.TaskType]string{events.Image: `"prompt":"p"`, events.Speech: `"text":"p"`} {
			w.Publish(events.RequestSubject("demo", of), `{"id":"`+string(of)+`","provider":"openai-videos","want":{`+want+`}}`)
			if got := w.AwaitEnd("demo", string(of)); got.Status != events.StatusCompleted || len(got.Result.Outputs) != 1 {
				t.Errorf("%s: %s %+v", of, got.Status, got.Error)
			}
		}
		w.Publish(video, request("unanswered", `{"submit":"accept_then_hang"}`, ""))
		if got := w.AwaitEnd("demo", "unanswered"); got.Status != events.StatusCompleted || len(got.Attempts) != 1 {
			t.Errorf("unanswered: %s after %d attempts, %+v", got.Status, len(got.Attempts), got.Error)
		}
		w.Publish(video, request("lost", `{"polls":"not_found"}`, ""))
		if got := w.AwaitEnd("demo", "lost"); got.Error == nil || got.Error.Code != events.CodeTaskLost ||
			got.Error.Charge != events.ChargeNone || !got.Error.Retryable {
			t.Errorf("lost: %s %+v", got.Status, got.Error)
		}
		w.Publish(video, request("unheard", `{"submit":"reset_before"}`, `,"on_in_doubt":"hold","max_paid_attempts":2`))
		got := w.AwaitEnd("demo", "unheard")
		if len(got.Attempts) != 2 || got.Error == nil || got.Error.Code != events.CodeInDoubt ||
			got.Error.Charge != events.ChargeNone {
			t.Errorf("unheard: %s after %d attempts: %+v", got.Status, len(got.Attempts), got.Error)
		}
	})
}
