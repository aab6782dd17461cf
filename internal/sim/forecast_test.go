package sim_test

import (
	"fmt"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/sim"
)

// TestLearning: with every task that ends, looks become fewer and estimates better, and a restart forgets nothing.
func TestLearning(t *testing.T) {
	sim.Run(t, sim.Options{Quiet: true}, func(t *testing.T, w *sim.World) {
		looks := func() int { return w.Stack.Ledger("fal").Calls()["status"] }
		live := func(id string) (calls int, lag time.Duration) {
			before := looks()
			w.Publish(video, falRequest(id, ""))
			task := w.AwaitEnd("demo", id)
			return looks() - before, task.CompletedAt.Sub(*task.SubmittedAt) - 5*time.Minute
		}
		first, _ := live("first")
		const tasks = 25
		for i := range tasks {
			live(fmt.Sprint("t", i))
		}
		w.Settle(10 * time.Second)
		w.Stop()
		w.Start()
		w.Settle(10 * time.Second)

		w.Publish(video, falRequest("asked", ""))
		asked := w.Await("demo", "asked", func(t events.Task) bool { return t.Phase == events.PhaseRunning })
		end := asked.SubmittedAt.Add(5 * time.Minute)
		if asked.ETA == nil || asked.ETA.Sub(end).Abs() > 30*time.Second || asked.ETAEarliest.After(end) || asked.ETALatest.Before(end) ||
			asked.Pace != events.PaceNormal {
			t.Errorf("eta %v, %v to %v, %s; it ends at %v", asked.ETA, asked.ETAEarliest, asked.ETALatest, asked.Pace, end)
		}
		w.AwaitEnd("demo", "asked")
		var q events.QueueReply
		if e := w.Ask(&q, events.VerbQueue, ""); e != nil {
			t.Fatal(e)
		}
		typical := q.Lanes[0].Typical[events.Video]
		if typical.Samples < tasks || typical.WholeS < 280 || typical.WholeS > 320 {
			t.Errorf("typical: %+v", typical)
		}
		last, lag := live("last")
		t.Logf("%d looks at the first task, %d at the last, noticed %v after its end; typical %+v", first, last, lag, typical)
		if 2*last > first || lag > 12*time.Second {
			t.Errorf("%d looks at the first task, %d at the last, noticed %v after its end", first, last, lag)
		}
	})
}
