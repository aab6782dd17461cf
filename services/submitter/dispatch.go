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
	// accountWait holds a lane back whose account was refused for its rate, its balance or its key.
	accountWait = 60 * time.Second
	// reportWait bounds how long an outcome is tried to be recorded after the service was told to stop.
	reportWait = 15 * time.Second
	// maxStrange is how often a record is read again that does not know an attempt which was sent.
	maxStrange = 10
	// reportPause is the longest wait between two tries.
	reportPause = 5 * time.Second
)

// errStopping vetoes what has not left yet when the service stops.
var errStopping = errors.New("the submitter is stopping")

// dispatch sends the waiting tasks of a lane until ctx ends, then waits for those under way.
func (s *Service) dispatch(ctx context.Context, l *lane) error {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		select {
		case <-ctx.Done():
			return nil
		case l.slots <- struct{}{}:
		}
		key, ok := s.await(ctx, l)
		if !ok {
			return nil
		}
		running.Go(func() {
			defer func() { <-l.slots }()
			s.send(ctx, l, key)
		})
	}
}

// await returns the next task whose turn it is; false when ctx ends.
func (s *Service) await(ctx context.Context, l *lane) (events.Key, bool) {
	for {
		wait := stoppedWait
		if s.leave(l) == nil {
			var ok bool
			var key events.Key
			if key, ok, wait = l.next(time.Now()); ok {
				return key, true
			}
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

// send takes one task through intent, paid request and report.
func (s *Service) send(ctx context.Context, l *lane, key events.Key) {
	log := s.log.With("task", key, "lane", l.Name)
	t, err := s.book.Get(ctx, key)
	if err != nil || t.Phase != events.PhaseWaiting {
		s.again(ctx, l, key, err)
		return
	}
	if wait := l.brake(); wait > 0 {
		s.metrics.submits.WithLabelValues(l.Name, "braked").Inc()
		l.hold(time.Now().Add(wait))
		l.set(key, &t)
		return
	}
	input, err := s.input(ctx, t)
	if err != nil {
		log.Warn("input", "error", err)
		l.unsent()
		s.again(ctx, l, key, err)
		return
	}
	now := time.Now().UTC()
	hold, ok := s.reserve(ctx, l, t, now)
	if !ok {
		return
	}
	e := journal.Entry{Owner: nuid.Next(), Project: key.Project, TaskID: key.ID, Attempt: task.NextAttempt(t), At: now}
	callbackURL := s.callbackURL(l, e)
	req, renderErr := l.Driver.Render(t, input, callbackURL)
	sum := sha256.Sum256(req.Body)
	// Written down before the intent: if this process dies in between, the next can prove that nothing was sent.
	if err := s.o.Journal.Begin(e); err != nil && !errors.Is(err, journal.ErrClaimed) {
		log.Error("nothing is sent without the journal", "error", err)
		l.unsent()
		s.budget.Return(ctx, hold)
		s.again(ctx, l, key, err)
		return
	} else if err != nil {
		s.budget.Return(ctx, hold)
		s.claimed(ctx, l, key, e)
		return
	}
	permit, t, err := s.book.Intend(ctx, key, task.Intent{
		Meta: task.Meta{At: now, By: name}, Owner: e.Owner, BodySHA256: hex.EncodeToString(sum[:]), NotAfter: now.Add(intentLife),
		HoldUSD: expected(t), Callback: callbackURL != "",
	})
	if err == nil && t.Attempt().N != e.Attempt {
		err = fmt.Errorf("the attempt is number %d, not %d", t.Attempt().N, e.Attempt)
	}
	if err != nil {
		// Nothing was sent. If the intent is in the record all the same, it is taken back by its owner.
		log.Info("no permit to send", "reason", err)
		l.unsent()
		unsent := journal.Answer{Outcome: journal.NotSent, Error: &events.Error{Message: "the intent was not acknowledged"}}
		s.settle(ctx, e, unsent)
		s.settleHold(ctx, hold, unsent)
		s.again(ctx, l, key, err)
		return
	}
	if renderErr != nil {
		l.unsent()
		refused := journal.Answer{Outcome: string(provider.Refused), Error: &events.Error{
			Kind: events.KindInvalid, Code: events.CodeInvalidRequest, Message: string(hidden([]byte(renderErr.Error()), callbackURL)),
		}}
		s.settle(ctx, e, refused)
		s.settleHold(ctx, hold, refused)
		return
	}
	owner := e.Owner
	reply, err := s.poster.Post(context.WithoutCancel(ctx), permit, req, func(postCtx context.Context) error {
		if err := hold.Fresh(); err != nil {
			return err
		}
		return s.gate(postCtx, ctx, l, key, owner)
	})
	reply, err = withoutURL(reply, err, callbackURL)
	answer := s.classify(l, t.Model, reply, err)
	if err := s.o.Journal.Answer(owner, answer); err != nil {
		log.Error("the answer to a paid request is not in the journal", "outcome", answer.Outcome, "provider_id", answer.ID, "error", err)
	}
	s.settle(ctx, e, answer)
	s.settleHold(ctx, hold, answer)
}

// claimed puts a task in doubt whose next attempt has been sent before, although its record knows nothing of that: a broker has
// forgotten an acknowledged write.
func (s *Service) claimed(ctx context.Context, l *lane, key events.Key, e journal.Entry) {
	s.log.Error("the record has forgotten an attempt that was sent; it is in doubt", "task", key, "attempt", e.Attempt)
	l.unsent()
	now := time.Now().UTC()
	_, _, err := s.book.Intend(ctx, key, task.Intent{
		Meta: task.Meta{At: now, By: name}, Owner: e.Owner, NotAfter: now.Add(intentLife),
	})
	if err == nil {
		s.report(ctx, key, task.Doubt{Meta: s.meta(), Owner: e.Owner, Err: &provider.Error{
			Kind: events.KindAmbiguous, Code: events.CodeInDoubt, Message: "this attempt was sent before, and the record had forgotten it",
		}})
	}
	s.again(ctx, l, key, err)
}

// settle brings an outcome to its record, and tells the journal when it is there.
func (s *Service) settle(ctx context.Context, e journal.Entry, a journal.Answer) {
	if !s.report(ctx, e.Key(), s.trigger(e, a)) {
		return // it stays in the journal, for the next start
	}
	if err := s.o.Journal.Done(e.Owner); err != nil {
		s.log.Warn("journal", "task", e.Key(), "error", err)
	}
}

// recover settles what a former process left open: answers that did not reach their record, requests that provably did not
// leave, and requests of which nobody knows.
func (s *Service) recover(ctx context.Context) {
	for _, e := range s.o.Journal.Pending() {
		a := journal.Answer{Outcome: journal.NotSent, Error: &events.Error{Message: "its process died before the request was complete"}}
		switch {
		case e.Answer != nil:
			a = *e.Answer
		case e.Gated:
			a = journal.Answer{Outcome: string(provider.InDoubt), Error: &events.Error{
				Code: events.CodeInDoubt, Kind: events.KindAmbiguous, Message: "its process died while the request was out",
			}}
		}
		s.log.Warn("settling a paid request of a former process", "task", e.Key(), "attempt", e.Attempt, "outcome", a.Outcome, "provider_id", a.ID)
		s.settle(ctx, e, a)
	}
}

// gate is asked before the last byte of a paid request leaves.
func (s *Service) gate(ctx, service context.Context, l *lane, key events.Key, owner string) error {
	if service.Err() != nil {
		return errStopping
	}
	if l.tripped() {
		return errors.New("the breaker of the lane has opened")
	}
	if err := s.leave(l); err != nil {
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
	return s.o.Journal.Gate(owner)
}

// classify turns what came back into an outcome, and lets the lane learn from it.
func (s *Service) classify(l *lane, model string, reply provider.Reply, err error) journal.Answer {
	answer := provider.Answer{Outcome: provider.InDoubt}
	switch {
	case errors.Is(err, paid.ErrNotSent):
		s.metrics.submits.WithLabelValues(l.Name, journal.NotSent).Inc()
		l.unsent()
		return journal.Answer{Outcome: journal.NotSent, Error: &events.Error{Message: err.Error()}, Wait: unsentWait}
	case err != nil:
		answer.Err = &provider.Error{Kind: events.KindAmbiguous, Code: events.CodeInDoubt, Message: err.Error()}
	default:
		answer = l.Driver.Classify(model, reply)
	}
	s.metrics.submits.WithLabelValues(l.Name, string(answer.Outcome)).Inc()
	l.learn(answer.Outcome)
	a := journal.Answer{Outcome: string(answer.Outcome), Ref: answer.Ref, ID: answer.ID}
	if answer.Err != nil {
		a.Error = answer.Err.Event()
	}
	if answer.Outcome == provider.Refused {
		a.Wait = s.holdBack(l, answer.Err)
	}
	return a
}

// trigger is an outcome as the machine takes it.
func (s *Service) trigger(e journal.Entry, a journal.Answer) task.Trigger {
	switch a.Outcome {
	case string(provider.Accepted):
		return task.Accepted{Meta: s.meta(), Attempt: e.Attempt, Owner: e.Owner, Ref: a.Ref, ID: a.ID, Source: "reply"}
	case string(provider.Refused):
		return task.Refused{Meta: s.meta(), Owner: e.Owner, Err: provider.FromEvent(a.Error), Wait: a.Wait}
	case journal.NotSent:
		return task.Release{Meta: s.meta(), Owner: e.Owner, Reason: a.Error.Message, Wait: a.Wait}
	default:
		return task.Doubt{Meta: s.meta(), Owner: e.Owner, Err: provider.FromEvent(a.Error)}
	}
}

// holdBack says how long a refused task waits, and holds the whole lane back when the refusal is one of the account.
func (s *Service) holdBack(l *lane, e *provider.Error) time.Duration {
	switch e.Kind {
	case events.KindRateLimited, events.KindQuota, events.KindAuth:
		wait := accountWait
		if e.RetryAfter > 0 {
			wait = e.RetryAfter
		}
		l.hold(time.Now().Add(wait))
		s.metrics.held.WithLabelValues(l.Name, string(e.Kind)).Inc()
		s.log.Warn("the provider refuses the account; the lane waits", "lane", l.Name, "kind", e.Kind, "code", e.Code,
			"reason", e.Message, "wait", wait)
		return wait
	case events.KindRetry:
		return refusedWait
	}
	return 0
}

// report records an outcome and says whether it is recorded. It does not give up while the service runs: the answer to a paid
// request is worth money.
func (s *Service) report(ctx context.Context, key events.Key, tr task.Trigger) bool {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-time.After(reportWait):
			cancel()
		case <-work.Done():
		}
	})
	defer stop()
	strange := 0
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, reportPause) {
		c, err := s.book.Apply(work, key, tr)
		if err == nil && recorded(c.Task, tr) {
			return true
		}
		if err == nil {
			if strange++; strange > maxStrange {
				return s.orphan(key, tr)
			}
			err = errors.New("the record that was read does not know the attempt")
		}
		if errors.Is(err, bus.ErrNotFound) {
			return s.orphan(key, tr)
		}
		s.log.Error("outcome of a submit is not recorded yet", "task", key, "outcome", fmt.Sprintf("%T", tr), "error", err)
		select {
		case <-work.Done():
			return false
		case <-time.After(wait):
		}
	}
}

