package task

import (
	"cmp"
	"fmt"
	"time"

	"reelay/events"
	"reelay/internal/provider"
)

func (s *step) cancel(tr Cancel) {
	switch {
	case s.t.Phase == events.PhaseDone, s.t.Phase == events.PhaseStoring: // nothing is left to cancel
		return
	case s.t.Phase == events.PhaseCancelling:
		if s.t.Cancel.Outcome == cancelUnanswered {
			s.t.Cancel = &events.CancelState{AskedAt: s.m.At, Reason: cmp.Or(tr.Reason, s.t.Cancel.Reason), By: s.t.Cancel.By}
			s.move(arrowCancelSent, "asked for again")
		}
		return
	case s.t.Cancel != nil && (s.t.Cancel.SentAt == nil || s.t.Cancel.Outcome == string(provider.CancelUnsupported)):
		return
	}
	s.t.Cancel = &events.CancelState{AskedAt: s.m.At, Reason: tr.Reason, By: "client"}
	switch s.t.Phase {
	case events.PhaseWaiting:
		s.finish(arrowCancelled, cmp.Or(tr.Reason, "cancelled before it was sent"), nil)
	case events.PhaseSubmitting, events.PhaseInDoubt, events.PhaseParked:
		s.move(arrowCancelNoted, tr.Reason)
	default:
		s.move(arrowCancel, tr.Reason)
	}
}

func (s *step) cancelAnswered(tr CancelAnswered) {
	if s.t.Phase != events.PhaseCancelling || s.t.Cancel.SentAt != nil {
		return
	}
	c := *s.t.Cancel
	s.t.Cancel = &c
	c.Tries++
	note := "the provider answers: " + string(tr.Outcome)
	if tr.Err != nil {
		note = fmt.Sprintf("asking the provider failed (%d of %d): %s", c.Tries, CancelTries, tr.Err.Message)
		tr.Outcome = cancelUnanswered
	}
	if tr.Err == nil || c.Tries >= CancelTries {
		at := s.m.At
		c.SentAt, c.Outcome, c.RetryAt = &at, string(tr.Outcome), nil
	} else {
		at := s.m.At.Add(min(time.Second<<(c.Tries-1), time.Minute))
		c.RetryAt = &at
	}
	s.t.Cancel = &c
	if tr.Outcome == provider.CancelUnsupported && c.By == "client" {
		if s.t.StartedAt == nil {
			s.move(arrowCancelVoidQd, note)
		} else {
			s.move(arrowCancelVoid, note)
		}
		return
	}
	s.move(arrowCancelSent, note)
}

// cancelOverdue bounds how long a cancel may take.
func (s *step) cancelOverdue() {
	c := s.t.Cancel
	if cancelEnd(s.t, c).After(s.m.At) {
		return
	}
	if c.By == "client" {
		s.giveUp("it was cancelled, and the provider did not say how it ended")
	} else {
		s.giveUp("the provider did not say how it ended")
	}
}

// cancelEnd is until when the provider may say how a task ended that was asked to be cancelled.
func cancelEnd(t events.Task, c *events.CancelState) time.Time {
	if c.By == "client" {
		return t.Deadline.Add(CancelGrace)
	}
	return c.AskedAt.Add(CancelGrace)
}

// AskCancelNow reports whether the provider should be asked to cancel at this moment.
func AskCancelNow(t events.Task, now time.Time) bool {
	return Needs(t).AskCancel && !askCancelAt(t).After(now)
}

func askCancelAt(t events.Task) time.Time {
	if t.Cancel.RetryAt != nil {
		return *t.Cancel.RetryAt
	}
	return t.Cancel.AskedAt
}
