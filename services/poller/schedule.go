package poller

import (
	"slices"
	"time"

	"reelay/events"
	"reelay/internal/forecast"
)

const (
	// maxNet is the longest time between two looks at a task whose provider calls back.
	maxNet = 3 * time.Minute
	// lateInterval is the least time between two looks at a task that was given up.
	lateInterval = time.Minute
)

// nextLook says how long after a look at now a task is looked at again, as learned from those that ended: see package forecast.
// While the provider's callbacks prove to come, looks are a net: rare, at most maxNet apart. A task in trouble or on its way
// out is looked at at the fixed interval.
func (s *Service) nextLook(l *lane, t events.Task, now time.Time) time.Duration {
	if t.Phase == events.PhaseDone {
		return max(lateInterval, l.Interval)
	}
	gap := l.Interval
	if (t.Phase == events.PhaseProviderQueued || t.Phase == events.PhaseRunning) && t.Trouble == nil && t.Cancel == nil {
		unheard := 1.0
		if calledBack(t) {
			unheard = l.unheard(now)
		}
		gap = s.almanac.Forecast(t).Next(t, now, forecast.Pacing{Interval: l.Interval}, unheard)
		if unheard < 1 {
			gap = min(gap, maxNet)
		}
	}
	return l.pace.stretched(gap, l.Budget)
}

// firstLook says how long a task that was just submitted may be left alone, 0 to look at once.
func (s *Service) firstLook(l *lane, t events.Task, now time.Time) time.Duration {
	if t.SubmittedAt == nil || !calledBack(t) || l.unheard(now) == 1 || t.Phase != events.PhaseProviderQueued && t.Phase != events.PhaseRunning {
		return 0
	}
	// From the intent: one that was adopted long after that may have ended meanwhile, and its callback be lost.
	return livesBy(t).IntentAt.Add(s.nextLook(l, t, now)).Sub(now)
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
