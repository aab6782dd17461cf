package sim_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/test/sim"
)

// TestLearning: with every task that ends, polls become fewer and estimates better, and a restart forgets nothing.
func TestLearning(t *testing.T) {
	sim.Run(t, sim.Options{Quiet: true}, func(t *testing.T, w *sim.World) {
		polls := func() int { return w.Stack.Ledger("fal").Calls()["status"] }
		live := func(id string) (calls int, lag time.Duration) {
			before := polls()
			w.Publish(video, falRequest(id, ""))
			task := w.AwaitEnd("demo", id)
			return polls() - before, task.CompletedAt.Sub(*task.SubmittedAt) - 5*time.Minute
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
		if asked.ETA == nil || asked.ETA.Sub(end).Abs() > 30*time.Second || asked.ETAEarliest.After(end) ||
			asked.ETALatest.Before(end) ||
			asked.Pace != events.PaceNormal {
			t.Errorf("eta %v, %v to %v, %s; it ends at %v", asked.ETA, asked.ETAEarliest, asked.ETALatest, asked.Pace, end)
		}
		w.AwaitEnd("demo", "asked")
		for _, e := range w.Story("demo", "asked") {
			if e.Type == events.EventProgress && (e.ETA == nil || e.ETALatest == nil || e.ETA.Sub(end).Abs() > 30*time.Second) {
				t.Errorf("the progress event %d estimates its end at %v, latest %v; it ends at %v", e.Version, e.ETA, e.ETALatest,
					end)
			}
		}
		if slow := w.Get("demo", "asked"); slow.Pace != "" || slow.ETALatest != nil {
			t.Errorf("it has ended, and is %q until %v", slow.Pace, slow.ETALatest)
		}
		var q events.QueueReply
		if e := w.Ask(&q, events.VerbQueue, ""); e != nil {
			t.Fatal(e)
		}
		fal := slices.IndexFunc(q.Lanes, func(l events.LaneQueue) bool { return l.Lane == "fal" })
		typical := q.Lanes[fal].Typical[events.Video]
		if typical.Samples < tasks || typical.WholeS < 280 || typical.WholeS > 320 {
			t.Errorf("typical: %+v", typical)
		}
		last, lag := live("last")
		t.Logf("%d polls of the first task, %d of the last, noticed %v after its end; typical %+v", first, last, lag, typical)
		if 2*last > first || lag > 12*time.Second {
			t.Errorf("%d polls of the first task, %d of the last, noticed %v after its end", first, last, lag)
		}
	})
}

// TestSlowTask: a task that takes longer than others is reported once for each pace.
func TestSlowTask(t *testing.T) {
	sim.Run(t, sim.Options{Quiet: true}, func(t *testing.T, w *sim.World) {
		for i := range 20 {
			id := fmt.Sprint("t", i)
			w.Publish(video, falRequest(id, ""))
			w.AwaitEnd("demo", id)
		}
		w.Publish(video, falRequest("slow", `{"run_ms":1500000}`))
		w.Await("demo", "slow", func(t events.Task) bool { return t.Phase == events.PhaseRunning })
		w.Settle(6 * time.Minute)
		w.Publish(video, falRequest("other", ""))
		w.AwaitEnd("demo", "other")
		w.AwaitEnd("demo", "slow")
		var paces []events.Pace
		for _, e := range w.Story("demo", "slow") {
			if n := len(paces); e.Type == events.EventProgress && e.Pace != "" && (n == 0 || paces[n-1] != e.Pace) {
				paces = append(paces, e.Pace)
			}
		}
		if len(paces) < 3 || paces[0] != events.PaceNormal || paces[1] != events.PaceSlow ||
			paces[len(paces)-1] != events.PaceStuck {
			t.Errorf("the published paces are %q", paces)
		}
		noted := 0
		for _, step := range w.Get("demo", "slow").Transitions {
			if strings.Contains(step.Note, "slower") {
				noted++
			}
		}
		if noted < 2 || noted > 3 {
			t.Errorf("it is reported %d times: %q", noted, paces)
		}
	})
}

// TestGlances: many tasks at MiniMax's V2 at the same time need fewer calls than polls, and no end is noticed late.
func TestBatchedPolls(t *testing.T) {
	sim.Run(t, sim.Options{Quiet: true}, func(t *testing.T, w *sim.World) {
		const tasks = 25
		for i := range tasks {
			id := fmt.Sprint("t", i)
			w.Publish(video, v2Asked(id, "kite "+id, ""))
		}
		for i := range tasks {
			task := w.AwaitEnd("demo", fmt.Sprint("t", i))
			if lag := task.CompletedAt.Sub(*task.SubmittedAt) - 5*time.Minute; lag > 15*time.Second {
				t.Errorf("%s is noticed %v after its end", task.ID, lag)
			}
		}
		calls, batched := w.Stack.Ledger("minimax").Calls(), w.MetricSum("reelay_polls_total", "minimax", "batched")
		t.Logf("%d tasks: %v of %v polls by %d lists, %d calls for one task", tasks, batched,
			w.MetricSum("reelay_polls_total", "minimax"), calls["list"], calls["status"])
		if float64(calls["list"]) > batched/2 || batched < 10*tasks {
			t.Errorf("%d lists answered %v polls, %d polls had their own call", calls["list"], batched, calls["status"])
		}
	})
}
