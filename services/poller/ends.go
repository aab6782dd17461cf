package poller

import (
	"context"
	"slices"
	"time"

	"reelay/events"
	"reelay/internal/task"
)

// tellWait is how often others are told how well callbacks arrive, if that has changed.
const tellWait = 10 * time.Second

// ended counts a task that a look or a callback has just ended, and learns from it how well callbacks arrive.
func (s *Service) ended(l *lane, c task.Change, why cause) {
	t := c.Task
	if !c.Written || !t.Status.Terminal() || !t.CompletedAt.Equal(lastStep(t)) {
		return
	}
	s.metrics.ended.WithLabelValues(l.Name, string(t.Status)).Inc()
	s.log.Info("ended", "task", t.Key(), "status", t.Status, "after", t.CompletedAt.Sub(t.CreatedAt), "by_callback", why.isHook())
	s.study(l, t, why)
	// What providers call back about a task that was cancelled is theirs to know; one that we lost says nothing of callbacks.
	if !calledBack(t) || t.Cancel != nil || t.Error != nil && t.Error.Code == events.CodeTaskLost {
		return
	}
	now := time.Now()
	if !why.isHook() {
		s.learn(l, func(h health) health { return h.missed(now) })
		return
	}
	lag := max(0, now.Sub(why.received)) // the edge has a clock of its own
	s.metrics.lag.WithLabelValues(l.Name).Observe(lag.Seconds())
	s.learn(l, func(h health) health { return h.brought(now, lag) })
}

// overtaken learns from the callback of an end, if a look had found that end before.
func (s *Service) overtaken(l *lane, t events.Task) {
	i := slices.IndexFunc(t.Transitions, func(tr events.Transition) bool { return tr.To == events.PhaseDone })
	if i < 0 || t.Transitions[i].By != name || t.Cancel != nil || t.CompletedAt == nil {
		return // a callback had brought it, and this is another of the same
	}
	now := time.Now()
	lag := now.Sub(*t.CompletedAt)
	s.metrics.lag.WithLabelValues(l.Name).Observe(lag.Seconds())
	s.learn(l, func(h health) health { return h.late(now, lag, l.PollInterval) })
}

func (s *Service) learn(l *lane, change func(health) health) {
	s.metrics.misses.WithLabelValues(l.Name).Set(l.learn(change).missRate())
}

// tellHealth tells others, now and then, how well callbacks arrive. Nothing depends on it.
func (s *Service) tellHealth(ctx context.Context) error {
	tick := time.NewTicker(tellWait)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for _, l := range s.lanes {
			figures, fresh := l.news()
			if !fresh {
				continue
			}
			if err := s.o.Bus.PutCallbackHealth(ctx, l.Name, s.replica, figures); err != nil {
				s.log.Debug("health of the callbacks is not told", "lane", l.Name, "error", err)
				continue
			}
			l.tell(figures)
		}
	}
}

func lastStep(t events.Task) time.Time {
	if len(t.Transitions) == 0 {
		return time.Time{}
	}
	return t.Transitions[len(t.Transitions)-1].At
}
