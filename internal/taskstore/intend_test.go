package taskstore_test

import (
	"cmp"
	"errors"
	"fmt"
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

// TestIntendForeignState: in no state but waiting is there a permit, and the record stays as it is.
func TestIntendForeignState(t *testing.T) {
	rows := []struct {
		name   string
		before func(w *world, d *desk)
		want   error
		// owner is "you" where empty.
		owner string
	}{
		{"none", func(*world, *desk) {}, bus.ErrNotFound, ""},
		{"submitting", (*world).submitting, taskstore.ErrNotGranted, ""},
		{"submitting, the same owner", (*world).submitting, taskstore.ErrNotGranted, "me"},
		{"at the provider", (*world).running, taskstore.ErrNotGranted, ""},
		{"ended", func(w *world, d *desk) {
			w.create(d)
			_, err := d.Apply(w.Context(), key, task.Cancel{Meta: meta()})
			w.OK(err)
		}, taskstore.ErrNotGranted, ""},
		{"held back", func(w *world, d *desk) {
			w.submitting(d)
			_, err := d.Apply(w.Context(), key, task.Release{Meta: meta(), Owner: "me", Wait: time.Hour})
			w.OK(err)
		}, taskstore.ErrNotGranted, ""},
		{"in doubt", func(w *world, d *desk) {
			w.submitting(d)
			_, err := d.Apply(w.Context(), key,
				task.Doubt{Meta: meta(), Owner: "me", Err: &provider.Error{Kind: events.KindAmbiguous, Message: "?"}})
			w.OK(err)
		}, taskstore.ErrNotGranted, ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			bubble(t, func(w *world) {
				d := w.desk()
				row.before(w, d)
				before, _ := d.Get(w.Context(), key)
				permit, _, err := d.Intend(w.Context(), key, intent(cmp.Or(row.owner, "you")))
				if permit != nil || !errors.Is(err, row.want) {
					w.Errorf("permit %v, %v, want none and %v", permit != nil, err, row.want)
				}
				after, _ := d.Get(w.Context(), key)
				if after.Version != before.Version {
					w.Errorf("version %d became %d", before.Version, after.Version)
				}
			})
		})
	}
}

// TestIntendPastTheDeadlineLong ends the task instead, and tells so.
func TestIntendPastTheDeadlineLong(t *testing.T) {
	long.Only(t)
	bubble(t, func(w *world) {
		d := w.desk()
		w.create(d)
		time.Sleep(25 * time.Hour)
		permit, _, err := d.Intend(w.Context(), key, intent("me"))
		if permit != nil || !errors.Is(err, taskstore.ErrNotGranted) {
			w.Errorf("permit %v, %v, want none and ErrNotGranted", permit != nil, err)
		}
		if got := w.get(d); got.Status != events.StatusFailed || len(got.Attempts) != 0 {
			w.Errorf("%s after %d attempts", got.Status, len(got.Attempts))
		}
	})
}

// TestIntendConflict: a conflict is no permit, and is not tried again: it may be the answer to this very intent.
func TestIntendConflict(t *testing.T) {
	bubble(t, func(w *world) {
		d, foreign := w.desk(), w.desk()
		w.create(d)
		d.wire.at(events.RecordSubject(key), func() (bool, bool) { w.bump(foreign); return true, true })
		permit, _, err := d.Intend(w.Context(), key, intent("me"))
		if permit != nil || !errors.Is(err, bus.ErrConflict) {
			w.Errorf("permit %v, %v, want none and ErrConflict", permit != nil, err)
		}
		if got := w.get(d); got.Phase != events.PhaseWaiting {
			w.Errorf("the record is %s", got.Phase)
		}
	})
}

// TestLostAcknowledgement: the intent stands in the record or does not, and either way there is no permit. Its owner's
// release puts the task back in line; a stranger's does nothing.
func TestLostAcknowledgement(t *testing.T) {
	rows := []struct {
		name  string
		act   func() (bool, bool)
		phase events.Phase
	}{
		{"the intent was stored", lostAfter, events.PhaseSubmitting},
		{"the intent was not stored", lostBefore, events.PhaseWaiting},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			bubble(t, func(w *world) {
				d := w.desk()
				w.create(d)
				d.wire.at(events.RecordSubject(key), row.act)
				permit, _, err := d.Intend(w.Context(), key, intent("me"))
				if permit != nil || err == nil || errors.Is(err, bus.ErrConflict) {
					w.Errorf("permit %v, %v, want none and an error that is no conflict", permit != nil, err)
				}
				if got := w.get(d); got.Phase != row.phase {
					w.Fatalf("the record is %s, want %s", got.Phase, row.phase)
				}
				release := task.Release{Meta: meta(), Owner: "you", Reason: "the intent was not acknowledged"}
				_, err = d.Apply(w.Context(), key, release)
				w.OK(err)
				if got := w.get(d); got.Phase != row.phase {
					w.Errorf("a stranger's release made it %s", got.Phase)
				}
				release.Owner = "me"
				_, err = d.Apply(w.Context(), key, release)
				w.OK(err)
				got := w.get(d)
				if got.Phase != events.PhaseWaiting {
					w.Errorf("released, the record is %s", got.Phase)
				}
				for _, a := range got.Attempts {
					if a.Outcome != events.AttemptReleased || a.Charge != events.ChargeNone {
						w.Errorf("released, the attempt is %s with charge %s", a.Outcome, a.Charge)
					}
				}
				permit, _, err = d.Intend(w.Context(), key, intent("me again"))
				if permit == nil || err != nil {
					w.Errorf("the next intent: %v", err)
				}
			})
		})
	}
}

// TestOnePermitPerTask has four dispatchers want the same twenty tasks.
func TestOnePermitPerTask(t *testing.T) {
	bubble(t, func(w *world) {
		const tasks, dispatchers = 20, 4
		first := w.desk()
		for n := range tasks {
			k := events.Key{Project: key.Project, ID: fmt.Sprint("t", n)}
			_, err := first.Apply(w.Context(), k, task.Accept{Meta: meta(), Task: request(k.ID)})
			w.OK(err)
		}
		var permits [tasks]atomic.Int64
		var wg sync.WaitGroup
		for i := range dispatchers {
			d := w.desk()
			wg.Go(func() {
				for n := range tasks {
					k := events.Key{Project: key.Project, ID: fmt.Sprint("t", n)}
					owner := fmt.Sprint("dispatcher ", i)
					permit, got, err := d.Intend(w.Context(), k, intent(owner))
					if permit != nil && err == nil {
						permits[n].Add(1)
						if got.Attempt().Owner != owner {
							w.Errorf("%s holds a permit for the attempt of %s", owner, got.Attempt().Owner)
						}
					} else if permit != nil || !errors.Is(err, bus.ErrConflict) && !errors.Is(err, taskstore.ErrNotGranted) {
						w.Errorf("permit %v, %v", permit != nil, err)
					}
				}
			})
		}
		wg.Wait()
		for n := range permits {
			if got := permits[n].Load(); got != 1 {
				w.Errorf("task %d: %d permits", n, got)
			}
		}
	})
}
