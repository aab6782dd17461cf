package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"reelay/events"
	"reelay/events/client"
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
	task, err := a.Get(ctx, k) // a task that does not exist is not waited for
	if err != nil {
		return err
	}
	if !task.Status.Terminal() {
		if _, err := c.untilEnd(ctx, e, a, k); err != nil {
			return interrupted(e, k, err)
		}
		if task, err = a.Get(ctx, k); err != nil {
			return err
		}
	}
	if c.JSON {
		if err := printJSON(e.stdout, events.TaskReply{Task: task}); err != nil {
			return err
		}
	} else {
		fmt.Fprintln(e.stdout, task.Status)
	}
	return outcome(task)
}

// untilEnd waits at most Timeout, through restarts of the services.
func (c *waitCmd) untilEnd(ctx context.Context, e *env, a *api, k events.Key) (events.Task, error) {
	if c.Timeout > 0 {
		limited, cancel := context.WithTimeout(ctx, c.Timeout)
		defer cancel()
		ctx = limited
	}
	known := events.Task{Project: k.Project, ID: k.ID}
	task, err := a.Watch(ctx, known, nil,
		client.Watcher{Trouble: func(err error) { fmt.Fprintln(e.stderr, cannotSee(err)) }})
	if errors.Is(err, context.DeadlineExceeded) {
		return task, fmt.Errorf("task %s has not ended after %v", k, c.Timeout)
	}
	return task, err
}
