package submitter

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nuid"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/journal"
	"reelay/internal/paid"
	"reelay/internal/provider"
	"reelay/internal/task"
)

const (
	// intentLife is how long after its intent an attempt without a report is taken to be in doubt: twice the longest request.
	intentLife = 2 * paid.Timeout
	// unsentWait and refusedWait hold a task back after an attempt that provably bought nothing.
	unsentWait  = 5 * time.Second
	refusedWait = 10 * time.Second
	// catchUpTick is how often whoever takes a lane over looks whether it knows all.
	catchUpTick = 50 * time.Millisecond
	// catchUpWait is how long that may take. One that does not get to know all, whatever keeps it, lets another have the lane.
	catchUpWait = time.Minute
)

// errStopping vetoes what has not left yet when the service stops.
var errStopping = errors.New("the submitter is stopping")

// dispatch sends the waiting tasks of a lane, whenever this is the process that holds its lease, until ctx ends; then it waits for
// those under way.
func (s *Service) dispatch(ctx context.Context, l *lane) error {
	s.o.Bus.Lead(ctx, l.Name, s.id, s.o.LeaseTTL, func(term context.Context, lease *bus.Lease) {
		s.metrics.leads.WithLabelValues(l.Name).Set(1)
		defer s.metrics.leads.WithLabelValues(l.Name).Set(0)
		if err := s.lead(ctx, term, l, lease); err != nil && term.Err() == nil {
			s.log.Warn("taking the lane over", "lane", l.Name, "error", err)
		}
		if ctx.Err() != nil {
			l.running.Wait() // before the lease is given back: the next must find every request in the records
		}
	})
	l.running.Wait()
	return nil
}

// lead takes a lane over and sends its tasks until term ends. What it has begun goes on under ctx.
func (s *Service) lead(ctx, term context.Context, l *lane, lease *bus.Lease) error {
	var m events.HandOver
	err := s.o.Bus.Recall(term, l.Name, &m)
	switch {
	case errors.Is(err, bus.ErrUnreadable):
		s.log.Error("what the dispatcher before has learned is lost", "lane", l.Name, "error", err)
		m = events.HandOver{}
	case err != nil:
		return err
	}
	l.queue.Restore(m.Groups, time.Now())
	if err := s.catchUp(term); err != nil {
		return err
	}
	stop, err := s.answerPlaces(l)
	if err != nil {
		return err
	}
	defer stop()
	var teller sync.WaitGroup
	defer teller.Wait()
	teller.Go(func() { s.tell(term, l, lease, m) })
	teller.Go(func() { s.foretell(term, l) })
	for {
		select {
		case <-term.Done():
			return nil
		case l.slots <- struct{}{}:
		}
		key, ok := s.await(term, l)
		if !ok {
			<-l.slots
			return nil
		}
		l.running.Go(func() {
			defer func() { <-l.slots }()
			t, notBefore := s.send(ctx, l, lease, key)
			l.finish(key, t, notBefore, time.Now())
		})
	}
}

// errBehind says that the watch of the records does not get as far as they were.
var errBehind = errors.New("the records are not all known yet")

// catchUp waits until everything is known that was acknowledged before now: also what the dispatcher before has sent. It fails with
// errBehind when that takes longer than catchUpWait.
func (s *Service) catchUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, catchUpWait, errBehind)
	defer cancel()
	last, err := s.o.Bus.LastChange(ctx)
	if err != nil {
		return err
	}
	for s.followed.Load() < last || !s.ready.Load() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(catchUpTick):
		}
	}
	return nil
}

// await returns the next task whose turn it is; false when ctx ends.
func (s *Service) await(ctx context.Context, l *lane) (events.Key, bool) {
	for {
		now := time.Now()
		outside := s.outside(l, now)
		key, ok, wait := l.queue.Next(now, outside)
		if ok {
			return key, true
		}
		if outside.Blocked != nil && (wait == 0 || wait > stoppedWait) {
			wait = stoppedWait
		}
		var timer <-chan time.Time
		if wait > 0 {
			timer = time.After(wait)
		}
		select {
		case <-ctx.Done():
			return events.Key{}, false
		case <-l.wake:
		case <-timer:
		}
	}
}

