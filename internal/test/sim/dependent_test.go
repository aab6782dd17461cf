package sim_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/test/sim"
)

// TestChainInReverse: a chain that is published from its end is made from its beginning, over both providers, and each
// task gets what the one before it has made.
func TestChainInReverse(t *testing.T) {
	sim.Run(t, sim.Options{}, func(t *testing.T, w *sim.World) {
		w.Publish(video, falRequest("c", "", `,"after":["a"],"not_before":"`+time.Now().Add(time.Hour).Format(time.RFC3339)+`"`))
		w.Publish(video, `{"id":"b","provider":"minimax","model":"MiniMax-Hailuo-2.3","input":{"prompt":"a kite",`+
			`"first_frame_image":{"$from":"a"},"seed_of_a":{"$from":"a","field":"/video/content_type"}}}`)
		w.Settle(time.Minute)
		w.Publish(video, falRequest("a", ""))
		a, b, c := w.AwaitEnd("demo", "a"), w.AwaitEnd("demo", "b"), w.AwaitEnd("demo", "c")
		url := a.Result.Outputs[0].URL
		if !strings.Contains(string(b.Input), `"first_frame_image":"`+url+`","seed_of_a":"video/mp4"`) {
			t.Errorf("the input of b is %s; a has made %s", b.Input, url)
		}
		if b.SubmittedAt.Before(*a.CompletedAt) || c.SubmittedAt.Sub(c.CreatedAt) < time.Hour-time.Second {
			t.Errorf("a ended %v, b was sent %v; c was sent %v after its request", a.CompletedAt, b.SubmittedAt,
				c.SubmittedAt.Sub(c.CreatedAt))
		}
		story := w.Story("demo", "b")
		if got := story[0]; !slices.Equal(got.WaitsFor, []string{"a"}) || got.Message != "waits for a" {
			t.Errorf("queued tells that b waits for %v: %q", got.WaitsFor, got.Message)
		}
		w.Publish(video, `{"id":"b","provider":"minimax","model":"MiniMax-Hailuo-2.3","input":{"prompt":"a kite",`+
			`"first_frame_image":{"$from":"a"},"seed_of_a":{"$from":"a","field":"/video/content_type"}}}`)
		w.Settle(time.Minute)
		if again := w.Story("demo", "b"); len(again) != len(story) {
			t.Errorf("the same request again: %v", again[len(again)-1])
		}
	})
}

// TestMissingDependency: what nobody asks for is waited for until the deadline; what is known, for as long as it takes.
func TestMissingDependency(t *testing.T) {
	sim.Run(t, sim.Options{}, func(t *testing.T, w *sim.World) {
		w.Publish(video, falRequest("slow", `{"queue_ms":3600000}`, `,"timeout":"2h"`))
		w.Publish(video, falRequest("patient", "", `,"after":["slow"],"timeout":"10m"`))
		w.Publish(video, falRequest("lost", "", `,"after":["slow","nobody"],"timeout":"10m"`))
		w.Publish(video, falRequest("behind", "", `,"after":["lost"],"timeout":"1m"`))
		lost, behind := w.AwaitEnd("demo", "lost"), w.AwaitEnd("demo", "behind")
		if e := lost.Error; e.Code != events.CodeDeadlineExceeded || e.Charge != events.ChargeNone ||
			!strings.Contains(e.Message, "task nobody") || lost.CompletedAt.Sub(lost.CreatedAt) > 11*time.Minute {
			t.Errorf("lost: %+v after %v", e, lost.CompletedAt.Sub(lost.CreatedAt))
		}
		if e := behind.Error; e.Code != events.CodeDependencyFailed || e.Charge != events.ChargeNone {
			t.Errorf("behind: %+v", e)
		}
		if got := w.AwaitEnd("demo", "patient"); got.Status != events.StatusCompleted {
			t.Errorf("patient is %s: %+v", got.Status, got.Error)
		}
	})
}
