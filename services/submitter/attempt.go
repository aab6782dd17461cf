package submitter

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/nats-io/nuid"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/journal"
	"reelay/internal/lease"
	"reelay/internal/paid"
	"reelay/internal/provider"
	"reelay/internal/spend"
	"reelay/internal/task"
)

const (
	// intentLife is how long after its intent an attempt without a report is taken to be in doubt: twice the longest
	// request.
	intentLife = 2 * paid.Timeout
	// unsentWait and refusedWait are how soon a task is tried again after an attempt that provably bought nothing.
	unsentWait  = 5 * time.Second
	refusedWait = 10 * time.Second
)

// errStopping vetoes what has not left yet when the service stops.
var errStopping = errors.New("the submitter is stopping")

// An attempt is one try to send a task. Each of its steps reports whether the next may follow, and leaves the result
// otherwise.
type attempt struct {
	*Service
	lane *lane
	held *lease.Lease
	key  events.Key
	log  *slog.Logger

	// task is the record as the request is made of it.
	task events.Task
	// at is when the attempt counts as begun.
	at          time.Time
	input       json.RawMessage
	entry       journal.Entry
	reservation *spend.Reservation
	callbackURL string
	request     provider.Request
	renderErr   error
	permit      *paid.Permit

	// record is the result: the record as it is by now, nil if that is not known. The task is not tried again before
	// notBefore.
	record    *events.Task
	notBefore time.Time
	// allowed says that the breaker let the attempt pass, reached that the provider was connected to, sent that a request
	// may have left, mayCost that it may have to be paid for.
	allowed, reached, sent, mayCost bool
}

// send takes one task through intent, paid request and report. It returns the record as it then is, nil if that is not
// known, and a time before which the task is not tried again.
func (s *Service) send(ctx context.Context, l *lane, held *lease.Lease, key events.Key) (*events.Task, time.Time) {
	a := &attempt{
		Service: s, lane: l, held: held, key: key, log: s.log.With("task", key, "lane", l.Name),
		notBefore: time.Now().Add(unsentWait),
	}
	defer a.release(ctx)
	switch {
	case !a.load(ctx):
	case !a.passBreaker():
	case !a.readInput(ctx):
	case !a.reserve(ctx):
	case !a.writeJournal(ctx):
	case !a.intend(ctx):
	case !a.rendered(ctx):
	default:
		a.post(ctx)
	}
	return a.record, a.notBefore
}

// release gives back what the attempt holds and has not used: what the breaker allowed and the distance to the next
// request if the provider saw nothing of this one, the money if nothing is to be paid.
func (a *attempt) release(ctx context.Context) {
	if a.allowed && !a.sent {
		a.lane.breaker.release()
	}
	if !a.sent && !a.reached {
		a.lane.queue.Unsent(a.key)
	}
	if !a.mayCost {
		a.spend.Return(context.WithoutCancel(ctx), a.reservation)
	}
}

// load reads the record, which may no longer wait.
func (a *attempt) load(ctx context.Context) bool {
	t, err := a.store.Get(ctx, a.key)
	switch {
	case errors.Is(err, bus.ErrNotFound):
		a.lane.see(a.key, nil, 0, time.Now())
		return false
	case err != nil:
		return false
	}
	a.task, a.record = t, &t
	return t.Phase == events.PhaseWaiting
}

// passBreaker asks the breaker, which allows one task at a time while it is half open.
func (a *attempt) passBreaker() bool {
	wait := a.lane.breaker.allow()
	if a.allowed = wait == 0; a.allowed {
		return true
	}
	a.metrics.submits.WithLabelValues(a.lane.Name, "breaker_open").Inc()
	a.lane.queue.Backoff(events.BlockedBreaker, "the breaker of the lane is open", time.Now().Add(wait))
	a.notBefore = time.Time{}
	return false
}

// readInput reads the exact bytes that the request gave.
func (a *attempt) readInput(ctx context.Context) bool {
	a.input = a.task.Input
	if a.task.InputRef == "" {
		return true
	}
	var err error
	if a.input, err = a.o.Bus.GetObject(ctx, a.task.InputRef); err != nil {
		a.log.Warn("the input of a task could not be read; it is tried again", "error", err)
	}
	return err == nil
}

// writeJournal renders the request and writes the attempt down before its intent: if this process dies in between, the
// next can prove that nothing was sent.
func (a *attempt) writeJournal(ctx context.Context) bool {
	a.entry = journal.Entry{
		Owner: nuid.Next(), Project: a.key.Project, TaskID: a.key.ID, Attempt: task.NextAttempt(a.task), At: a.at,
	}
	a.callbackURL = a.callbackURLFor(a.lane, a.task, a.entry)
	a.request, a.renderErr = a.lane.Driver.Render(a.task, a.input, a.callbackURL)
	err := a.o.Journal.Begin(a.entry)
	switch {
	case errors.Is(err, journal.ErrClaimed):
		a.record = a.forgotten(ctx)
	case err != nil:
		a.log.Error("the journal cannot be written; nothing is sent", "error", err)
	}
	return err == nil
}