// send takes one task through intent, paid request and report. It returns the record as it then is, nil if that is not known, and a
// time before which the task is not tried again.
func (s *Service) send(ctx context.Context, l *lane, lease *bus.Lease, key events.Key) (*events.Task, time.Time) {
	log := s.log.With("task", key, "lane", l.Name)
	later := time.Now().Add(unsentWait)
	t, err := s.book.Get(ctx, key)
	if errors.Is(err, bus.ErrNotFound) {
		l.see(key, nil, 0, time.Now())
		return nil, later
	}
	if err != nil {
		return nil, later
	}
	if t.Phase != events.PhaseWaiting {
		return &t, later
	}
	if wait := l.brake(); wait > 0 {
		s.metrics.submits.WithLabelValues(l.Name, "braked").Inc()
		l.queue.Backoff(time.Now().Add(wait))
		return &t, time.Time{}
	}
	input, err := s.input(ctx, t)
	if err != nil {
		log.Warn("input", "error", err)
		l.unsent()
		return &t, later
	}
	now := time.Now().UTC()
	hold, heldTo := s.reserve(ctx, l, &t, now)
	if !heldTo.IsZero() {
		return &t, heldTo
	}
	e := journal.Entry{Owner: nuid.Next(), Project: key.Project, TaskID: key.ID, Attempt: task.NextAttempt(t), At: now}
	callbackURL := s.callbackURL(l, t, e)
	req, renderErr := l.Driver.Render(t, input, callbackURL)
	sum := sha256.Sum256(req.Body)
	// Written down before the intent: if this process dies in between, the next can prove that nothing was sent.
	if err := s.o.Journal.Begin(e); err != nil && !errors.Is(err, journal.ErrClaimed) {
		log.Error("nothing is sent without the journal", "error", err)
		l.unsent()
		s.budget.Return(ctx, hold)
		return &t, later
	} else if err != nil {
		s.budget.Return(ctx, hold)
		return s.claimed(ctx, l, key, e), later
	}
	permit, intended, err := s.book.Intend(ctx, key, task.Intent{
		Meta: task.Meta{At: now, By: name}, Owner: e.Owner, BodySHA256: hex.EncodeToString(sum[:]), NotAfter: now.Add(intentLife),
		HoldUSD: expected(t), Callback: callbackURL != "",
	})
	if err == nil && intended.Attempt().N != e.Attempt {
		err = fmt.Errorf("the attempt is number %d, not %d", intended.Attempt().N, e.Attempt)
	}
	if err != nil {
		// Nothing was sent. If the intent is in the record all the same, it is taken back by its owner.
		log.Info("no permit to send", "reason", err)
		l.unsent()
		unsent := journal.Answer{Outcome: journal.NotSent, Error: &events.Error{Message: "the intent was not acknowledged"}}
		s.settleHold(ctx, hold, unsent)
		return s.settle(ctx, e, unsent), later
	}
	if renderErr != nil {
		l.unsent()
		refused := journal.Answer{Outcome: string(provider.Refused), Error: &events.Error{
			Kind: events.KindInvalid, Code: events.CodeInvalidRequest, Message: string(hidden([]byte(renderErr.Error()), callbackURL)),
		}}
		s.settleHold(ctx, hold, refused)
		return orElse(s.settle(ctx, e, refused), &intended), later
	}
	owner := e.Owner
	begun := time.Now()
	reached := false
	reply, err := s.poster.Post(context.WithoutCancel(ctx), permit, req, func(postCtx context.Context) error {
		reached = true
		if err := hold.Fresh(); err != nil {
			return err
		}
		return s.gate(postCtx, ctx, l, lease, key, owner)
	})
	reply, err = withoutURL(reply, err, callbackURL)
	if l.queue.Reached(reached || err == nil, begun, time.Now()) == 1 {
		log.Warn("the provider cannot be reached; it is tried now and then", "error", err)
	}
	answer := s.classify(ctx, l, intended, begun, reply, err)
	if err := s.o.Journal.Answer(owner, answer); err != nil {
		log.Error("the answer to a paid request is not in the journal", "outcome", answer.Outcome, "provider_id", answer.ID, "error", err)
	}
	settled := orElse(s.record(ctx, e, s.submitted(s.trigger(e, answer), intended)), &intended)
	s.settleHold(ctx, hold, answer)
	return settled, time.Time{}
}

// orElse returns the record of an outcome, or that of its intent if the outcome is not recorded.
func orElse(t, intended *events.Task) *events.Task {
	if t == nil {
		return intended
	}
	return t
}

// claimed puts a task in doubt whose next attempt has been sent before, although its record knows nothing of that: a broker has
// forgotten an acknowledged write.
func (s *Service) claimed(ctx context.Context, l *lane, key events.Key, e journal.Entry) (t *events.Task) {
	s.log.Error("the record has forgotten an attempt that was sent; it is in doubt", "task", key, "attempt", e.Attempt)
	l.unsent()
	now := time.Now().UTC()
	_, _, err := s.book.Intend(ctx, key, task.Intent{
		Meta: task.Meta{At: now, By: name}, Owner: e.Owner, NotAfter: now.Add(intentLife),
	})
	if err == nil {
		t, _ = s.report(ctx, key, task.Doubt{Meta: s.meta(), Owner: e.Owner, Err: &provider.Error{
			Kind: events.KindAmbiguous, Code: events.CodeInDoubt, Message: "this attempt was sent before, and the record had forgotten it",
		}})
	}
	return t
}

// gate is asked before the last byte of a paid request leaves.
func (s *Service) gate(ctx, service context.Context, l *lane, lease *bus.Lease, key events.Key, owner string) error {
	if service.Err() != nil {
		return errStopping
	}
	if l.tripped() {
		return errors.New("the breaker of the lane has opened")
	}
	if o := s.outside(l, time.Now()); o.Blocked != nil && !o.Probe {
		return errors.New(o.Blocked.Message)
	}
	if err := lease.Check(); err != nil {
		return err
	}
	if err := s.o.Bus.CheckLane(ctx, l.Name); err != nil {
		return err
	}
	t, err := s.book.Get(ctx, key)
	switch {
	case err != nil:
		return fmt.Errorf("the record cannot be read: %w", err)
	case t.Cancel != nil:
		return errors.New("a cancel was asked for")
	case t.Phase != events.PhaseSubmitting || t.Attempt().Owner != owner:
		return errors.New("the attempt is no longer ours")
	case slices.ContainsFunc(t.Attempts, func(a events.Attempt) bool { return len(a.Ref) > 0 }):
		return errors.New("an earlier attempt turned out to be accepted")
	}
	if err := s.o.Journal.Gate(owner); err != nil {
		return err
	}
	// Once more, at the last: all of this can have taken time, and another may count the requests by now.
	return lease.Check()
}

// input returns the exact bytes that the request gave.
func (s *Service) input(ctx context.Context, t events.Task) (json.RawMessage, error) {
	if t.InputRef == "" {
		return t.Input, nil
	}
	return s.o.Bus.GetObject(ctx, t.InputRef)
}

func (s *Service) meta() task.Meta { return task.Meta{At: time.Now().UTC(), By: name} }
