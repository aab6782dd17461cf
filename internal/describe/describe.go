// Package describe says in words for people and agents where a task is. No program goes by them.
package describe

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"reelay/events"
)

// Position is the place of a task in the queue that it waits in, 1 being next; 0 if none is known.
func Position(t events.Task) int {
	q := t.QueuePosition
	switch {
	case q == nil || t.Status.Terminal():
		return 0
	case t.Phase == events.PhaseWaiting && q.Ours != nil:
		return *q.Ours + 1
	case t.Phase == events.PhaseProviderQueued && q.Provider != nil:
		return *q.Provider + 1
	}
	return 0
}

// Task says in a sentence where a task is.
func Task(t events.Task, now time.Time) string {
	switch t.Phase {
	case events.PhaseWaiting:
		if t.Blocked != nil && !t.Blocked.Reason.Normal() {
			return "Waiting: " + Clean(t.Blocked.Message) + left(t) + "."
		}
		return queued("", t)
	case events.PhaseSubmitting:
		return "Being handed to " + t.Provider + "."
	case events.PhaseInDoubt:
		return "It is not known yet whether " + t.Provider + " took the request. It is being found out, nothing is paid again."
	case events.PhaseParked:
		return "Nobody can tell whether " + t.Provider + " took the request. A person has to decide."
	case events.PhaseProviderQueued:
		return queued(" by "+t.Provider, t)
	case events.PhaseRunning:
		return running(t)
	case events.PhaseCancelling:
		return "A cancel is on its way to " + t.Provider + ", which may still finish it."
	case events.PhaseFetching:
		return t.Provider + " has finished, the result is being fetched."
	}
	return ended(t, now)
}

func queued(by string, t events.Task) string {
	if p := Position(t); p > 0 {
		return fmt.Sprintf("Queued%s at position %d.", by, p)
	}
	return "Queued" + by + "."
}

func running(t events.Task) string {
	s := "Being made by " + t.Provider
	if t.ProgressPercentage != nil {
		s += fmt.Sprintf(", %.0f percent done", *t.ProgressPercentage)
	}
	return s + left(t) + "."
}

// left says how long a task may still take; empty if that is not known.
func left(t events.Task) string {
	if t.EstimatedWaitS == nil || *t.EstimatedWaitS < 1 {
		return ""
	}
	return fmt.Sprintf(", about %.0f s left", *t.EstimatedWaitS)
}

func ended(t events.Task, now time.Time) string {
	took := now.Sub(t.CreatedAt)
	if t.CompletedAt != nil {
		took = t.CompletedAt.Sub(t.CreatedAt)
	}
	switch t.Status {
	case events.StatusCompleted:
		files := 0
		if t.Result != nil {
			files = len(t.Result.Outputs)
		}
		plural := "s"
		if files == 1 {
			plural = ""
		}
		s := fmt.Sprintf("Finished after %.0f s with %d file%s.", took.Seconds(), files, plural)
		if t.Result != nil {
			for _, name := range slices.Sorted(maps.Keys(t.Result.Values)) {
				s += fmt.Sprintf(" Its %s is %s.", Clean(name), Clean(t.Result.Values[name]))
			}
		}
		return s
	case events.StatusFailed:
		if t.Error != nil {
			return "Failed: " + Clean(t.Error.Message) + "."
		}
		return "Failed."
	case events.StatusCancelled:
		return "Cancelled."
	}
	return string(t.Status) + "."
}

// Charge says what is known about the price of an attempt.
func Charge(c events.Charge) string {
	switch c {
	case events.ChargeNone:
		return "nothing was charged"
	case events.ChargePossible:
		return "it may have been charged"
	case events.ChargeConfirmed:
		return "charged"
	}
	return "charge unknown"
}

// PollAfter is when to ask for a task again, in seconds: a third of the way to the end, 2 to 30; 0 for one that has ended.
func PollAfter(t events.Task) float64 {
	switch {
	case t.Status.Terminal():
		return 0
	case t.EstimatedWaitS == nil:
		return 5
	}
	return math.Round(min(max(*t.EstimatedWaitS/3, 2), 30))
}

// Clean takes out of what strangers have written what steers a terminal.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		if events.Steers(r) {
			return ' '
		}
		return r
	}, s)
}
