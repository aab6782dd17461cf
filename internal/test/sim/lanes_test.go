package sim_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/internal/allinone"
	"reelay/internal/failpoint"
	"reelay/internal/test/long"
	"reelay/internal/test/sim"
)

// TestLaneLimitLong: with four submitters MiniMax never sees more than its 20 requests in a minute, and hardly fewer, while
// the one that dispatches crashes or stops again and again. The published position of a waiting task falls to nothing.
func TestLaneLimitLong(t *testing.T) {
	long.Only(t)
	sim.Run(t, sim.Options{Quiet: true}, func(t *testing.T, w *sim.World) {
		const minutes, tasks = 10, 260
		replicas := []string{allinone.Submitter, "submitter-2", "submitter-3", "submitter-4"}
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
					t.Errorf("after position %d comes %+v", last, p)
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

// TestPlacesUnderFaults: publishing the positions of waiting tasks costs none of them anything, when its writes and
// events are lost or stored twice and the publisher dies: each task is paid for once, and few need a second try.
func TestPositionsUnderFaults(t *testing.T) {
	var writes atomic.Int64
	faults := func(service string) failpoint.Plan {
		if !strings.HasPrefix(service, allinone.Submitter) {
			return nil
		}
		return func(point string) failpoint.Outcome {
			if point != "put/waiting" && point != "publish/progress" {
				return failpoint.Outcome{}
			}
			switch writes.Add(1) % 7 {
			case 1:
				return failpoint.Outcome{Lose: true}
			case 3:
				return failpoint.Outcome{LoseAnswer: true}
			case 5:
				return failpoint.Outcome{Twice: true}
			}
			return failpoint.Outcome{}
		}
	}
	sim.Run(t, sim.Options{Quiet: true, Faults: faults}, func(t *testing.T, w *sim.World) {
		const tasks, minutes = 60, 4
		if err := w.Stack.StartService(t.Context(), allinone.Submitter+"-2"); err != nil {
			t.Fatal(err)
		}
		setLane(t, w, bucket.LimitsKey("minimax"), `{"models":{"MiniMax-Hailuo":{"requests":12}}}`)
		for i := range tasks {
			w.PublishUntilAcked(video, v1Request(fmt.Sprint("t", i), "", `,"timeout":"6h"`))
		}
		for minute := range minutes {
			w.Settle(time.Minute)
			name := []string{allinone.Submitter, allinone.Submitter + "-2"}[minute%2]
			w.Stack.CrashService(name)
			if err := w.Stack.StartService(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
		published, again := 0, 0
		for i := range tasks {
			id := fmt.Sprint("t", i)
			task := w.AwaitEnd("demo", id)
			if task.Status != events.StatusCompleted {
				t.Errorf("%s is %s: %v", id, task.Status, task.Error)
			}
			again += len(task.Attempts) - 1
			if slices.ContainsFunc(w.Story("demo", id), func(e events.Event) bool {
				return e.Type == events.EventProgress && e.QueuePosition != nil && e.QueuePosition.Ours != nil
			}) {
				published++
			}
		}
		if jobs := len(w.Stack.Ledger("minimax").Jobs()); jobs != tasks {
			t.Errorf("%d tasks were paid for %d times", tasks, jobs)
		}
		t.Logf("positions of %d of %d were published, %d second tries", published, tasks, again)
		if published < tasks/2 || again > tasks/10 {
			t.Error("too few positions were published, or too many tasks had to be tried again")
		}
	})
}
