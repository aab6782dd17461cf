package dispatch

import (
	"time"

	"reelay/events"
)

// Learned are what was learned of the provider, by limit group: what the next dispatcher of the lane should know.
func (l *Lane) Learned() map[string]events.LearnedLimits {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := map[string]events.LearnedLimits{}
	for name, g := range l.groups {
		learned := events.LearnedLimits{
			Rate: events.AdaptiveLimit(g.rate), Concurrency: events.AdaptiveLimit(g.concurrency), PausedUntil: g.backoff,
		}
		if learned != (events.LearnedLimits{}) {
			all[name] = learned
		}
	}
	return all
}

// Restore takes in what the dispatcher before has learned.
func (l *Lane) Restore(learned map[string]events.LearnedLimits, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, g := range l.groups {
		was := learned[name]
		rate, concurrency := AdaptiveLimit(was.Rate), AdaptiveLimit(was.Concurrency)
		if !rate.Valid() || !concurrency.Valid() {
			was, rate, concurrency = events.LearnedLimits{}, AdaptiveLimit{}, AdaptiveLimit{}
		}
		if latest := now.Add(maxRetryAfter); was.PausedUntil.After(latest) { // by a clock that was ahead
			was.PausedUntil = latest
		}
		g.rate, g.concurrency, g.backoff = rate, concurrency, was.PausedUntil
	}
}
