package poller

import (
	"context"
	"sync"
	"time"

	"reelay/events"
	"reelay/internal/forecast"
)

const (
	// defaultBudget is how many looks a second a lane gets from all pollers together.
	defaultBudget = 50
	// countEvery is how often the tasks under watch are counted, for the budget.
	countEvery = 15 * time.Second
	// recentGaps is about how many gaps the mean gap of a lane is of.
	recentGaps = 100
)

// A pace is how fast the looks of a lane follow each other. The zero pace stretches nothing.
type pace struct {
	mu   sync.Mutex
	mean time.Duration
	// watched counts the tasks under watch, in all pollers.
	watched int
}

// stretched takes a gap in and returns it as long as the budget wants it.
func (p *pace) stretched(gap time.Duration, budget float64) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mean == 0 {
		p.mean = gap
	}
	p.mean += (gap - p.mean) / recentGaps
	return time.Duration(float64(gap) * forecast.Stretch(p.watched, p.mean, budget))
}

// study takes in how long a task took that has just ended.
func (s *Service) study(l *lane, t events.Task, why cause) {
	if t.CompletedAt == nil {
		return
	}
	var unseen time.Duration // a callback comes at once
	if !why.isHook() {
		unseen = s.almanac.Forecast(t).Unseen(t, *t.CompletedAt, forecast.Pacing{Interval: l.Interval})
	}
	if sample, ok := forecast.SampleOf(t, unseen); ok {
		s.almanac.Learn(sample)
	}
}

// count counts the tasks under watch until ctx ends. Its error is nil: without a count the last one holds.
func (s *Service) count(ctx context.Context) error {
	for {
		for _, l := range s.lanes {
			n, err := s.o.Bus.Backlog(ctx, events.WatchConsumer(l.Name))
			if err != nil {
				s.log.Debug("tasks under watch", "lane", l.Name, "error", err)
				continue
			}
			l.pace.mu.Lock()
			l.pace.watched = n
			l.pace.mu.Unlock()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(countEvery):
		}
	}
}
