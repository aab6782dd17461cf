package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"reelay/events"
)

// waitCmd waits for the end of a task.
type waitCmd struct {
	connection `embed:""`
	taskArg    `embed:""`

	Timeout time.Duration `help:"Longest wait (default: until it has ended)." placeholder:"DURATION"`
	JSON    bool          `name:"json" help:"Print the ended task as JSON."`
}

// Run waits and reports how the task ended. A task that goes on after the timeout is a failure, too.
func (c *waitCmd) Run(ctx context.Context, e *env) error {
	k, err := c.key()
	if err != nil {
		return err
	}
	if c.Timeout < 0 {
		return usagef("--timeout: must not be negative")
	}
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	end := time.Now().Add(c.Timeout)
	for {
		step := events.MaxWait
		if c.Timeout > 0 {
			// At least a millisecond: a wait of 0 would be answered after the default.
			step = min(step, max(time.Until(end), time.Millisecond))
		}
		task, raw, err := a.wait(ctx, k, step)
		switch {
		case errors.Is(err, context.Canceled):
			return interrupted(e, k, err)
		case err != nil:
			return err
		case task.Status.Terminal():
			if c.JSON {
				if err := printJSON(e.stdout, raw); err != nil {
					return err
				}
			} else {
				fmt.Fprintln(e.stdout, task.Status)
			}
			return outcome(task)
		case c.Timeout > 0 && !time.Now().Before(end):
			return fmt.Errorf("task %s has not ended after %v: %s", k, c.Timeout, describeState(task))
		}
	}
}
