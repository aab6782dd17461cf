package poller

import (
	"context"
	"slices"
	"time"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/internal/task"
)

// publishEvery is the time between two reports of a lane's health, if it has changed.
const publishEvery = 10 * time.Second

// recordEnd learns from a task that a poll or a callback has just ended: its duration, how soon that was noticed, and the
// reliability of callbacks.
func (s *Service) recordEnd(ctx context.Context, l *lane, c task.Change, why cause) {
	t := c.Task
	if !c.Written || !t.Status.Terminal() || !t.CompletedAt.Equal(lastStep(t)) {
		return
	}
	s.recordDetection(l, t, why)
	s.log.InfoContext(ctx, "task ended", "task", t.Key(), "status", t.Status, "after", t.CompletedAt.Sub(t.CreatedAt), "by_callback",
		why.isCallback())
	s.learnDuration(l, t, why)
	// Providers differ in what they call back about cancelled tasks, and a task that the provider lost is no evidence
	// on callbacks.
	if !callbackRequested(t) || t.Cancel != nil || t.Error != nil && t.Error.Code == events.CodeTaskLost {
		return
	}
	now := time.Now()
	if !why.isCallback() {
		s.learnReliability(l, func(h reliability) reliability { return h.afterMiss(now) })
		return
	}
	lag := max(0, now.Sub(why.received)) // the webhook service has a clock of its own
	s.metrics.lag.WithLabelValues(l.Name).Observe(lag.Seconds())
	s.learnReliability(l, func(h reliability) reliability { return h.afterArrival(now, lag) })
}

// maxCallbackLag is how far behind a callback may be to say something about the provider.
const maxCallbackLag = time.Hour

// recordLate learns from the callback of a task whose end a poll had found before.
func (s *Service) recordLate(l *lane, t events.Task) {
	i := slices.IndexFunc(t.Transitions, func(tr events.Transition) bool { return tr.To == events.PhaseDone })
	if i < 0 || t.Transitions[i].By != name || t.Cancel != nil || t.CompletedAt == nil {
		return // an earlier callback ended the task, and this is a repetition
	}
	now := time.Now()
	lag := now.Sub(*t.CompletedAt)
	if lag > maxCallbackLag {
		return // a person has replayed it, or the stream was read anew: that says nothing about the provider
	}
	s.metrics.lag.WithLabelValues(l.Name).Observe(lag.Seconds())
	s.learnReliability(l, func(h reliability) reliability { return h.afterLate(now, lag, l.PollInterval) })
}

func (s *Service) learnReliability(l *lane, change func(reliability) reliability) {
	s.metrics.misses.WithLabelValues(l.Name).Set(l.updateReliability(change).missRate())
}

// publishHealth publishes how reliably callbacks arrive and how soon ends are noticed, until ctx ends. Nothing depends on it.
func (s *Service) publishHealth(ctx context.Context) error {
	tick := time.NewTicker(publishEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for _, l := range s.lanes {
			figures, fresh := l.unpublished()
			if !fresh {
				continue
			}
			value, err := events.Marshal(figures)
			if err == nil {
				err = s.o.Bus.Bucket(bucket.Health, "health").Put(ctx, bucket.HealthKey(l.Name, s.replica), value)
			}
			if err != nil {
				s.log.DebugContext(ctx, "health of a lane could not be published", "lane", l.Name, "error", err)
				continue
			}
			l.setPublished(figures)
		}
	}
}

func lastStep(t events.Task) time.Time {
	if len(t.Transitions) == 0 {
		return time.Time{}
	}
	return t.Transitions[len(t.Transitions)-1].At
}
