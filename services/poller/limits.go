package poller

import (
	"context"
	"time"

	"reelay/events"
	"reelay/internal/bus"
)

// followLimits keeps the limits of the looks as they are set, until ctx ends. Its error is nil: without news the last ones hold.
func (s *Service) followLimits(ctx context.Context) error {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := s.o.Bus.FollowLanes(ctx, s.seeLimits)
		if ctx.Err() != nil {
			return nil
		}
		s.log.Warn("watch of the lanes' limits interrupted", "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// seeLimits takes in one change. Limits that cannot be read change nothing: looks cost nothing, and sending has stopped.
func (s *Service) seeLimits(u bus.LaneUpdate) {
	l := s.lanes[u.Lane]
	if l == nil || u.Limits == nil || u.Err != nil {
		return
	}
	l.pace.limit(u.Limits.Looks)
	if u.Limits.Looks != (events.LookLimits{}) {
		s.log.Info("limits of the looks", "lane", u.Lane, "spacing", time.Duration(u.Limits.Looks.Spacing), "per_second", u.Limits.Looks.PerSecond)
	}
}