// forgotten puts a task in doubt whose next attempt has been sent before, although its record knows nothing of that: a
// broker has forgotten an acknowledged write.
func (a *attempt) forgotten(ctx context.Context) (t *events.Task) {
	a.log.Error("the record has forgotten an attempt that was sent; it is in doubt", "attempt", a.entry.Attempt)
	now := time.Now().UTC()
	_, _, err := a.store.Intend(ctx, a.key, task.Intent{
		Meta: task.Meta{At: now, By: name}, Owner: a.entry.Owner, NotAfter: now.Add(intentLife),
	})
	if err == nil {
		t, _ = a.report(ctx, a.key, task.Doubt{Meta: a.meta(), Owner: a.entry.Owner, Err: &provider.Error{
			Kind: events.KindAmbiguous, Code: events.CodeInDoubt,
			Message: "this attempt was sent before, and the record had forgotten it",
		}})
	}
	return t
}

// intend records the intent to send, whose acknowledgement is the permit. Without one nothing is sent, and an intent
// that is in the record all the same is taken back.
func (a *attempt) intend(ctx context.Context) bool {
	sum := sha256.Sum256(a.request.Body)
	permit, intended, err := a.store.Intend(ctx, a.key, task.Intent{
		Meta: task.Meta{At: a.at, By: name}, Owner: a.entry.Owner, BodySHA256: hex.EncodeToString(sum[:]),
		NotAfter: a.at.Add(intentLife), ReservedUSD: expected(a.task), Callback: a.callbackURL != "",
	})
	if err == nil && intended.Attempt().N != a.entry.Attempt {
		err = fmt.Errorf("the attempt is number %d, not %d", intended.Attempt().N, a.entry.Attempt)
	}
	if err != nil {
		a.log.Info("the intent to send was not acknowledged; nothing is sent", "reason", err)
		a.record = a.settle(ctx, a.entry, journal.Answer{
			Outcome: journal.NotSent, Error: &events.Error{Message: "the intent was not acknowledged"},
		})
		return false
	}
	a.permit, a.task, a.record = permit, intended, &intended
	return true
}

// rendered refuses a task of which no request could be made. That was known before the intent, but only an attempt can
// be refused.
func (a *attempt) rendered(ctx context.Context) bool {
	if a.renderErr == nil {
		return true
	}
	a.settled(a.settle(ctx, a.entry, journal.Answer{Outcome: string(provider.Refused), Error: &events.Error{
		Kind: events.KindInvalid, Code: events.CodeInvalidRequest,
		Message: string(hidden([]byte(a.renderErr.Error()), a.callbackURL)),
	}}))
	return false
}

// post sends the paid request, and records what came back.
func (a *attempt) post(ctx context.Context) {
	a.sent, a.mayCost = true, true
	begun := time.Now()
	reply, err := a.poster.Post(context.WithoutCancel(ctx), a.permit, a.request, func(postCtx context.Context) error {
		a.reached = true
		return a.gate(postCtx, ctx)
	})
	reply, err = withoutURL(reply, err, a.callbackURL)
	if a.lane.queue.Reached(a.reached || err == nil, begun, time.Now()) == 1 {
		a.log.Warn("the provider cannot be reached; it is tried now and then", "error", err)
	}
	answer := a.classify(ctx, a.lane, a.task, begun, reply, err)
	a.sent = answer.Outcome != journal.NotSent
	a.mayCost = a.sent && answer.Outcome != string(provider.Refused)
	if err := a.o.Journal.Answer(a.entry.Owner, answer); err != nil {
		a.log.Error("the answer to a paid request could not be written to the journal",
			"outcome", answer.Outcome, "provider_id", answer.ID, "error", err)
	}
	a.settled(a.recordOutcome(ctx, a.entry, a.withEstimate(a.trigger(a.entry, answer), a.task)))
	a.notBefore = time.Time{}
}

// settled takes in the record of an outcome; nil if the outcome is not recorded, which leaves that of the intent.
func (a *attempt) settled(t *events.Task) {
	if t != nil {
		a.record = t
	}
}

// gate is asked before the last byte of a paid request leaves.
func (a *attempt) gate(ctx, service context.Context) error {
	switch o := a.outside(a.lane, time.Now()); {
	case service.Err() != nil:
		return errStopping
	case a.lane.breaker.isOpen():
		return errors.New("the breaker of the lane has opened")
	case o.Stops():
		return errors.New(o.Blocked.Message)
	}
	if err := a.reservation.Fresh(); err != nil {
		return err
	}
	if err := a.held.Check(); err != nil {
		return err
	}
	if err := a.o.Bus.CheckLane(ctx, a.lane.Name); err != nil {
		return err
	}
	if err := a.stillOurs(ctx); err != nil {
		return err
	}
	if err := a.o.Journal.Gate(a.entry.Owner); err != nil {
		return err
	}
	// Once more, at the last: all of this can have taken time, and another may count the requests by now.
	return a.held.Check()
}

// stillOurs fails if the record says by now that the request must not be sent.
func (a *attempt) stillOurs(ctx context.Context) error {
	t, err := a.store.Get(ctx, a.key)
	switch {
	case err != nil:
		return fmt.Errorf("the record cannot be read: %w", err)
	case t.Cancel != nil:
		return errors.New("a cancel was asked for")
	case t.Phase != events.PhaseSubmitting || t.Attempt().Owner != a.entry.Owner:
		return errors.New("the attempt is no longer ours")
	case slices.ContainsFunc(t.Attempts, func(a events.Attempt) bool { return len(a.Ref) > 0 }):
		return errors.New("an earlier attempt turned out to be accepted")
	}
	return nil
}
