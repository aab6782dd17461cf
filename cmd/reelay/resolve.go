package main

import (
	"context"
	"fmt"

	"reelay/events"
)

// resolveCmd decides about a task in doubt.
type resolveCmd struct {
	connection `embed:""`
	taskArg    `embed:""`

	Adopt    string `help:"The provider has the task, under this id. It is asked first." placeholder:"ID" xor:"action" required:""`
	Resubmit bool   `help:"Ask the provider again. If it has taken the first request after all, both are paid." xor:"action" required:""`
	WriteOff bool   `help:"End the task as failed." xor:"action" required:""`
	Reason   string `help:"Why, for the timeline."`
	JSON     bool   `name:"json" help:"Print the task as JSON."`
}

// Run sends the decision and tells where the task is now.
func (c *resolveCmd) Run(ctx context.Context, e *env) error {
	r := events.Resolve{Action: events.ResolveAdopt, ProviderID: c.Adopt, Reason: c.Reason}
	switch {
	case c.Resubmit:
		r.Action = events.ResolveResubmit
	case c.WriteOff:
		r.Action = events.ResolveWriteOff
	}
	k, err := c.key()
	if err != nil {
		return err
	}
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	task, err := a.Resolve(ctx, k, r)
	switch {
	case err != nil:
		return err
	case c.JSON:
		return printJSON(e.stdout, events.TaskReply{Task: task})
	}
	_, err = fmt.Fprintf(e.stdout, "%s  %s\n", k, describeState(task))
	return err
}
