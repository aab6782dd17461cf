package poller

import (
	"time"

	"reelay/events"
	"reelay/internal/forecast"
)

// detectionDecay is the factor by which each end reduces the weight of those before it: about the last fifty count.
const detectionDecay = 0.98

// detection is how soon the ends of a lane's tasks are noticed, and by how many polls. It is a plain value.
type detection struct {
	// polls, ends and lag, in seconds, are sums of which each end reduces what was before it.
	polls, ends, lag float64
	// seen counts all ends.
	seen int
	// last are the figures as of the last end: polls of tasks that go on do not change them.
	last events.Detection
}

func (d detection) afterPoll() detection {
	d.polls++
	return d
}

// afterEnd adds an end that went unnoticed for lag.
func (d detection) afterEnd(lag time.Duration) detection {
	d.ends++
	d.lag += lag.Seconds()
	d.seen++
	d.last = events.Detection{LagS: d.lag / d.ends, PollsPerTask: d.polls / d.ends, Seen: d.seen}
	d.polls, d.ends, d.lag = detectionDecay*d.polls, detectionDecay*d.ends, detectionDecay*d.lag
	return d
}

// updateDetection applies a change to what is known of how ends are noticed.
func (l *lane) updateDetection(change func(detection) detection) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.detection = change(l.detection)
}

// recordDetection counts how long the end of t was not known: measured for a callback since it was received, and for a
// poll expected by the schedule, as no provider tells when a task had ended.
func (s *Service) recordDetection(l *lane, t events.Task, why cause) {
	lag, by := time.Since(why.received), byCallback
	if !why.isCallback() {
		lag, by = s.pollLag(l, t), "poll"
	}
	lag = max(0, lag) // the webhook service has a clock of its own
	s.metrics.detection.WithLabelValues(l.Name, by).Observe(lag.Seconds())
	l.updateDetection(func(d detection) detection { return d.afterEnd(lag) })
}

// pollLag is the time for which the end of t was probably not known when a poll found it.
func (s *Service) pollLag(l *lane, t events.Task) time.Duration {
	return s.learner.Forecast(t).DetectionLag(t, *t.CompletedAt, forecast.Pacing{Interval: l.PollInterval})
}
