package submitter_test

import (
	"encoding/json"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"reelay/events"
	"reelay/events/bucket"
)

// put puts a value into a bucket.
func (w *world) put(bucket, key, value string) {
	w.Helper()
	kv, err := w.client.JetStream().KeyValue(w.Context(), bucket)
	w.ok(err)
	_, err = kv.PutString(w.Context(), key, value)
	w.ok(err)
}

// TestUnreadableHandOver: what the dispatcher before has learned is a help. Without it the lane is dispatched all the
// same.
func TestUnreadableHandOver(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.put(bucket.Leases, "acme.memory", `{"groups":`)
		w.ask("demo", 1, "")
		w.start()
		time.Sleep(minute)
		if n := len(w.provider.taken()); n != 1 {
			w.Errorf("%d of 1 taken", n)
		}
	})
}

// TestProviderUnreachable: while the provider cannot be reached the tasks wait; they are not tried again and again, all
// of them. When it is back they go on soon.
func TestProviderUnreachable(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		var back atomic.Bool
		var dials atomic.Int64
		w.dial = func() (net.Conn, error) {
			if back.Load() {
				return w.provider.dial()
			}
			dials.Add(1)
			return nil, errors.New("no route to host")
		}
		w.ask("demo", 200, "")
		w.start()
		time.Sleep(10 * minute)
		if n := dials.Load(); n > 120 {
			w.Errorf("dialled %d times in ten minutes", n)
		}
		back.Store(true)
		time.Sleep(2 * minute)
		if n := len(w.provider.taken()); n != 200 {
			w.Errorf("%d of 200 taken", n)
		}
	})
}

// TestCappedOnce: a task that two caps keep from being paid says so once, not in turns.
func TestCappedOnce(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		for _, key := range []string{"all", "project.demo", "lane.acme"} {
			w.put(bucket.Caps, key, `{"daily_usd":0}`)
		}
		time.Sleep(24 * time.Hour) // those caps count from the start of the day
		k := w.ask("demo", 1, `,"estimated_cost_usd":1`)
		w.start()
		time.Sleep(10 * time.Second)
		before, _, err := w.client.Get(w.Context(), k)
		w.ok(err)
		time.Sleep(20 * minute)
		after, _, err := w.client.Get(w.Context(), k)
		w.ok(err)
		if before.Version != 2 || after.Version-before.Version > 1 { // one more if a day has begun
			w.Errorf("version %d, and %d twenty minutes later", before.Version, after.Version)
		}
	})
}

// TestUncounted: as long as a new cap is not counted the tasks under it wait; they do not all ask again every few
// seconds, and other projects do not wait for them.
func TestUncounted(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.put(bucket.Caps, "project.capped", `{"daily_usd":100}`)
		w.ask("capped", 500, "")
		r := w.start()
		time.Sleep(minute)
		before := r.nc.Stats().OutMsgs
		time.Sleep(10 * minute)
		if n := r.nc.Stats().OutMsgs - before; n > 8_000 { // the position of each is published as well
			w.Errorf("%d messages to the broker in ten minutes", n)
		}
		w.ask("free", 10, "")
		time.Sleep(time.Second)
		if n := len(w.provider.taken()); n != 10 {
			w.Errorf("%d of 10 taken", n)
		}
	})
}

// TestCappedTakesNoTurn: a task that a cap keeps from being sent takes no time from others that may be sent only so
// often.
func TestCappedTakesNoTurn(t *testing.T) {
	inWorld(t, map[string]events.ModelLimits{events.AnyModel: {Spacing: events.Duration(10 * time.Second)}},
		func(w *world) {
			w.put(bucket.Caps, "project.capped", `{"daily_usd":0}`)
			time.Sleep(24 * time.Hour)
			w.ask("capped", 300, `,"estimated_cost_usd":1`)
			w.ask("free", 60, "")
			w.start()
			time.Sleep(10*minute + time.Second)
			if n := len(w.provider.taken()); n < 57 {
				w.Errorf("%d of 60 taken in ten minutes", n)
			}
		})
}

// TestUnreadableRecord: a record that cannot be read, of a request whose outcome it should take in, stops nobody else;
// the outcome stays in the journal.
func TestUnreadableRecord(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.provider.delay = 5 * time.Second
		k := w.ask("demo", 1, "")
		r := w.start()
		time.Sleep(3 * time.Second)
		good, _, err := w.client.Get(w.Context(), k)
		w.ok(err)
		if good.Phase != events.PhaseSubmitting {
			w.Fatalf("it is %s", good.Phase)
		}
		w.put(events.TaskBucket, k.String(), "{")
		time.Sleep(2 * minute)
		r.crash()
		r.restart()
		time.Sleep(2 * minute)
		w.ask("demo", 1, "")
		time.Sleep(10 * time.Second)
		if n := len(w.provider.taken()); n != 2 {
			w.Errorf("%d of 2 taken", n)
		}
		value, err := json.Marshal(good)
		w.ok(err)
		w.put(events.TaskBucket, k.String(), string(value))
		r.crash()
		r.restart()
		time.Sleep(2 * minute)
		if task, _, err := w.client.Get(w.Context(), k); err != nil || task.ProviderID != "job-1" {
			w.Errorf("mended it is %s with id %q, %v", task.Phase, task.ProviderID, err)
		}
	})
}

// TestStrangeFigures: figures that no dispatcher stores, in what was learned of a lane and in its switch, break nothing
// when the provider refuses, and keep no lane from sending.
func TestStrangeFigures(t *testing.T) {
	rows := []struct{ name, memory, laneSwitch, code string }{
		{"negative streak", `{"groups":{"*":{"rate":{"limit":3,"streak":-5},"concurrency":{"limit":-1}}}}`, `{}`, "rate"},
		{"held for ever", `{"groups":{"*":{"paused_until":"2999-01-01T00:00:00Z"}}}`, `{}`, "rate"},
		{"negative tries", `{}`, `{"paused":true,"until":"2020-01-01T00:00:00Z","tries":-9}`, "quota"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				var refused atomic.Bool
				w.put(bucket.Leases, "acme.handover", row.memory)
				w.set("acme", row.laneSwitch)
				w.provider.rule(func(_ time.Time, taken []call) string {
					if len(taken) == 0 && !refused.Swap(true) {
						return row.code
					}
					return ""
				})
				w.ask("demo", 2, "")
				w.start()
				time.Sleep(20 * minute)
				if n := len(w.provider.taken()); n != 2 {
					w.Errorf("%d of 2 taken", n)
				}
			})
		})
	}
}

// TestProbeIsFirstInLine: the task by which a stopped lane is tried is the one that was shown as the next, also after
// tasks under way were stopped.
func TestProbeIsFirstInLine(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.provider.rule(func(time.Time, []call) string { return "doubt" })
		w.provider.delay = time.Second
		w.ask("demo", 12, "")
		w.ask("film", 12, "")
		all := append(w.keys("demo", 0)[:12], w.keys("film", 12)...)
		w.start()
		time.Sleep(30 * time.Second)
		for range 4 {
			first := ""
			for id, ahead := range w.ahead(all...) {
				if ahead == 0 {
					first = id
				}
			}
			_, before := w.provider.refused(time.Time{})
			time.Sleep(minute)
			w.provider.mu.Lock()
			probes := w.provider.calls[before:]
			w.provider.mu.Unlock()
			if len(probes) != 1 || probes[0].task != first {
				w.Errorf("tried by %+v, want by %s alone, which was shown as the next", probes, first)
			}
		}
	})
}
