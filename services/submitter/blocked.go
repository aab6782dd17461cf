package submitter

import (
	"errors"
	"time"

	"reelay/events"
)

// keeps says what keeps a whole lane from being sent; nil if nothing does.
func (s *Service) keeps(l *lane, now time.Time) *events.Blocked {
	if s.o.Spending != nil {
		if err := s.o.Spending.Allowed(); err != nil {
			return &events.Blocked{Reason: events.BlockedSpendingStopped, Message: err.Error()}
		}
	}
	if err := s.switches.check(l.Name); errors.Is(err, errSwitchesUnknown) {
		return &events.Blocked{Reason: events.BlockedPaused, Message: err.Error()}
	}
	if h, _ := s.stopped(l, now); h != nil {
		return h
	}
	return l.queue.Keeps(now)
}

// stopped says why a lane sends nothing, or one task now and then, for a reason that is told by an event, and the revision of the newest
// key that counts for it; nil if there is none.
func (s *Service) stopped(l *lane, now time.Time) (h *events.Blocked, version uint64) {
	paused, version := s.switches.state(l.Name)
	why, until := l.open(now)
	switch {
	case paused != nil && paused.Switch.Until.IsZero():
		return &events.Blocked{Reason: events.BlockedPaused, Message: paused.Error()}, version
	case paused != nil:
		h, until = &events.Blocked{Reason: events.BlockedAccount, Message: paused.Error()}, paused.Switch.Until
	case why != "":
		h = &events.Blocked{Reason: events.BlockedBreaker, Message: why}
	default:
		return nil, version
	}
	if until.After(now) { // else one is being tried
		h.Until = &until
	}
	return h, version
}
