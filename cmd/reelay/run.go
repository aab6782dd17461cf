package main

import (
	"context"
	"errors"
	"fmt"

	"reelay/events"
)

// runCmd makes one thing and saves it.
type runCmd struct {
	connection   `embed:""`
	requestFlags `embed:""`

	Output  string `help:"Directory the media is saved in." default:"." placeholder:"DIR"`
	Sandbox bool   `help:"Use a sandbox of its own with emulated providers, whatever NATS there is." env:"REELAY_SANDBOX"`
	Emulate string `help:"In the sandbox: what the emulated provider does with the task; see: reelay help sandbox." placeholder:"JSON"`
}

const sandboxBanner = `
  *** SANDBOX: emulated providers, no money is spent, no key is used. The media is a sample, not what the prompt asks for. ***
  *** To use a running reelay, point at its NATS: --server, --context or --creds (NATS_URL, NATS_CONTEXT, NATS_CREDS).      ***

`

// Run submits the task, shows it until it has ended and saves what it has made.
func (c *runCmd) Run(ctx context.Context, e *env) error {
	request, err := c.build(e.stdin)
	if err != nil {
		return err
	}
	sandbox := c.Sandbox || !c.NATS.Given()
	if c.Emulate != "" {
		if !sandbox {
			return usagef("--emulate: is for --sandbox only; a provider would not know it")
		}
		if request.Input, err = addScript(request.Input, c.Emulate); err != nil {
			return err
		}
	}
	var a *api
	if sandbox {
		fmt.Fprint(e.stderr, sandboxBanner)
		nc, stop, err := e.startSandbox(ctx, e.log)
		if err != nil {
			return fmt.Errorf("sandbox: %w", err)
		}
		defer stop()
		a = newAPI(nc)
	} else {
		opened, closeConn, err := c.open(e)
		if err != nil {
			return err
		}
		defer closeConn()
		a = opened
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	k := events.Key{Project: c.Project, ID: request.ID}
	stream, err := a.Subscribe(ctx, events.EventSubject(k, "*"))
	if err != nil {
		return err
	}
	task, err := c.submit(ctx, a, request)
	if err != nil {
		return err
	}
	fmt.Fprintf(e.stderr, "task %s\n", k)
	task, err = e.show(ctx, a, task, stream)
	if sandbox && errors.Is(err, context.Canceled) {
		fmt.Fprintln(e.stderr, "\nstopped; the sandbox and its task are gone, nothing was paid")
		return errInterrupted
	}
	if err != nil {
		return interrupted(e, k, err) // a paid task is never cancelled by breaking off
	}
	if err := outcome(task); err != nil {
		return err
	}
	return saveResult(ctx, e, a, task, c.Output)
}
