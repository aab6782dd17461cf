package main

import (
	"fmt"

	"reelay/events"
)

// cannotSee says that a task goes on unseen.
func cannotSee(err error) string {
	return cleanLines(fmt.Sprintf("cannot see the task now, still trying: %v", err))
}

// outcome turns an ended task into what a command returns: nil if it has completed.
func outcome(t events.Task) error {
	if t.Status == events.StatusCompleted {
		return nil
	}
	reason := events.Error{Code: string(t.Status), Message: "no reason was given"}
	if t.Error != nil {
		reason = *t.Error
	}
	return &taskError{task: t, reason: reason}
}

// A taskError is a task that ended without a result.
type taskError struct {
	task   events.Task
	reason events.Error
}

// Error gives the provider's own reason and what is known about the price.
func (e *taskError) Error() string {
	text := fmt.Sprintf("task %s %s: %s", e.task.ID, e.task.Status, clean(e.reason.Error()))
	switch e.reason.Charge {
	case events.ChargePossible:
		text += "; it may have been charged"
	case events.ChargeConfirmed:
		text += "; it was charged"
	}
	return text
}
