package main

import (
	"context"
	"fmt"
	"io"

	"reelay/events"
	"reelay/events/client"
	"reelay/internal/config"
	"reelay/services/mcp"
)

// mcpCmd serves one agent by the Model Context Protocol, over standard input and output, as a desktop client starts it.
type mcpCmd struct {
	connection `embed:""`

	Project     string  `help:"Project that the agent means where it names none." env:"REELAY_PROJECT" default:"default"`
	ConfirmOver float64 `help:"The agent has to ask a person before a call that costs more than this, in US dollars; 0 never asks." env:"REELAY_CONFIRM_OVER" default:"1" placeholder:"USD"`
	SaveDir     string  `help:"Directory into which the agent may save files; none if it is not set." env:"REELAY_MCP_SAVE_DIR" type:"path" placeholder:"DIR"`
	Sandbox     bool    `help:"Use a sandbox of its own with emulated providers, whatever NATS there is. It ends with the agent." env:"REELAY_SANDBOX"`
}

// Run serves until the agent hangs up or ctx ends.
func (c *mcpCmd) Run(ctx context.Context, e *env) error {
	if !events.ValidToken(c.Project) {
		return usagef("--project: must be 1 to %d characters of A-Z a-z 0-9 _ -", events.MaxTokenBytes)
	}
	if err := config.CheckConfirmOver(c.ConfirmOver); err != nil {
		return err
	}
	nc, stop, err := c.connect(ctx, e)
	if err != nil {
		return err
	}
	defer stop()
	return mcp.Stdio(ctx, mcp.Setup{
		Client: client.New(nc.Conn, client.WithAPIPrefix(nc.APIPrefix), client.WithBusyRetry()), Project: c.Project, ConfirmOver: c.ConfirmOver, SaveDir: c.SaveDir, Log: e.log,
	}, io.NopCloser(e.stdin), writeCloser{e.stdout})
}

func (c *mcpCmd) connect(ctx context.Context, e *env) (nc config.Conn, stop func(), err error) {
	if c.Sandbox {
		if nc.Conn, stop, err = e.startSandbox(ctx, e.log); err != nil {
			return nc, nil, fmt.Errorf("sandbox: %w", err)
		}
		return nc, stop, nil
	}
	// It may start before NATS does: the agent is told until then.
	if nc, err = c.NATS.Connect("reelay mcp", e.log); err != nil {
		return nc, nil, err
	}
	return nc, nc.Close, nil
}

// writeCloser leaves standard output open.
type writeCloser struct{ io.Writer }

func (writeCloser) Close() error { return nil }
