package main

import (
	"context"
	"fmt"
)

// place is where a command has something made: at the NATS that is given, else in a sandbox of its own.
type place struct {
	connection `embed:""`

	Sandbox bool `help:"Use a sandbox of its own with emulated providers, whatever NATS there is." env:"REELAY_SANDBOX"`
}

const sandboxBanner = `
  *** SANDBOX: emulated providers, no money is spent, no key is used. The media is a sample, not what the prompt asks for. ***
  *** To use a running reelay, point at its NATS: --server, --context or --creds (NATS_URL, NATS_CONTEXT, NATS_CREDS).      ***

`

// alone reports whether the place is a sandbox of the command's own.
func (p place) alone() bool { return p.Sandbox || !p.NATS.Given() }

// reach connects to the place; stop hangs up, and ends the sandbox with all that is in it.
func (p place) reach(ctx context.Context, e *env) (a *api, stop func(), err error) {
	if !p.alone() {
		return p.open(e)
	}
	fmt.Fprint(e.stderr, sandboxBanner)
	nc, stop, err := e.startSandbox(ctx, e.log)
	if err != nil {
		return nil, nil, fmt.Errorf("sandbox: %w", err)
	}
	return newAPI(nc, ""), stop, nil
}
