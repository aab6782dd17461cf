package poller

import (
	"time"

	"reelay/events"
	"reelay/internal/forecast"
	"reelay/internal/task"
)

// learnDuration teaches the learner how long a task took that has just ended.
func (s *Service) learnDuration(l *lane, t events.Task, why cause) {
	if t.CompletedAt == nil {
		return
	}
	var detectionLag time.Duration // zero for a callback, which comes at once
	if !why.isCallback() {
		detectionLag = s.pollLag(l, t)
	}
	if sample, ok := l.sample(t, detectionLag, time.Now()); ok {
		s.learner.Learn(sample)
	}
}

// sample returns what a task teaches. While its callbacks are trusted the start is unknown: polls are too rare to
// tell it.
func (l *lane) sample(t events.Task, detectionLag time.Duration, now time.Time) (forecast.Sample, bool) {
	sample, ok := forecast.SampleOf(t, detectionLag)
	if callbackRequested(t) && l.assumedMissRate(now) < 1 {
		sample.Wait, sample.Run = 0, 0
	}
	return sample, ok
}

// estimate predicts when t will end, given what was just observed; nil where nothing can be predicted.
func (s *Service) estimate(t events.Task, seen task.PollResult) *events.Estimate {
	c, err := task.Apply(&t, seen)
	if err != nil {
		return nil // Apply will fail again where that counts
	}
	e, ok := s.learner.Forecast(t).Estimate(c.Task, seen.At, events.Position{})
	if !ok {
		return nil
	}
	return &e
}
