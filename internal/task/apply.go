package task

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"reelay/events"
	"reelay/internal/provider"
)

var (
	// ErrNotApplicable says that a person's decision does not fit the phase of the task.
	ErrNotApplicable = errors.New("not applicable in this phase")
	// ErrArrow says that the machine tried a step that its table does not have: a bug, not an input.
	ErrArrow = errors.New("no such arrow from this phase")
)

const (
	// CancelGrace is how long after a cancel for a deadline the provider may still say how the task ended.
	CancelGrace = 2 * time.Minute
	// CancelTries is how often a provider that does not answer is asked to cancel: after 1, 2, 4 ... 60 seconds, some
	// minutes in all.
	CancelTries = 10
	// LatePolling is how long a task that was given up is still polled for a result that was paid for.
	LatePolling = 6 * time.Hour
	// EndPolls and EndSpan say when a failure is believed that the provider did not tell of itself: it was seen at that
	// many polls in a row, over at least that time.
	EndPolls = 4
	EndSpan  = time.Minute
	// NotFoundPolls and NotFoundSpan say when a provider that does not know a task it once accepted is believed: that many
	// such polls in a row, over at least that time.
	NotFoundPolls = 5
	NotFoundSpan  = 5 * time.Minute

	// cancelUnanswered is the outcome of a cancel that the provider never answered.
	cancelUnanswered = "unanswered"

	maxAttemptsKept = 20
	maxEvidence     = 10
)

// A Change is what a trigger does to a task.
type Change struct {
	// Task is the record as it now is.
	Task events.Task
	// Written says that it differs from the one given and must be stored before anything below is done.
	Written bool
	// Events are to be published, in order, but for those marked as Repair that are stored already.
	Events []events.Event
	// Announced says that the step records that they are published: it must be stored after them.
	Announced bool
	// Effects are what has to exist outside the record. They derive from the record alone.
	Effects Effects
}

// Effects are what a record needs outside of itself.
type Effects struct {
	// PollTicket: a poll ticket must exist, the task is polled.
	PollTicket bool
	// Artifact: the archiver's message must exist, outputs are to be stored.
	Artifact bool
	// AskCancel: the provider has to be asked to cancel, at AskCancelAt or as soon as possible.
	AskCancel bool
}

// Apply takes one step. current is nil when there is no record. A trigger that finds its work done changes nothing and
// returns the events that are already due, so that whoever repeats it repairs what a crash left out.
//
// The only errors are ErrNotApplicable, for Resolve, and ErrArrow, which is a bug.
func Apply(current *events.Task, tr Trigger) (Change, error) {
	s := step{m: tr.meta()}
	if current != nil {
		s.t = clone(*current)
	}
	accept, isAccept := tr.(Accept)
	switch {
	case isAccept:
		s.accept(current, accept)
	case current == nil:
		return Change{}, nil
	default:
		s.apply(tr)
	}
	if s.err != nil {
		return Change{Task: s.t}, s.err
	}
	if !s.written && current != nil {
		s.t = *current
	}
	c := Change{Task: s.t, Written: s.written}
	if s.written {
		c.Task.Version++
		trim(&c.Task)
	}
	c.Events = s.emit(c)
	c.Announced = s.written && current != nil && current.Unannounced && !c.Task.Unannounced
	c.Effects = Needs(c.Task)
	return c, nil
}

// step is one Apply under way.
type step struct {
	m       Meta
	t       events.Task
	written bool
	newLogs []events.LogLine
	newPace bool
	reject  *events.Event
	err     error
}

func (s *step) apply(tr Trigger) {
	if s.t.ErasedAt != nil && bringsContent(tr) {
		return
	}
	switch tr := tr.(type) {
	case DependenciesEnded:
		s.dependenciesEnded(tr)
	case DependencyFailed:
		s.dependencyFailed(tr)
	case Intent:
		s.intent(tr)
	case CapReached:
		s.capReached(tr)
	case Positioned:
		s.positioned(tr)
	case Release:
		s.release(tr)
	case Accepted:
		s.accepted(tr)
	case IDShared:
		s.idShared(tr)
	case Refused:
		s.refused(tr)
	case Doubt:
		s.doubt(tr)
	case PollResult:
		s.pollResult(tr)
	case PollFailed:
		s.pollFailed(tr)
	case Cancel:
		s.cancel(tr)
	case CancelAnswered:
		s.cancelAnswered(tr)
	case Resolve:
		s.resolve(tr)
	case Searched:
		s.searched(tr)
	case Stored:
		s.stored(tr)
	case Dropped:
		s.dropped(tr)
	case Erase:
		s.erase()
	case Erased:
		s.erased()
	case Heartbeat:
		s.heartbeat(tr)
	default:
		s.err = fmt.Errorf("%w: trigger %T", ErrArrow, tr)
	}
}

