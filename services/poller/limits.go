package poller

import (
	"context"
	"time"

	"reelay/events"
	"reelay/internal/bus"
)

// followLimits keeps the limits of the looks as they are set, until ctx ends. Its error is nil: without news the last ones hold.
func (s *Service) followLimits(ctx context.Context) error {
	bus.KeepFollowing(ctx, s.log, "watch of the lanes' limits interrupted", func(ctx context.Context) error {
		return s.o.Bus.FollowLanes(ctx, s.seeLimits)
	})
	return nil
}

// seeLimits takes in one change. Limits that cannot be read change nothing: looks cost nothing, and sending has stopped.
func (s *Service) seeLimits(u bus.LaneUpdate) {
	l := s.lanes[u.Lane]
	if l == nil || u.Limits == nil || u.Err != nil {
		return
	}
	l.pace.limit(u.Limits.Polls)
	if u.Limits.Polls != (events.PollLimits{}) {
		s.log.Info("limits of the looks", "lane", u.Lane, "spacing", time.Duration(u.Limits.Polls.Spacing), "per_second", u.Limits.Polls.PerSecond)
	}
}
