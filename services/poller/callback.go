package poller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/provider"
	"reelay/internal/task"
	"reelay/internal/trace"
)

// What a callback is worth
//
// The webhook service has verified it: the MAC in its path names task and attempt, and where the provider signs, the
// signature is the provider's. A callback is positive evidence. It may come twice, late, before the reply to its
// submit, in any order, or never.
//
//   - A callback that is signed and complete is trusted: its id, and how the task has ended. Any other only leads to
//     a poll.
//   - An id that the attempt does not have yet is adopted only if our own key can see it, no other attempt has it,
//     and this one can claim it.
//   - Its content counts for the task only if the task's provider id is that very id. A callback to another attempt
//     ends nothing.
//   - A callback that cannot be read, or names an unknown task, changes nothing. Its copy stays stored.
//   - One that the webhook service has refused, for its clock or its content type, only leads to a poll.

const (
	callbacksInFlight = 32
	// A callback waits replyTries times replyRetryDelay for the reply to its submit, which it may precede by moments.
	replyTries      = 3
	replyRetryDelay = time.Second
	// callbackTries is how often a callback is delivered while its poll fails, or does not show yet what the callback
	// reports; after 2, 4, 6 ... seconds. After that the task's own polls go on.
	callbackTries      = 6
	callbackRetryDelay = 2 * time.Second
	// ownershipTries is how often a provider that does not answer is asked for an id, in the end every
	// maxOwnershipDelay: about an hour. The callback may be the only trace of a request that was paid for.
	ownershipTries    = 70
	maxOwnershipDelay = time.Minute
)

// The results of a callback, as the metric has them.
const (
	callbackApplied     = "applied"       // its snapshot was recorded
	callbackPolled      = "polled"        // it led to a poll
	callbackAdopted     = "adopted"       // it gave its attempt a provider id
	callbackRepeated    = "repeated"      // the task had ended before
	callbackOther       = "other_attempt" // the task lives by another attempt
	callbackDouble      = "double_accept" // it named a second id for its attempt
	callbackConflict    = "conflict"      // its id belongs to another attempt
	callbackUnproven    = "unproven"      // the provider does not show its id to our key
	callbackRefused     = "refused"       // the webhook service has refused it; at most it led to a poll
	callbackUnread      = "unreadable"    // it could not be read
	callbackUnknown     = "unknown"       // no such task or attempt in this lane
	callbackContradicts = "contradicts"   // the provider's list gave the attempt another id
)

// byCallback signs the steps that a callback caused.
const byCallback = "callback"

// A cause is why a task is polled: its ticket is due, or a callback was received at that time.
type cause struct{ received time.Time }

// byClock is the cause of a poll whose ticket is due.
var byClock = cause{}

func (c cause) isCallback() bool { return !c.received.IsZero() }

// meta signs steps with their cause.
func (c cause) meta() task.Meta {
	m := task.Meta{At: time.Now().UTC(), By: name}
	if c.isCallback() {
		m.By = byCallback
	}
	return m
}

// handleCallback handles one delivery of a callback.
func (s *Service) handleCallback(ctx context.Context, m bus.Message) bus.Outcome {
	cb, err := events.ParseCallback(m.Subject, m.Get, m.Data)
	if err != nil {
		return bus.Terminate(err.Error())
	}
	l, ok := s.lanes[cb.Lane]
	if !ok {
		return bus.Terminate("no such lane in this poller")
	}
	d := delivery{Service: s, lane: l, callback: cb, why: cause{cb.Received}, delivered: m.Delivered}
	o, err := d.handle(ctx)
	switch {
	case err != nil:
		return s.store.Redeliver(ctx, cb.Task, err)
	case o.retryAfter > 0:
		return bus.RetryAfter(o.retryAfter)
	}
	s.metrics.callbacks.WithLabelValues(l.Name, o.result).Inc()
	return bus.Done()
}

// A delivery is one delivery of a callback by the broker.
type delivery struct {
	*Service
	why       cause
	lane      *lane
	callback  events.Callback
	delivered uint64
}

// outcome is the result of handling one callback, or the delay before it is redelivered.
type outcome struct {
	result     string
	retryAfter time.Duration
}

// isOf reports whether a callback comes from the lane that its attempt has. One that is not known yet may be of any lane
// of a group.
func isOf(t events.Task, c events.Callback) bool {
	i := slices.IndexFunc(t.Attempts, func(a events.Attempt) bool { return a.N == c.Attempt })
	if i < 0 {
		return t.Lane == c.Lane || t.Group != ""
	}
	return cmp.Or(t.Attempts[i].Lane, t.Lane) == c.Lane
}

