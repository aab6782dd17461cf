package task

import (
	"fmt"
	"slices"
	"time"

	"reelay/events"
	"reelay/internal/provider"
)

// due acts on what is overdue.
func (s *step) due(tr Due) {
	switch s.t.Phase {
	case events.PhaseWaiting:
		s.overdue()
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
		if by, ok := s.missed(); ok {
			s.expire(by)
		}
	case events.PhaseCancelling:
		s.cancelOverdue()
	case events.PhaseDone:
		if s.t.Unannounced {
			s.t.Unannounced = false
			s.move(arrowAnnounced, "")
		}
		s.endLateWatch()
	}
}

// missed says which deadline has passed.
func (s *step) missed() (by string, ok bool) {
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
	by, ok := s.missed()
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

// giveUp ends the task for its deadline and goes on watching for the result that was paid for.
func (s *step) giveUp(note string) {
	s.watchLate()
	s.t.Unannounced = true
	s.finish(arrowExpired, note, s.deadlineError(events.ChargePossible))
}

func (s *step) deadlineError(charge events.Charge) *events.Error {
	e := &events.Error{Code: events.CodeDeadlineExceeded, Kind: events.KindDeadline, Retryable: true, Charge: charge}
	if s.t.Cancel != nil && s.t.Cancel.By == "start_deadline" {
		e.Code = events.CodeStartDeadlineExceeded
		e.Message = fmt.Sprintf("the provider did not start within the start timeout of %v", s.t.StartDeadline.Sub(s.t.CreatedAt))
		return e
	}
	e.Message = fmt.Sprintf("not finished within the timeout of %v", s.t.Deadline.Sub(s.t.CreatedAt))
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
	_, missed := s.missed()
	if t.Phase == events.PhaseCancelling {
		return !cancelEnd(t, t.Cancel).After(now)
	}
	return missed
}

// horizon settles a submit in doubt by policy, once the provider's silence means something. Where a list should have been
// read and could not be, silence proves nothing: after twice the time a person decides, whatever the policy.
func (s *step) horizon(tr Due) {
	a := s.t.Attempt()
	waited := s.m.At.Sub(a.IntentAt)
	if tr.Horizon <= 0 || waited < tr.Horizon {
		return
	}
	note := fmt.Sprintf("no evidence within %v", tr.Horizon)
	if a.Listings < tr.Listings {
		if waited < 2*tr.Horizon {
			return
		}
		note = fmt.Sprintf("only %d of %d complete listings within %v", a.Listings, tr.Listings, 2*tr.Horizon)
	} else if tr.Listings > 0 {
		note += fmt.Sprintf(" and not in %d complete listings", a.Listings)
	}
	silent := a.Listings >= tr.Listings
	switch {
	case silent && s.t.OnInDoubt == events.InDoubtFail:
		s.evidence(a, events.Evidence{Source: events.SourceTimer, Note: note})
		s.t.Unannounced = true
		s.finish(arrowWriteOff, note, &events.Error{
			Code: events.CodeInDoubt, Kind: events.KindAmbiguous, Charge: events.ChargePossible,
			Message: "nobody knows whether the provider accepted the paid request: " + note,
		})
	case silent && s.t.OnInDoubt == events.InDoubtResubmit && possiblyPaid(s.t) < s.t.MaxPaidAttempts && s.t.Cancel == nil &&
		Affordable(s.t, expected(s.t)):
		s.evidence(a, events.Evidence{Source: events.SourceTimer, Note: note + "; resubmitted by policy"})
		s.notCounted(a)
		s.backToWaiting(arrowResubmit, note+"; another paid attempt is allowed by the request", 0)
	default:
		s.evidence(a, events.Evidence{Source: events.SourceTimer, Note: note + "; held for a person"})
		s.move(arrowPark, note+"; a person decides by resolve")
	}
}

// searched records that the provider's list did not show an attempt.
func (s *step) searched(tr Searched) {
	a := s.t.Attempt()
	if s.t.Phase != events.PhaseInDoubt && s.t.Phase != events.PhaseParked || a.N != tr.Attempt {
		return
	}
	if a.SearchedAt != nil && !s.m.At.After(*a.SearchedAt) {
		return
	}
	at := s.m.At
	a.Searches++
	a.SearchedAt = &at
	if tr.Complete {
		a.Listings++
	}
	s.evidence(a, events.Evidence{Source: events.SourceList, Note: tr.Note})
	s.move(arrowSearched, tr.Note)
}

// SearchDue reports whether the provider's list should be asked for the attempt in doubt of t: 1, 5, 15 and 60 minutes after
// its intent, then every hour, for a day.
func SearchDue(t events.Task, now time.Time) bool {
	if t.Phase != events.PhaseInDoubt && t.Phase != events.PhaseParked {
		return false
	}
	a := t.Attempt()
	age := now.Sub(a.IntentAt)
	if age > 24*time.Hour {
		return false
	}
	var searched time.Duration
	if a.SearchedAt != nil {
		searched = a.SearchedAt.Sub(a.IntentAt)
	}
	for _, at := range []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute} {
		if searched < at {
			return age >= at
		}
	}
	return age >= time.Hour && searched.Truncate(time.Hour) < age.Truncate(time.Hour)
}

// Wants derives what has to exist outside the record.
func Wants(t events.Task) Effects {
	return Effects{
		Watch:     isAtProvider(t.Phase) || t.Phase == events.PhaseDone && t.LateUntil != nil,
		AskCancel: t.Phase == events.PhaseCancelling && t.Cancel != nil && t.Cancel.SentAt == nil,
	}
}

