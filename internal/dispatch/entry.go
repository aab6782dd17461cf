package dispatch

import (
	"time"

	"reelay/events"
	"reelay/internal/forecast"
	"reelay/internal/task"
)

// skew is added to the time for which a request is counted: the clocks of two machines, and the provider's own, differ a little.
const skew = 100 * time.Millisecond

// A standing is what a lane knows of one task: as far as it matters to when it and others are sent.
type standing struct {
	key      events.Key
	version  uint64
	model    string
	priority int
	created  time.Time
	// notBefore holds a waiting task back.
	notBefore time.Time
	// hold says why it waits if it waits for something of its own, heldAt since when if that is a budget.
	hold    *events.Blocked
	heldAt  time.Time
	waiting bool
	// atProvider says that the task is there or may be: it takes a place in flight.
	atProvider bool
	// reserved is set while this process sends the task; whatever its record says, it takes a slot and a place in flight.
	reserved bool
	turn     turn // while reserved
	// requests are the attempts that the provider may still count.
	requests []request
	// generation is the watch that has seen the record last.
	generation uint64
	// told is what a waiting task was told last of its place, class by what its end is foretold.
	told  task.Told
	class forecast.Class
}

// A turn is when a task was taken out of line to be sent, and when another of its family had been before it.
type turn struct{ at, before time.Time }

// A request is one paid attempt.
type request struct {
	slot slot
	// seen is when the provider had seen it at the latest; taken says that it was accepted.
	seen  time.Time
	taken bool
}

// A slot names a request in a window: the attempt of a task, 0 for one that is being sent.
type slot struct {
	key     events.Key
	attempt int
}

// newStanding reads a record; nil of none.
func newStanding(t *events.Task) *standing {
	if t == nil {
		return nil
	}
	s := &standing{
		key: t.Key(), version: t.Version, model: t.Model, priority: t.Priority, created: t.CreatedAt,
		waiting: t.Phase == events.PhaseWaiting, atProvider: isInFlight(t),
	}
	if s.waiting {
		s.told, s.class = task.ToldOf(*t), forecast.ClassOf(*t)
	}
	if t.NotBefore != nil {
		s.notBefore = *t.NotBefore
	}
	s.hold, s.heldAt = ownHold(t)
	for _, a := range t.Attempts {
		if a.Outcome == events.AttemptReleased {
			continue
		}
		// What nobody has answered has left before its attempt was given up, or never.
		r := request{slot: slot{s.key, a.N}, seen: a.NotAfter, taken: a.Outcome == events.AttemptAccepted}
		if a.OutcomeAt != nil && a.OutcomeAt.Before(r.seen) {
			r.seen = *a.OutcomeAt
		}
		s.requests = append(s.requests, r)
	}
	return s
}

// ownHold says why a record waits, and since when if that is a budget; nil if it is for nothing of its own.
func ownHold(t *events.Task) (h *events.Blocked, since time.Time) {
	if t.Phase != events.PhaseWaiting || t.NotBefore == nil {
		return nil, since
	}
	if held, ok := task.HeldBy(t); ok {
		tomorrow := held.At.UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)
		return &events.Blocked{Reason: events.BlockedCap, Message: held.Note, Until: &tomorrow}, held.At
	}
	h = &events.Blocked{Reason: events.BlockedRetry, Message: "the last attempt bought nothing", Until: t.NotBefore}
	if a := t.Attempt(); a != nil && a.Error != nil {
		h.Message += ": " + a.Error.Message
	}
	return h, since
}

// isInFlight reports whether a task is, or may be, at the provider. One that is parked has been silent for so long that it has ended
// there, whatever it was; one that was given up counts for as long as it is watched for a late result.
func isInFlight(t *events.Task) bool {
	switch t.Phase {
	case events.PhaseSubmitting, events.PhaseInDoubt, events.PhaseProviderQueued, events.PhaseRunning, events.PhaseCancelling:
		return true
	case events.PhaseDone:
		return t.LateUntil != nil
	}
	return false
}

// forgettable reports whether nothing that is sent later depends on the task.
func (s *standing) forgettable(before time.Time) bool {
	if s.waiting || s.atProvider || s.reserved {
		return false
	}
	for _, r := range s.requests {
		if !r.seen.Before(before) {
			return false
		}
	}
	return true
}
