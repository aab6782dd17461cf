package sim_test

import (
	"slices"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/test/sim"
)

func TestMain(m *testing.M) { sim.Main(m) }

const falVideo = "fal-ai/kling-video/v3/pro/text-to-video"

func TestVideo(t *testing.T) {
	rows := []struct{ provider, model, input string }{
		{"fal", falVideo, `{"prompt":"a kite"}`},
		{"minimax", "MiniMax-Hailuo-2.3", `{"prompt":"a kite","duration":6,"resolution":"768P"}`},
		{
			"minimax", "MiniMax-H3",
			`{"content":[{"type":"text","text":"a kite"}],"resolution":"768P","duration":5,"ratio":"16:9"}`,
		},
	}
	for _, row := range rows {
		t.Run(row.model, func(t *testing.T) {
			sim.Run(t, sim.Options{}, func(t *testing.T, w *sim.World) {
				w.Publish("reelay.request.demo.video", `{"id":"v1","provider":"`+row.provider+`","model":"`+row.model+`","input":`+
					row.input+`}`)
				task := w.AwaitEnd("demo", "v1")
				if task.Status != events.StatusCompleted || len(task.Result.Outputs) != 1 {
					t.Fatalf("%s: %+v", task.Status, task.Error)
				}
				if took := task.CompletedAt.Sub(task.CreatedAt); took < 5*time.Minute || took > 5*time.Minute+12*time.Second {
					t.Errorf("took %v of broker time, the emulator needs five minutes", took)
				}
				want := []events.EventType{events.EventQueued, events.EventSubmitted, events.EventCompleted}
				if got := sim.Types(w.Story("demo", "v1")); !slices.Equal(got, want) {
					t.Errorf("story %v, want %v", got, want)
				}
				if jobs := w.Stack.Ledger(row.provider).Jobs(); len(jobs) != 1 {
					t.Errorf("paid for %d times", len(jobs))
				}
			})
		})
	}
}
