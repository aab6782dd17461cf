package main

import (
	"context"
	"fmt"

	"reelay/events"
)

// cancelCmd asks for the end of a task.
type cancelCmd struct {
	connection `embed:""`
	taskArg    `embed:""`

	Reason string `help:"Why, for the timeline."`
}

// Run asks for the end and tells where the task is now.
func (c *cancelCmd) Run(ctx context.Context, e *env) error {
	return c.change(e, c.taskArg, func(a *api, k events.Key) (events.Task, error) {
		return a.Cancel(ctx, k, events.Cancel{Reason: c.Reason})
	})
}

// change sends a command about a task and tells where the task is now.
func (c connection) change(e *env, arg taskArg, command func(*api, events.Key) (events.Task, error)) error {
	k, err := arg.key()
	if err != nil {
		return err
	}
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	task, err := command(a, k)
	if err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "%s  %s\n", k, describeState(task))
	return nil
}
