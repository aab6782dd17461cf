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
	// maxCallbackGap is the longest time between two polls of a task whose provider calls back.
	maxCallbackGap = 3 * time.Minute
	// givenUpInterval is the least time between two polls of a task that was given up.
	givenUpInterval = time.Minute
	// defaultPollRate is the budget of a lane, in polls a second of all pollers together.
	defaultPollRate = 50
	// recentGaps is the number of gaps over which the mean gap of a lane is averaged.
	recentGaps = 100
	// countEvery is the time between two counts of the poll tickets, for the budget.
	countEvery = 15 * time.Second
)

// nextDelay returns the time from a poll at now to the next poll of the task. It follows the forecast of similar
// tasks: see forecast.Forecast.Next. While callbacks arrive, polling slows down, to at most maxCallbackGap. A task in
// trouble, or one that is being cancelled or fetched, is polled at the fixed interval.
func (s *Service) nextDelay(l *lane, t events.Task, now time.Time) time.Duration {
	if t.Phase == events.PhaseDone {
		return max(givenUpInterval, l.PollInterval)
	}
	gap := l.PollInterval
	if (t.Phase == events.PhaseProviderQueued || t.Phase == events.PhaseRunning) && t.Trouble == nil && t.Cancel == nil {
		missRate := 1.0
		if callbackRequested(t) {
			missRate = l.assumedMissRate(now)
		}
		gap = s.learner.Forecast(t).Next(t, now, forecast.Pacing{Interval: l.PollInterval}, missRate)
		if missRate < 1 {
			gap = min(gap, maxCallbackGap)
		}
	}
	return l.budget.stretch(gap)
}

// firstDelay returns the time for which a task that was just submitted needs no poll; 0 to poll at once.
func (s *Service) firstDelay(l *lane, t events.Task, now time.Time) time.Duration {
	if t.SubmittedAt == nil || !callbackRequested(t) || l.assumedMissRate(now) == 1 ||
		t.Phase != events.PhaseProviderQueued && t.Phase != events.PhaseRunning {
		return 0
	}
	a := liveAttempt(t)
	if broughtBy(*a, events.SourceList) || broughtBy(*a, events.SourcePerson) {
		return 0 // found late: what its callback said may have been dropped meanwhile
	}
	// It counts from the intent: a task that was adopted long after that may have ended meanwhile, and its callback be
	// lost.
	return a.IntentAt.Add(s.nextDelay(l, t, now)).Sub(now)
}

// jittered varies a delay by up to a tenth, so that tasks that were submitted together are not polled together for
// ever.
func jittered(d time.Duration) time.Duration {
	return d + time.Duration((rand.Float64()-0.5)*0.2*float64(d))
}

// A pollBudget stretches the gaps between the polls of a lane to its limits. The zero budget stretches nothing.
type pollBudget struct {
	mu      sync.Mutex
	meanGap time.Duration
	// tickets counts the tasks with a poll ticket, in all pollers.
	tickets int
	// limits are the operator's limits of the lane.
	limits events.PollLimits
}

// setLimits replaces the operator's limits.
func (b *pollBudget) setLimits(l events.PollLimits) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.limits = l
}

// stretch returns the gap, longer where the budget or the limits of the lane require it.
func (b *pollBudget) stretch(gap time.Duration) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.meanGap == 0 {
		b.meanGap = gap
	}
	b.meanGap += (gap - b.meanGap) / recentGaps
	rate := float64(defaultPollRate)
	if b.limits.PerSecond > 0 {
		rate = float64(b.limits.PerSecond)
	}
	return max(time.Duration(float64(gap)*forecast.Stretch(b.tickets, b.meanGap, rate)), time.Duration(b.limits.Spacing))
}

// countTickets counts the poll tickets until ctx ends. Its error is nil: without a new count the last one holds.
func (s *Service) countTickets(ctx context.Context) error {
	for {
		for _, l := range s.lanes {
			n, err := s.o.Bus.Backlog(ctx, events.PollConsumer(l.Name))
			if err != nil {
				s.log.DebugContext(ctx, "poll tickets could not be counted", "lane", l.Name, "error", err)
				continue
			}
			l.budget.mu.Lock()
			l.budget.tickets = n
			l.budget.mu.Unlock()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(countEvery):
		}
	}
}

// liveAttempt returns the attempt whose provider id the task has, or nil.
func liveAttempt(t events.Task) *events.Attempt {
	i := slices.IndexFunc(t.Attempts,
		func(a events.Attempt) bool { return a.ProviderID != "" && a.ProviderID == t.ProviderID })
	if i < 0 {
		return nil
	}
	return &t.Attempts[i]
}

// callbackRequested reports whether the provider was asked to call when the task ends.
func callbackRequested(t events.Task) bool {
	a := liveAttempt(t)
	return a != nil && a.Callback
}
