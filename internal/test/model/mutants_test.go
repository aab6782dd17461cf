package model

import (
	"slices"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/provider"
	"reelay/internal/task"
)

type apply = func(*events.Task, task.Trigger) (task.Change, error)

// onto wraps a machine: change sees what it was given and may alter what it answers.
func onto(change func(t events.Task, tr task.Trigger, c *task.Change)) func(apply) apply {
	return func(next apply) apply {
		return func(t *events.Task, tr task.Trigger) (task.Change, error) {
			c, err := next(t, tr)
			if t != nil && err == nil {
				change(*t, tr, &c)
			}
			return c, err
		}
	}
}

// before wraps a machine: change may alter the trigger before the machine sees it.
func before(change func(t events.Task, tr task.Trigger) task.Trigger) func(apply) apply {
	return func(next apply) apply {
		return func(t *events.Task, tr task.Trigger) (task.Change, error) {
			if t != nil {
				tr = change(*t, tr)
			}
			return next(t, tr)
		}
	}
}

// rewrite has a mutant write a step of its own, by an arrow that the machine does have.
func rewrite(t events.Task, c *task.Change, at time.Time, arrow string, to events.Phase, status events.Status,
	e events.EventType, fault *events.Error,
) {
	n := t
	n.Attempts = slices.Clone(t.Attempts)
	n.Version++
	n.Phase, n.Status, n.Error = to, status, fault
	n.Transitions = append(slices.Clone(t.Transitions), events.Transition{
		Version: n.Version, At: at, Name: arrow, From: t.Phase, To: to, Event: e, Attempt: len(n.Attempts),
	})
	*c = task.Change{Task: n, Written: true}
	seen := map[events.EventType]bool{}
	for _, s := range n.Transitions {
		if digits[s.Event] != 0 && !seen[s.Event] {
			c.Events = append(c.Events, events.Event{Type: s.Event, Version: s.Version, Once: true})
		}
		seen[s.Event] = true
	}
}

func charge(c events.Charge) *events.Error { return &events.Error{Code: "mutant", Charge: c} }

func resubmits(budget int) Options {
	return Options{Policy: events.InDoubtResubmit, Budget: budget, Attempts: min(budget+1, maxAttempts)}
}

