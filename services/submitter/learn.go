package submitter

import (
	"context"
	"errors"
	"slices"
	"time"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/dispatch"
	"reelay/internal/journal"
	"reelay/internal/paid"
	"reelay/internal/provider"
)

const (
	// accountWait is how long a lane is paused whose account the provider refuses for its balance or its key. It doubles each time the
	// provider still does, up to maxAccountWait.
	accountWait    = time.Minute
	maxAccountWait = time.Hour
)

// classify turns what came back into an outcome, and lets the lane learn from it.
func (s *Service) classify(ctx context.Context, l *lane, t events.Task, begun time.Time, reply provider.Reply, err error) journal.Answer {
	answer := provider.Answer{Outcome: provider.InDoubt}
	switch {
	case errors.Is(err, paid.ErrNotSent):
		s.metrics.submits.WithLabelValues(l.Name, journal.NotSent).Inc()
		return journal.Answer{Outcome: journal.NotSent, Error: &events.Error{
			Message: provider.Clip(err.Error(), events.MaxMessageBytes), // it may repeat what a stranger sent
		}, Wait: unsentWait}
	case err != nil:
		answer.Err = &provider.Error{Kind: events.KindAmbiguous, Code: events.CodeInDoubt, Message: err.Error()}
	default:
		answer = l.Driver.Classify(t.Model, reply)
	}
	s.metrics.submits.WithLabelValues(l.Name, string(answer.Outcome)).Inc()
	l.breaker.record(answer.Outcome)
	a := journal.Answer{Outcome: string(answer.Outcome), Ref: answer.Ref, ID: answer.ID}
	if answer.Err != nil {
		a.Error = answer.Err.Event()
	}
	switch answer.Outcome {
	case provider.Accepted:
		l.accepted(t.Key())
		if l.Handshake && provesURL(t) && l.silence(time.Now()) {
			s.log.Warn("the provider does not take our callback URL: is the webhook edge reachable, with the same REELAY_CALLBACK_KEY?",
				"lane", l.Name, "task", t.Key(), "without_for", muteWait)
		}
		s.endPause(ctx, l)
	case provider.Refused:
		a.Wait = s.holdBack(ctx, l, t, begun, answer.Err)
		// A provider that calls the URL back before it accepts refuses the task if our edge is away.
		a.WithoutCallback = l.Handshake && t.Attempt().Callback && answer.Err.Kind == events.KindInvalid
	}
	return a
}

// holdBack says how long a refused task waits, and holds back what the refusal is about: the models of its family, or the whole lane.
func (s *Service) holdBack(ctx context.Context, l *lane, t events.Task, begun time.Time, e *provider.Error) time.Duration {
	switch e.Kind {
	case events.KindRateLimited:
		wait := l.refused(t.Key(), begun, slices.Contains(l.ConcurrencyCodes, e.Code), e.RetryAfter)
		s.metrics.held.WithLabelValues(l.Name, string(e.Kind)).Inc()
		s.log.Warn("the provider wants fewer requests", "lane", l.Name, "task", t.Key(), "code", e.Code, "reason", e.Message, "wait", wait)
		s.endPause(ctx, l)
		return dispatch.RetryDelay(t, wait)
	case events.KindQuota, events.KindAuth:
		s.metrics.held.WithLabelValues(l.Name, string(e.Kind)).Inc()
		// Others go before it when the lane is tried again: it may be the only one that is refused.
		return s.pauseAccount(ctx, l, begun, e) + refusedWait
	case events.KindRetry:
		return refusedWait
	}
	s.endPause(ctx, l)
	return 0
}

// pauseAccount pauses a lane whose account the provider refuses, and returns until when.
func (s *Service) pauseAccount(ctx context.Context, l *lane, begun time.Time, e *provider.Error) time.Duration {
	now := time.Now()
	old, revision := s.switches.of(l.Name)
	switch {
	case old.Paused && old.Until.IsZero():
		return accountWait // by a person, who also ends it
	case old.Paused && begun.Before(old.Until):
		return old.Until.Sub(now) // it was on its way already when another was refused
	}
	wait := max(min(accountWait<<min(old.Tries, 16), maxAccountWait), min(e.RetryAfter, maxAccountWait))
	w := events.LanePause{
		Paused: true, Reason: e.Error(), By: events.LaneWriter, At: now.UTC().Truncate(time.Second),
		Until: now.UTC().Add(wait), Tries: old.Tries + 1,
	}
	s.log.Error("the provider refuses the account; the lane is paused", "lane", l.Name, "kind", e.Kind, "code", e.Code, "reason", e.Message,
		"wait", wait, "times", w.Tries)
	s.setSwitch(ctx, l, w, revision)
	return wait
}

// endPause ends a pause that the provider's refusal was the reason for, now that it has taken a request or refused it for what it is.
func (s *Service) endPause(ctx context.Context, l *lane) {
	old, revision := s.switches.of(l.Name)
	if !old.Probing(time.Now()) {
		return
	}
	s.log.Warn("the provider accepts the account again; the lane goes on", "lane", l.Name)
	s.setSwitch(ctx, l, events.LanePause{
		Reason: "the provider accepts the account again", By: events.LaneWriter, At: time.Now().UTC().Truncate(time.Second),
	}, revision)
}

// setSwitch sets the switch of a lane in reelay's own name, unless a person has set it meanwhile.
func (s *Service) setSwitch(ctx context.Context, l *lane, w events.LanePause, revision uint64) {
	revision, err := s.o.Bus.SetLane(context.WithoutCancel(ctx), l.Name, w, revision)
	switch {
	case errors.Is(err, bus.ErrConflict):
		return
	case err != nil:
		// Nobody else knows of it, but this process sends nothing for a while.
		s.log.Error("switch of a lane", "lane", l.Name, "error", err)
		if w.Paused {
			l.queue.Backoff(w.Until)
		}
		return
	}
	s.switches.put(bus.LaneUpdate{Lane: l.Name, Revision: revision, Pause: &w})
	nudge(l.wake)
	nudge(l.news)
}
