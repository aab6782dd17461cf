package submitter

import (
	"context"
	"errors"
	"sync"
	"time"

	"reelay/events"
	"reelay/internal/bus"
)

// Spending says whether money may be spent at all. Its answer must not take time: it is asked before every intent and before
// the last byte of every paid request.
type Spending interface {
	// Allowed returns why nothing may be spent now.
	Allowed() error
}

// stoppedWait is how soon a lane looks again that may not spend. The switch of a lane wakes it at once.
const stoppedWait = time.Second

var errSwitchesUnknown = errors.New("the switches of the lanes have not been read yet")

// switches is what is known of the lanes' switches and limits. It is a cache; the last-byte gate asks the broker itself.
type switches struct {
	// known is closed when all have been read once.
	known chan struct{}
	once  sync.Once

	mu  sync.Mutex
	set map[string]setting
}

// A setting is the switch of a lane or of all, with its revision, and why the limits cannot be read.
type setting struct {
	events.LanePause
	revision uint64
	wrong    error
	// limits is the revision of the limits.
	limits uint64
}

func newSwitches() *switches { return &switches{known: make(chan struct{}), set: map[string]setting{}} }

// check says whether a lane may send nothing.
func (w *switches) check(lane string) error {
	select {
	case <-w.known:
	default:
		return errSwitchesUnknown
	}
	paused, _ := w.state(lane)
	if paused == nil || !paused.Pause.Stops(time.Now()) {
		return nil
	}
	return paused
}

// state returns why a lane is paused, nil if it is not, and the revision of the newest key that counts for it.
func (w *switches) state(lane string) (paused *events.PausedError, version uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, key := range []string{events.AllLanes, lane} {
		s := w.set[key]
		version = max(version, s.revision, s.limits)
		switch {
		case paused != nil && paused.Pause.Until.IsZero():
		case s.wrong != nil:
			paused = &events.PausedError{Key: events.LimitsKey(key), Pause: events.LanePause{Paused: true, Reason: s.wrong.Error()}}
		case s.Paused:
			paused = &events.PausedError{Key: key, Pause: s.LanePause}
		}
	}
	return paused, version
}

// of returns the switch of a lane itself and its revision.
func (w *switches) of(lane string) (events.LanePause, uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.set[lane]
	return s.LanePause, s.revision
}

// put takes an update in, and reports whether it is a switch that was not known. One that is older than what is known changes nothing.
func (w *switches) put(u bus.LaneUpdate) (news bool) {
	if u.Ready {
		w.once.Do(func() { close(w.known) })
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.set[u.Lane]
	switch {
	case u.Pause != nil && u.Revision >= s.revision:
		news = u.Revision > s.revision
		s.LanePause, s.revision = *u.Pause, u.Revision
	case u.Limits != nil:
		s.wrong, s.limits = u.Err, u.Revision
	}
	w.set[u.Lane] = s
	return news
}

// followSwitches keeps the switches and limits as they are set, and wakes the lanes.
func (s *Service) followSwitches(ctx context.Context) error {
	bus.KeepFollowing(ctx, s.log, "watch of the lanes' switches interrupted", func(ctx context.Context) error {
		return s.o.Bus.FollowLanes(ctx, s.seeSwitch)
	})
	return nil
}

func (s *Service) seeSwitch(u bus.LaneUpdate) {
	news := s.switches.put(u)
	l := s.lanes[u.Lane]
	switch {
	case u.Pause != nil:
		s.log.Warn("switch of a lane", "lane", u.Lane, "paused", u.Pause.Paused, "reason", u.Pause.Reason, "by", u.Pause.By)
	case u.Err != nil:
		s.log.Error("limits of a lane; it is paused", "lane", u.Lane, "error", u.Err)
	case u.Limits != nil && l != nil:
		s.log.Warn("limits of a lane", "lane", u.Lane, "reason", u.Limits.Reason, "by", u.Limits.By)
		l.setLimits(*u.Limits, time.Now())
	}
	for _, l := range s.lanes {
		if news && (u.Lane == l.Name || u.Lane == events.AllLanes) && resumed(*u.Pause) {
			l.resume()
		}
		value := 0.0
		if paused, _ := s.switches.state(l.Name); paused != nil {
			value = 1
		}
		s.metrics.paused.WithLabelValues(l.Name).Set(value)
		nudge(l.wake)
		nudge(l.news)
	}
}

// resumed reports whether a person has made a lane go on.
func resumed(s events.LanePause) bool { return !s.Paused && s.By != events.LaneWriter }

// tellAgain is how soon an event or a memory is tried again that was not stored.
const tellAgain = 5 * time.Second

// tell announces when the lane stops sending and when it goes on, and remembers what was learned, until ctx ends.
func (s *Service) tell(ctx context.Context, l *lane, lease *bus.Lease, m events.HandOver) {
	defer s.metrics.broken.WithLabelValues(l.Name).Set(0)
	for {
		err := s.announce(ctx, l, &m)
		if err == nil {
			m.Groups = l.queue.Learned()
			err = lease.Remember(ctx, m)
		}
		if err != nil && ctx.Err() == nil {
			s.log.Warn("memory of a lane", "lane", l.Name, "error", err)
			nudge(l.news)
		}
		var again <-chan time.Time
		news := l.news
		if err != nil {
			again, news = time.After(tellAgain), nil
		}
		select {
		case <-ctx.Done():
			return
		case <-news:
		case <-again:
		}
	}
}

// announce publishes that a lane has stopped sending or goes on, if that is not what was told last.
func (s *Service) announce(ctx context.Context, l *lane, m *events.HandOver) error {
	now := time.Now()
	broken, _ := l.breaker.reason(now)
	value := 0.0
	if broken != "" {
		value = 1
	}
	s.metrics.broken.WithLabelValues(l.Name).Set(value)
	why, version := s.stopped(l, now)
	if (why != nil) == m.Paused {
		return nil
	}
	e := events.Event{
		// The breaker is no key and has no revision; what is told later has the higher one all the same.
		Type: events.EventResumed, Project: events.LanesProject, Lane: l.Name, Version: max(version, m.Version+1), Time: now.UTC(),
		Message: "the lane sends again", Repair: true,
	}
	if why != nil {
		e.Type, e.Blocked, e.Message = events.EventPaused, why, why.Message
	}
	if err := s.o.Bus.Publish(ctx, e); err != nil {
		return err
	}
	m.Paused, m.Version = why != nil, e.Version
	return nil
}
