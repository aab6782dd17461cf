package submitter

import (
	"cmp"
	"context"
	"time"

	"reelay/events"
	"reelay/internal/journal"
	"reelay/internal/provider"
	"reelay/internal/task"
)

// A Witness remembers what was sent apart from the store of task records.
type Witness interface {
	// Sending is told the revision of the record on whose paid request the last byte is about to leave.
	Sending(revision uint64)
	// Restored is when a person has restored the store, and when the backup was taken; zero for never.
	Restored() (at, taken time.Time)
}

// restored reports whether the task may have been sent without its record knowing it: the record is from before the
// store was restored from a backup, and no attempt was begun since. Where nothing is paid for it does not matter.
func (a *attempt) restored() bool {
	if a.o.Witness == nil || a.lane.Free {
		return false
	}
	at, _ := a.o.Witness.Restored()
	last := a.task.Attempt()
	return a.task.CreatedAt.Before(at) && (last == nil || last.IntentAt.Before(at))
}

// replay settles from the journal what the records of a restored store have forgotten. The journal calls all of it done.
func (s *Service) replay(ctx context.Context) {
	if s.o.Witness == nil {
		return
	}
	at, _ := s.o.Witness.Restored()
	if time.Since(at) > journal.ClaimAge {
		return // it remembers nothing from before
	}
	known := s.o.Journal.Known()
	var missing []journal.Entry
	err := s.o.Bus.ReadTasks(ctx, func(t events.Task) { missing = append(missing, known.Missing(t)...) })
	if err != nil && ctx.Err() == nil {
		s.log.ErrorContext(ctx, "the records of a restored store could not be compared with the journal", "error", err)
	}
	for _, e := range missing {
		s.log.WarnContext(ctx, "a record of a restored store gets the outcome of its paid request from the journal", "task", e.Key(), "attempt",
			e.Attempt, "outcome", e.Answer.Outcome, "provider_id", e.Answer.ID)
		s.settle(ctx, e, s.answerOf(e))
	}
}

// forgotten is for a task whose next attempt has been sent before, or may have been, although its record knows nothing
// of that. What the journal knows to be accepted, now or later, is adopted, and what it knows to be refused is; of
// anything else nobody knows, so it is in doubt.
func (a *attempt) forgotten(ctx context.Context, sent journal.Entry) *events.Task {
	if e, ok := a.o.Journal.Known().AcceptedSince(a.key, a.entry.Attempt); ok {
		a.log.ErrorContext(ctx, "the record has forgotten an attempt that was accepted; it gets its provider id from the journal", "attempt",
			e.Attempt, "provider_id", e.Answer.ID)
		return a.settle(ctx, e, a.answerOf(e))
	}
	now := time.Now().UTC()
	intent := task.Intent{
		Meta: task.Meta{At: now, By: name}, Owner: a.entry.Owner, Lane: cmp.Or(sent.Lane, a.lane.Name), Files: a.files,
		NotAfter: now.Add(intentLife(a.request)),
	}
	answer := journal.Answer{Outcome: string(provider.InDoubt), Error: &events.Error{
		Kind: events.KindAmbiguous, Code: events.CodeInDoubt,
	}}
	switch {
	case sent.Answer != nil && sent.Answer.Outcome == string(provider.Refused):
		a.log.ErrorContext(ctx, "the record has forgotten an attempt that was refused", "attempt", sent.Attempt)
		intent.Owner, answer = sent.Owner, *sent.Answer
	case sent.Owner != "":
		a.log.ErrorContext(ctx, "the record has forgotten an attempt that was sent; it is in doubt", "attempt", sent.Attempt)
		intent.Owner, intent.SentAfter, intent.BodySHA256 = sent.Owner, &sent.At, payloadDigest(a.request.Body)
		answer.Error.Message = "this attempt was sent before, and the record had forgotten it"
	default:
		at, taken := a.o.Witness.Restored()
		if taken.Before(a.task.CreatedAt) {
			taken = a.task.CreatedAt
		}
		intent.SentAfter = &taken
		answer.Error.Message = "the store was restored at " + at.Format(time.RFC3339) + ", and this attempt may have been sent " +
			"before, after " + taken.Format(time.RFC3339)
		a.log.WarnContext(ctx, "a record of a restored store may have forgotten an attempt; it is in doubt", "attempt", a.entry.Attempt)
	}
	entry := a.entry
	entry.Owner = intent.Owner
	if _, _, err := a.store.Intend(ctx, a.key, intent); err != nil {
		return nil
	}
	t, _ := a.report(ctx, a.key, a.trigger(entry, answer))
	return t
}