// recorded reports whether a record shows what a trigger has brought. A step that changes nothing may have read a record from
// before the intent; an id that was paid for is not done with by that.
func recorded(t events.Task, tr task.Trigger) bool {
	a, ok := tr.(task.Accepted)
	return !ok || slices.ContainsFunc(t.Attempts, func(at events.Attempt) bool { return at.N == a.Attempt && len(at.Ref) > 0 })
}

// orphan is an outcome whose task has no record. What may have been paid for stays in the journal: the broker may be the
// wrong one, or have lost its store, and the next start tries again.
func (s *Service) orphan(key events.Key, tr task.Trigger) bool {
	switch tr.(type) {
	case task.Release, task.Refused:
		return true
	}
	s.metrics.orphans.Inc()
	s.log.Error("a paid request belongs to a task or attempt that this broker does not know; it stays in the journal", "task", key)
	return false
}

// again puts a task back in line whose record could not be read or written; if it is no longer waiting, the next look at it
// shows that.
func (s *Service) again(ctx context.Context, l *lane, key events.Key, err error) {
	if err == nil || errors.Is(err, bus.ErrNotFound) || ctx.Err() != nil {
		return
	}
	t, getErr := s.book.Get(ctx, key)
	if getErr != nil {
		t = events.Task{ID: key.ID, Project: key.Project, Phase: events.PhaseWaiting}
	}
	later := time.Now().Add(unsentWait)
	if t.NotBefore == nil || t.NotBefore.Before(later) {
		t.NotBefore = &later
	}
	l.set(key, &t)
}

// input returns the exact bytes that the request gave.
func (s *Service) input(ctx context.Context, t events.Task) (json.RawMessage, error) {
	if t.InputRef == "" {
		return t.Input, nil
	}
	return s.o.Bus.GetObject(ctx, t.InputRef)
}

func (s *Service) meta() task.Meta { return task.Meta{At: time.Now().UTC(), By: name} }
