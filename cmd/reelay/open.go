package main

import (
	"context"
	"fmt"
	"os/exec"
	"runtime"
	"time"

	"reelay/events"
)

// openCmd gives out what a task has made.
type openCmd struct {
	connection `embed:""`
	taskArg    `embed:""`

	Age  time.Duration `name:"expires-in" help:"How long the links work, at most 168h." default:"1h"`
	Show bool          `help:"Open the first link with the program of this desktop."`
	JSON bool          `name:"json" help:"Print the links as JSON."`
}

// Run prints a link for each stored output, by which whoever has it can read the file.
func (c *openCmd) Run(ctx context.Context, e *env) error {
	k, err := c.key()
	if err != nil {
		return err
	}
	if c.Age < time.Second || c.Age > events.MaxLinkAge {
		return usagef("--expires-in: %v is not between 1s and %v", c.Age, events.MaxLinkAge)
	}
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	reply, err := a.Links(ctx, k, c.Age)
	if err != nil {
		return err
	}
	if len(reply.Links) == 0 {
		return fmt.Errorf("task %s has no stored output; see: reelay get %s", k.ID, k)
	}
	if c.JSON {
		err = printJSON(e.stdout, reply)
	} else {
		for _, l := range reply.Links {
			fmt.Fprintln(e.stdout, clean(l.URL))
		}
	}
	if err != nil || !c.Show {
		return err
	}
	return show(ctx, reply.Links[0].URL)
}

// show opens a link with the program of this desktop.
func show(ctx context.Context, link string) error {
	program := []string{"xdg-open"}
	switch runtime.GOOS {
	case "darwin":
		program = []string{"open"}
	case "windows":
		program = []string{"rundll32", "url.dll,FileProtocolHandler"}
	}
	if err := exec.CommandContext(ctx, program[0], append(program[1:], link)...).Run(); err != nil {
		return fmt.Errorf("--show: %s: %w", program[0], err)
	}
	return nil
}