// bringsContent reports whether a trigger would bring back what was erased.
func bringsContent(tr Trigger) bool {
	switch tr.(type) {
	case PollResult, PollFailed, Accepted, Doubt, Refused, Searched, Stored, Dropped, Heartbeat:
		return true
	}
	return false
}

// move takes a named arrow.
func (s *step) move(name, note string) {
	if s.err != nil {
		return
	}
	a, ok := machine[name]
	if !ok || !slices.Contains(a.From, s.t.Phase) {
		s.err = fmt.Errorf("%w: %s from %q", ErrArrow, name, s.t.Phase)
		return
	}
	to := a.To
	if to == "" {
		to = s.t.Phase
	}
	tr := events.Transition{
		Version: s.t.Version + 1, At: s.m.At, Name: name, From: s.t.Phase, To: to, By: s.m.By,
		RequestedBy: s.m.RequestedBy, Note: provider.Clip(note, events.MaxMessageBytes), Event: a.Event,
	}
	if at := s.t.Attempt(); at != nil {
		tr.Attempt = at.N
	}
	s.t.Phase = to
	s.t.Status = statusOf(s.t, name)
	s.t.Transitions = append(slices.Clip(s.t.Transitions), tr)
	s.written = true
}

// because says on the step that was just taken what keeps the task from being sent.
func (s *step) because(r events.BlockedReason, c *events.CapReached) {
	if s.err != nil {
		return
	}
	last := &s.t.Transitions[len(s.t.Transitions)-1]
	last.Reason, last.Cap = r, c
}

// statusOf derives the status from the phase, and for an ended task from the arrow that ended it.
func statusOf(t events.Task, arrow string) events.Status {
	switch t.Phase {
	case events.PhaseRunning, events.PhaseFetching, events.PhaseStoring:
		return events.StatusInProgress
	case events.PhaseCancelling:
		if t.StartedAt != nil {
			return events.StatusInProgress
		}
		return events.StatusQueued
	case events.PhaseDone:
		switch arrow {
		case arrowSucceed:
			return events.StatusCompleted
		case arrowCancelled:
			return events.StatusCancelled
		case arrowRefused, arrowWriteOff, arrowLost, arrowFail, arrowExpired, arrowDepFailed:
			return events.StatusFailed
		}
		return t.Status // a late step on an ended task
	}
	return events.StatusQueued
}

// finish ends the task.
func (s *step) finish(arrow, note string, e *events.Error) {
	at := s.m.At
	if e != nil && e.Charge != "" && e.Charge != events.ChargeNone {
		e = s.asPaid(e, e.Charge)
	}
	s.t.Error = e
	s.t.CompletedAt = &at
	if possiblyPaid(s.t) == 0 {
		s.total()
	}
	s.t.QueuePosition, s.t.NotBefore, s.t.Pace, s.t.WaitsFor = nil, nil, "", nil
	s.noEstimate()
	s.move(arrow, note)
}

// asPaid returns e with that charge. A program that asked again for what may have been paid for would buy it twice; where
// nothing is ever charged, it may.
func (s *step) asPaid(e *events.Error, c events.Charge) *events.Error {
	paid := *e
	if isFree(s.t) {
		paid.Charge = events.ChargeNone
		paid.Retryable = paid.Retryable || paid.Kind == events.KindNotFound || paid.Kind == events.KindAmbiguous
		return &paid
	}
	paid.Charge, paid.Retryable = c, false
	return &paid
}

// IsOf reports whether t was made of a request: one with the same digest, or the very message, which was stored at that
// time. The digest of a message that is delivered again may be another: of files it has the SHA-256 of what they now are.
func IsOf(t events.Task, digest string, stored time.Time) bool {
	return t.RequestDigest == digest || t.CreatedAt.Equal(stored)
}

