package submitter_test

import (
	"testing"
	"time"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/internal/lease"
	"reelay/internal/task"
)

// TestTakeOver: a dispatcher that ends is followed at once, one that crashes or stands still within seconds; and the
// window counts what it had sent.
func TestTakeOver(t *testing.T) {
	const window = 12 * time.Second
	rows := []struct {
		name string
		end  func(r *replica)
		// within is the longest time without a dispatcher.
		within time.Duration
	}{
		{"stopped", (*replica).stop, 2 * time.Second},
		{"crashed", (*replica).crash, bucket.LeaseTTL + 2*time.Second},
		{"stands still", func(r *replica) { r.stand(time.Hour) }, bucket.LeaseTTL + 2*time.Second},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			inWorld(t, map[string]events.ModelLimits{events.AnyModel: {Requests: 1, Window: events.Duration(window)}},
				func(w *world) {
					first := w.start()
					time.Sleep(10 * time.Second)
					w.start()
					w.ask("demo", 2, "")
					time.Sleep(9 * time.Second)
					row.end(first)
					ended := time.Now()
					time.Sleep(minute)
					taken := w.provider.taken()
					if len(taken) != 2 {
						w.Fatalf("%d requests for two tasks", len(taken))
					}
					if d := taken[1].at.Sub(taken[0].at); d < window {
						w.Errorf("two within %v", d)
					}
					if d := taken[1].at.Sub(ended); d > max(row.within, window-9*time.Second+time.Second) {
						w.Errorf("the next is sent %v after the dispatcher has ended", d)
					}
				})
		})
	}
}

// TestTakeOverCountsTheEnded: the window counts a request also when its task has ended by the time another takes the
// lane over, whether that one has seen it live or reads it from the records.
func TestTakeOverCountsTheEnded(t *testing.T) {
	const window = 30 * time.Second
	for _, late := range []bool{false, true} {
		t.Run(map[bool]string{false: "stood by", true: "started after"}[late], func(t *testing.T) {
			inWorld(t, map[string]events.ModelLimits{events.AnyModel: {Requests: 1, Window: events.Duration(window)}},
				func(w *world) {
					first := w.start()
					time.Sleep(10 * time.Second)
					if !late {
						w.start()
					}
					w.ask("demo", 2, "")
					time.Sleep(time.Second)
					w.end(events.Key{Project: "demo", ID: w.provider.taken()[0].task})
					time.Sleep(time.Second)
					first.stop()
					if late {
						w.start()
					}
					time.Sleep(2 * minute)
					taken := w.provider.taken()
					if len(taken) != 2 {
						w.Fatalf("%d requests for two tasks", len(taken))
					}
					if d := taken[1].at.Sub(taken[0].at); d < window {
						w.Errorf("two within %v", d)
					}
				})
		})
	}
}

// TestFence: a dispatcher that stood still after its intent, or at the very last step before its request leaves, and
// wakes when another has taken over, sends nothing: the other counts the requests now. The task goes on as if nothing
// had been.
func TestFence(t *testing.T) {
	t.Run("before the gate", func(t *testing.T) { fence(t, (*replica).onDial) })
	t.Run("inside the gate", func(t *testing.T) { fence(t, (*replica).onGate) })
}

// fence has a dispatcher stand still at a point.
func fence(t *testing.T, at func(r *replica, f func())) {
	t.Helper()
	inWorld(t, map[string]events.ModelLimits{events.AnyModel: {Spacing: events.Duration(5 * time.Second)}},
		func(w *world) {
			first := w.start()
			time.Sleep(10 * time.Second)
			w.start()
			at(first, func() { first.stand(12 * time.Second) })
			k, other := w.ask("demo", 1, ""), w.ask("demo", 1, "")
			time.Sleep(time.Second)
			isOut := func(k events.Key) bool {
				task, _, err := w.client.Get(w.Context(), k)
				w.ok(err)
				return task.Phase == events.PhaseSubmitting
			}
			if isOut(other) { // whichever came first
				k, other = other, k
			}
			if !isOut(k) || isOut(other) {
				w.Fatal("not one of the two is on its way")
			}
			time.Sleep(11 * time.Second)
			if taken := w.provider.taken(); len(taken) != 1 || taken[0].task != other.ID {
				w.Fatalf("meanwhile the other has sent %v", taken)
			}
			time.Sleep(minute)
			task, _, err := w.client.Get(w.Context(), k)
			w.ok(err)
			if len(task.Attempts) != 2 || task.Attempts[0].Outcome != events.AttemptReleased ||
				task.Attempts[1].Outcome != events.AttemptAccepted {
				w.Errorf("attempts: %+v", task.Attempts)
			}
			if n := len(w.provider.taken()); n != 2 {
				w.Errorf("%d requests for two tasks", n)
			}
		})
}

