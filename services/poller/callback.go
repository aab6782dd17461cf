package poller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/provider"
	"reelay/internal/task"
)

// What a callback is worth
//
// The edge has verified it: the MAC in its path names task and attempt, and where the provider signs, the signature is the
// provider's. It is positive evidence, and may come twice, late, before the reply to its submit, in any order, or never.
//
//   - One that is signed and whole is believed: its id, and how the task has ended. Any other is a doorbell: a look tells.
//   - An id that the attempt does not have yet is adopted only if our own key can see it, no other attempt has it, and this one can
//     claim it.
//   - What it says counts for the task only if the task lives by that very id. One of another attempt ends nothing.
//   - One that cannot be read, or speaks of nothing known, changes nothing. Its copy stays in REELAY_DELIVERIES.

const (
	hooksInFlight = 32
	// replyTries and replyWait are how long a callback waits for the reply to its submit, which it may overtake by moments.
	replyTries = 3
	replyWait  = time.Second
	// hookTries is how often a callback is delivered for a look that failed, or that does not show yet what it announces; after 2, 4,
	// 6 ... seconds. After that the task's own looks go on.
	hookTries = 6
	hookWait  = 2 * time.Second
	// proveTries is how often an id is asked for at a provider that does not answer, at last every maxProveWait: an hour. It may be all
	// that will ever tell of something paid.
	proveTries   = 70
	maxProveWait = time.Minute
)

// The results of a callback, as the metric has them.
const (
	hookApplied  = "applied"       // it has told how the task is
	hookLooked   = "looked"        // it has led to a look
	hookAdopted  = "adopted"       // it has brought the provider id of its attempt
	hookRepeated = "repeated"      // the task had ended before
	hookOther    = "other_attempt" // the task lives by another attempt
	hookDouble   = "double_accept" // it has brought a second id for its attempt
	hookConflict = "conflict"      // its id belongs to another attempt
	hookUnproven = "unproven"      // the provider does not show its id to our key
	hookUnread   = "unreadable"    // it could not be read
	hookUnknown  = "unknown"       // no such task or attempt in this lane
	hookUnlisted = "contradicts"   // the attempt was given another id from the provider's list
)

// byCallback signs the steps that a callback has brought.
const byCallback = "callback"

// A cause is what makes us look at a task: the poll clock, or a callback received at that time.
type cause struct{ received time.Time }

// byClock is a look because it is time.
var byClock = cause{}

func (c cause) isHook() bool { return !c.received.IsZero() }

// meta signs steps. What a callback has brought says so.
func (c cause) meta() task.Meta {
	m := task.Meta{At: time.Now().UTC(), By: name}
	if c.isHook() {
		m.By = byCallback
	}
	return m
}

// hook takes in one callback.
func (s *Service) hook(ctx context.Context, m bus.Message) bus.Verdict {
	h, err := events.ParseCallback(m.Subject, m.Get, m.Data)
	if err != nil {
		return bus.Drop(err.Error())
	}
	l, ok := s.lanes[h.Lane]
	if !ok {
		return bus.Drop("no such lane here")
	}
	v := visit{Service: s, lane: l, hook: h, why: cause{h.Received}, delivered: m.Delivered}
	said, err := v.take(ctx)
	switch {
	case err != nil:
		return s.later(h.Task, err)
	case said.again > 0:
		return bus.Again(said.again)
	}
	s.metrics.hooks.WithLabelValues(l.Name, said.result).Inc()
	return bus.Done()
}

// A visit is one delivery of a callback.
type visit struct {
	*Service
	why       cause
	lane      *lane
	hook      events.Callback
	delivered uint64
}

// A saying is what became of a delivery: a result, or the time after which it has to be tried again.
type saying struct {
	result string
	again  time.Duration
}

// take does what the callback asks for.
func (v visit) take(ctx context.Context) (saying, error) {
	h := v.hook
	t, err := v.book.Get(ctx, h.Task)
	if errors.Is(err, bus.ErrNotFound) || err == nil && t.Lane != h.Lane {
		return v.odd(hookUnknown, "callback for a task that is not known", nil), nil
	}
	if err != nil {
		return saying{}, err
	}
	i := slices.IndexFunc(t.Attempts, func(a events.Attempt) bool { return a.N == h.Attempt })
	switch {
	case i < 0 && h.Attempt >= task.NextAttempt(t) && v.patient():
		return v.soon(), nil // the record that was read may be from before the intent
	case i < 0:
		return v.odd(hookUnknown, "callback for an attempt that is not known", nil), nil
	}
	a := t.Attempts[i]
	cb, err := v.lane.Driver.ReadCallback(t.Model, h.Body)
	if err != nil {
		return v.unread(ctx, t, a, err)
	}
	if a.ProviderID == cb.ID {
		return v.bring(ctx, t, cb)
	}
	if said, err := v.mayAdopt(ctx, t, a, cb); err != nil || said != (saying{}) {
		return said, err
	}
	c, err := v.book.Apply(ctx, t.Key(), task.Accepted{
		Meta: v.why.meta(), Attempt: a.N, Ref: cb.Ref, ID: cb.ID, Source: events.SourceCallback, Note: "the provider has called back about " + cb.ID,
	})
	if err != nil {
		return saying{}, err
	}
	said, err := v.bring(ctx, c.Task, cb)
	switch {
	case err != nil || said.again > 0:
		return said, err
	case a.ProviderID != "":
		return saying{result: hookDouble}, nil
	}
	return saying{result: hookAdopted}, nil
}