func (s *step) accept(current *events.Task, tr Accept) {
	if current == nil {
		s.t = clone(tr.Task)
		s.t.Phase, s.t.Version = "", 0
		s.move(arrowAccept, waitingNote(s.t, tr.Note))
		return
	}
	if IsOf(*current, tr.Task.RequestDigest, tr.Task.CreatedAt) {
		return
	}
	batch, size := tr.Task.BatchID, tr.Task.BatchSize
	if batch == current.BatchID { // the task that exists counts there
		batch, size = "", 0
	}
	s.reject = &events.Event{
		Type: events.EventRejected, Project: tr.Task.Project, TaskID: tr.Task.ID, Time: s.m.At,
		RequestDigest: tr.Task.RequestDigest, BatchID: batch, BatchSize: size, Notify: notify(&tr.Task),
		Error: &events.Error{
			Code: events.CodeIdempotencyConflict, Kind: events.KindInvalid, Field: "id", Charge: events.ChargeNone,
			Message: "id: a task with this id exists and was asked for with another body",
		},
	}
}

func (s *step) intent(tr Intent) {
	if s.t.Phase != events.PhaseWaiting || s.t.NotBefore != nil && s.m.At.Before(*s.t.NotBefore) ||
		len(s.t.WaitsFor) > 0 {
		return
	}
	if tr.SentAfter == nil && s.overdue() { // what may have been sent already is searched for, however late
		s.t.Unannounced = true
		return
	}
	if tr.ReservedUSD != nil && !Affordable(s.t, *tr.ReservedUSD) {
		return
	}
	if n := possiblyPaid(s.t); n >= s.t.MaxPaidAttempts {
		s.err = fmt.Errorf("%w: %d of %d paid attempts are used", ErrArrow, n, s.t.MaxPaidAttempts)
		return
	}
	if !s.takenBy(tr.Lane) {
		return
	}
	s.t.Attempts = append(slices.Clip(s.t.Attempts), events.Attempt{
		N: NextAttempt(s.t), Lane: attemptLane(s.t), Owner: tr.Owner, IntentAt: s.m.At, NotAfter: tr.NotAfter,
		BodySHA256: tr.BodySHA256, Files: tr.Files, Outcome: events.AttemptOpen, Charge: events.ChargePossible, CostUSD: tr.ReservedUSD, Callback: tr.Callback,
		SentAfter: tr.SentAfter,
	})
	s.t.NotBefore = nil
	s.forgetPosition()
	s.move(arrowIntend, tr.Note)
}

// NextAttempt returns the number that the next paid attempt of t will have.
func NextAttempt(t events.Task) int {
	if last := t.Attempt(); last != nil {
		return last.N + 1
	}
	return 1
}

// owned returns the latest attempt if owner holds it and its outcome is not known.
func (s *step) owned(owner string) *events.Attempt {
	a := s.t.Attempt()
	if a == nil || a.Owner != owner || !isUnknown(s.t.Phase) {
		return nil
	}
	return a
}

// settle records what became of an attempt.
func (s *step) settle(a *events.Attempt, o events.AttemptOutcome, c events.Charge, e *events.Error,
	found events.Evidence,
) {
	at := s.m.At
	a.Outcome, a.OutcomeAt, a.Error = o, &at, e
	s.charge(a, c)
	s.evidence(a, found)
}

// evidence adds to what is known of an attempt. When there is no more room the last but newest goes: how it began and
// how it stands now matter most.
func (s *step) evidence(a *events.Attempt, found events.Evidence) {
	all := slices.Clone(a.Evidence)
	if len(all) >= maxEvidence {
		all = all[:maxEvidence-1]
	}
	found.At, found.Note = s.m.At, provider.Clip(found.Note, events.MaxMessageBytes)
	a.Evidence = append(all, found)
}

func (s *step) release(tr Release) {
	a := s.owned(tr.Owner)
	if a == nil {
		return
	}
	s.settle(a, events.AttemptReleased, events.ChargeNone, nil,
		events.Evidence{Source: events.SourceReply, Note: "not sent: " + tr.Reason})
	if s.adoptEarlier() {
		return
	}
	s.backToWaiting(arrowRelease, tr.Reason, tr.Wait)
}

