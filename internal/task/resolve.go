package task

import (
	"fmt"
	"time"

	"reelay/events"
)

func (s *step) resolve(tr Resolve) {
	if tr.Command != 0 && tr.Command <= s.t.LastCommand {
		return // this decision has taken effect
	}
	inDoubt := s.t.Phase == events.PhaseInDoubt || s.t.Phase == events.PhaseParked
	doubtful := s.doubtful()
	switch {
	case doubtful != nil && !tr.DecidedAt.IsZero() && doubtful.IntentAt.After(tr.DecidedAt):
		s.err = fmt.Errorf("%w: attempt %d was begun after this was decided", ErrNotApplicable, doubtful.N)
		return
	case doubtful == nil || !inDoubt && (tr.Action != events.ResolveAdopt || s.t.Phase != events.PhaseDone):
		s.err = fmt.Errorf("%w: the task is %s and resolve needs in_doubt or parked", ErrNotApplicable, s.t.Phase)
		return
	case tr.Action == events.ResolveAdopt:
		s.accepted(Accepted{
			Meta: s.m, Attempt: doubtful.N, Ref: tr.Ref, ID: tr.ID, Source: events.SourcePerson,
			Note: "adopted as " + tr.ID + suffix(tr.Reason),
		})
	case tr.Action == events.ResolveResubmit && !Affordable(s.t, expected(s.t)):
		s.err = fmt.Errorf("%w: another paid attempt could cost more than the request's max_cost_usd of %v", ErrNotApplicable,
			*s.t.Cost.MaxUSD)
		return
	case tr.Action == events.ResolveResubmit:
		s.evidence(doubtful, events.Evidence{Source: events.SourcePerson, Note: "resubmit" + suffix(tr.Reason)})
		s.t.MaxPaidAttempts = max(s.t.MaxPaidAttempts, possiblyPaid(s.t)+1)
		s.t.Cancel = nil // a person who buys again does not want it cancelled
		s.notCounted(doubtful)
		s.backToWaiting(arrowResubmit, "a person allowed another paid attempt"+suffix(tr.Reason), 0)
	default:
		s.evidence(doubtful, events.Evidence{Source: events.SourcePerson, Note: "written off" + suffix(tr.Reason)})
		s.finish(arrowWriteOff, "written off by a person"+suffix(tr.Reason), &events.Error{
			Code: events.CodeWrittenOff, Kind: events.KindAmbiguous, Charge: events.ChargePossible,
			Message: "written off by a person; the provider may have charged for it" + suffix(tr.Reason),
		})
	}
	s.t.LastCommand = max(s.t.LastCommand, tr.Command)
}

// doubtful returns the latest attempt of which nobody knows whether it was accepted.
func (s *step) doubtful() *events.Attempt {
	for i := len(s.t.Attempts) - 1; i >= 0; i-- {
		if a := &s.t.Attempts[i]; a.Charge == events.ChargePossible && len(a.Ref) == 0 && len(s.t.ProviderRef) == 0 {
			return a
		}
	}
	return nil
}

// horizon settles a submit in doubt by policy, once the provider's silence means something. Where a list should have
// been read and could not be, silence proves nothing: after twice the time a person decides, whatever the policy.
func (s *step) horizon(tr Heartbeat) {
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
	case silent && s.t.OnInDoubt == events.InDoubtResubmit && possiblyPaid(s.t) < s.t.MaxPaidAttempts &&
		(s.t.Cancel == nil || isFree(s.t)) &&
		Affordable(s.t, expected(s.t)):
		s.evidence(a, events.Evidence{Source: events.SourceTimer, Note: note + "; resubmitted by policy"})
		s.notCounted(a)
		s.backToWaiting(arrowResubmit, note+"; another paid attempt is allowed by the request", 0)
	case silent && (s.t.OnInDoubt == events.InDoubtFail || isFree(s.t)): // no person is asked where no money is at stake
		s.evidence(a, events.Evidence{Source: events.SourceTimer, Note: note})
		s.t.Unannounced = true
		s.finish(arrowWriteOff, note, &events.Error{
			Code: events.CodeInDoubt, Kind: events.KindAmbiguous, Charge: events.ChargePossible,
			Message: "nobody knows whether the provider accepted the paid request: " + note,
		})
	default:
		s.evidence(a, events.Evidence{Source: events.SourceTimer, Note: note + "; parked for a person"})
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
	// Another lane of a group may have sent it: the list of one account proves nothing of that.
	if tr.Complete && a.SentAfter != nil && a.BodySHA256 == "" && a.Listings >= tr.Listings && s.t.Group == "" {
		s.neverSent(a, tr.Note)
		return
	}
	s.evidence(a, events.Evidence{Source: events.SourceList, Note: tr.Note})
	s.move(arrowSearched, tr.Note)
}

// neverSent releases an attempt that stands for what a restored record may have forgotten: it would have been sent before
// its intent, and as many complete lists as it takes do not show it.
func (s *step) neverSent(a *events.Attempt, note string) {
	s.settle(a, events.AttemptReleased, events.ChargeNone, nil,
		events.Evidence{Source: events.SourceList, Note: "never sent: " + note})
	s.notCounted(a)
	if !s.adoptEarlier() {
		s.backToWaiting(arrowRelease, note, 0)
	}
}

// SearchDue reports whether the provider's list should be asked for the attempt in doubt of t: 1, 5, 15 and 60 minutes
// after its intent, then every hour, for a day.
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