// AskCancelNow reports whether the provider should be asked to cancel at this moment.
func AskCancelNow(t events.Task, now time.Time) bool {
	return Wants(t).AskCancel && !askCancelAt(t).After(now)
}

func askCancelAt(t events.Task) time.Time {
	if t.Cancel.RetryAt != nil {
		return *t.Cancel.RetryAt
	}
	return t.Cancel.AskedAt
}

const (
	longHeartbeat  = 5 * time.Minute
	parkHeartbeat  = 15 * time.Minute
	doubtHeartbeat = time.Minute
	shortHeartbeat = 30 * time.Second
)

// Heartbeat returns the interval, in whole seconds, at which a record that was just written has to be looked at even if
// nothing else happens; 0 for none. It is the net under every other trigger: long where those exist, short where a step
// is under way, and laid so that one beat falls just after the next deadline.
func Heartbeat(t events.Task) time.Duration {
	switch t.Phase {
	case events.PhaseDone:
		if t.Unannounced {
			return shortHeartbeat
		}
		if t.LateUntil != nil {
			return parkHeartbeat // it is watched on, and the watch message may be missing
		}
		return 0
	case events.PhaseParked:
		return parkHeartbeat
	case events.PhaseInDoubt:
		return doubtHeartbeat
	case events.PhaseSubmitting:
		return beatBefore(t.Attempt().NotAfter.Sub(written(t)))
	case events.PhaseCancelling:
		if Wants(t).AskCancel {
			return max(time.Second, askCancelAt(t).Sub(written(t)).Round(time.Second))
		}
		return shortHeartbeat
	}
	next := t.Deadline
	if t.StartDeadline != nil && t.StartedAt == nil && t.StartDeadline.Before(next) {
		next = *t.StartDeadline
	}
	return beatBefore(next.Sub(written(t)))
}

// beatBefore divides the time to a deadline into equal beats no longer than longHeartbeat, the last of them one to two
// seconds after the deadline: the server's scheduler works in whole seconds and may be half a second early.
func beatBefore(left time.Duration) time.Duration {
	whole := max(left, 0).Truncate(time.Second) + 2*time.Second
	beats := (whole + longHeartbeat - 1) / longHeartbeat
	return ((whole + beats - 1) / beats).Round(time.Second)
}

func written(t events.Task) time.Time {
	if len(t.Transitions) == 0 {
		return t.CreatedAt
	}
	return t.Transitions[len(t.Transitions)-1].At
}

// publish derives the events of a change: the new ones, and before them those of earlier steps that happen once, so that
// the next publisher fills any gap left by one that stalled or crashed. Those of earlier steps are marked as Repair.
func (s *step) publish(c Change) []events.Event {
	if s.reject != nil {
		return []events.Event{*s.reject}
	}
	var once, repeated []events.Event
	var latest *events.Event // the newest of this change: it brings the log lines
	doubt := c.Task.Phase == events.PhaseInDoubt || c.Task.Phase == events.PhaseParked
	whole := !s.written || c.Task.Phase == events.PhaseDone
	seen := map[events.EventType]bool{}
	for _, tr := range c.Task.Transitions {
		if tr.Event == "" {
			continue
		}
		isNew := s.written && tr.Version == c.Task.Version
		e := events.Event{
			Type: tr.Event, Project: c.Task.Project, TaskID: c.Task.ID, Version: tr.Version, Time: tr.At, Message: tr.Note,
			Task: &c.Task, Traceparent: c.Task.Traceparent, Once: tr.Event != events.EventProgress && !seen[tr.Event], Repair: !isNew,
		}
		seen[tr.Event] = true
		if tr.Event == events.EventFailed {
			e.Error = c.Task.Error
		}
		switch {
		case e.Once:
			once = append(once, e)
			whole = whole || isNew
			if isNew {
				latest = &once[len(once)-1]
			}
		case isNew, doubt && tr.Event == events.EventInDoubt:
			// One write, one of them: the last step tells it all. That a person has to decide is told again until somebody does.
			repeated = []events.Event{e}
			if isNew {
				latest = &repeated[0]
			}
		}
	}
	if latest == nil && !whole {
		return nil
	}
	if latest != nil {
		latest.Logs = s.newLogs
	}
	return append(once, repeated...)
}

// trim bounds what a record keeps, the oldest going first: places in line that were told, then steps that no event derives from, then
// progress.
func trim(t *events.Task) {
	for len(t.Transitions) > events.MaxTransitions {
		last := len(t.Transitions) - 1
		i := slices.IndexFunc(t.Transitions[:last], func(tr events.Transition) bool { return tr.Name == arrowPlaced })
		if i < 0 {
			i = slices.IndexFunc(t.Transitions, func(tr events.Transition) bool { return tr.Event == "" })
			if i >= len(t.Transitions)-events.MaxTransitions/2 {
				i = -1
			}
		}
		if i < 0 {
			i = slices.IndexFunc(t.Transitions, func(tr events.Transition) bool { return tr.Event == events.EventProgress })
		}
		if i < 0 {
			i = 0
		}
		t.Transitions = slices.Delete(t.Transitions, i, i+1)
	}
	for len(t.Attempts) > maxAttemptsKept {
		i := slices.IndexFunc(t.Attempts, func(a events.Attempt) bool { return a.Charge == events.ChargeNone })
		if i < 0 {
			return
		}
		t.Attempts = slices.Delete(t.Attempts, i, i+1)
	}
}

// clone copies what Apply may change in place.
func clone(t events.Task) events.Task {
	t.Attempts = slices.Clone(t.Attempts)
	t.Transitions = slices.Clone(t.Transitions)
	t.Logs = slices.Clone(t.Logs)
	return t
}
