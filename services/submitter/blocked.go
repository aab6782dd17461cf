package submitter

import (
	"time"

	"reelay/events"
	"reelay/internal/dispatch"
)

// Spending says whether money may be spent at all. Its answer must not take time: it is asked before every intent and
// before the last byte of every paid request.
type Spending interface {
	// Allowed returns why nothing may be spent now.
	Allowed() error
	// Intake returns why no new task may be taken in now.
	Intake() error
}

// outside is what keeps a lane from sending that its queue does not know.
func (s *Service) outside(l *lane, now time.Time) dispatch.Outside {
	if s.o.Spending != nil {
		if err := s.o.Spending.Allowed(); err != nil {
			return dispatch.Outside{Blocked: &events.Blocked{Reason: events.BlockedSpendingStopped, Message: err.Error()}}
		}
	}
	select {
	case <-s.pausesKnown:
	default:
		return dispatch.Outside{Blocked: &events.Blocked{
			Reason: events.BlockedPaused, Message: "the pauses of the lanes have not been read yet",
		}}
	}
	b, _ := s.stopped(l, now)
	return dispatch.Outside{Blocked: b, Probe: b != nil && b.Reason != events.BlockedPaused && b.Until == nil}
}

// stopped says why a lane sends nothing, or one task now and then, for a reason that is published by an event, and the
// revision of the last key that counts for it; nil if there is none. Where reelay itself has stopped the lane, a reason
// without an end says that one task is tried.
func (s *Service) stopped(l *lane, now time.Time) (b *events.Blocked, version uint64) {
	paused, version := s.pauses.Paused(l.Name)
	why, until := l.breaker.Reason(now)
	switch {
	case paused != nil && paused.Pause.Until.IsZero():
		return &events.Blocked{Reason: events.BlockedPaused, Message: paused.Error()}, version
	case paused != nil && (why == "" || paused.Pause.Until.After(now)):
		b, until = &events.Blocked{Reason: events.BlockedAccount, Message: paused.Error()}, paused.Pause.Until
	case why != "":
		b = &events.Blocked{Reason: events.BlockedBreaker, Message: why}
	default:
		return nil, version
	}
	if until.After(now) {
		b.Until = &until
	}
	return b, version
}
