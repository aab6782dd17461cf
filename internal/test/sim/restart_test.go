package sim_test

import (
	"fmt"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/allinone"
	"reelay/internal/test/sim"
)

// TestServiceRestarts stops and starts each service again and again while tasks are on their way; all end once.
func TestServiceRestarts(t *testing.T) {
	for _, service := range allinone.Services() {
		t.Run(service, func(t *testing.T) {
			sim.Run(t, sim.Options{}, func(t *testing.T, w *sim.World) {
				const tasks = 6
				for i := range tasks {
					w.Publish(video, falRequest(fmt.Sprint("t", i), ""))
					if err := w.Stack.StopService(service); err != nil {
						t.Fatal(err)
					}
					w.Settle(20 * time.Second)
					if err := w.Stack.StartService(t.Context(), service); err != nil {
						t.Fatal(err)
					}
					w.Settle(10 * time.Second)
				}
				for i := range tasks {
					if task := w.AwaitEnd("demo", fmt.Sprint("t", i)); task.Status != events.StatusCompleted {
						t.Errorf("%s ended as %s: %+v", task.ID, task.Status, task.Error)
					}
				}
				if jobs := w.Stack.Ledger("fal").Jobs(); len(jobs) != tasks {
					t.Errorf("%d tasks were paid for %d times", tasks, len(jobs))
				}
			})
		})
	}
}

// TestWholeRestart stops and starts everything, broker included, on the same store.
func TestWholeRestart(t *testing.T) {
	sim.Run(t, sim.Options{}, func(t *testing.T, w *sim.World) {
		const tasks = 6
		for i := range tasks {
			w.Publish(video, falRequest(fmt.Sprint("t", i), ""))
			w.Settle(25 * time.Second)
			w.Stop()
			time.Sleep(10 * time.Second)
			w.Start()
		}
		for i := range tasks {
			if task := w.AwaitEnd("demo", fmt.Sprint("t", i)); task.Status != events.StatusCompleted {
				t.Errorf("%s ended as %s: %+v", task.ID, task.Status, task.Error)
			}
		}
		if jobs := w.Stack.Ledger("fal").Jobs(); len(jobs) != tasks {
			t.Errorf("%d tasks were paid for %d times", tasks, len(jobs))
		}
	})
}
