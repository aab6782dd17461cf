package submitter

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nuid"
	"golang.org/x/sync/errgroup"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/internal/breaker"
	"reelay/internal/bus"
	"reelay/internal/journal"
	"reelay/internal/lease"
	"reelay/internal/paid"
	"reelay/internal/provider"
	"reelay/internal/spend"
	"reelay/internal/task"
	"reelay/internal/trace"
)

const (
	// unsentWait and refusedWait are how soon a task is tried again after an attempt that provably bought nothing.
	unsentWait  = 5 * time.Second
	refusedWait = 10 * time.Second
	// unreachableTries is how often in a row a provider is not reached before the lane is handed to another submitter that
	// waits for it: about 15 s.
	unreachableTries = 4
)

// intentLife is how long after its intent an attempt without a report is taken to be in doubt: twice the longest that its
// request may take.
func intentLife(r provider.Request) time.Duration { return 2 * cmp.Or(r.Timeout, paid.Timeout) }

var (
	// errStopping vetoes what has not left yet when the service stops.
	errStopping = errors.New("the submitter is stopping")
	// errUnanswered vetoes what would be one too many to be in doubt together.
	errUnanswered = errors.New("the requests before it are not answered")
)

// An attempt is one try to send a task. Each of its steps reports whether the next may follow, and leaves the result
// otherwise.
type attempt struct {
	*Service
	lane *lane
	held *lease.Lease
	key  events.Key
	log  *slog.Logger
	// free gives the slot of the attempt to the next.
	free func()

	// task is the record as the request is made of it.
	task events.Task
	// at is when the attempt counts as begun.
	at          time.Time
	input       json.RawMessage
	files       map[string]json.RawMessage
	entry       journal.Entry
	reservation *spend.Reservation
	callbackURL string
	request     provider.Request
	renderErr   error
	permit      *paid.Permit
	// pass is what the breaker gave, if allowed.
	pass breaker.Pass

	// isAlone says that no other lane here sends the task meanwhile.
	isAlone bool

	// record is the result: the record as it is by now, nil if that is not known. The task is not tried again before
	// notBefore.
	record    *events.Task
	notBefore time.Time
	// allowed says that the breaker let the attempt pass, reached that the provider was connected to, sent that a request
	// may have left, mayCost that it may have to be paid for.
	allowed, reached, sent, mayCost bool
	// accepted says that the provider has accepted it, waited that it had to wait for others to be answered, or was the last that need not.
	accepted, waited bool
}

// send takes one task through intent, paid request and report. It returns the record as it then is, nil if that is not
// known, and a time before which the task is not tried again. It may call free before it returns.
func (s *Service) send(ctx context.Context, l *lane, held *lease.Lease, key events.Key, free func(),
) (*events.Task, time.Time) {
	a := &attempt{
		Service: s, lane: l, held: held, key: key, log: s.log.With("task", key, "lane", l.Name), free: free,
		notBefore: time.Now().Add(unsentWait),
	}
	defer a.release(ctx)
	if !a.alone() || !a.load(ctx) {
		return a.record, a.notBefore
	}
	ctx, span := s.o.Tracer.Start(ctx, trace.Dispatch, &a.task)
	defer span.End()
	switch {
	case !a.ready(ctx):
	case !a.passBreaker():
	case !a.readInput(ctx):
	case !a.resolveFiles(ctx):
	case !a.reserve(ctx):
	case !a.writeJournal(ctx):
	case !a.intend(ctx):
	case !a.rendered(ctx):
	default:
		a.post(ctx)
	}
	return a.record, a.notBefore
}

// release ends the attempt. The lane sends more at once after an acceptance, and few after anything else. What the attempt
// holds and has not used is given back: what the breaker allowed and the distance to the next
// request if the provider saw nothing of this one, the money if nothing is to be paid.
func (a *attempt) release(ctx context.Context) {
	a.lane.queue.SetSlots(a.lane.ramp.Sent(a.accepted, a.waited))
	if a.allowed && !a.sent {
		a.lane.breaker.Release(a.pass)
	}
	if !a.sent && !a.reached {
		a.lane.queue.Unsent(a.key)
	}
	if a.isAlone {
		a.underWay.Delete(a.key)
	}
	if !a.mayCost {
		a.spend.Return(context.WithoutCancel(ctx), a.reservation)
	}
}

// load reads the record, which may no longer wait.
func (a *attempt) load(ctx context.Context) bool {
	t, err := a.store.Current(ctx, a.key)
	if err == nil && (t.Phase != events.PhaseWaiting || len(t.WaitsFor) > 0 || t.Lane != a.lane.Name) {
		t, err = a.store.Get(ctx, a.key) // the lane has seen it ready: another process has made it so
	}
	switch {
	case errors.Is(err, bus.ErrNotFound):
		// A new leader of a cluster may not have yet what a watch has shown: only a marker says that the record is gone.
		if _, marker, err := a.store.GetFromLeader(ctx, a.key); errors.Is(err, bus.ErrNotFound) && marker > 0 {
			a.lane.see(a.key, nil, 0, time.Now())
		}
		return false
	case err != nil:
		return false
	}
	a.task, a.record = t, &t
	return t.Phase == events.PhaseWaiting && len(t.WaitsFor) == 0 && a.mayTake(a.lane, &t)
}

