package sim_test

import (
	"fmt"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/sim"
	"reelay/internal/stack"
)

// TestLaneLimit: with four submitters MiniMax never sees more than its 20 requests in a minute, and hardly fewer, while the one that
// dispatches crashes or stops again and again. The place that a waiting task is told goes down to nothing.
func TestLaneLimit(t *testing.T) {
	sim.Run(t, sim.Options{Quiet: true}, func(t *testing.T, w *sim.World) {
		const minutes, tasks = 10, 260
		replicas := []string{stack.Submitter, "submitter-2", "submitter-3", "submitter-4"}
		for _, name := range replicas[1:] {
			if err := w.Stack.StartService(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
		for i := range tasks {
			w.Publish(video, v1Request(fmt.Sprint("t", i), "", `,"timeout":"6h"`))
		}
		began := time.Now()
		last := tasks
		for minute := range minutes {
			time.Sleep(45 * time.Second)
			name := replicas[minute%len(replicas)]
			if minute%2 == 0 {
				w.Stack.CrashService(name)
			} else if err := w.Stack.StopService(name); err != nil {
				t.Fatal(err)
			}
			time.Sleep(15 * time.Second)
			if err := w.Stack.StartService(t.Context(), name); err != nil {
				t.Fatal(err)
			}
			if task := w.Get("demo", fmt.Sprint("t", tasks-1)); task.Phase == events.PhaseWaiting {
				if p := task.QueuePosition; p == nil || *p.Ours > last {
					t.Errorf("after place %d it is told %+v", last, p)
				} else {
					last = *p.Ours
				}
			}
		}
		jobs := w.Stack.Ledger("minimax").Jobs()
		if want := 20 * time.Since(began).Minutes(); float64(len(jobs)) < 0.95*want {
			t.Errorf("%d tasks were paid for, %.0f are granted", len(jobs), want)
		}
		for i := range jobs {
			if i >= 20 && jobs[i].At.Sub(jobs[i-20].At) < time.Minute {
				t.Fatalf("21 requests within %v", jobs[i].At.Sub(jobs[i-20].At))
			}
		}
		for i := range tasks {
			w.AwaitEnd("demo", fmt.Sprint("t", i))
		}
	})
}
