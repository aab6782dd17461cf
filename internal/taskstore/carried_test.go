package taskstore_test

import (
	"slices"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/provider"
	"reelay/internal/task"
)

// reads counts the questions for stored messages that are asked while f runs.
func (w *world) reads(f func()) (n int) {
	w.Helper()
	nc := w.Connect()
	for _, subject := range []string{"$JS.API.DIRECT.GET.>", "$JS.API.STREAM.MSG.GET.>"} {
		sub, err := nc.SubscribeSync(subject)
		w.OK(err)
		w.OK(nc.Flush())
		defer func() {
			pending, _, err := sub.Pending()
			w.OK(err)
			n += pending
		}()
	}
	f()
	time.Sleep(time.Second)
	return 0
}

// TestStepsReadOnce: a task that goes from step to step in one process is not read; one of which another process knows
// more is read once.
func TestStepsReadOnce(t *testing.T) {
	bubble(t, func(w *world) {
		d, other := w.desk(), w.desk()
		check := func(what string, want int, f func()) {
			w.Helper()
			if n := w.reads(f); n != want {
				w.Errorf("%s: %d reads, want %d", what, n, want)
			}
		}
		poll := func() {
			_, err := other.Apply(w.Context(), key, task.PollResult{Meta: meta(), Snapshot: provider.Snapshot{State: provider.Running}})
			w.OK(err)
		}
		check("a new task", 0, func() { w.running(d) })
		w.get(d)
		check("a task that was read meanwhile", 0, func() { _, err := d.Apply(w.Context(), key, task.Heartbeat{Meta: meta()}); w.OK(err) })
		check("the task of another process, and whether its events are stored", 2, poll)
		check("a poll that finds nothing new", 0, poll)
	})
}

// ticket hands the poll ticket of the task to a store, as the delivery of it does.
func (w *world) ticket(d *desk) {
	w.Helper()
	s, err := d.bus.JetStream().Stream(w.Context(), events.StreamPolls)
	w.OK(err)
	m, err := s.GetLastMsgForSubject(w.Context(), events.PollSubject("fal", key))
	w.OK(err)
	t, revision, stored, ok := bus.ReadPollTicket(bus.Message{Header: m.Header, Data: m.Data})
	if !ok {
		w.Fatal("the poll ticket brings no record")
	}
	d.Carry(t, revision, stored)
}

// TestTicketSavesReads: by the record that its poll ticket brings, a task is polled to its end without a read. Where
// another process has gone on with it the ticket is old, and it is read once for the conflict.
func TestTicketSavesReads(t *testing.T) {
	result := func(state provider.State, word string) task.PollResult {
		return task.PollResult{Meta: meta(), Snapshot: provider.Snapshot{
			State: state, Word: word, Outputs: []events.Output{{URL: "https://cdn.test/a.mp4"}},
		}}
	}
	bubble(t, func(w *world) {
		d, poller := w.desk(), w.desk()
		w.running(d)
		apply := func(d *desk, tr task.Trigger) {
			w.Helper()
			_, err := d.Apply(w.Context(), key, tr)
			w.OK(err)
		}
		w.ticket(poller)
		if n := w.reads(func() {
			got, err := poller.Current(w.Context(), key)
			w.OK(err)
			if got.Phase != events.PhaseProviderQueued {
				w.Errorf("the ticket's record is %s", got.Phase)
			}
			apply(poller, result(provider.Queued, "IN_QUEUE"))
			apply(poller, result(provider.Running, "IN_PROGRESS"))
		}); n != 0 {
			w.Errorf("%d reads, want none", n)
		}
		w.ticket(poller) // an old one, which brings nothing new
		if got, err := poller.Current(w.Context(), key); err != nil || got.Phase != events.PhaseRunning {
			w.Errorf("%s, %v after an old ticket", got.Phase, err)
		}
		third := w.desk()
		w.ticket(third)
		apply(third, result(provider.Succeeded, "COMPLETED"))
		if got := w.get(d); got.Status != events.StatusCompleted || third.conflicts(w) != 1 {
			w.Errorf("%s after %d conflicts, want completed after one", got.Status, third.conflicts(w))
		}
		want := []events.EventType{events.EventQueued, events.EventSubmitted, events.EventProgress, events.EventCompleted}
		if got := w.stored(d); !slices.Equal(got, want) {
			w.Errorf("stored %v, want %v", got, want)
		}
	})
}

// TestCarriedRecordIsOld: another process has gone on with the task. Whether the step writes on the old record or would
// have nothing to do there, it is taken on the new one.
func TestCarriedRecordIsOld(t *testing.T) {
	bubble(t, func(w *world) {
		d, other := w.desk(), w.desk()
		w.create(d)
		_, _, err := other.Intend(w.Context(), key, intent("me"))
		w.OK(err)
		c, err := d.Apply(w.Context(), key, task.Release{Meta: meta(), Owner: "me"})
		w.OK(err)
		if !c.Written || d.conflicts(w) != 0 {
			w.Errorf("written %v with %d conflicts, want the intent taken back", c.Written, d.conflicts(w))
		}
		w.get(other)
		w.bump(d)
		if _, _, err = other.Intend(w.Context(), key, intent("me")); err == nil {
			w.Error("an intent is granted on an old record")
		}
		_, _, err = other.Intend(w.Context(), key, intent("me")) // as a submitter does that tries again
		w.OK(err)
		c, err = d.Apply(w.Context(), key, task.Cancel{Meta: meta()})
		w.OK(err)
		if c.Task.Phase != events.PhaseSubmitting || c.Task.Cancel == nil || d.conflicts(w) != 1 {
			w.Errorf("%s with %d conflicts, want a cancel of the intent after one", c.Task.Phase, d.conflicts(w))
		}
	})
}