// ready asks a driver that sends by itself whether anybody would do the work.
func (a *attempt) ready(ctx context.Context) bool {
	free, ok := a.lane.Driver.(provider.FreeDriver)
	if !ok {
		return true
	}
	err := free.Ready(ctx)
	if err != nil {
		a.lane.queue.Backoff(events.BlockedUnreachable, err.Error(), time.Now().Add(unsentWait))
		a.log.WarnContext(ctx, "nobody does the work of the lane; it waits", "reason", err)
	}
	return err == nil
}

// passBreaker asks the breaker, which allows one task at a time while it is half open.
func (a *attempt) passBreaker() bool {
	p, wait := a.lane.breaker.Allow()
	if a.pass, a.allowed = p, wait == 0; a.allowed {
		return true
	}
	a.metrics.submits.WithLabelValues(a.lane.Name, "breaker_open").Inc()
	a.lane.queue.Backoff(events.BlockedBreaker, "the breaker of the lane is open", time.Now().Add(wait))
	a.notBefore = time.Time{}
	return false
}

// readInput reads the exact bytes that the request gave.
func (a *attempt) readInput(ctx context.Context) bool {
	var err error
	if a.input, err = a.store.Input(ctx, a.task); err != nil {
		a.log.WarnContext(ctx, "the input of a task could not be read; it is tried again", "error", err)
	}
	return err == nil
}

// writeJournal renders the request and writes the attempt down before its intent: if this process dies in between, the
// next can prove that nothing was sent.
func (a *attempt) writeJournal(ctx context.Context) bool {
	a.entry = journal.Entry{
		Owner: nuid.Next(), Project: a.key.Project, TaskID: a.key.ID, Attempt: task.NextAttempt(a.task), At: a.at,
	}
	if a.task.Group != "" {
		a.entry.Lane = a.lane.Name
	}
	a.callbackURL = a.callbackURLFor(a.lane, a.task, a.entry)
	if a.renderErr == nil {
		a.request, a.renderErr = a.lane.Driver.Render(a.task, a.input, a.callbackURL)
	}
	sent, known := a.o.Journal.Sent(a.key, a.entry.Attempt)
	if known || a.restored() {
		a.mayCost = true // what the record has forgotten may have to be paid for
		a.record = a.forgotten(ctx, sent)
		return false
	}
	if err := a.o.Journal.Begin(a.entry); err != nil {
		a.log.ErrorContext(ctx, "the journal cannot be written; nothing is sent", "error", err)
		return false
	}
	return true
}