// mutants are ways to get the protocol wrong. Each must violate one of its properties.
var mutants = []struct {
	name      string
	o         Options
	mutate    func(*mutation)
	wrap      func(apply) apply
	heartbeat func(events.Task) time.Duration
	want      []string
}{
	{
		name: "no intent at all", o: Options{Attempts: 1}, mutate: func(b *mutation) { b.noIntent = true },
		want: []string{propOnePost, propBudget},
	},
	{
		name: "send again what is found submitting", o: Options{Attempts: 1}, mutate: func(b *mutation) { b.repost = true },
		want: []string{propOnePost},
	},
	{
		name: "intent without compare-and-set", o: Options{Attempts: 1}, mutate: func(b *mutation) { b.blindIntent = true },
		want: []string{propOnePost, propBudget},
	},
	{
		name: "lost acknowledgement taken for a permit", o: Options{Attempts: 2},
		mutate: func(b *mutation) { b.lostAckPermits = true }, want: []string{propOnePost, propBudget},
	},
	{
		name: "outcome by blind put", o: Options{Attempts: 1}, mutate: func(b *mutation) { b.blindOutcome = true },
		want: []string{propAbsorb, propRefKept, propDerived, propOneEvent},
	},
	{
		name: "5xx retried as a new attempt", o: Options{Attempts: 2}, mutate: func(b *mutation) { b.doubtRetried = true },
		want: []string{propFree, propBudget},
	},
	{
		name: "event before the record", o: Options{Attempts: 1}, mutate: func(b *mutation) { b.eventFirst = true },
		want: []string{propDerived},
	},
	{
		name: "terminal event not create-once", o: Options{Attempts: 1}, mutate: func(b *mutation) { b.storeTwice = true },
		want: []string{propOneEvent},
	},
	{
		name: "acknowledged before the effect, no heartbeat", o: Options{Attempts: 1, Cancels: 1},
		mutate: func(b *mutation) { b.ackFirst = true }, want: []string{propEnds},
	},
	{
		name: "poll ticket lost", o: Options{Attempts: 1}, mutate: func(b *mutation) { b.pollTicketLost = true },
		want: []string{propPollTicket},
	},
	{
		name: "a late resolve decides about the next attempt", o: Options{Attempts: 3, Decisions: 1, MaxStates: 6_000_000},
		mutate: func(b *mutation) { b.resolveLate = true }, want: []string{propBudget},
	},
	{
		name: "unsent taken for doubt, doubt without heartbeat", o: Options{Attempts: 1},
		mutate: func(b *mutation) { b.unsentIsDoubt = true }, heartbeat: without(events.PhaseInDoubt),
		want: []string{propTimer},
	},
	{
		name: "no heartbeat in doubt", o: Options{Attempts: 1}, heartbeat: without(events.PhaseInDoubt),
		want: []string{propTimer},
	},
	{
		name: "no heartbeat while submitting", o: Options{Attempts: 1}, heartbeat: without(events.PhaseSubmitting),
		want: []string{propTimer},
	},
	{
		name: "overdue goes back to waiting", o: Options{Attempts: 2},
		wrap: onto(func(t events.Task, tr task.Trigger, c *task.Change) {
			if _, ok := tr.(task.Heartbeat); ok && t.Phase == events.PhaseSubmitting && c.Written {
				c.Task.MaxPaidAttempts++
				rewrite(t, c, c.Task.Transitions[len(c.Task.Transitions)-1].At, "release", events.PhaseWaiting, events.StatusQueued,
					"", nil)
				c.Task.MaxPaidAttempts++
			}
		}), want: []string{propBudget},
	},
	{
		name: "doubt goes back to waiting", o: Options{Attempts: 2},
		wrap: onto(func(t events.Task, tr task.Trigger, c *task.Change) {
			if _, doubt := tr.(task.Doubt); doubt && c.Written {
				rewrite(t, c, c.Task.Transitions[len(c.Task.Transitions)-1].At, "release", events.PhaseWaiting, events.StatusQueued,
					"", nil)
				c.Task.MaxPaidAttempts++
			}
		}), want: []string{propBudget},
	},
	{
		name: "cancel after the intent", o: Options{Attempts: 1, Cancels: 1},
		wrap: onto(func(t events.Task, tr task.Trigger, c *task.Change) {
			if _, cancel := tr.(task.Cancel); cancel && t.Phase == events.PhaseSubmitting {
				rewrite(t, c, tr.(task.Cancel).At, "cancelled", events.PhaseDone, events.StatusCancelled, events.EventCancelled,
					nil)
				c.Task.Attempts[len(c.Task.Attempts)-1].Charge = events.ChargeNone
			}
		}), want: []string{propFree},
	},
	{
		name: "refusal taken from anybody", o: resubmits(2),
		wrap: before(func(t events.Task, tr task.Trigger) task.Trigger {
			if r, is := tr.(task.Refused); is && t.Attempt() != nil {
				r.Owner = t.Attempt().Owner
				return r
			}
			return tr
		}), want: []string{propFree},
	},
	{
		name: "release taken from anybody", o: resubmits(2),
		wrap: before(func(t events.Task, tr task.Trigger) task.Trigger {
			if r, is := tr.(task.Release); is && t.Attempt() != nil {
				r.Owner = t.Attempt().Owner
				return r
			}
			return tr
		}), want: []string{propFree},
	},
	{
		name: "the horizon resubmits beyond the budget", o: Options{Policy: events.InDoubtResubmit, Budget: 1, Attempts: 2},
		wrap: func(next apply) apply {
			return func(t *events.Task, tr task.Trigger) (task.Change, error) {
				if _, ok := tr.(task.Heartbeat); ok && t != nil && t.Phase == events.PhaseInDoubt {
					in := *t
					in.MaxPaidAttempts = 3
					c, err := next(&in, tr)
					if c.Written {
						return c, err
					}
				}
				return next(t, tr)
			}
		}, want: []string{propBudget},
	},
	{
		name: "a poll leaves an end", o: Options{Attempts: 1},
		wrap: func(next apply) apply {
			return func(t *events.Task, tr task.Trigger) (task.Change, error) {
				if o, ok := tr.(task.PollResult); ok && t != nil && t.LateUntil != nil && o.Snapshot.State == provider.Succeeded {
					in := *t
					in.Phase, in.LateUntil, in.Error, in.CompletedAt = events.PhaseRunning, nil, nil, nil
					return next(&in, tr)
				}
				return next(t, tr)
			}
		}, want: []string{propAbsorb, propMachine},
	},
	{
		name: "evidence taken for whichever attempt is the latest", o: resubmits(2),
		wrap: before(func(t events.Task, tr task.Trigger) task.Trigger {
			if a, is := tr.(task.Accepted); is && t.Attempt() != nil {
				a.Attempt = t.Attempt().N
				return a
			}
			return tr
		}), want: []string{propBought},
	},
	{
		name: "a callback of another attempt ends the task", o: resubmits(2),
		wrap: before(func(t events.Task, tr task.Trigger) task.Trigger {
			if o, is := tr.(task.PollResult); is && t.ProviderID != "" {
				o.ID = t.ProviderID
				return o
			}
			return tr
		}), want: []string{propVerdict, propCompleted},
	},
	{
		name: "a callback adopts without proof", o: Options{Attempts: 1},
		mutate: func(b *mutation) { b.callbackUnproven = true }, want: []string{propBought},
	},
	{
		name: "a callback adopts without a claim", o: resubmits(2), mutate: func(b *mutation) { b.callbackUnclaimed = true },
		want: []string{propBought},
	},
	{
		name: "late acceptance dropped", o: Options{Attempts: 1, Policy: events.InDoubtFail},
		wrap: func(next apply) apply {
			return func(t *events.Task, tr task.Trigger) (task.Change, error) {
				if _, is := tr.(task.Accepted); is && t != nil && t.Phase == events.PhaseDone {
					return task.Change{Task: *t}, nil
				}
				return next(t, tr)
			}
		}, want: []string{propRefKept},
	},
	{
		name: "cancel of an accepted task without asking", o: Options{Attempts: 1, Cancels: 1},
		wrap: onto(func(t events.Task, tr task.Trigger, c *task.Change) {
			if cancel, is := tr.(task.Cancel); is && t.Phase == events.PhaseProviderQueued {
				rewrite(t, c, cancel.At, "cancelled", events.PhaseDone, events.StatusCancelled, events.EventCancelled, nil)
			}
		}), want: []string{propVerdict},
	},
	{
		name: "the answer to a cancel taken for the end", o: Options{Attempts: 1, Cancels: 1},
		wrap: onto(func(t events.Task, tr task.Trigger, c *task.Change) {
			if answer, is := tr.(task.CancelAnswered); is && c.Written {
				rewrite(t, c, answer.At, "cancelled", events.PhaseDone, events.StatusCancelled, events.EventCancelled, nil)
			}
		}), want: []string{propVerdict},
	},
	{
		name: "a failed poll fails the task", o: Options{Attempts: 1, OddPolls: true},
		wrap: onto(func(t events.Task, tr task.Trigger, c *task.Change) {
			if failed, is := tr.(task.PollFailed); is && t.Phase == events.PhaseRunning {
				rewrite(t, c, failed.At, "fail", events.PhaseDone, events.StatusFailed, events.EventFailed,
					charge(events.ChargePossible))
			}
		}), want: []string{propVerdict},
	},
	{
		name: "given up without late polling", o: Options{Attempts: 1},
		wrap: onto(func(t events.Task, tr task.Trigger, c *task.Change) {
			if _, is := tr.(task.Heartbeat); is && t.Phase == events.PhaseCancelling {
				c.Task.LateUntil = nil
			}
		}), want: []string{propVerdict},
	},
	{
		name: "a timer leaves parked", o: Options{Attempts: 2},
		wrap: onto(func(t events.Task, tr task.Trigger, c *task.Change) {
			if tr, is := tr.(task.Heartbeat); is && t.Phase == events.PhaseParked {
				rewrite(t, c, tr.At, "write_off", events.PhaseDone, events.StatusFailed, events.EventFailed,
					charge(events.ChargePossible))
			}
		}), want: []string{propParked},
	},
	{
		name: "a deadline ends doubt for free", o: Options{Attempts: 1},
		wrap: onto(func(t events.Task, tr task.Trigger, c *task.Change) {
			if tr, is := tr.(task.Heartbeat); is && t.Phase == events.PhaseInDoubt && !tr.At.Before(t.Deadline) {
				rewrite(t, c, tr.At, "write_off", events.PhaseDone, events.StatusFailed, events.EventFailed,
					charge(events.ChargeNone))
			}
		}), want: []string{propFree},
	},
	{
		name: "an unknown end is called completed", o: Options{Attempts: 1},
		wrap: onto(func(t events.Task, tr task.Trigger, c *task.Change) {
			if o, is := tr.(task.PollResult); is && o.Snapshot.State == provider.Cancelled && c.Written {
				rewrite(t, c, o.At, "succeed", events.PhaseDone, events.StatusCompleted, events.EventCompleted, nil)
			}
		}), want: []string{propCompleted},
	},
	{
		name: "an answer with its result taken for an acceptance", o: Options{Synchronous: true, Attempts: 1},
		wrap: before(func(_ events.Task, tr task.Trigger) task.Trigger {
			if a, is := tr.(task.Accepted); is {
				a.Result = nil
				return a
			}
			return tr
		}), want: []string{propNotPolled},
	},
	{
		name: "the result of an earlier attempt forgotten",
		o:    Options{Synchronous: true, Policy: events.InDoubtResubmit, Budget: 2, Attempts: 3}, wrap: forgetting,
		want: []string{propNotPolled},
	},
	{
		name: "a failure in the answer called completed", o: Options{Synchronous: true, Attempts: 1},
		wrap: before(func(_ events.Task, tr task.Trigger) task.Trigger {
			if a, is := tr.(task.Accepted); is && a.Result != nil {
				a.Result = &provider.Snapshot{State: provider.Succeeded}
				return a
			}
			return tr
		}), want: []string{propCompleted},
	},
	{
		name: "an answered task that nobody need announce", o: Options{Synchronous: true, Attempts: 1},
		wrap: onto(func(_ events.Task, tr task.Trigger, c *task.Change) {
			if a, is := tr.(task.Accepted); is && a.Result != nil {
				c.Task.Unannounced = false
			}
		}), want: []string{propEnds},
	},
}

