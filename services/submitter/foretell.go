package submitter

import (
	"context"
	"time"

	"reelay/events"
	"reelay/internal/dispatch"
	"reelay/internal/forecast"
	"reelay/internal/task"
)

const (
	// At most maxTold tasks of a lane are told their place each foretellEvery.
	foretellEvery = time.Second
	maxTold       = 5
	// foretellIdle is how soon a lane looks again at the latest, if again and again nobody was to be told.
	foretellIdle = 5 * time.Second
)

// foretell tells the waiting tasks of a lane their places, and when they will end, until ctx ends. It delays no send, and what cannot
// be told now is told later.
func (s *Service) foretell(ctx context.Context, l *lane) {
	for wait := foretellEvery; ; wait = min(2*wait, foretellIdle) {
		// While something keeps the whole lane no place moves, and nobody knows when it will.
		if now := time.Now(); l.queue.Stopped(now, s.outside(l, now)) == nil && s.tellPlaces(ctx, l, l.queue.Scan(now)) > 0 {
			wait = foretellEvery
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// left says when a task of a class will end that stands there; nil where nothing can be said.
func (s *Service) left(c forecast.Class, p events.Position, now time.Time) *events.Estimate {
	e, ok := s.learner.Of(c).Estimate(events.Task{Phase: events.PhaseWaiting}, now, p)
	if !ok {
		return nil
	}
	return &e
}

// tellPlaces tells those of some tasks their places who have not been told about the same before, for as long as a look is to the next, and
// returns how many.
func (s *Service) tellPlaces(ctx context.Context, l *lane, some []dispatch.Waiting) (told int) {
	ctx, cancel := context.WithTimeout(ctx, foretellEvery)
	defer cancel()
	o := l.queue.Estimator(time.Now(), dispatch.Outside{})
	for _, w := range some {
		p, ok := o.Position(w.Key)
		if !ok || p.Ahead < l.queue.MinAnnounced() || p.Blocked != nil && !p.Blocked.Reason.Ends() { // also if it is being sent: its place is 0
			continue
		}
		tr := task.Placed{
			Meta: s.meta(), Position: events.QueuePosition{Ours: &p.Ahead, Total: &p.Ahead}, Estimate: s.left(w.Class, p, time.Now()),
		}
		if !w.Announced.Outdated(tr) {
			continue
		}
		if _, err := s.store.Apply(ctx, w.Key, tr); err != nil {
			s.log.Debug("a place is not told yet", "task", w.Key, "lane", l.Name, "error", err)
		}
		if told++; told == maxTold || ctx.Err() != nil {
			break
		}
	}
	return told
}