// unread makes do with a callback that cannot be read: something has happened, so it is time to look.
func (v visit) unread(ctx context.Context, t events.Task, a events.Attempt, reason error) (saying, error) {
	if a.ProviderID != "" && a.ProviderID == t.ProviderID {
		now, answered, err := v.look(ctx, v.lane, t, v.why)
		if err != nil {
			return saying{}, err
		}
		if !answered && task.Wants(now).Watch && v.patient() {
			return v.soon(), nil
		}
	}
	return v.odd(hookUnread, "callback cannot be read", reason), nil
}

// bring takes in what the callback says of its request, if the task lives by that one.
func (v visit) bring(ctx context.Context, t events.Task, cb provider.Callback) (saying, error) {
	switch {
	case t.ProviderID != cb.ID:
		return saying{result: hookOther}, nil
	case t.Phase == events.PhaseDone && !task.Wants(t).Watch:
		if cb.Ended {
			v.overtaken(v.lane, t)
		}
		_, err := v.due(ctx, t) // stores the events that a crash may have left out
		return saying{result: hookRepeated}, err
	case cb.Snapshot != nil:
		return v.believe(ctx, t, cb)
	}
	t, answered, err := v.look(ctx, v.lane, t, v.why)
	if err != nil {
		return saying{}, err
	}
	if task.Wants(t).Watch && (!answered || cb.Ended && !t.Status.Terminal()) && v.patient() {
		return v.soon(), nil
	}
	if cb.Ended {
		v.overtaken(v.lane, t)
	}
	return saying{result: hookLooked}, nil
}

// believe records how the provider says that its request has ended.
func (v visit) believe(ctx context.Context, t events.Task, cb provider.Callback) (saying, error) {
	tr, err := v.observed(ctx, v.why, cb.ID, *cb.Snapshot)
	if err != nil {
		return saying{}, err
	}
	c, err := v.book.Apply(ctx, t.Key(), tr)
	if err != nil {
		return saying{}, err
	}
	v.ended(v.lane, c, v.why)
	if !c.Written {
		v.overtaken(v.lane, c.Task)
		return saying{result: hookRepeated}, nil
	}
	return saying{result: hookApplied}, nil
}

// mayAdopt says why an attempt may not have the id that the callback brings, or nothing: then the id is claimed for it.
func (v visit) mayAdopt(ctx context.Context, t events.Task, a events.Attempt, cb provider.Callback) (saying, error) {
	mine := attempt{key: t.Key(), digest: t.InputDigest, Attempt: a}
	if a.ProviderID != "" && listed(a) {
		// Two requests of one input were told apart by nobody when the list was read: they have each other's id, and that is as good.
		return v.odd(hookUnlisted, "callback names another id than the provider's list gave its attempt", nil), nil
	}
	if slices.ContainsFunc(t.Attempts, func(other events.Attempt) bool { return other.ProviderID == cb.ID }) {
		return v.odd(hookConflict, "callback names the id of another attempt", nil), nil
	}
	if a.Outcome == events.AttemptOpen && v.delivered <= replyTries {
		return saying{again: replyWait}, nil
	}
	if said, err := v.prove(ctx, t, mine, cb); err != nil || said != (saying{}) {
		return said, err
	}
	holder, err := v.o.Bus.Claim(ctx, v.lane.Name, cb.ID, mine.String())
	if err == nil && holder != mine.String() {
		return v.odd(hookConflict, "callback names an id that "+holder+" has claimed", nil), nil
	}
	return saying{}, err
}

// prove asks the provider for the id of a callback, with our own key, and the records whether it is somebody else's: a signature
// tells who speaks, not whose task it is. It says nothing if the id may be ours.
func (v visit) prove(ctx context.Context, t events.Task, mine attempt, cb provider.Callback) (saying, error) {
	_, err := v.ask(ctx, v.lane, cb.Ref)
	switch {
	case ctx.Err() != nil:
		return saying{}, ctx.Err()
	case err != nil && (v.patient() || v.delivered < proveTries && provider.AsError(err).Kind != events.KindNotFound):
		return saying{again: min(v.soon().again, maxProveWait)}, nil
	case err != nil:
		return v.odd(hookUnproven, "callback names an id that the provider does not show", err), nil
	}
	r, err := v.scan(ctx, v.lane, t, mine)
	switch {
	case err != nil:
		return saying{}, fmt.Errorf("records could not be read: %w", err)
	case r.taken[cb.ID] && v.patient():
		return v.soon(), nil // the reply may have brought it to this very attempt
	case r.taken[cb.ID]:
		return v.odd(hookConflict, "callback names an id that another task has", nil), nil
	}
	return saying{}, nil
}

// odd logs a callback that leads nowhere. Its body is not told: it may hold what is the user's alone.
func (v visit) odd(result, what string, reason error) saying {
	args := []any{"task", v.hook.Task, "lane", v.hook.Lane, "attempt", v.hook.Attempt, "bytes", len(v.hook.Body)}
	if reason != nil {
		args = append(args, "reason", reason)
	}
	v.log.Warn(what, args...)
	return saying{result: result}
}

// patient reports whether the callback may be tried again, soon when.
func (v visit) patient() bool { return v.delivered < hookTries }

func (v visit) soon() saying { return saying{again: time.Duration(v.delivered) * hookWait} }

// listed reports whether the provider's list has given an attempt its id.
func listed(a events.Attempt) bool {
	return slices.ContainsFunc(a.Evidence, func(e events.Evidence) bool {
		return e.Source == events.SourceList && e.ProviderID == a.ProviderID
	})
}
