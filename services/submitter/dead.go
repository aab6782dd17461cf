package submitter

import (
	"context"
	"errors"

	"reelay/events"
	"reelay/internal/bus"
)

// deadInFlight bounds how many dead requests are answered at once.
const deadInFlight = 4

// answerDead tells the sender of a request or command that it could not be processed. Whoever gave the message up, a
// dead letter in REELAY_DEAD says so, so no way to die goes unanswered.
func (s *Service) answerDead(ctx context.Context, m bus.Message) bus.Outcome {
	l, err := events.DecodeDeadLetter(m.Header, m.Data)
	if err != nil {
		return bus.Terminate(err.Error())
	}
	k, ok := l.Key()
	if !ok { // it was gone before it could be copied: nobody knows whose it was
		return bus.Done()
	}
	t, err := s.store.Get(ctx, k)
	switch {
	case err == nil && l.IsRequest() && t.CreatedAt.Equal(l.StoredAt):
		return bus.Done() // it had become a task before it died, and the task goes on
	case err != nil && !errors.Is(err, bus.ErrNotFound):
		return s.answerLater(ctx, k, err)
	}
	r := &rejection{key: k, err: &events.Error{
		Code: events.CodeInternal, Kind: events.KindInternal, Charge: events.ChargeNone,
		Message: "reelay could not process the message; it is kept in " + events.StreamDead + " for an operator",
	}}
	r.batch, r.batchSize = l.Batch()
	if err := s.reject(ctx, bus.Message{Header: l.Header, Data: l.Body, Time: m.Time}, r); err != nil {
		return s.answerLater(ctx, k, err)
	}
	return bus.Done()
}

func (s *Service) answerLater(ctx context.Context, k events.Key, err error) bus.Outcome {
	s.log.WarnContext(ctx, "the sender of a dead message could not be answered yet; it is tried again", "task", k, "error", err)
	return bus.RetryAfter(maxIntakeDelay)
}
