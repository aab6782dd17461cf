package submitter

import (
	"context"
	"time"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/internal/lease"
)

// announceRetry is how soon an event or a hand-over is tried again that could not be stored.
const announceRetry = 5 * time.Second

// announceState publishes when the lane stops sending and when it goes on, and stores what the next dispatcher should
// know, until ctx ends.
func (s *Service) announceState(ctx context.Context, l *lane, held *lease.Lease, h bucket.HandOver) {
	defer s.metrics.breakerOpen.WithLabelValues(l.Name).Set(0)
	for {
		err := s.announce(ctx, l, &h)
		if err == nil {
			h.Groups = l.queue.Learned()
			err = held.HandOver(ctx, h)
		}
		changed, retry := l.changed, (<-chan time.Time)(nil)
		if err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "the state of a lane could not be stored for the next dispatcher; it is tried again", "lane", l.Name,
				"error", err)
			nudge(l.changed)
			changed, retry = nil, time.After(announceRetry)
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-retry:
		}
	}
}

// announce publishes that a lane has stopped sending or goes on, if that is not what was published last.
func (s *Service) announce(ctx context.Context, l *lane, h *bucket.HandOver) error {
	now := time.Now()
	open, _ := l.breaker.Reason(now)
	s.metrics.breakerOpen.WithLabelValues(l.Name).Set(gauge(open != ""))
	why, version := s.stopped(l, now)
	if (why != nil) == h.Paused {
		return nil
	}
	e := events.Event{
		// The breaker is no key and has no revision; what is published later has the higher one all the same.
		Type: events.EventResumed, Project: events.LanesProject, Lane: l.Name, Version: max(version, h.Version+1),
		Time: now.UTC(), Message: "the lane sends again", Repair: true,
	}
	if why != nil {
		e.Type, e.Blocked, e.Message = events.EventPaused, why, why.Message
	}
	if err := s.o.Bus.Publish(ctx, e); err != nil {
		return err
	}
	h.Paused, h.Version = why != nil, e.Version
	return nil
}
