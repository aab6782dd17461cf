package taskstore_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/provider"
	"reelay/internal/task"
	"reelay/internal/taskstore"
	"reelay/internal/test/long"
)

// bump writes the record as it is, as a foreign writer would.
func (w *world) bump(d *desk) {
	w.Helper()
	t, revision, err := d.bus.Get(w.Context(), key)
	w.OK(err)
	t.SceneID += "x"
	_, err = d.bus.Put(w.Context(), bus.Put{Task: t, Revision: revision})
	w.OK(err)
}

// TestNoEventWithoutTheRecord: while every write loses against another writer, nothing is told.
func TestNoEventWithoutTheRecord(t *testing.T) {
	bubble(t, func(w *world) {
		d, foreign := w.desk(), w.desk()
		w.create(d)
		lost := 0
		var interfere func() (bool, bool)
		interfere = func() (bool, bool) {
			lost++
			w.bump(foreign)
			d.wire.at(events.RecordSubject(key), interfere)
			return true, true
		}
		d.wire.at(events.RecordSubject(key), interfere)
		_, err := d.Apply(w.Context(), key, task.Cancel{Meta: meta()})
		if !errors.Is(err, bus.ErrConflict) {
			w.Errorf("%v, want ErrConflict", err)
		}
		if lost != 10 || d.conflicts(w) != lost {
			w.Errorf("%d tries and %d conflicts counted, want 10", lost, d.conflicts(w))
		}
		if got := w.stored(d); !slices.Equal(got, []events.EventType{events.EventQueued}) {
			w.Errorf("stored %v", got)
		}
		if got := w.get(foreign); got.Phase != events.PhaseWaiting || got.SceneID != "xxxxxxxxxx" {
			w.Errorf("the record is %s with %q", got.Phase, got.SceneID)
		}
	})
}

// TestLostOnce: a write that loses once is made again on what the other has written.
func TestLostOnce(t *testing.T) {
	bubble(t, func(w *world) {
		d, foreign := w.desk(), w.desk()
		w.create(d)
		d.wire.at(events.RecordSubject(key), func() (bool, bool) { w.bump(foreign); return true, true })
		c, err := d.Apply(w.Context(), key, task.Cancel{Meta: meta()})
		w.OK(err)
		if !c.Written || c.Task.SceneID != "x" || c.Task.Status != events.StatusCancelled || d.conflicts(w) != 1 {
			w.Errorf("written %v, %s %q, %d conflicts", c.Written, c.Task.Status, c.Task.SceneID, d.conflicts(w))
		}
	})
}