// TestReleasedOnTheWay: a request whose attempt was taken back while it was on its way is not sent.
func TestReleasedOnTheWay(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		r := w.start()
		time.Sleep(10 * time.Second)
		k := events.Key{Project: "demo", ID: "t00001"}
		r.onDial(func() {
			got, _, err := w.client.Get(w.Context(), k)
			w.ok(err)
			_, err = w.store.Apply(w.Context(), k, task.Release{
				Meta: task.Meta{At: time.Now().UTC(), By: "test"}, Owner: got.Attempt().Owner, Reason: "taken back",
			})
			w.ok(err)
		})
		w.ask("demo", 1, "")
		time.Sleep(minute)
		got, _, err := w.client.Get(w.Context(), k)
		w.ok(err)
		if n := len(w.provider.taken()); n != 1 || len(got.Attempts) != 2 ||
			got.Attempts[0].Outcome != events.AttemptReleased {
			w.Errorf("%d requests for %+v", n, got.Attempts)
		}
	})
}

// TestPositionsAreReal: the tasks are sent in the order of the positions that the dispatcher has answered.
func TestPositionsAreReal(t *testing.T) {
	inWorld(t, map[string]events.ModelLimits{events.AnyModel: {Requests: 4, Spacing: events.Duration(time.Second)}},
		func(w *world) {
			w.set(bucket.LimitsKey("acme"), `{"projects":{"a":{"weight":2}}}`)
			var all []events.Key
			for i := range 20 {
				all = append(all, w.ask([]string{"a", "b", "c"}[i%3], 1, []string{"", `,"priority":3`}[i%2]))
			}
			w.start()
			time.Sleep(30 * time.Second)
			before := len(w.provider.taken())
			places := w.ahead(all...)
			time.Sleep(10 * minute)
			taken := w.provider.taken()
			if before != 4 || len(places) != 16 || len(taken) != 20 {
				w.Fatalf("%d sent before, %d places, %d sent in the end", before, len(places), len(taken))
			}
			for i, c := range taken[before:] {
				if place, ok := places[c.task]; !ok || place != i {
					w.Errorf("%s was sent as number %d and was told %d (%v)", c.task, i, place, ok)
				}
			}
		})
}

// TestUnreachableFromHere: a dispatcher that cannot reach the provider hands the lane to one that can.
func TestUnreachableFromHere(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		first := w.start()
		time.Sleep(10 * time.Second)
		w.start()
		first.cutOff.Store(true)
		w.ask("demo", 3, "")
		time.Sleep(minute)
		if n := len(w.provider.taken()); n != 3 {
			w.Errorf("%d of 3 are sent after a minute", n)
		}
	})
}

// TestUnreachableAndAlone: a dispatcher that cannot reach the provider keeps the lane where nobody else is, or while a
// request of its own is being answered, and sends as soon as it can.
func TestUnreachableAndAlone(t *testing.T) {
	for _, others := range []bool{false, true} {
		t.Run(map[bool]string{false: "alone", true: "an answer is awaited"}[others], func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				first := w.start()
				time.Sleep(10 * time.Second)
				if others {
					w.provider.result, w.provider.delay = longSong(), 5*minute
					w.askFor("song", "song")
					w.start()
					time.Sleep(10 * time.Second)
				}
				before := len(w.provider.taken())
				holder := w.holder()
				first.cutOff.Store(true)
				w.ask("demo", 3, "")
				time.Sleep(minute)
				if now := w.holder(); now != holder || holder.Name == "" {
					w.Errorf("%+v dispatches after %+v", now, holder)
				}
				first.cutOff.Store(false)
				time.Sleep(minute)
				if n := len(w.provider.taken()) - before; n != 3 {
					w.Errorf("%d of 3 are sent", n)
				}
				time.Sleep(w.provider.delay) // until all are answered
			})
		})
	}
}

// holder returns who dispatches the lane.
func (w *world) holder() bucket.Holder {
	w.Helper()
	h, err := lease.Holder(w.Context(), w.client, "acme")
	w.ok(err)
	return h
}
