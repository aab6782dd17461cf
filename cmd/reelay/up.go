package main

import (
	"context"

	"reelay/internal/config"
)

// upCmd runs the whole stack in one process: the broker, every service and, in the sandbox, the emulated providers.
type upCmd struct {
	Broker    config.Broker    `embed:""`
	Providers config.Providers `embed:""`
	Pipeline  config.Pipeline  `embed:""`
	Ops       config.Ops       `embed:""`
}

// Run runs the stack until ctx ends.
func (c *upCmd) Run(ctx context.Context, e *env) error { return e.up(ctx, e, c) }