// TestCutOffLong cuts the connection at each write of a step. Whatever was lost, the repetition of the trigger, which is
// what its unacknowledged message brings, stores it, once and in order.
func TestCutOffLong(t *testing.T) {
	long.Only(t)
	succeeded := func() task.Trigger {
		return task.PollResult{Meta: meta(), Snapshot: provider.Snapshot{
			State: provider.Succeeded, Outputs: []events.Output{{URL: "https://cdn.test/a.mp4"}},
		}}
	}
	refused := func() task.Trigger {
		return task.Refused{
			Meta: meta(), Owner: "me",
			Err: &provider.Error{Kind: events.KindInvalid, Code: "422", Message: "no"},
		}
	}
	doubt := func() task.Trigger {
		return task.Doubt{
			Meta: meta(), Owner: "me",
			Err: &provider.Error{Kind: events.KindAmbiguous, Code: "502", Message: "?"},
		}
	}
	const queued, submitted, done, failed, inDoubt = events.EventQueued, events.EventSubmitted, events.EventCompleted,
		events.EventFailed, events.EventInDoubt
	rows := []struct {
		name    string
		before  func(w *world, d *desk)
		trigger func() task.Trigger
		event   events.EventType
		watch   bool
		want    []events.EventType
	}{
		{
			"accept", func(*world, *desk) {}, func() task.Trigger { return accept() }, queued, false,
			[]events.EventType{queued},
		},
		{
			"cancel", func(w *world, d *desk) { w.create(d) },
			func() task.Trigger { return task.Cancel{Meta: meta()} }, events.EventCancelled, false,
			[]events.EventType{queued, events.EventCancelled},
		},
		{
			"accepted", (*world).submitting, func() task.Trigger { return accepted("r1") }, submitted, true,
			[]events.EventType{queued, submitted},
		},
		{"refused", (*world).submitting, refused, failed, false, []events.EventType{queued, failed}},
		{"doubt", (*world).submitting, doubt, inDoubt, false, []events.EventType{queued, inDoubt}},
		{"succeeded", (*world).running, succeeded, done, false, []events.EventType{queued, submitted, done}},
	}
	for _, row := range rows {
		subjects := map[string]string{
			"record": events.RecordSubject(key), "event": events.EventSubject(key, row.event),
		}
		if row.watch {
			subjects["watch"] = events.PollSubject("fal", key)
		}
		for place, subject := range subjects {
			for fault, act := range map[string]func() (bool, bool){"before": lostBefore, "after": lostAfter} {
				t.Run(fmt.Sprintf("%s/%s %s", row.name, fault, place), func(t *testing.T) {
					bubble(t, func(w *world) {
						d := w.desk()
						row.before(w, d)
						tr := row.trigger()
						d.wire.at(subject, act)
						if _, err := d.Apply(w.Context(), key, tr); err == nil {
							w.Fatal("a lost write is no error")
						}
						got := w.stored(d)
						if place == "record" && len(got) > len(row.want)-1 {
							w.Errorf("told without the record's acknowledgement: %v", got)
						}
						_, err := d.Apply(w.Context(), key, tr)
						w.OK(err)
						if got := w.stored(d); !slices.Equal(got, row.want) {
							w.Errorf("stored %v, want %v", got, row.want)
						}
						if row.watch && w.watches(d) != 1 {
							w.Errorf("%d watch messages, want 1", w.watches(d))
						}
						version := w.get(d).Version
						_, err = d.Apply(w.Context(), key, tr)
						w.OK(err)
						if again := w.get(d).Version; again != version {
							w.Errorf("a third time took effect: version %d, was %d", again, version)
						}
					})
				})
			}
		}
	}
}

func (w *world) submitting(d *desk) {
	w.Helper()
	w.create(d)
	_, _, err := d.Intend(w.Context(), key, intent("me"))
	w.OK(err)
}

func (w *world) running(d *desk) {
	w.Helper()
	w.submitting(d)
	_, err := d.Apply(w.Context(), key, accepted("r1"))
	w.OK(err)
}

// TestRace has two writers change one record two hundred times: each change that was reported as written is there.
func TestRace(t *testing.T) {
	bubble(t, func(w *world) {
		const each = 100
		first := w.desk()
		w.running(first)
		version := w.get(first).Version
		desks := []*desk{first, w.desk()}
		var written atomic.Uint64
		var wg sync.WaitGroup
		for i, d := range desks {
			wg.Go(func() {
				for n := range each {
					c, err := d.Apply(w.Context(), key, task.PollResult{Meta: meta(), Snapshot: provider.Snapshot{
						State: provider.Running, Word: fmt.Sprintf("%d.%d", i, n), Progress: new(float64(n)),
					}})
					if err != nil {
						w.Error(err)
						return
					}
					if c.Written {
						written.Add(1)
					}
				}
			})
		}
		wg.Wait()
		got := w.get(first)
		if written.Load() < each || got.Version != version+written.Load() {
			w.Errorf("%d changes were written, the version went from %d to %d", written.Load(), version, got.Version)
		}
		if n := desks[0].conflicts(w) + desks[1].conflicts(w); n == 0 {
			w.Error("there was no conflict: this test shows nothing")
		}
		last := uint64(0)
		for _, tr := range got.Transitions {
			if tr.Version < last {
				w.Errorf("step %d after step %d", tr.Version, last)
			}
			last = tr.Version
		}
	})
}

