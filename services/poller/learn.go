package poller

import (
	"time"

	"reelay/events"
	"reelay/internal/forecast"
	"reelay/internal/task"
)

// study takes in how long a task took that has just ended.
func (s *Service) study(l *lane, t events.Task, why cause) {
	if t.CompletedAt == nil {
		return
	}
	var unseen time.Duration // a callback comes at once
	if !why.isHook() {
		unseen = s.almanac.Forecast(t).DetectionLag(t, *t.CompletedAt, forecast.Pacing{Interval: l.PollInterval})
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
