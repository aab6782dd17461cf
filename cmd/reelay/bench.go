package main

import (
	"context"
	"fmt"
	"os"

	"github.com/nats-io/nats.go"

	"reelay/internal/bench"
	"reelay/internal/config"
	"reelay/internal/proc"
)

// benchCmd measures reelay beside a bare JetStream loop.
type benchCmd struct {
	Run     benchRunCmd     `cmd:"" default:"withargs" help:"Measure what a task costs, beside the least that JetStream needs for it."`
	Reads   benchReadsCmd   `cmd:"" help:"Measure get, list and queue on many stored tasks."`
	Waiting benchWaitingCmd `cmd:"" help:"Measure memory and processor time of many tasks that wait, and the start on them."`
	Loop    benchLoopCmd    `cmd:"" hidden:"" help:"The bare loop, in a process of its own."`
}

type benchRunCmd struct {
	Tasks   int    `help:"Tasks handed in at once." default:"1000"`
	Alone   int    `help:"Tasks handed in one after the other." default:"200"`
	Runs    int    `help:"Runs, each on a new store; the medians are shown." default:"3"`
	Sync    string `help:"When the broker syncs to the disk: interval or always." enum:"interval,always" default:"interval"`
	Bin     string `help:"Directory of the binaries of ./cmd/... (default that of this one)." placeholder:"DIR"`
	Profile string `help:"Directory that gets a profile of each process (go tool pprof)." placeholder:"DIR"`
	JSON    bool   `name:"json" help:"Write JSON."`
}

// Validate checks the numbers.
func (c *benchRunCmd) Validate() error {
	if min(c.Tasks, c.Alone, c.Runs) < 1 {
		return usagef("--tasks, --alone and --runs must be 1 or more")
	}
	return nil
}

// Run measures and writes the table.
func (c *benchRunCmd) Run(ctx context.Context, e *env) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	bin, err := binaries(c.Bin)
	if err != nil {
		return err
	}
	r, err := bench.Measure(ctx, bench.Options{
		Bin: bin, Loop: []string{self, "bench", "loop"}, Sync: c.Sync, Tasks: c.Tasks, Alone: c.Alone, Runs: c.Runs, Profile: c.Profile,
		Progress: func(text string) { fmt.Fprintln(e.stderr, text) },
	})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, r)
	}
	return r.Write(e.stdout)
}

type benchLoopCmd struct {
	Server string     `required:"" help:"NATS server."`
	URL    string     `name:"url" required:"" help:"Base URL of the provider's queue."`
	Model  string     `required:"" help:"Model that is asked for."`
	Ops    config.Ops `embed:""`
}

// Run runs the loop until ctx ends.
func (c *benchLoopCmd) Run(ctx context.Context, e *env) error {
	p := proc.New(e.log)
	nc, err := nats.Connect(c.Server, nats.Name("bare loop"))
	if err != nil {
		return err
	}
	defer nc.Close()
	ready := make(chan struct{})
	loop := bench.Loop{URL: c.URL, Model: c.Model}
	p.Go("loop", func(ctx context.Context) error { return loop.Run(ctx, nc, func() { close(ready) }) }, func() bool {
		select {
		case <-ready:
			return true
		default:
			return false
		}
	})
	if err := p.ServeOps(c.Ops.OpsListen); err != nil {
		return err
	}
	err = p.Wait(ctx)
	if stopErr := p.Stop(); err == nil {
		err = stopErr
	}
	return err
}
