package main

import (
	"context"
	"fmt"

	"reelay/events"
)

// eraseCmd has a task forgotten.
type eraseCmd struct {
	connection `embed:""`
	taskArg    `embed:""`

	Outputs bool `help:"Only the stored files; the record stays as it is."`
	Yes     bool `help:"Do not ask."`
	JSON    bool `name:"json" help:"Print the record as it then is, as JSON."`
}

// Run asks, and has the task erased.
func (c *eraseCmd) Run(ctx context.Context, e *env) error {
	k, err := c.key()
	if err != nil {
		return err
	}
	r, what := events.EraseRequest{}, "all that the task was given and has made"
	if c.Outputs {
		r.Only, what = events.EraseOutputs, "the files that the task has made"
	}
	if !c.Yes && !confirm(e, fmt.Sprintf("Erase %s, %s? It cannot be undone.", what, k)) {
		return errDeclined
	}
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	reply, err := a.Erase(ctx, k, r)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, reply)
	}
	fmt.Fprintf(e.stdout, "erased; %d files deleted", reply.Deleted)
	if reply.Shared > 0 {
		fmt.Fprintf(e.stdout, ", %d stay, since other tasks have made the same bytes", reply.Shared)
	}
	fmt.Fprintln(e.stdout)
	return nil
}