// handle records what the callback proves, or polls the task.
func (d delivery) handle(ctx context.Context) (outcome, error) {
	msg := d.callback
	t, err := d.store.Get(ctx, msg.Task)
	if errors.Is(err, bus.ErrNotFound) || err == nil && !isOf(t, msg) {
		return d.reject(ctx, callbackUnknown, "callback for a task that is not known", nil), nil
	}
	if err != nil {
		return outcome{}, err
	}
	ctx, span := d.o.Tracer.Start(ctx, trace.Callback, &t)
	defer span.End()
	i := slices.IndexFunc(t.Attempts, func(a events.Attempt) bool { return a.N == msg.Attempt })
	switch {
	case i < 0 && msg.Attempt >= task.NextAttempt(t) && d.mayRetry():
		return d.retryLater(), nil // the record that was read may be older than the intent
	case i < 0:
		return d.reject(ctx, callbackUnknown, "callback for an attempt that is not known", nil), nil
	}
	a := t.Attempts[i]
	if msg.Unproven != "" {
		return d.pollRefused(ctx, t, a)
	}
	cb, err := d.lane.Driver.ReadCallback(t.Model, msg.Body)
	if err != nil {
		return d.pollInstead(ctx, t, a, err)
	}
	if a.ProviderID == cb.ID {
		return d.apply(ctx, t, cb)
	}
	if o, err := d.claim(ctx, t, a, cb); err != nil || o != (outcome{}) {
		return o, err
	}
	c, err := d.store.Apply(ctx, t.Key(), task.Accepted{
		Meta: d.why.meta(), Attempt: a.N, Ref: cb.Ref, ID: cb.ID, Source: events.SourceCallback,
		Note: "the provider has called back about " + cb.ID,
	})
	if err != nil {
		return outcome{}, err
	}
	o, err := d.apply(ctx, c.Task, cb)
	switch {
	case err != nil || o.retryAfter > 0:
		return o, err
	case a.ProviderID != "":
		return outcome{result: callbackDouble}, nil
	}
	return outcome{result: callbackAdopted}, nil
}

// pollInstead handles a callback that cannot be read: something has happened, so the task is polled.
func (d delivery) pollInstead(ctx context.Context, t events.Task, a events.Attempt, reason error) (outcome, error) {
	if o, err := d.pollLive(ctx, t, a, false); err != nil || o.retryAfter > 0 {
		return o, err
	}
	return d.reject(ctx, callbackUnread, "callback cannot be read", reason), nil
}

// pollRefused handles a callback that the webhook service has refused: it polls a task that has not ended, and for half
// a minute as if the callback had reported its end, which the provider may not show yet. One that came before the reply
// to its submit waits for it.
func (d delivery) pollRefused(ctx context.Context, t events.Task, a events.Attempt) (outcome, error) {
	if a.Outcome == events.AttemptOpen && d.delivered <= replyTries {
		return outcome{retryAfter: replyRetryDelay}, nil
	}
	if o, err := d.pollLive(ctx, t, a, true); err != nil || o.retryAfter > 0 {
		return o, err
	}
	return d.reject(ctx, callbackRefused, "callback was refused by the webhook service",
		errors.New(string(d.callback.Unproven))), nil
}

// pollLive polls a task that lives by the attempt, and again later if the provider does not answer, or does not show an
// end that may have been reported.
func (d delivery) pollLive(ctx context.Context, t events.Task, a events.Attempt, ended bool) (outcome, error) {
	if a.ProviderID == "" || a.ProviderID != t.ProviderID || d.lane.Name != t.Lane {
		return outcome{}, nil
	}
	now, answered, err := d.poll(ctx, d.lane, t, d.why)
	again := !answered || ended && !now.Status.Terminal()
	if err == nil && again && task.Needs(now).PollTicket && d.mayRetry() {
		return d.retryLater(), nil
	}
	return outcome{}, err
}

// apply records what the callback says about its request, if the task lives by that request.
func (d delivery) apply(ctx context.Context, t events.Task, cb provider.Callback) (outcome, error) {
	switch {
	case t.ProviderID != cb.ID || d.lane.Name != t.Lane:
		return outcome{result: callbackOther}, nil
	case t.Phase == events.PhaseDone && !task.Needs(t).PollTicket:
		if cb.Ended {
			d.recordLate(d.lane, t)
		}
		_, err := d.applyHeartbeat(ctx, t) // stores the events that a crash may have left out
		return outcome{result: callbackRepeated}, err
	case cb.Snapshot != nil:
		return d.trust(ctx, t, cb)
	}
	t, answered, err := d.poll(ctx, d.lane, t, d.why)
	if err != nil {
		return outcome{}, err
	}
	if task.Needs(t).PollTicket && (!answered || cb.Ended && !t.Status.Terminal()) && d.mayRetry() {
		return d.retryLater(), nil
	}
	if cb.Ended {
		d.recordLate(d.lane, t)
	}
	return outcome{result: callbackPolled}, nil
}

