package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"reelay/events"
)

// queueCmd shows how much work there is.
type queueCmd struct {
	connection `embed:""`

	Project string `help:"Count one project only (default: all)." env:"REELAY_PROJECT"`
	JSON    bool   `name:"json" help:"Print JSON."`
}

// Run shows the queue.
func (c *queueCmd) Run(ctx context.Context, e *env) error {
	var tokens []string
	if c.Project != "" {
		if !events.ValidToken(c.Project) {
			return usagef("--project: must be 1 to %d characters of A-Z a-z 0-9 _ -", events.MaxTokenBytes)
		}
		tokens = []string{c.Project}
	}
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	var r events.QueueReply
	raw, err := a.ask(ctx, events.VerbQueue, tokens, nil, &r, askTimeout)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, raw)
	}
	return printQueue(e.stdout, r)
}

// printQueue writes the counts by status, and a table of the lanes.
func printQueue(w io.Writer, r events.QueueReply) error {
	fmt.Fprintf(w, "%d active of %d kept:", r.ActiveCount, r.Total)
	for _, s := range events.Statuses() {
		fmt.Fprintf(w, "  %s %d", s, r.ByStatus[s])
	}
	fmt.Fprint(w, "\n\n")
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "LANE\tPROVIDER\tWAITING\tIN DOUBT\tPARKED\tAT PROVIDER\tACTIVE\tDONE/H\tFAILED/H\tOLDEST WAIT")
	for _, l := range r.Lanes {
		oldest := "-"
		if l.OldestWaitingS > 0 {
			oldest = short(time.Duration(l.OldestWaitingS * float64(time.Second)))
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n", l.Lane, l.Provider, l.ByPhase[events.PhaseWaiting], l.ByPhase[events.PhaseInDoubt],
			l.ByPhase[events.PhaseParked], l.AtProvider, l.Active, l.CompletedLastHour, l.FailedLastHour, oldest)
	}
	return t.Flush()
}
