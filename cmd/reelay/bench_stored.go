package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"reelay/internal/bench"
)

// benchReadsCmd measures what the status service answers.
type benchReadsCmd struct {
	Stored int    `help:"Records that are copied in." default:"200000"`
	Askers int    `help:"Clients that ask at once." default:"16"`
	Bin    string `help:"Directory of the binaries of ./cmd/... (default that of this one)." placeholder:"DIR"`
	JSON   bool   `name:"json" help:"Write JSON."`
}

// Validate checks the numbers.
func (c *benchReadsCmd) Validate() error {
	if c.Stored < 1000 || c.Askers < 1 {
		return usagef("--stored must be 1000 or more, and --askers 1")
	}
	return nil
}

// Run measures and writes the table.
func (c *benchReadsCmd) Run(ctx context.Context, e *env) error {
	bin, err := binaries(c.Bin)
	if err != nil {
		return err
	}
	t, err := bench.MeasureReads(ctx, bench.ReadOptions{
		Bin: bin, Stored: c.Stored, Askers: c.Askers, Progress: func(text string) { fmt.Fprintln(e.stderr, text) },
	})
	return writeTable(e, t, c.JSON, err)
}

// benchWaitingCmd measures what tasks cost that wait.
type benchWaitingCmd struct {
	Waiting int    `help:"Waiting tasks that are copied in." default:"1000000"`
	Bin     string `help:"Directory of the binaries of ./cmd/... (default that of this one)." placeholder:"DIR"`
	JSON    bool   `name:"json" help:"Write JSON."`
}

// Validate checks the number.
func (c *benchWaitingCmd) Validate() error {
	if c.Waiting < 1 {
		return usagef("--waiting must be 1 or more")
	}
	return nil
}

// Run measures and writes the table.
func (c *benchWaitingCmd) Run(ctx context.Context, e *env) error {
	bin, err := binaries(c.Bin)
	if err != nil {
		return err
	}
	t, err := bench.MeasureWaiting(ctx, bench.WaitingOptions{
		Bin: bin, Waiting: c.Waiting, Progress: func(text string) { fmt.Fprintln(e.stderr, text) },
	})
	return writeTable(e, t, c.JSON, err)
}

// binaries returns a directory of binaries as a path from the root; that of this one if it is not named.
func binaries(dir string) (string, error) {
	if dir != "" {
		return filepath.Abs(dir)
	}
	self, err := os.Executable()
	return filepath.Dir(self), err
}

// writeTable writes what was measured, also where something failed after it.
func writeTable(e *env, t bench.Table, asJSON bool, failed error) error {
	if len(t.Rows) == 0 {
		return failed
	}
	if !asJSON {
		return errors.Join(failed, t.Write(e.stdout))
	}
	return errors.Join(failed, printJSON(e.stdout, t))
}
