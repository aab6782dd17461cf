package submitter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/journal"
	"reelay/internal/provider"
	"reelay/internal/task"
)

const (
	// reportWait bounds how long an outcome is tried to be recorded after the service was told to stop.
	reportWait = 15 * time.Second
	// maxRereads is how often a record is read again that cannot be read, or does not know an attempt that was sent.
	maxRereads = 10
	// reportPause is the longest wait between two tries.
	reportPause = 5 * time.Second
)

// errUnknownAttempt says that a record does not know an attempt that was sent.
var errUnknownAttempt = errors.New("the record that was read does not know the attempt")

// settle brings an outcome to its record, and tells the journal when it is there. It returns the record as it then is,
// nil if that is not known.
func (s *Service) settle(ctx context.Context, e journal.Entry, a journal.Answer) *events.Task {
	return s.recordOutcome(ctx, e, s.trigger(e, a))
}

// recordOutcome is settle for an outcome as the machine takes it.
func (s *Service) recordOutcome(ctx context.Context, e journal.Entry, tr task.Trigger) *events.Task {
	t, ok := s.report(ctx, e.Key(), tr)
	if !ok {
		return nil // it stays in the journal, for the next start
	}
	if err := s.o.Journal.Done(e.Owner); err != nil {
		s.log.WarnContext(ctx, "a recorded outcome could not be taken out of the journal; it is recorded again at the next start", "task",
			e.Key(), "error", err)
	}
	return t
}

// recover settles what a former process left open: answers that did not reach their record, requests that provably did
// not leave, and requests of which nobody knows.
func (s *Service) recover(ctx context.Context) {
	for _, e := range s.o.Journal.Pending() {
		a := journal.Answer{
			Outcome: journal.NotSent,
			Error:   &events.Error{Message: "its process died before the request was complete"},
		}
		switch {
		case e.Answer != nil:
			a = s.answerOf(e)
		case e.Gated:
			a = journal.Answer{Outcome: string(provider.InDoubt), Error: &events.Error{
				Code: events.CodeInDoubt, Kind: events.KindAmbiguous, Message: "its process died while the request was out",
			}}
		}
		s.log.WarnContext(ctx, "settling a paid request of a former process", "task", e.Key(), "attempt", e.Attempt, "outcome", a.Outcome,
			"provider_id", a.ID)
		s.settle(ctx, e, a)
	}
	s.replay(ctx)
}

// answerOf returns what a request was answered with, its result included.
func (s *Service) answerOf(e journal.Entry) journal.Answer {
	a := *e.Answer
	var err error
	if a.Result, err = s.o.Journal.Result(e); err != nil {
		s.log.Error("the result that a paid request was answered with is lost", "task", e.Key(), "error", err)
		a.Result = json.RawMessage("lost")
	}
	return a
}

// trigger is an outcome as the machine takes it.
func (s *Service) trigger(e journal.Entry, a journal.Answer) task.Trigger {
	switch a.Outcome {
	case string(provider.Accepted):
		return task.Accepted{
			Meta: s.meta(), Attempt: e.Attempt, Owner: e.Owner, Lane: e.Lane, Ref: a.Ref, ID: a.ID,
			Source: events.SourceReply, Result: provider.ReadResult(a.Result),
		}
	case string(provider.Refused):
		return task.Refused{
			Meta: s.meta(), Owner: e.Owner, Err: provider.FromEvent(a.Error), Wait: a.Wait,
			WithoutCallback: a.WithoutCallback,
		}
	case journal.NotSent:
		return task.Release{Meta: s.meta(), Owner: e.Owner, Reason: a.Error.Message, Wait: a.Wait}
	default:
		return task.Doubt{Meta: s.meta(), Owner: e.Owner, Err: provider.FromEvent(a.Error), Answer: a.Body}
	}
}

// report records an outcome, says whether it is recorded and returns the record, nil if there is none. It does not give
// up while the service runs: the answer to a paid request is worth money.
func (s *Service) report(ctx context.Context, key events.Key, tr task.Trigger) (*events.Task, bool) {
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
	rereads, fits := 0, false
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, reportPause) {
		var c task.Change
		var err error
		if !fits {
			tr, err = s.fit(work, key, tr)
		}
		if fits = err == nil; fits {
			c, err = s.store.Apply(work, key, tr)
		}
		switch {
		case err == nil && recorded(c.Task, tr):
			return &c.Task, true
		case err == nil:
			err = errUnknownAttempt
			rereads++
		case errors.Is(err, bus.ErrUnreadable):
			rereads++
		}
		if errors.Is(err, bus.ErrNotFound) || rereads > maxRereads {
			return nil, s.orphaned(ctx, key, tr, err)
		}
		s.log.ErrorContext(ctx, "the outcome of a paid request could not be recorded yet; it is tried again", "task", key, "outcome",
			fmt.Sprintf("%T", tr), "error", err)
		select {
		case <-work.Done():
			return nil, false
		case <-time.After(wait):
		}
	}
}

// fit stores what an answer has brought that is too large for the record.
func (s *Service) fit(ctx context.Context, key events.Key, tr task.Trigger) (task.Trigger, error) {
	a, ok := tr.(task.Accepted)
	if !ok || a.Result == nil {
		return tr, nil
	}
	t, err := s.store.Get(ctx, key)
	if err != nil {
		return tr, err
	}
	snap, rawRef, err := s.store.Fit(ctx, t, *a.Result)
	if err == nil {
		a.Result, a.RawRef = &snap, rawRef
	}
	return a, err
}

// recorded reports whether a record shows what a trigger has brought. A step that changes nothing may have read a
// record from before the intent; an id that was paid for is not done with by that.
func recorded(t events.Task, tr task.Trigger) bool {
	a, ok := tr.(task.Accepted)
	return !ok || slices.ContainsFunc(t.Attempts,
		func(at events.Attempt) bool { return at.N == a.Attempt && len(at.Ref) > 0 })
}

// orphaned reports whether an outcome that can reach no record is done with: where nothing was paid for. Any other
// stays in the journal: the broker may be the wrong one, or have lost its store, and the next start tries again.
func (s *Service) orphaned(ctx context.Context, key events.Key, tr task.Trigger, err error) bool {
	switch tr.(type) {
	case task.Release, task.Refused:
		if !errors.Is(err, bus.ErrUnreadable) {
			return true
		}
	}
	s.metrics.orphaned.Inc()
	s.log.ErrorContext(ctx, "the outcome of a paid request has no record that it belongs to; it stays in the journal", "task", key,
		"error", err)
	return false
}

// withEstimate adds to an acceptance when the task will end, as it is expected then; t is its record as the request was
// sent.
func (s *Service) withEstimate(tr task.Trigger, t events.Task) task.Trigger {
	a, ok := tr.(task.Accepted)
	if !ok || a.Result != nil {
		return tr
	}
	t.Phase, t.SubmittedAt = events.PhaseProviderQueued, &a.At
	if e, ok := s.learner.Forecast(t).Estimate(t, a.At, events.Position{}); ok {
		a.Estimate = &e
	}
	return a
}
