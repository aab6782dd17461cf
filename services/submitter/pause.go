package submitter

import (
	"context"
	"errors"
	"time"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/internal/bus"
	"reelay/internal/provider"
)

const (
	// accountWait is how long a lane is paused whose account the provider refuses for its balance or its key. It doubles
	// each time the provider still does, up to maxAccountWait.
	accountWait    = time.Minute
	maxAccountWait = time.Hour
)

// followPauses keeps the pauses and limits of the lanes as they are set, and wakes the lanes.
func (s *Service) followPauses(ctx context.Context) error {
	bus.KeepWatching(ctx, s.log, "the watch of lane pauses and limits was interrupted", func(ctx context.Context) error {
		s.pauses.Restart()
		return s.o.Bus.WatchLanes(ctx, s.seePause)
	})
	return nil
}

func (s *Service) seePause(u bus.LaneUpdate) {
	changed := false
	switch l := s.lanes[u.Lane]; {
	case u.Ready:
		s.pausesOnce.Do(func() { close(s.pausesKnown) })
	case u.Pause != nil:
		changed = s.pauses.Put(u.Lane, *u.Pause, u.Revision)
		s.log.Warn("a lane's pause was set", "lane", u.Lane, "paused", u.Pause.Paused, "reason", u.Pause.Reason, "by",
			u.Pause.By)
	case u.Limits != nil:
		s.pauses.PutLimits(u.Lane, u.Err, u.Revision)
		if u.Err != nil {
			s.log.Error("a lane's limits could not be read; the lane is paused", "lane", u.Lane, "error", u.Err)
		} else if l != nil {
			s.log.Warn("a lane's limits were set", "lane", u.Lane, "reason", u.Limits.Reason, "by", u.Limits.By)
			l.setLimits(*u.Limits, time.Now())
		}
	}
	for _, l := range s.lanes {
		if changed && (u.Lane == l.Name || u.Lane == bucket.AllLanes) && resumedByPerson(*u.Pause) {
			l.resume()
		}
		paused, _ := s.pauses.Paused(l.Name)
		s.metrics.paused.WithLabelValues(l.Name).Set(gauge(paused != nil))
		nudge(l.wake)
		nudge(l.changed)
	}
}

// resumedByPerson reports whether a person, and not reelay itself, has made a lane go on.
func resumedByPerson(p bucket.LanePause) bool { return !p.Paused && p.By != bucket.LaneWriter }

// pauseAccount pauses a lane whose account the provider refuses, or whose base URL is not the provider's, and returns
// until when.
func (s *Service) pauseAccount(ctx context.Context, l *lane, begun time.Time, e *provider.Error) time.Duration {
	now := time.Now()
	old, revision := s.pauses.Of(l.Name)
	switch {
	case old.Paused && old.Until.IsZero():
		return accountWait // by a person, who also ends it
	case old.Paused && begun.Before(old.Until):
		return old.Until.Sub(now) // it was under way already when another was refused
	}
	wait := max(min(accountWait<<min(old.Tries, 16), maxAccountWait), min(e.RetryAfter, maxAccountWait))
	pause := bucket.LanePause{
		Paused: true, Reason: e.Error(), By: bucket.LaneWriter, At: now.UTC().Truncate(time.Second),
		Until: now.UTC().Add(wait), Tries: old.Tries + 1,
	}
	what := "the provider refuses the account; the lane is paused"
	if e.Kind == events.KindAddress {
		what = "what answers at the base URL is not the provider; the lane is paused"
	}
	s.log.ErrorContext(ctx, what, "lane", l.Name, "kind", e.Kind, "code", e.Code,
		"reason", e.Message, "wait", wait, "times", pause.Tries)
	s.setPause(ctx, l, pause, revision)
	return wait
}

// endPause ends a pause that the provider's refusal was the reason for, now that it has accepted a request or refused
// it for what it is.
func (s *Service) endPause(ctx context.Context, l *lane) {
	old, revision := s.pauses.Of(l.Name)
	if !old.Probing(time.Now()) {
		return
	}
	s.log.WarnContext(ctx, "the provider takes requests again; the lane goes on", "lane", l.Name)
	s.setPause(ctx, l, bucket.LanePause{
		Reason: "the provider takes requests again", By: bucket.LaneWriter, At: time.Now().UTC().Truncate(time.Second),
	}, revision)
}

// setPause sets the pause of a lane in reelay's own name, unless a person has set it meanwhile.
func (s *Service) setPause(ctx context.Context, l *lane, pause bucket.LanePause, revision uint64) {
	revision, err := s.o.Bus.SetLanePause(context.WithoutCancel(ctx), l.Name, pause, revision)
	switch {
	case errors.Is(err, bus.ErrConflict):
		return
	case err != nil:
		// Nobody else knows of it, but this process sends nothing for a while.
		s.log.ErrorContext(ctx, "a lane's pause could not be set; only this process keeps to it", "lane", l.Name, "error", err)
		if pause.Paused {
			l.queue.Backoff(events.BlockedAccount, pause.Reason, pause.Until)
		}
		return
	}
	s.pauses.Put(l.Name, pause, revision)
	nudge(l.wake)
	nudge(l.changed)
}
