package forecast

import (
	"slices"
	"time"

	"reelay/events"
)

// A Sample is what one completed task teaches. A duration of 0 is not known.
type Sample struct {
	Class Class
	// At is when the task ended.
	At               time.Time
	Wait, Run, Whole time.Duration
}

func (s Sample) durations() [stages]time.Duration {
	return [stages]time.Duration{s.Wait, s.Run, s.Whole}
}

// SampleOf returns what a task teaches. Only a completed one does: a failure comes sooner or later than the work
// takes. detectionLag is the time between the end and its detection, as far as it is known; half the gap between two
// polls is the best guess. Wait and run are known only where a poll found the task running before one found it ended:
// a callback may report the end of a task that was never polled, and a poll may find it finished with its result not
// yet there.
func SampleOf(t events.Task, detectionLag time.Duration) (Sample, bool) {
	if t.Status != events.StatusCompleted || t.SubmittedAt == nil || t.CompletedAt == nil || t.Result == nil ||
		t.Result.Late {
		return Sample{}, false
	}
	endedAt := t.CompletedAt.Add(-max(0, detectionLag))
	s := Sample{Class: ClassOf(t), At: *t.CompletedAt, Whole: max(endedAt.Sub(*t.SubmittedAt), time.Millisecond)}
	if polledRunning(t) {
		s.Wait = t.StartedAt.Sub(*t.SubmittedAt)
		s.Run = max(endedAt.Sub(*t.StartedAt), time.Millisecond)
	}
	return s, true
}

// polledRunning reports whether a poll found the task at work. A task that had ended at its first poll has the time
// of that poll as its start.
func polledRunning(t events.Task) bool {
	if t.StartedAt == nil || !t.StartedAt.After(*t.SubmittedAt) || !t.StartedAt.Before(*t.CompletedAt) {
		return false
	}
	return !slices.ContainsFunc(t.Transitions, func(tr events.Transition) bool {
		return tr.To == events.PhaseFetching && tr.At.Equal(*t.StartedAt)
	})
}
