package poller

import (
	"slices"
	"time"

	"reelay/events"
)

const (
	// maxNet is the longest time between two looks at a task whose provider calls back.
	maxNet = 3 * time.Minute
	// growth is how much rarer looks get with the age of the task, where callbacks are trusted: its age so often is waited again.
	growth = 2
	// lateInterval is the least time between two looks at a task that was given up.
	lateInterval = time.Minute
)

// nextLook says how long after a look at now a task is looked at again.
//
// While the provider's callbacks prove to come, looks are a net: rare, rarer the longer the task takes, at most maxNet apart. Just
// before a deadline they are as frequent as without callbacks, so that no deadline is held against a task whose progress
// nobody had looked for.
func (l *lane) nextLook(t events.Task, now time.Time) time.Duration {
	if t.Phase == events.PhaseDone {
		return max(lateInterval, l.Interval)
	}
	a := livesBy(t)
	quiet := (t.Phase == events.PhaseProviderQueued || t.Phase == events.PhaseRunning) && t.Trouble == nil
	if a == nil || !a.Callback || !quiet {
		return l.Interval
	}
	rarer := l.rarer(now)
	grown := time.Duration(growth * float64(now.Sub(a.IntentAt)) * (rarer - 1) / (leastOften - 1))
	wait := min(max(time.Duration(rarer*float64(l.Interval)), grown), maxNet)
	wait = min(wait, t.Deadline.Sub(now)-l.Interval)
	if t.StartDeadline != nil && t.StartedAt == nil {
		wait = min(wait, t.StartDeadline.Sub(now)-l.Interval)
	}
	return max(wait, l.Interval)
}

// firstLook says how long a task that was just submitted may be left alone, 0 to look at once.
func (l *lane) firstLook(t events.Task, now time.Time) time.Duration {
	a, wait := livesBy(t), l.nextLook(t, now)
	if a == nil || t.Phase == events.PhaseDone || wait <= l.Interval {
		return 0
	}
	return a.IntentAt.Add(wait).Sub(now)
}

// livesBy returns the attempt whose provider id the task has, or nil.
func livesBy(t events.Task) *events.Attempt {
	i := slices.IndexFunc(t.Attempts, func(a events.Attempt) bool { return a.ProviderID != "" && a.ProviderID == t.ProviderID })
	if i < 0 {
		return nil
	}
	return &t.Attempts[i]
}

// calledBack reports whether the provider was asked to call when the task ends.
func calledBack(t events.Task) bool {
	a := livesBy(t)
	return a != nil && a.Callback
}