// TestOneEnd ends a task fifty times at once, in three ways: one of them wins, and one event says so.
func TestOneEnd(t *testing.T) {
	bubble(t, func(w *world) {
		d, other := w.desk(), w.desk()
		w.running(d)
		ends := []task.Trigger{
			task.PollResult{Meta: meta(), Snapshot: provider.Snapshot{State: provider.Cancelled}},
			task.PollResult{
				Meta:     meta(),
				Snapshot: provider.Snapshot{State: provider.Succeeded, Outputs: []events.Output{{URL: "https://a.test/"}}},
			},
			task.PollResult{Meta: meta(), Snapshot: provider.Snapshot{State: provider.Failed, Err: &provider.Error{
				Kind: events.KindModeration, Code: "1027", Message: "no",
			}}},
		}
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				if _, err := []*desk{d, other}[i%2].Apply(w.Context(), key, ends[i%3]); err != nil {
					w.Error(err)
				}
			})
		}
		wg.Wait()
		terminal := 0
		story := w.stored(d)
		for _, e := range story {
			if e.Terminal() {
				terminal++
			}
		}
		status := w.get(d).Status
		if terminal != 1 || !slices.Contains(story, events.EventType(status)) {
			w.Errorf("%s, and the events are %v", status, story)
		}
	})
}

// TestEndedRecord: an ended record has no heartbeat, and goes once its events are gone.
func TestEndedRecord(t *testing.T) {
	bubble(t, func(w *world) {
		d := w.desk()
		w.create(d)
		_, err := d.Apply(w.Context(), key, task.Cancel{Meta: meta()})
		w.OK(err)
		s, err := d.bus.JetStream().Stream(w.Context(), events.StreamTasks)
		w.OK(err)
		m, err := s.GetLastMsgForSubject(w.Context(), events.RecordSubject(key))
		w.OK(err)
		ttl, err := time.ParseDuration(m.Header.Get("Nats-TTL"))
		if err != nil || ttl != events.RecordAge || m.Header.Get("Nats-Schedule") != "" {
			w.Errorf("header %v, want a lifetime of %v and no schedule", m.Header, events.RecordAge)
		}
	})
}

// TestNoRecord: there is nothing to do, and nothing is done.
func TestNoRecord(t *testing.T) {
	bubble(t, func(w *world) {
		d := w.desk()
		for _, tr := range []task.Trigger{
			task.Cancel{Meta: meta()},
			accepted("r1"),
			task.Heartbeat{Meta: meta()},
			task.Release{Meta: meta(), Owner: "me"},
			task.Resolve{Meta: meta(), Action: events.ResolveWriteOff},
		} {
			if _, err := d.Apply(w.Context(), key, tr); !errors.Is(err, bus.ErrNotFound) {
				w.Errorf("%T: %v, want ErrNotFound", tr, err)
			}
		}
		if got := w.stored(d); len(got) != 0 {
			w.Errorf("stored %v", got)
		}
	})
}

// TestMarker: an id is free again once its record has gone with its events. Where a person deleted the record and the
// events are kept, it is used.
func TestMarker(t *testing.T) {
	bubble(t, func(w *world) {
		d := w.desk()
		w.create(d)
		kv, err := d.bus.JetStream().KeyValue(w.Context(), events.TaskBucket)
		w.OK(err)
		w.OK(kv.Delete(w.Context(), key.String()))
		if _, err := d.Apply(w.Context(), key, accept()); !errors.Is(err, taskstore.ErrIDUsed) {
			w.Errorf("%v, want ErrIDUsed", err)
		}
		s, err := d.bus.JetStream().Stream(w.Context(), events.StreamEvents)
		w.OK(err)
		w.OK(s.Purge(w.Context()))
		w.create(d)
		if got := w.stored(d); len(got) != 1 || got[0] != events.EventQueued {
			w.Errorf("stored %v", got)
		}
	})
}