// trust records the end that a signed callback reports.
func (d delivery) trust(ctx context.Context, t events.Task, cb provider.Callback) (outcome, error) {
	tr, err := d.observed(ctx, d.why, t, cb.ID, *cb.Snapshot)
	if err != nil {
		return outcome{}, err
	}
	c, err := d.store.Apply(ctx, t.Key(), tr)
	if err != nil {
		return outcome{}, err
	}
	d.recordEnd(ctx, d.lane, c, d.why)
	if !c.Written {
		d.recordLate(d.lane, c.Task)
		return outcome{result: callbackRepeated}, nil
	}
	return outcome{result: callbackApplied}, nil
}

// claim claims the id that the callback names for its attempt, or returns the outcome that forbids it.
func (d delivery) claim(ctx context.Context, t events.Task, a events.Attempt, cb provider.Callback) (outcome, error) {
	mine := attempt{key: t.Key(), digest: t.InputDigest, Attempt: a}
	if a.ProviderID != "" && broughtBy(a, events.SourceList) {
		// Requests of the same input were indistinguishable when the list was read: each has the other's id, which is
		// as good.
		return d.reject(ctx, callbackContradicts, "callback names another id than the provider's list gave its attempt", nil), nil
	}
	if slices.ContainsFunc(t.Attempts, func(other events.Attempt) bool { return other.ProviderID == cb.ID }) {
		return d.reject(ctx, callbackConflict, "callback names the id of another attempt", nil), nil
	}
	if a.Outcome == events.AttemptOpen && d.delivered <= replyTries {
		return outcome{retryAfter: replyRetryDelay}, nil
	}
	if o, err := d.verifyOwnership(ctx, t, mine, cb); err != nil || o != (outcome{}) {
		return o, err
	}
	holder, err := d.o.Bus.Claim(ctx, d.lane.Name, cb.ID, mine.String())
	if err == nil && holder != mine.String() {
		return d.reject(ctx, callbackConflict, "callback names an id that another attempt has claimed",
			errors.New("claimed by "+holder)), nil
	}
	return outcome{}, err
}

// verifyOwnership asks the provider for the id with our own key, and searches the records for another owner: a
// signature proves the sender, not whose task it is. Its outcome is empty if the id may be ours.
func (d delivery) verifyOwnership(ctx context.Context, t events.Task, mine attempt,
	cb provider.Callback,
) (outcome, error) {
	_, err := d.pollProvider(ctx, d.lane, cb.Ref)
	switch {
	case ctx.Err() != nil:
		return outcome{}, ctx.Err()
	case err != nil && (d.mayRetry() || d.delivered < ownershipTries && provider.AsError(err).Kind != events.KindNotFound):
		return outcome{retryAfter: min(d.retryLater().retryAfter, maxOwnershipDelay)}, nil
	case err != nil:
		return d.reject(ctx, callbackUnproven, "callback names an id that the provider does not show", err), nil
	}
	r, err := d.readRecords(ctx, d.lane, t, mine)
	switch {
	case err != nil:
		return outcome{}, fmt.Errorf("records could not be read: %w", err)
	case r.taken[cb.ID] && d.mayRetry():
		return d.retryLater(), nil // the reply may have given it to this very attempt
	case r.taken[cb.ID]:
		return d.reject(ctx, callbackConflict, "callback names an id that another task has", nil), nil
	}
	return outcome{}, nil
}

// reject logs a callback that changes nothing. The log never holds its body, which may be the user's alone.
func (d delivery) reject(ctx context.Context, result, what string, reason error) outcome {
	args := []any{
		"task", d.callback.Task, "lane", d.callback.Lane, "attempt", d.callback.Attempt, "bytes",
		len(d.callback.Body),
	}
	if reason != nil {
		args = append(args, "reason", reason)
	}
	d.log.WarnContext(ctx, what, args...)
	return outcome{result: result}
}

// mayRetry reports whether the callback may be redelivered.
func (d delivery) mayRetry() bool { return d.delivered < callbackTries }

func (d delivery) retryLater() outcome {
	return outcome{retryAfter: time.Duration(d.delivered) * callbackRetryDelay}
}

// broughtBy reports whether the id of an attempt came from that source.
func broughtBy(a events.Attempt, source events.EvidenceSource) bool {
	return slices.ContainsFunc(a.Evidence, func(e events.Evidence) bool {
		return e.Source == source && e.ProviderID == a.ProviderID
	})
}
