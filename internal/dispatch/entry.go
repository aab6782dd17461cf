package dispatch

import (
	"time"

	"reelay/events"
	"reelay/internal/forecast"
	"reelay/internal/task"
)

// clockSkew is added to the time for which a request is counted: the clocks of two machines, and the provider's own,
// differ a little.
const clockSkew = 100 * time.Millisecond

// An entry is what a lane knows of one task: as far as it matters to when it and others are sent.
type entry struct {
	key      events.Key
	version  uint64
	model    string
	priority int
	created  time.Time
	// waiting says that the task is still to be sent, notBefore until when it may not be.
	waiting   bool
	notBefore time.Time
	// blocked says why it waits if that is a reason of its own, cappedAt since when if that is a cap on spending.
	blocked  *events.Blocked
	cappedAt time.Time
	// atProvider says that the task is at the provider, or may be: it counts as in flight.
	atProvider bool
	// sending is set while this process sends the task; whatever its record says, it counts as a request and as in flight.
	sending bool
	start   sendStart // while sending
	// requests are the attempts that the provider may still count.
	requests []request
	// generation is the watch that has seen the record last.
	generation uint64
	// away says that the task has another lane of its group, and that this one may take it; yields that another goes first.
	away, yields bool
	// announced is what was last published of a waiting task's position, class what its end is predicted by.
	announced task.AnnouncedPosition
	class     forecast.Class
}

// A sendStart is when a task was taken out of the queue to be sent, and when another of its limit group had been before
// it.
type sendStart struct{ at, before, left time.Time }

// A request is one paid attempt.
type request struct {
	id attemptID
	// seenBy is when the provider had seen it at the latest; accepted says that it took it.
	seenBy   time.Time
	accepted bool
}

// An attemptID names a request in a window: the attempt of a task, 0 for one that is being sent.
type attemptID struct {
	key     events.Key
	attempt int
}

const (
	// groupGrace is for how long the lane that a task of a group has may send it before the others take it.
	groupGrace = 2 * time.Second
	// groupStep is how much longer a task must have waited to be taken before those that the lane has itself.
	groupStep = Step
)

// newEntry reads a record as it matters to a lane; nil of one that does not, or of none.
func newEntry(t *events.Task, lane string) *entry {
	if t == nil || t.Lane != lane && !task.MayMove(*t) {
		return nil
	}
	e := &entry{
		key: t.Key(), version: t.Version, model: t.Model, priority: t.Priority, created: t.CreatedAt,
		// What depends on others is not in line: it takes no place and no turn, and is reported by whoever lists tasks.
		waiting: t.Phase == events.PhaseWaiting && len(t.WaitsFor) == 0, atProvider: isInFlight(t),
		away: t.Lane != lane,
	}
	if e.waiting {
		e.announced, e.class = task.LastAnnounced(*t), forecast.ClassOf(*t)
	}
	if t.NotBefore != nil {
		e.notBefore = *t.NotBefore
	}
	e.blocked, e.cappedAt = ownBlocked(t)
	if e.yields = yields(t, lane); e.yields {
		e.notBefore = latest(e.notBefore, t.TimeoutsFrom()).Add(groupGrace)
	}
	if e.away {
		return e
	}
	for _, a := range t.Attempts {
		if a.Outcome == events.AttemptReleased || a.Lane != "" && a.Lane != lane {
			continue
		}
		// A request that nobody has answered has left before its attempt was given up, or never.
		r := request{id: attemptID{e.key, a.N}, seenBy: a.NotAfter, accepted: a.Outcome == events.AttemptAccepted}
		if a.OutcomeAt != nil && a.OutcomeAt.Before(r.seenBy) {
			r.seenBy = *a.OutcomeAt
		}
		e.requests = append(e.requests, r)
	}
	return e
}

// yields reports whether another lane of the group of a task should send it: the one that the task has, or after an
// attempt that came to nothing any other than that.
func yields(t *events.Task, lane string) bool {
	if !task.MayMove(*t) {
		return false
	}
	if a := t.Attempt(); a != nil {
		return a.Lane == lane
	}
	return t.Lane != lane
}

// ownBlocked says why a record waits if that is a reason of its own, nil if not, and since when if that is a cap on
// spending.
func ownBlocked(t *events.Task) (b *events.Blocked, cappedAt time.Time) {
	if t.Phase != events.PhaseWaiting || t.NotBefore == nil {
		return nil, cappedAt
	}
	if step, ok := task.LastCapReached(t); ok {
		tomorrow := step.At.UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)
		return &events.Blocked{Reason: events.BlockedCap, Message: step.Note, Until: &tomorrow}, step.At
	}
	if len(t.Attempts) == 0 {
		return &events.Blocked{
			Reason: events.BlockedNotBefore, Message: "its request says not to send it before", Until: t.NotBefore,
		}, cappedAt
	}
	b = &events.Blocked{Reason: events.BlockedRetry, Message: "the last attempt bought nothing", Until: t.NotBefore}
	if a := t.Attempt(); a != nil && a.Error != nil {
		b.Message += ": " + a.Error.Message
	}
	return b, cappedAt
}

// isInFlight reports whether a task is, or may be, at the provider. One that is parked has been silent for so long that
// it has ended there, whatever it was; one that was given up counts for as long as it is watched for a late result.
func isInFlight(t *events.Task) bool {
	switch t.Phase {
	case events.PhaseSubmitting, events.PhaseInDoubt, events.PhaseProviderQueued, events.PhaseRunning,
		events.PhaseCancelling:
		return true
	case events.PhaseDone:
		return t.LateUntil != nil
	}
	return false
}

// rank is where a waiting task belongs in its queue.
func (e *entry) rank() Rank {
	r := Rank{Key: e.key, Priority: e.priority, Since: e.created}
	if e.yields {
		r.Since = r.Since.Add(groupStep)
	}
	return r
}

// cap returns the cap on spending that blocks a task; false for none.
func (e *entry) cap() (spendCap, bool) {
	if e.blocked == nil || e.blocked.Reason != events.BlockedCap || e.sending {
		return spendCap{}, false
	}
	return spendCap{e.key.Project, e.blocked.Message, *e.blocked.Until}, true
}

// forgettable reports whether nothing that is sent later depends on the task.
func (e *entry) forgettable(before time.Time) bool {
	if e.waiting || e.atProvider || e.sending {
		return false
	}
	for _, r := range e.requests {
		if !r.seenBy.Before(before) {
			return false
		}
	}
	return true
}
