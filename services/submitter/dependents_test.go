package submitter_test

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/provider"
	"reelay/internal/task"
)

// publish asks for a task of project p.
func (w *world) publish(id, fields string) events.Key {
	w.Helper()
	_, err := w.client.JetStream().Publish(w.Context(), events.RequestSubject("p", events.Video),
		fmt.Appendf(nil, `{"id":%q,"provider":"acme","model":"m1","timeout":"10m",%s}`, id, fields))
	w.ok(err)
	return events.Key{Project: "p", ID: id}
}

// input is the input of a task that acme knows by that id, and what else the request has.
func input(id, more string) string { return fmt.Sprintf(`"input":{"id":%q}%s`, id, more) }

func (w *world) record(k events.Key) events.Task {
	w.Helper()
	t, _, err := w.client.Get(w.Context(), k)
	w.ok(err)
	return t
}

// sent returns what acme was sent, by the ids in the inputs.
func (w *world) sent() (ids []string) {
	for _, c := range w.provider.taken() {
		ids = append(ids, c.task)
	}
	return ids
}

// TestDependents: requests in any order are sent in that of their dependencies, with the values of their references.
func TestDependents(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.start()
		w.start() // two submitters see the same
		last := w.publish("last", `"input":{"id":{"$from":"mid","output":0}},"after":["first"]`)
		time.Sleep(time.Second)
		mid := w.publish("mid", input("mid", `,"after":["first","other"]`))
		time.Sleep(time.Second)
		first, other := w.publish("first", input("first", "")), w.publish("other", input("other", ""))
		time.Sleep(5 * time.Second)
		wantSent := func(want ...string) {
			t.Helper()
			if got := w.sent(); !slices.Equal(got, want) {
				t.Fatalf("sent %v, want %v", got, want)
			}
		}
		if got := w.sent(); len(got) != 2 || !slices.Contains(got, "first") || !slices.Contains(got, "other") {
			t.Fatalf("sent %v, want first and other", got)
		}
		w.end(first)
		time.Sleep(15 * time.Minute) // longer than the timeout of those that wait
		if len(w.sent()) != 2 {
			t.Fatalf("sent %v before all have ended", w.sent())
		}
		w.end(other)
		time.Sleep(time.Second)
		if got := w.sent(); len(got) != 3 || got[2] != "mid" {
			t.Fatalf("sent %v, want mid as third", got)
		}
		begun := time.Now()
		w.end(mid)
		time.Sleep(time.Second)
		wantSent(append(w.sent()[:3:3], "https://acme.test/v.mp4")...)
		got := w.record(last)
		if string(got.Input) != `{"id":"https://acme.test/v.mp4"}` || got.WaitsFor != nil || len(got.Attempts) != 1 ||
			got.Deadline.Sub(begun).Round(time.Minute) != 10*time.Minute {
			t.Errorf("input %s, waits for %v, %d attempts, deadline %v after the last has ended", got.Input, got.WaitsFor,
				len(got.Attempts), got.Deadline.Sub(begun))
		}
	})
}

// TestReleasedAtOnce: tasks whose dependencies have ended before are sent at once, whichever process has found that out.
func TestReleasedAtOnce(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.start()
		w.start()
		first := w.publish("first", input("first", ""))
		time.Sleep(time.Second)
		w.end(first)
		for i := range 20 {
			id := fmt.Sprint("then-", i)
			w.publish(id, input(id, `,"after":["first"]`))
			time.Sleep(time.Second)
			if n := len(w.sent()); n != i+2 {
				t.Fatalf("%d of %d were sent", n, i+2)
			}
		}
	})
}

// TestDependencyFails: the tasks behind one that fails fail at once and were never sent; one that ignores it is sent.
func TestDependencyFails(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.start()
		a := w.publish("a", input("a", ""))
		b, c := w.publish("b", input("b", `,"after":["a"]`)), w.publish("c", input("c", `,"after":["b"]`))
		d := w.publish("d", input("d", `,"after":["a"],"on_dependency":"ignore"`))
		e := w.publish("e", `"input":{"id":{"$from":"a"}},"on_dependency":"ignore"`)
		time.Sleep(5 * time.Second)
		w.fail(a)
		time.Sleep(5 * time.Second)
		for _, k := range []events.Key{b, c, e} {
			t := w.record(k)
			if t.Status != events.StatusFailed || t.Error.Code != events.CodeDependencyFailed ||
				t.Error.Charge != events.ChargeNone || len(t.Attempts) != 0 {
				w.Errorf("%s is %s: %+v", k, t.Status, t.Error)
			}
		}
		if got := w.sent(); !slices.Equal(got, []string{"a", "d"}) {
			t.Errorf("sent %v, want a, and d which ignores its end", got)
		}
		if got := w.record(d); got.Phase != events.PhaseProviderQueued {
			t.Errorf("d is %s", got.Phase)
		}
	})
}

