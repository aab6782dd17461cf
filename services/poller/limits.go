package poller

import (
	"context"
	"time"

	"reelay/events"
	"reelay/internal/bus"
)

// followLimits follows the poll limits in the lane settings, until ctx ends. Its error is nil: without an update the
// last ones hold.
func (s *Service) followLimits(ctx context.Context) error {
	bus.KeepWatching(ctx, s.log, "watch of the lane limits was interrupted", func(ctx context.Context) error {
		return s.o.Bus.WatchLanes(ctx, s.applyLimits)
	})
	return nil
}

// applyLimits applies one update. Limits that cannot be read change nothing: polls cost nothing, and sending has
// stopped.
func (s *Service) applyLimits(u bus.LaneUpdate) {
	l := s.lanes[u.Lane]
	if l == nil || u.Limits == nil || u.Err != nil {
		return
	}
	l.budget.setLimits(u.Limits.Polls)
	if u.Limits.Polls != (events.PollLimits{}) {
		s.log.Info("poll limits of the lane are set", "lane", u.Lane, "spacing", time.Duration(u.Limits.Polls.Spacing),
			"per_second", u.Limits.Polls.PerSecond)
	}
}