// forgetting drops the results that attempts were answered with before the machine sees a trigger.
func forgetting(next apply) apply {
	return func(t *events.Task, tr task.Trigger) (task.Change, error) {
		if t != nil {
			in := *t
			in.Attempts = slices.Clone(t.Attempts)
			for i := range in.Attempts {
				in.Attempts[i].Result = nil
			}
			t = &in
		}
		return next(t, tr)
	}
}

// without stops the heartbeat of one phase.
func without(p events.Phase) func(events.Task) time.Duration {
	return func(t events.Task) time.Duration {
		if t.Phase == p {
			return 0
		}
		return task.HeartbeatInterval(t)
	}
}

// TestMutants: what is broken is found, and by the property that it breaks.
func TestMutants(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Log("the mutants need the full bounds; run without -short and -race")
		return
	}
	begin := time.Now()
	for _, m := range mutants {
		o := m.o
		o.Apply, o.Heartbeat = task.Apply, task.HeartbeatInterval
		if m.mutate != nil {
			m.mutate(&o.mutation)
		}
		if m.wrap != nil {
			o.Apply = m.wrap(o.Apply)
		}
		if m.heartbeat != nil {
			o.Heartbeat = m.heartbeat
		}
		r := Explore(o)
		if r.Violation == nil {
			t.Errorf("%s: not found in %d states", m.name, r.States)
			continue
		}
		t.Logf("%-52s %8d states %5.1f s: %s", m.name, r.States, r.Took.Seconds(), r.Violation.Property)
		if !slices.Contains(m.want, r.Violation.Property) {
			show(t, m.name, r)
			t.Errorf("%s: found by %q, not by one of %q", m.name, r.Violation.Property, m.want)
		}
	}
	t.Logf("%d mutants in %.1f s", len(mutants), time.Since(begin).Seconds())
}
