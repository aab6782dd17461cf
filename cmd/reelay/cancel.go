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
	return c.change(ctx, e, c.taskArg, events.VerbCancel, events.Cancel{Reason: c.Reason})
}

// change sends a command about a task and tells where the task is now.
func (c connection) change(ctx context.Context, e *env, arg taskArg, verb events.Verb, command any) error {
	k, err := arg.key()
	if err != nil {
		return err
	}
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	var r events.TaskReply
	if _, err := a.ask(ctx, verb, keyTokens(k), command, &r, askTimeout); err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "%s  %s\n", k, describeState(r.Task))
	return nil
}
