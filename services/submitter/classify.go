package submitter

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"reelay/events"
	"reelay/internal/journal"
	"reelay/internal/paid"
	"reelay/internal/provider"
	"reelay/internal/task"
)

// classify turns what came back into an outcome. The breaker, the limits and the pause of the lane follow from it.
func (a *attempt) classify(ctx context.Context, begun time.Time, reply provider.Reply, err error) journal.Answer {
	l, t := a.lane, a.task
	answer := provider.Answer{Outcome: provider.InDoubt}
	switch {
	case errors.Is(err, paid.ErrNotSent):
		a.metrics.submits.WithLabelValues(l.Name, journal.NotSent).Inc()
		return journal.Answer{Outcome: journal.NotSent, Error: &events.Error{
			Message: provider.Clip(err.Error(), events.MaxMessageBytes), // it may repeat what a stranger sent
		}, Wait: unsentWait}
	case err != nil:
		answer.Err = &provider.Error{Kind: events.KindAmbiguous, Code: events.CodeInDoubt, Message: err.Error()}
	default:
		answer = l.Driver.Classify(t.Model, a.request.Body, reply)
	}
	a.metrics.submits.WithLabelValues(l.Name, string(answer.Outcome)).Inc()
	l.breaker.Record(a.pass, answer.Outcome)
	l.ramp.Answered(answer.Outcome != provider.InDoubt, time.Now())
	result := journal.Answer{
		Outcome: string(answer.Outcome), Ref: answer.Ref, ID: answer.ID,
		Body: provider.Clip(string(answer.Body), events.MaxAnswerBytes),
	}
	if answer.Err != nil {
		result.Error = answer.Err.Event()
	}
	if answer.Result != nil {
		if result.Result, err = json.Marshal(answer.Result); err != nil {
			a.log.ErrorContext(ctx, "the result that came with an answer cannot be kept", "error", err)
		}
	}
	switch answer.Outcome {
	case provider.Accepted:
		l.accepted(t.Key())
		if l.Handshake && task.ProvesURL(t) && l.disableCallbacks(time.Now()) {
			a.log.WarnContext(ctx, "the provider does not accept our callback URL: is the webhook service reachable, with the same "+
				"REELAY_CALLBACK_KEY?", "without_for", callbacksDisabledFor)
		}
		a.endPause(ctx, l)
	case provider.Refused:
		result.Wait = a.backoff(ctx, l, t, begun, answer.Err)
		// A provider that calls the URL back before it accepts refuses the task if our webhook is unreachable.
		result.WithoutCallback = l.Handshake && t.Attempt().Callback && answer.Err.Kind == events.KindInvalid
	}
	return result
}

// backoff says how long a refused task waits, and pauses what the refusal is about: the limit group of its model (after
// a 429, say), or the whole lane (for the account's key or balance).
func (s *Service) backoff(ctx context.Context, l *lane, t events.Task, begun time.Time,
	e *provider.Error,
) time.Duration {
	switch e.Kind {
	case events.KindRateLimited:
		wait, own := l.rateLimited(t, begun, slices.Contains(l.ConcurrencyCodes, e.Code), e.RetryAfter)
		s.metrics.backoffs.WithLabelValues(l.Name, string(e.Kind)).Inc()
		s.log.WarnContext(ctx, "the provider refused a request for its rate; its limit group is paused",
			"lane", l.Name, "task", t.Key(), "code", e.Code, "reason", e.Message, "wait", wait)
		s.endPause(ctx, l)
		return own
	case events.KindQuota, events.KindAuth, events.KindAddress:
		s.metrics.backoffs.WithLabelValues(l.Name, string(e.Kind)).Inc()
		wait := s.pauseAccount(ctx, l, begun, e)
		if t.Group != "" { // the others of its group have accounts of their own
			return refusedWait
		}
		// Others go before it when the lane is tried again: it may be the only one that is refused.
		return wait + refusedWait
	case events.KindRetry:
		return refusedWait
	}
	s.endPause(ctx, l)
	return 0
}
