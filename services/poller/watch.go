package poller

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/provider"
	"reelay/internal/task"
)

const (
	// storeWait is when a message is tried again whose effect could not be stored.
	storeWait = 2 * time.Second
	// headerMarker is set on the marker that an expired due message leaves behind. It is a heartbeat that nobody heard in time.
	headerMarker = "Nats-Marker-Reason"
	// maxCancelWait bounds one call of a provider's cancel.
	maxCancelWait = 30 * time.Second
)

// watch is one tick of a task's poll clock.
func (s *Service) watch(ctx context.Context, m bus.Message) bus.Verdict {
	laneName, key, err := events.ParseWatchSubject(m.Subject)
	if err != nil {
		return bus.Drop(err.Error())
	}
	l, ok := s.lanes[laneName]
	if !ok {
		return bus.Drop("no such lane here")
	}
	t, err := s.book.Get(ctx, key)
	switch {
	case errors.Is(err, bus.ErrNotFound):
		return bus.Done() // the record has expired
	case err != nil:
		return s.later(key, err)
	}
	t, err = s.look(ctx, l, t)
	switch {
	case err != nil:
		return s.later(key, err)
	case !task.Wants(t).Watch:
		return bus.Done()
	case t.Phase == events.PhaseDone:
		return bus.Again(max(lateInterval, l.Interval))
	}
	return bus.Again(jittered(s.nextLook(l, t, time.Now(), 1)))
}

// heartbeat acts on what is overdue.
func (s *Service) heartbeat(ctx context.Context, m bus.Message) bus.Verdict {
	key, err := events.ParseDueSubject(m.Subject)
	if err != nil {
		return bus.Drop(err.Error())
	}
	t, err := s.book.Get(ctx, key)
	if errors.Is(err, bus.ErrNotFound) {
		return bus.Done()
	}
	if err == nil && m.Get(headerMarker) != "" && t.Phase == events.PhaseDone && !t.Unannounced {
		return bus.Done() // the last heartbeat of an ended task has expired
	}
	if err == nil {
		s.metrics.heartbeats.Inc()
		t, err = s.resolve(ctx, t)
	}
	if err == nil {
		t, err = s.due(ctx, t) // after the search: what it has just shown counts
	}
	if l := s.lanes[t.Account]; err == nil && l != nil {
		_, err = s.askCancel(ctx, l, t)
	}
	if err != nil {
		return s.later(key, err)
	}
	return bus.Done()
}

func (s *Service) later(key events.Key, err error) bus.Verdict {
	s.log.Warn("step is not stored yet", "task", key, "error", err)
	return bus.Again(storeWait)
}

// due applies a heartbeat and returns the record as it then is.
func (s *Service) due(ctx context.Context, t events.Task) (events.Task, error) {
	tr := task.Due{Meta: s.meta()}
	if l := s.lanes[t.Account]; l != nil {
		tr.Horizon = l.Horizon(t)
		if l.Driver.Features(t.Model).List {
			tr.Listings = l.Listings
		}
	}
	c, err := s.book.Apply(ctx, t.Key(), tr)
	return c.Task, err
}

// look asks the provider about one task and records what is new. It returns the record as it then is.
func (s *Service) look(ctx context.Context, l *lane, t events.Task) (events.Task, error) {
	var err error
	if t.Phase == events.PhaseDone && !task.Wants(t).Watch || task.Overdue(t, time.Now()) {
		// On an ended task this stores the events that a crash may have left out.
		if t, err = s.due(ctx, t); err != nil {
			return t, err
		}
	}
	if t, err = s.askCancel(ctx, l, t); err != nil {
		return t, err
	}
	if !task.Wants(t).Watch {
		return t, nil
	}
	begin := time.Now()
	snap, err := l.looks.WithContext(ctx).GetWithExecution(func(e failsafe.Execution[provider.Snapshot]) (provider.Snapshot, error) {
		return l.Driver.Look(e.Context(), t.ProviderRef)
	})
	s.metrics.duration.WithLabelValues(l.Name).Observe(time.Since(begin).Seconds())
	if errors.Is(err, circuitbreaker.ErrOpen) {
		s.metrics.looks.WithLabelValues(l.Name, "skipped").Inc()
		return t, nil
	}
	if ctx.Err() != nil {
		return t, ctx.Err() // we are stopping: the look says nothing
	}
	var tr task.Trigger
	if err != nil {
		e := provider.AsError(err)
		s.metrics.looks.WithLabelValues(l.Name, string(e.Kind)).Inc()
		s.log.Info("look failed", "task", t.Key(), "kind", e.Kind, "code", e.Code, "reason", e.Message)
		tr = task.LookFailed{Meta: s.meta(), Err: e}
	} else {
		s.metrics.looks.WithLabelValues(l.Name, "ok").Inc()
		if tr, err = s.observed(ctx, snap); err != nil {
			return t, err
		}
	}
	c, err := s.book.Apply(ctx, t.Key(), tr)
	if err == nil && c.Written && c.Task.Status.Terminal() {
		s.metrics.ended.WithLabelValues(l.Name, string(c.Task.Status)).Inc()
		s.log.Info("ended", "task", t.Key(), "status", c.Task.Status, "after", c.Task.CompletedAt.Sub(c.Task.CreatedAt))
		s.learn(l, c.Task)
	}
	return c.Task, err
}

// askCancel asks the provider to cancel, if the record wants that.
func (s *Service) askCancel(ctx context.Context, l *lane, t events.Task) (events.Task, error) {
	if !task.AskCancelNow(t, time.Now()) {
		return t, nil
	}
	callCtx, cancel := context.WithTimeout(ctx, maxCancelWait)
	defer cancel()
	outcome, err := l.Driver.Cancel(callCtx, t.ProviderRef)
	if ctx.Err() != nil {
		return t, ctx.Err()
	}
	tr := task.CancelAnswered{Meta: s.meta(), Outcome: outcome}
	if err != nil {
		tr.Err = provider.AsError(err)
	}
	s.log.Info("cancel asked", "task", t.Key(), "outcome", outcome, "error", err)
	c, err := s.book.Apply(ctx, t.Key(), tr)
	return c.Task, err
}

func (s *Service) meta() task.Meta { return task.Meta{At: time.Now().UTC(), By: name} }

// jittered spreads looks by up to a tenth, so that tasks submitted together are not looked at together for ever.
func jittered(d time.Duration) time.Duration {
	return d + time.Duration((rand.Float64()-0.5)*0.2*float64(d))
}
