package main

import (
	"context"
	"errors"
	"fmt"

	"reelay/events"
)

// runCmd makes one thing and saves it.
type runCmd struct {
	place        `embed:""`
	requestFlags `embed:""`

	Output  string `help:"Directory the media is saved in." default:"." placeholder:"DIR"`
	Emulate string `help:"In the sandbox: what the emulated provider does with the task; see: reelay help sandbox." placeholder:"JSON"`
}

// Run submits the task, shows it until it has ended and saves what it has made.
func (c *runCmd) Run(ctx context.Context, e *env) error {
	request, files, err := c.build(e.stdin)
	if err != nil {
		return err
	}
	if c.Emulate != "" {
		if !c.alone() {
			return usagef("--emulate: is for --sandbox only; a provider would not know it")
		}
		if err := addScript(&request, c.Emulate); err != nil {
			return err
		}
	}
	a, stop, err := c.reach(ctx, e)
	if err != nil {
		return err
	}
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	k := events.Key{Project: c.Project, ID: request.ID}
	stream, err := a.Subscribe(ctx, events.EventSubject(k, "*"))
	if err != nil {
		return err
	}
	if err := files.handIn(ctx, e, a, c.Project); err != nil {
		return err
	}
	task, err := c.submit(ctx, a, request)
	if err != nil {
		return err
	}
	e.warn(task)
	fmt.Fprintf(e.stderr, "task %s\n", k)
	task, err = e.show(ctx, a, task, stream)
	if c.alone() && errors.Is(err, context.Canceled) {
		fmt.Fprintln(e.stderr, "\nstopped; the sandbox and its task are gone, nothing was paid")
		return errInterrupted
	}
	if err != nil {
		return interrupted(e, k, err) // a paid task is never cancelled by breaking off
	}
	if err := outcome(task); err != nil {
		return err
	}
	return saveResult(ctx, e, a, awaitStored(ctx, e, a, task), c.Output)
}
