package forecast

import (
	"slices"
	"time"

	"reelay/events"
)

// A Sample is what one completed task teaches. A span of 0 is not known.
type Sample struct {
	Class Class
	// At is when the task ended.
	At               time.Time
	Wait, Run, Whole time.Duration
}

func (s Sample) spans() [stages]time.Duration { return [stages]time.Duration{s.Wait, s.Run, s.Whole} }

// SampleOf tells what a task teaches. Only a completed one does: a failure comes sooner or later than the work takes. unseen is
// the time between the end and its being noticed, as far as it is known; half the gap between two looks is the best guess. Wait
// and run are known only where the task was seen running before it was seen ended: a callback may bring the end of one that nobody
// has looked at, and a look may find it finished with its result not yet there.
func SampleOf(t events.Task, unseen time.Duration) (Sample, bool) {
	if t.Status != events.StatusCompleted || t.SubmittedAt == nil || t.CompletedAt == nil || t.Result == nil || t.Result.Late {
		return Sample{}, false
	}
	end := t.CompletedAt.Add(-max(0, unseen))
	s := Sample{Class: ClassOf(t), At: *t.CompletedAt, Whole: max(end.Sub(*t.SubmittedAt), time.Millisecond)}
	if seenRunning(t) {
		s.Wait = t.StartedAt.Sub(*t.SubmittedAt)
		s.Run = max(end.Sub(*t.StartedAt), time.Millisecond)
	}
	return s, true
}

// seenRunning reports whether a task was seen at work: what is first seen once it has ended gives the time of that as its start.
func seenRunning(t events.Task) bool {
	if t.StartedAt == nil || !t.StartedAt.After(*t.SubmittedAt) || !t.StartedAt.Before(*t.CompletedAt) {
		return false
	}
	return !slices.ContainsFunc(t.Transitions, func(tr events.Transition) bool {
		return tr.To == events.PhaseFetching && tr.At.Equal(*t.StartedAt)
	})
}