// intend records the intent to send, whose acknowledgement is the permit. Without one nothing is sent, and an intent
// that is in the record all the same is taken back.
func (a *attempt) intend(ctx context.Context) bool {
	permit, intended, err := a.store.Intend(ctx, a.key, task.Intent{
		Meta: task.Meta{At: a.at, By: name}, Owner: a.entry.Owner, BodySHA256: payloadDigest(a.request.Body),
		Lane: a.lane.Name, Note: a.takenNote(a.lane, a.task), Files: a.files, NotAfter: a.at.Add(intentLife(a.request)),
		ReservedUSD: expected(a.task), Callback: a.callbackURL != "",
	})
	if err == nil && intended.Attempt().N != a.entry.Attempt {
		err = fmt.Errorf("the attempt is number %d, not %d", intended.Attempt().N, a.entry.Attempt)
	}
	if err != nil {
		a.log.InfoContext(ctx, "the intent to send was not acknowledged; nothing is sent", "reason", err)
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
	refused := events.Error{Kind: events.KindInvalid, Code: events.CodeInvalidRequest, Message: a.renderErr.Error()}
	if file := (*events.Error)(nil); errors.As(a.renderErr, &file) {
		refused.Code, refused.Message = file.Code, file.Message
	}
	refused.Message = string(paid.Hide([]byte(refused.Message), a.callbackURL))
	a.settled(a.settle(ctx, a.entry, journal.Answer{Outcome: string(provider.Refused), Error: &refused}))
	return false
}

// post sends the paid request, and records what came back.
func (a *attempt) post(ctx context.Context) {
	a.sent, a.mayCost = true, true
	begun := time.Now()
	leave := sync.OnceFunc(a.lane.ramp.Unanswered.Leave)
	a.lane.posting.Add(1)
	paidCtx, span := a.o.Tracer.Start(context.WithoutCancel(ctx), trace.PaidPost, &a.task)
	reply, err := a.deliver(paidCtx, func(postCtx context.Context) error {
		a.reached = true
		var ok bool
		if a.waited, ok = a.lane.ramp.Unanswered.Enter(postCtx, ctx); !ok {
			return errUnanswered
		}
		context.AfterFunc(postCtx, leave) // it ends with Post, which may have given up by now
		err := a.gate(postCtx, ctx)
		if err == nil && a.request.Timeout > paid.Timeout {
			// Its answer takes minutes, in which others can be sent: the limit of tasks in flight counts it.
			a.lane.queue.Left(a.key, time.Now())
			leave()
			a.free()
		}
		return err
	})
	underWay := a.lane.posting.Add(-1)
	reply, err = paid.Redact(reply, err, a.callbackURL)
	switch n, first := a.lane.queue.Reached(a.reached || err == nil, begun, time.Now(), a.withoutProxy()); {
	case first && n == 1:
		a.log.WarnContext(ctx, "the provider cannot be reached; it is tried now and then", "error", err, "note", a.withoutProxy())
	case n >= unreachableTries && underWay == 0 && a.held.Wanted(ctx):
		// With no other under way: the lane would stand still until that is answered, which can take minutes.
		a.log.WarnContext(ctx, "the provider cannot be reached from here; the lane is handed to another submitter", "error", err)
		a.held.Resign(2 * cmp.Or(a.o.LeaseTTL, bucket.LeaseTTL))
	}
	answer := a.classify(ctx, begun, reply, err)
	a.sent = answer.Outcome != journal.NotSent
	a.mayCost = a.sent && answer.Outcome != string(provider.Refused)
	if a.accepted = answer.Outcome == string(provider.Accepted); !a.accepted {
		span.Fail(answer.Outcome)
	}
	span.End()
	if err := a.o.Journal.Answer(a.entry.Owner, answer); err != nil {
		a.log.ErrorContext(ctx, "the answer to a paid request could not be written to the journal",
			"outcome", answer.Outcome, "provider_id", answer.ID, "error", err)
	}
	a.settled(a.recordOutcome(ctx, a.entry, a.withEstimate(a.trigger(a.entry, answer), a.task)))
	if len(answer.Result) == 0 { // else nobody asks by the id, which may be made of the answer
		a.checkID(ctx, answer.ID)
	}
	a.notBefore = time.Time{}
}

// checkID raises the alarm on both tasks where the provider gave an id that another task has: one may get the other's
// result.
func (a *attempt) checkID(ctx context.Context, id string) {
	if id == "" || !a.accepted {
		return
	}
	other, shared := a.lane.ids.Take(id, a.key)
	if !shared {
		return
	}
	a.metrics.sharedIDs.WithLabelValues(a.lane.Name).Inc()
	a.log.ErrorContext(ctx, "the provider gave one id to two tasks; one may get the other's result", "other", other, "provider_id", id)
	for _, k := range []events.Key{a.key, other} {
		c, err := a.store.Apply(context.WithoutCancel(ctx), k, task.IDShared{Meta: a.meta(), ID: id})
		if err != nil {
			a.log.ErrorContext(ctx, "a record could not be told that its task shares an id", "record", k, "error", err)
		} else if k == a.key {
			a.record = &c.Task
		}
	}
}

// deliver sends the request, over HTTP unless its driver does it.
func (a *attempt) deliver(ctx context.Context, gate paid.Gate) (provider.Reply, error) {
	if free, ok := a.lane.Driver.(provider.FreeDriver); ok {
		return a.poster.Hand(ctx, a.permit, a.request, gate, free.Send)
	}
	return a.poster.Post(ctx, a.permit, a.request, gate)
}

// withoutProxy says that a proxy is set that is not used; empty where none is, or none is needed.
func (a *attempt) withoutProxy() string {
	if a.o.IgnoredProxy == "" || a.lane.Emulated {
		return ""
	}
	return a.o.IgnoredProxy + " is set, and reelay uses no proxy"
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
	case a.lane.breaker.Vetoes(a.pass):
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
	var revision uint64
	var checks errgroup.Group // at once: the answer of each is as new then as one after the other
	checks.Go(func() error { return a.o.Bus.CheckLane(ctx, a.lane.Name) })
	checks.Go(func() (err error) { revision, err = a.stillOurs(ctx); return err })
	if err := checks.Wait(); err != nil {
		return err
	}
	if a.o.Witness != nil {
		a.o.Witness.Sending(revision)
	}
	if err := a.o.Journal.Gate(a.entry.Owner); err != nil {
		return err
	}
	// Once more, at the last: all of this can have taken time, and another may count the requests by now.
	return a.held.Check()
}

// stillOurs returns the revision of the record, and fails if that says by now that the request must not be sent.
func (a *attempt) stillOurs(ctx context.Context) (uint64, error) {
	t, revision, err := a.store.GetFromLeader(ctx, a.key)
	switch {
	case err != nil:
		err = fmt.Errorf("the record cannot be read: %w", err)
	case t.Cancel != nil:
		err = errors.New("a cancel was asked for")
	case t.Phase != events.PhaseSubmitting || t.Attempt().Owner != a.entry.Owner:
		err = errors.New("the attempt is no longer ours")
	case slices.ContainsFunc(t.Attempts, func(a events.Attempt) bool { return len(a.Ref) > 0 }):
		err = errors.New("an earlier attempt turned out to be accepted")
	}
	return revision, err
}