// fail makes the provider fail a task.
func (w *world) fail(k events.Key) {
	w.Helper()
	_, err := w.store.Apply(w.Context(), k, task.PollResult{
		Meta: task.Meta{At: time.Now().UTC(), By: "test"}, Snapshot: provider.Snapshot{
			State: provider.Failed, Err: &provider.Error{Kind: events.KindModeration, Code: "moderation", Message: "refused"},
		},
	})
	w.ok(err)
}

// TestCycleIsRefused: the request that closes a circle is rejected; of those that come at the same time to several
// submitters none is left waiting.
func TestCycleIsRefused(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		// Each creation takes so long that of two at the same time neither sees the other before it.
		w.slow = map[string]time.Duration{"put/waiting": time.Second}
		w.start()
		w.start()
		a, b := w.publish("a", input("a", `,"after":["c"]`)), w.publish("b", input("b", `,"after":["a"]`))
		time.Sleep(5 * time.Second)
		w.publish("c", input("c", `,"after":["b"]`))
		time.Sleep(5 * time.Second)
		if n := w.rejections(); n != 1 {
			t.Errorf("%d rejections, want that of c", n)
		}
		if w.record(a).Phase != events.PhaseWaiting || w.record(b).Phase != events.PhaseWaiting {
			t.Error("a and b do not wait for another c")
		}
		x, y := w.publish("x", input("x", `,"after":["y"]`)), w.publish("y", input("y", `,"after":["x"]`))
		time.Sleep(10 * time.Second)
		cycles := 0
		for _, k := range []events.Key{x, y} {
			t := w.record(k)
			if t.Status != events.StatusFailed {
				w.Errorf("%s is %s, want failed", k, t.Status)
			} else if t.Error.Code == events.CodeDependencyCycle {
				cycles++
			}
		}
		if cycles == 0 {
			t.Error("nobody is told of the circle")
		}
		if len(w.sent()) != 0 {
			t.Errorf("sent %v", w.sent())
		}
	})
}

// TestReleaseAfterRestart: whatever ended while no submitter ran, the tasks behind it are sent by the next.
func TestReleaseAfterRestart(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		var losing atomic.Bool
		w.lose = func(point string) bool { return losing.Load() && point == "put/waiting" }
		one := w.start()
		a := w.publish("a", input("a", ""))
		w.publish("b", input("b", `,"after":["a"]`))
		time.Sleep(5 * time.Second)
		one.stop()
		w.end(a)
		losing.Store(true) // every release is lost for a while
		one.restart()
		time.Sleep(10 * time.Second)
		if got := w.sent(); !slices.Equal(got, []string{"a"}) {
			t.Fatalf("sent %v although no release was stored", got)
		}
		losing.Store(false)
		time.Sleep(5 * time.Second)
		if got := w.sent(); !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("sent %v, want b after a", got)
		}
	})
}

// TestNotBefore: a task is not sent before its time, and says so.
func TestNotBefore(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.start()
		at := time.Now().Add(time.Hour)
		k := w.publish("k", input("k", fmt.Sprintf(`,"not_before":%q`, at.Format(time.RFC3339Nano))))
		w.publish("other", input("other", ""))
		w.publish("far", input("far", fmt.Sprintf(`,"not_before":%q`, at.Add(events.MaxNotBefore).Format(time.RFC3339Nano))))
		time.Sleep(59 * time.Minute)
		if got := w.sent(); !slices.Equal(got, []string{"other"}) {
			t.Errorf("sent %v before its time", got)
		}
		if n := w.rejections(); n != 1 {
			t.Errorf("%d rejections, want that of a time too far ahead", n)
		}
		places, _ := w.positions(k)
		if b := places["k"].Blocked; b == nil || b.Reason != events.BlockedNotBefore || !b.Until.Equal(at) {
			t.Errorf("blocked by %+v, want not_before until %v", b, at)
		}
		time.Sleep(2 * time.Minute)
		if got := w.sent(); !slices.Equal(got, []string{"other", "k"}) {
			t.Errorf("sent %v after its time", got)
		}
	})
}