func (s *step) refused(tr Refused) {
	a := s.owned(tr.Owner)
	if a == nil {
		return
	}
	e := tr.Err.Event()
	e.Charge = events.ChargeNone
	s.settle(a, events.AttemptRefused, events.ChargeNone, e,
		events.Evidence{Source: events.SourceReply, Note: "refused: " + e.Message})
	if s.adoptEarlier() {
		return
	}
	if tr.WithoutCallback {
		s.backToWaiting(arrowRefusedWait, e.Message+"; it may be the callback URL: once more without one", tr.Wait)
		return
	}
	switch tr.Err.Kind {
	case events.KindRetry, events.KindRateLimited, events.KindQuota, events.KindAuth, events.KindAddress:
		s.backToWaiting(arrowRefusedWait, e.Message, tr.Wait)
	default:
		s.t.Unannounced = true
		if s.t.Cancel != nil {
			s.finish(arrowCancelled, "refused by the provider after a cancel", nil)
			return
		}
		ended := *e
		ended.Charge = chargeOf(s.t)
		s.finish(arrowRefused, e.Message, &ended)
	}
}

// backToWaiting returns the task to our queue, or ends it where a cancel was waiting for that.
func (s *step) backToWaiting(arrow, note string, wait time.Duration) {
	if s.t.Cancel != nil {
		s.t.Unannounced = true
		s.finish(arrowCancelled, "not accepted by the provider before the cancel", nil)
		return
	}
	if wait > 0 {
		at := s.m.At.Add(wait)
		s.t.NotBefore = &at
	}
	s.move(arrow, note)
	if wait > 0 {
		s.because(events.BlockedRetry, nil)
	}
}

func (s *step) doubt(tr Doubt) {
	a := s.owned(tr.Owner)
	if a == nil || s.t.Phase != events.PhaseSubmitting {
		return
	}
	e := tr.Err.Event()
	e.Kind, e.Charge = events.KindAmbiguous, events.ChargePossible
	s.settle(a, events.AttemptInDoubt, events.ChargePossible, e,
		events.Evidence{Source: events.SourceReply, Note: e.Message, Answer: provider.Clip(tr.Answer, events.MaxAnswerBytes)})
	if !s.adoptEarlier() {
		s.move(arrowDoubt, e.Message)
	}
}

func (s *step) accepted(tr Accepted) {
	if len(tr.Ref) == 0 {
		return
	}
	i := slices.IndexFunc(s.t.Attempts, func(a events.Attempt) bool { return a.N == tr.Attempt })
	if i < 0 && tr.Owner != "" && tr.Attempt >= NextAttempt(s.t) {
		// Only its owner can know of an attempt that the record has forgotten: a broker lost acknowledged writes.
		i = len(s.t.Attempts)
		s.t.Attempts = append(slices.Clip(s.t.Attempts),
			events.Attempt{N: tr.Attempt, Owner: tr.Owner, IntentAt: s.m.At, NotAfter: s.m.At, Lane: tr.Lane})
	}
	if i < 0 {
		return
	}
	a := &s.t.Attempts[i]
	known := len(a.Ref) > 0
	switch {
	case !known:
		charge := events.ChargeConfirmed
		if isFree(s.t) {
			charge = events.ChargeNone
		}
		s.settle(a, events.AttemptAccepted, charge, nil, events.Evidence{
			Source: tr.Source, ProviderID: tr.ID, Note: cmp.Or(tr.Note, "accepted as "+tr.ID),
		})
		a.Ref, a.ProviderID, a.Lane = tr.Ref, tr.ID, cmp.Or(tr.Lane, a.Lane)
		if tr.Result != nil {
			s.answered(a, tr)
		}
	case !bytes.Equal(a.Ref, tr.Ref) && !hasEvidence(a, tr.ID):
		s.evidence(a, events.Evidence{Source: tr.Source, ProviderID: tr.ID, Note: "second id for one attempt: " + tr.ID})
		s.move(arrowDoubleAccept, "attempt "+fmt.Sprint(a.N)+" has a second provider id "+tr.ID)
		return
	}
	switch {
	case len(s.t.ProviderRef) == 0 && (s.t.Phase != events.PhaseSubmitting || i == len(s.t.Attempts)-1):
		s.adopt(a, tr.Note, tr.Estimate)
	case !known:
		// Another attempt is out or at the provider already: two may have been paid for, and the record says so. If the one
		// that is out comes to nothing, this one is adopted.
		s.move(arrowDoubleAccept, fmt.Sprintf("attempt %d was accepted as well, as %s", a.N, tr.ID))
	}
}

// idShared notes that what the provider has under the task's id may be another's.
func (s *step) idShared(tr IDShared) {
	i := slices.IndexFunc(s.t.Attempts, func(a events.Attempt) bool { return a.ProviderID == tr.ID && !a.SharedID })
	if i < 0 || tr.ID == "" {
		return
	}
	a := &s.t.Attempts[i]
	a.SharedID = true
	note := "the provider gave the id " + tr.ID + " to another task as well: the result may be that of the other"
	s.evidence(a, events.Evidence{Source: events.SourceReply, ProviderID: tr.ID, Note: note})
	s.move(arrowSharedID, note)
}

