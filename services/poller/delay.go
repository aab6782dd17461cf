package poller

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"reelay/events"
	"reelay/internal/forecast"
)

const (
	// maxNet is the longest time between two looks at a task whose provider calls back.
	maxNet = 3 * time.Minute
	// lateInterval is the least time between two looks at a task that was given up.
	lateInterval = time.Minute
	// pollBudget is how many looks a second a lane gets from all pollers together.
	pollBudget = 50
	// recentGaps is about how many gaps the mean gap of a lane is of.
	recentGaps = 100
	// countEvery is how often the tasks under watch are counted, for the budget.
	countEvery = 15 * time.Second
)

// nextLook says how long after a look at now a task is looked at again, as learned from those that ended: see package forecast.
// While the provider's callbacks prove to come, looks are a net: rare, at most maxNet apart. A task in trouble or on its way
// out is looked at at the fixed interval.
func (s *Service) nextLook(l *lane, t events.Task, now time.Time) time.Duration {
	if t.Phase == events.PhaseDone {
		return max(lateInterval, l.PollInterval)
	}
	gap := l.PollInterval
	if (t.Phase == events.PhaseProviderQueued || t.Phase == events.PhaseRunning) && t.Trouble == nil && t.Cancel == nil {
		unheard := 1.0
		if calledBack(t) {
			unheard = l.unheard(now)
		}
		gap = s.almanac.Forecast(t).Next(t, now, forecast.Pacing{Interval: l.PollInterval}, unheard)
		if unheard < 1 {
			gap = min(gap, maxNet)
		}
	}
	return l.pace.stretched(gap, pollBudget)
}

// firstLook says how long a task that was just submitted may be left alone, 0 to look at once.
func (s *Service) firstLook(l *lane, t events.Task, now time.Time) time.Duration {
	if t.SubmittedAt == nil || !calledBack(t) || l.unheard(now) == 1 || t.Phase != events.PhaseProviderQueued && t.Phase != events.PhaseRunning {
		return 0
	}
	// From the intent: one that was adopted long after that may have ended meanwhile, and its callback be lost.
	return livesBy(t).IntentAt.Add(s.nextLook(l, t, now)).Sub(now)
}

// jittered spreads looks by up to a tenth, so that tasks submitted together are not looked at together for ever.
func jittered(d time.Duration) time.Duration {
	return d + time.Duration((rand.Float64()-0.5)*0.2*float64(d))
}

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

// livesBy returns the attempt whose provider id the task has, or nil.
func livesBy(t events.Task) *events.Attempt {
	i := slices.IndexFunc(t.Attempts, func(a events.Attempt) bool { return a.ProviderID != "" && a.ProviderID == t.ProviderID })
	if i < 0 {
		return nil
	}
	return &t.Attempts[i]
}

// calledBack reports whether the provider was asked to call when the task ends.
func calledBack(t events.Task) bool {
	a := livesBy(t)
	return a != nil && a.Callback
}
