package dispatch

import (
	"time"

	"reelay/events/bucket"
)

// Learned are what was learned of the provider, by limit group: what the next dispatcher of the lane should know.
func (l *Lane) Learned() map[string]bucket.LearnedLimits {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := map[string]bucket.LearnedLimits{}
	for name, g := range l.groups {
		learned := bucket.LearnedLimits{
			Rate: bucket.AdaptiveLimit(g.rate), Concurrency: bucket.AdaptiveLimit(g.concurrency), PausedUntil: g.backoff,
		}
		if learned != (bucket.LearnedLimits{}) {
			all[name] = learned
		}
	}
	return all
}

// Restore takes in what the dispatcher before has learned.
func (l *Lane) Restore(learned map[string]bucket.LearnedLimits, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, g := range l.groups {
		was := learned[name]
		rate, concurrency := AdaptiveLimit(was.Rate), AdaptiveLimit(was.Concurrency)
		if !rate.Valid() || !concurrency.Valid() {
			was, rate, concurrency = bucket.LearnedLimits{}, AdaptiveLimit{}, AdaptiveLimit{}
		}
		if latest := now.Add(maxRetryAfter); was.PausedUntil.After(latest) { // by a clock that was ahead
			was.PausedUntil = latest
		}
		g.rate, g.concurrency, g.backoff = rate, concurrency, was.PausedUntil
	}
}
