package sim_test

import (
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/internal/allinone"
	"reelay/internal/test/sim"
)

func setLane(t *testing.T, w *sim.World, key, value string) {
	t.Helper()
	kv, err := w.JS.KeyValue(t.Context(), bucket.Lanes)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.PutString(t.Context(), key, value); err != nil {
		t.Fatal(err)
	}
}

// TestPause: after a pause not one more task is paid for and none opens an attempt, while all else goes on; after the
// resume each is paid for once.
func TestPause(t *testing.T) {
	const paused, on = `{"paused":true,"reason":"the bill","by":"ann"}`, `{"paused":false}`
	for _, key := range []string{"fal", bucket.AllLanes} {
		t.Run(key, func(t *testing.T) {
			sim.Run(t, sim.Options{}, func(t *testing.T, w *sim.World) {
				const before, during = 3, 5
				for i := range before {
					w.Publish(video, falRequest(fmt.Sprint("before", i), "", `,"timeout":"6h"`))
				}
				w.Settle(10 * time.Second)
				setLane(t, w, key, paused)
				for i := range during {
					w.Publish(video, falRequest(fmt.Sprint("during", i), "", `,"timeout":"6h"`))
				}
				w.Publish(video, v1Request("other", ""))
				w.Publish(video, falRequest("unwanted", "", `,"timeout":"6h"`))
				w.Settle(time.Second)
				w.Publish("reelay.command.demo.unwanted.cancel", "{}")
				w.Settle(time.Hour)
				if n := len(w.Stack.Ledger("fal").Jobs()); n != before {
					t.Errorf("%d tasks were paid for, %d before the pause", n, before)
				}
				for i := range before {
					if task := w.Get("demo", fmt.Sprint("before", i)); task.Status != events.StatusCompleted {
						t.Errorf("what was paid for before is %s", task.Phase)
					}
				}
				for i := range during {
					if task := w.Get("demo", fmt.Sprint("during", i)); task.Phase != events.PhaseWaiting || len(task.Attempts) != 0 {
						t.Errorf("%s is %s with %d attempts", task.ID, task.Phase, len(task.Attempts))
					}
				}
				if task := w.Get("demo", "unwanted"); task.Status != events.StatusCancelled {
					t.Errorf("a cancelled task is %s", task.Phase)
				}
				if got, want := w.Get("demo", "other").Status == events.StatusCompleted, key == "fal"; got != want {
					t.Errorf("the other lane has worked: %v, want %v", got, want)
				}
				if err := w.Stack.StopService(allinone.Submitter); err != nil {
					t.Fatal(err)
				}
				if err := w.Stack.StartService(t.Context(), allinone.Submitter); err != nil {
					t.Fatal(err)
				}
				w.Settle(time.Minute)
				if n := len(w.Stack.Ledger("fal").Jobs()); n != before {
					t.Errorf("a restart has forgotten the pause: %d tasks were paid for", n)
				}
				setLane(t, w, key, on)
				w.Settle(2 * time.Second)
				if n := len(w.Stack.Ledger("fal").Jobs()); n != before+during {
					t.Errorf("%d tasks were paid for two seconds after the resume, want %d", n, before+during)
				}
				for i := range during {
					w.AwaitEnd("demo", fmt.Sprint("during", i))
				}
			})
		})
	}
}

// onFirstByte calls f when the first paid request has begun to leave.
type onFirstByte struct {
	net.Conn
	once *atomic.Bool
	f    func()
}

func (c onFirstByte) Write(p []byte) (int, error) {
	if !c.once.Swap(true) {
		c.f()
	}
	return c.Conn.Write(p)
}

// TestPauseOnTheWay: a request that is on its way when the lane is paused is not completed.
func TestPauseOnTheWay(t *testing.T) {
	var w *sim.World
	var once atomic.Bool
	wrap := func(c net.Conn) net.Conn {
		return onFirstByte{c, &once, func() { setLane(w.T, w, "fal", `{"paused":true}`) }}
	}
	sim.Run(t, sim.Options{WrapConn: wrap}, func(t *testing.T, world *sim.World) {
		w = world
		w.Publish(video, falRequest("a", "", `,"timeout":"6h"`))
		w.Settle(time.Hour)
		if !once.Load() {
			t.Fatal("nothing was on its way")
		}
		if n := len(w.Stack.Ledger("fal").Jobs()); n != 0 {
			t.Errorf("paid for %d times after the pause", n)
		}
		setLane(t, w, "fal", `{"paused":false}`)
		if task := w.AwaitEnd("demo", "a"); task.Status != events.StatusCompleted {
			t.Errorf("ended as %s: %+v", task.Status, task.Error)
		}
	})
}

// TestForgottenRecords: with another stream of records than before nothing is spent, and requests are taken in all the
// same.
func TestForgottenRecords(t *testing.T) {
	sim.Run(t, sim.Options{}, func(t *testing.T, w *sim.World) {
		for _, name := range allinone.Services() {
			if err := w.Stack.StopService(name); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.JS.DeleteStream(t.Context(), events.StreamTasks); err != nil {
			t.Fatal(err)
		}
		for _, name := range allinone.Services() {
			if err := w.Stack.StartService(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
		w.Settle(time.Second)
		w.Publish(video, falRequest("b", "", `,"timeout":"6h"`))
		w.Settle(time.Hour)
		if task := w.Get("demo", "b"); task.Phase != events.PhaseWaiting || len(task.Attempts) != 0 {
			t.Errorf("it is %s with %d attempts", task.Phase, len(task.Attempts))
		}
		if n := len(w.Stack.Ledger("fal").Jobs()); n != 0 {
			t.Errorf("paid for %d times", n)
		}
		w.Publish("reelay.command.demo.b.cancel", "{}")
		w.AwaitEnd("demo", "b")
	})
}
