package sim_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/internal/emulator"
	"reelay/internal/test/long"
	"reelay/internal/test/sim"
)

// TestWaitingETALong: the published end of a task in our own queue holds, whatever limit the queue is behind: four of five
// end within the range that was published while most of the queue was still before them.
func TestWaitingETALong(t *testing.T) {
	long.Only(t)
	rows := []struct {
		name, limits string
		after        time.Duration // some have ended by then, and most wait
		off          float64
	}{
		{"requests", `{"models":{"MiniMax-Hailuo":{"requests":12}}}`, 11 * time.Minute, 0.15},
		{"in flight", `{"models":{"MiniMax-Hailuo":{"in_flight":10}}}`, time.Hour, 0.1},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			draw, r := emulator.Video720P(), rand.New(rand.NewPCG(7, 7))
			sim.Run(t, sim.Options{Quiet: true}, func(t *testing.T, w *sim.World) {
				setLane(t, w, bucket.LimitsKey("minimax"), row.limits)
				const tasks = 210
				for i := range tasks {
					takes := fmt.Sprintf(`{"queue_ms":0,"run_ms":%d}`, draw(r).Milliseconds())
					w.Publish(video, v1Request(fmt.Sprint("t", i), takes, `,"timeout":"10h"`))
				}
				w.Settle(row.after)
				published := map[string]events.Task{}
				now := time.Now()
				for i := range tasks {
					if task := w.Get("demo", fmt.Sprint("t", i)); task.Phase == events.PhaseWaiting {
						if task.ETA == nil {
							t.Fatalf("%s waits behind %+v and has no estimate", task.ID, task.QueuePosition)
						}
						published[task.ID] = task
					}
				}
				if len(published) < 50 {
					t.Fatalf("%d wait", len(published))
				}
				inside := 0
				var off []float64
				for id, task := range published {
					end := *w.AwaitEnd("demo", id).CompletedAt
					if !end.Before(*task.ETAEarliest) && !end.After(*task.ETALatest) {
						inside++
					}
					off = append(off, end.Sub(*task.ETA).Abs().Seconds()/end.Sub(now).Seconds())
				}
				slices.Sort(off)
				covered := float64(inside) / float64(len(published))
				t.Logf("%d waiting tasks: the range covers %.0f %%, the middle is off by %.0f %% of the time left", len(published),
					100*covered, 100*off[len(off)/2])
				if covered < 0.7 || off[len(off)/2] > row.off {
					t.Error("the estimates do not hold")
				}
			})
		})
	}
}