// adopt makes an accepted attempt the one that the task lives by. e is when it will end, nil where nothing is known.
func (s *step) adopt(a *events.Attempt, note string, e *events.Estimate) {
	at := s.m.At
	s.t.Lane = cmp.Or(a.Lane, s.t.Lane) // only by its key can it be asked for
	s.t.ProviderRef, s.t.ProviderID, s.t.SubmittedAt = a.Ref, a.ProviderID, &at
	s.t.NotBefore = nil
	if s.t.Phase == events.PhaseDone {
		if s.t.Error != nil {
			s.t.Error = s.asPaid(s.t.Error, events.ChargeConfirmed)
		}
		s.move(arrowLateAccepted, "accepted as "+a.ProviderID+" after the task had been given up")
		if a.Result != nil {
			s.endBy(a)
		} else {
			s.pollLate()
		}
		return
	}
	s.notCounted(a)
	s.forgetPosition()
	s.move(arrowAccepted, cmp.Or(note, "accepted as "+a.ProviderID))
	switch {
	case a.Result != nil:
		s.endBy(a)
	case s.t.Cancel != nil:
		s.move(arrowCancel, s.t.Cancel.Reason)
	case e != nil:
		e.Fill(&s.t, s.m.At)
		s.t.Forecast = &events.Forecast{Earliest: *s.t.ETAEarliest, ETA: *s.t.ETA, Latest: *s.t.ETALatest}
	}
}

// answered keeps with an attempt the result that its answer has brought.
func (s *step) answered(a *events.Attempt, tr Accepted) {
	a.Result = result(*tr.Result, tr.RawRef)
	if tr.Result.Units != nil {
		s.units(*tr.Result)
	}
	if tr.Result.State != provider.Succeeded {
		a.Error = failure(*tr.Result)
	}
}

// endBy ends the task by an attempt that it has just adopted and that was answered with its result; of a task that was
// given up it keeps that result.
func (s *step) endBy(a *events.Attempt) {
	r, e := a.Result, a.Error
	a.Result = nil
	s.t.Unannounced = true // it is not reported again once the journal calls it done
	switch {
	case s.t.Phase == events.PhaseDone:
		s.late(r, e)
	case e != nil:
		s.t.Result = r
		s.bill(e.Charge)
		s.finish(arrowFail, e.Message, e)
	default:
		s.succeed(r)
	}
}

// adoptEarlier adopts an attempt whose acceptance became known while a later one was out.
func (s *step) adoptEarlier() bool {
	i := slices.IndexFunc(s.t.Attempts, func(a events.Attempt) bool { return len(a.Ref) > 0 })
	if i < 0 || len(s.t.ProviderRef) > 0 {
		return false
	}
	s.adopt(&s.t.Attempts[i], "", nil)
	return true
}

// notCounted moves the deadlines by the time that an attempt was in doubt: it was nobody's to use.
func (s *step) notCounted(a *events.Attempt) {
	if s.t.Phase != events.PhaseInDoubt && s.t.Phase != events.PhaseParked {
		return
	}
	spent := s.m.At.Sub(a.IntentAt)
	s.t.Deadline = s.t.Deadline.Add(spent)
	if s.t.StartDeadline != nil {
		at := s.t.StartDeadline.Add(spent)
		s.t.StartDeadline = &at
	}
}

// chargeOf is what is known about the price of a task that nothing has come of.
func chargeOf(t events.Task) events.Charge {
	if possiblyPaid(t) > 0 {
		return events.ChargePossible
	}
	return events.ChargeNone
}

// possiblyPaid counts the attempts that are not proven free.
func possiblyPaid(t events.Task) int {
	n := 0
	for _, a := range t.Attempts {
		if a.Charge != events.ChargeNone {
			n++
		}
	}
	return n
}

func isUnknown(p events.Phase) bool {
	return p == events.PhaseSubmitting || p == events.PhaseInDoubt || p == events.PhaseParked
}

// hasEvidence reports whether it is known of an attempt that the provider gave it this id. No id is no evidence.
func hasEvidence(a *events.Attempt, id string) bool {
	return id != "" && slices.ContainsFunc(a.Evidence, func(e events.Evidence) bool { return e.ProviderID == id })
}

func suffix(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}
