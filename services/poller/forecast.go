package poller

import (
	"context"
	"sync"
	"time"

	"reelay/events"
	"reelay/internal/forecast"
	"reelay/internal/task"
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
	// limits are those that are set for the lane.
	limits events.PollLimits
}

// limit takes in what is set for the lane.
func (p *pace) limit(l events.PollLimits) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limits = l
}

// stretched takes a gap in and returns it as long as the budget, of looks a second, and the limits of the lane want it.
func (p *pace) stretched(gap time.Duration, budget float64) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mean == 0 {
		p.mean = gap
	}
	p.mean += (gap - p.mean) / recentGaps
	if p.limits.PerSecond > 0 {
		budget = float64(p.limits.PerSecond)
	}
	return max(time.Duration(float64(gap)*forecast.Stretch(p.watched, p.mean, budget)), time.Duration(p.limits.Spacing))
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
	if sample, ok := l.sample(t, unseen, time.Now()); ok {
		s.almanac.Learn(sample)
	}
}

// sample tells what a task teaches. Of one whose callbacks are trusted it is not known when it began: looks were rare, and the one
// that has seen it run came late.
func (l *lane) sample(t events.Task, unseen time.Duration, now time.Time) (forecast.Sample, bool) {
	sample, ok := forecast.SampleOf(t, unseen)
	if calledBack(t) && l.unheard(now) < 1 {
		sample.Wait, sample.Run = 0, 0
	}
	return sample, ok
}

// estimate says when t will end, as it is after what was just seen; nil where nothing can be said.
func (s *Service) estimate(t events.Task, seen task.Observed) *events.Estimate {
	c, err := task.Apply(&t, seen)
	if err != nil {
		return nil // and it will fail again where that counts
	}
	e, ok := s.almanac.Forecast(t).Estimate(c.Task, seen.At, events.Position{})
	if !ok {
		return nil
	}
	return &e
}

// count counts the tasks under watch until ctx ends. Its error is nil: without a count the last one holds.
func (s *Service) count(ctx context.Context) error {
	for {
		for _, l := range s.lanes {
			n, err := s.o.Bus.Backlog(ctx, events.PollConsumer(l.Name))
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
