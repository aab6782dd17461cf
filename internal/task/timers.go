package task

import (
	"fmt"
	"time"

	"reelay/events"
	"reelay/internal/provider"
)

// heartbeat acts on what is overdue.
func (s *step) heartbeat(tr Heartbeat) {
	switch s.t.Phase {
	case events.PhaseWaiting:
		switch {
		case len(s.t.WaitsFor) == 0:
			s.overdue()
		case tr.Missing != "":
			s.missing(tr.Missing)
		}
	case events.PhaseSubmitting:
		if a := s.t.Attempt(); s.m.At.After(a.NotAfter) {
			s.settle(a, events.AttemptInDoubt, events.ChargePossible, &events.Error{
				Code: events.CodeInDoubt, Kind: events.KindAmbiguous, Charge: events.ChargePossible,
				Message: "nobody reported what became of the paid request",
			}, events.Evidence{Source: events.SourceTimer, Note: "no report by " + a.NotAfter.UTC().Format(time.RFC3339)})
			if !s.adoptEarlier() {
				s.move(arrowOverdue, "nobody reported what became of the paid request")
			}
		}
	case events.PhaseInDoubt:
		s.horizon(tr)
	case events.PhaseProviderQueued, events.PhaseRunning, events.PhaseFetching:
		if by, ok := s.missedDeadline(); ok {
			s.expire(by)
		}
	case events.PhaseCancelling:
		s.cancelOverdue()
	case events.PhaseStoring:
		s.storingOverdue()
	case events.PhaseDone:
		if s.t.Unannounced {
			s.t.Unannounced = false
			s.move(arrowAnnounced, "")
		}
		s.endLatePolling()
	}
}

// missedDeadline says which deadline has passed.
func (s *step) missedDeadline() (by string, ok bool) {
	if !s.m.At.Before(s.t.Deadline) {
		return "deadline", true
	}
	if s.t.StartDeadline != nil && s.t.StartedAt == nil && !s.m.At.Before(*s.t.StartDeadline) {
		return "start_deadline", true
	}
	return "", false
}

// overdue ends a waiting task whose deadline has passed; nothing of it is at a provider.
func (s *step) overdue() bool {
	by, ok := s.missedDeadline()
	if !ok {
		return false
	}
	s.t.Cancel = &events.CancelState{AskedAt: s.m.At, By: by}
	s.t.Unannounced = true // a heartbeat ends it: the last of its kind, which may be lost
	s.finish(arrowExpired, "it was still waiting", s.deadlineError(chargeOf(s.t)))
	return true
}

// expire asks the provider to cancel a task whose deadline has passed.
func (s *step) expire(by string) {
	if c := s.t.Cancel; c != nil && c.Outcome == string(provider.CancelUnsupported) {
		s.t.Cancel = &events.CancelState{AskedAt: s.m.At, By: by}
		s.giveUp("the provider has no cancel")
		return
	}
	s.t.Cancel = &events.CancelState{AskedAt: s.m.At, By: by}
	s.move(arrowExpire, s.deadlineError("").Message)
}

// giveUp ends the task for its deadline and goes on polling for the result that was paid for.
func (s *step) giveUp(note string) {
	s.pollLate()
	s.t.Unannounced = true
	s.finish(arrowExpired, note, s.deadlineError(events.ChargePossible))
}

func (s *step) deadlineError(charge events.Charge) *events.Error {
	e := &events.Error{Code: events.CodeDeadlineExceeded, Kind: events.KindDeadline, Retryable: true, Charge: charge}
	if s.t.Cancel != nil && s.t.Cancel.By == "start_deadline" {
		e.Code = events.CodeStartDeadlineExceeded
		e.Message = fmt.Sprintf("the provider did not start within the start timeout of %v",
			s.t.StartDeadline.Sub(s.t.TimeoutsFrom()))
		return e
	}
	e.Message = fmt.Sprintf("not finished within the timeout of %v", s.t.Deadline.Sub(s.t.TimeoutsFrom()))
	if a := s.t.Attempt(); a != nil && a.Outcome == events.AttemptRefused && a.Error != nil {
		// It waited because the provider's account refused it: that is the reason a person needs.
		e.Code, e.Kind, e.HTTPStatus, e.TraceID = a.Error.Code, a.Error.Kind, a.Error.HTTPStatus, a.Error.TraceID
		e.Message = fmt.Sprintf("%s (refused %d times; %s)", a.Error.Message, a.N, e.Message)
	}
	return e
}

// Overdue reports whether a heartbeat at now would find a deadline passed.
func Overdue(t events.Task, now time.Time) bool {
	s := step{m: Meta{At: now}, t: t}
	_, missed := s.missedDeadline()
	if t.Phase == events.PhaseCancelling {
		return !cancelEnd(t, t.Cancel).After(now)
	}
	return missed
}

// Needs returns the effects that a record needs. They derive from it alone.
func Needs(t events.Task) Effects {
	return Effects{
		PollTicket: isAtProvider(t.Phase) || t.Phase == events.PhaseDone && t.LateUntil != nil,
		Artifact:   len(Unsettled(t)) > 0,
		AskCancel:  t.Phase == events.PhaseCancelling && t.Cancel != nil && t.Cancel.SentAt == nil,
	}
}

const (
	longHeartbeat  = 5 * time.Minute
	parkHeartbeat  = 15 * time.Minute
	doubtHeartbeat = time.Minute
	shortHeartbeat = 30 * time.Second
)

// HeartbeatInterval returns the interval, in whole seconds, at which a record that was just written gets a heartbeat
// even if nothing else happens; 0 for none. It is the net under every other trigger: long where those exist, short
// where a step is under way, and chosen so that one heartbeat falls just after the next deadline.
func HeartbeatInterval(t events.Task) time.Duration {
	switch t.Phase {
	case events.PhaseDone:
		if t.Unannounced {
			return shortHeartbeat
		}
		if t.LateUntil != nil {
			return parkHeartbeat // it is polled on, and the poll ticket may be missing
		}
		return 0
	case events.PhaseParked:
		return parkHeartbeat
	case events.PhaseInDoubt:
		return doubtHeartbeat
	case events.PhaseSubmitting:
		return intervalBefore(t.Attempt().NotAfter.Sub(written(t)))
	case events.PhaseCancelling:
		if Needs(t).AskCancel {
			return max(time.Second, askCancelAt(t).Sub(written(t)).Round(time.Second))
		}
		return shortHeartbeat
	}
	next := t.Deadline
	if t.StartDeadline != nil && t.StartedAt == nil && t.StartDeadline.Before(next) {
		next = *t.StartDeadline
	}
	return intervalBefore(next.Sub(written(t)))
}

// intervalBefore divides the time to a deadline into equal intervals no longer than longHeartbeat, the last of them one
// to two seconds after the deadline: the server's scheduler works in whole seconds and may be half a second early.
func intervalBefore(left time.Duration) time.Duration {
	whole := max(left, 0).Truncate(time.Second) + 2*time.Second
	n := (whole + longHeartbeat - 1) / longHeartbeat
	return ((whole + n - 1) / n).Round(time.Second)
}

func written(t events.Task) time.Time {
	if len(t.Transitions) == 0 {
		return t.CreatedAt
	}
	return t.Transitions[len(t.Transitions)-1].At
}
