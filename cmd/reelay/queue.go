package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
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
	if err := checkProject(c.Project); err != nil {
		return err
	}
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	r, err := a.Queue(ctx, c.Project)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, r)
	}
	return printQueue(e.stdout, r, time.Local)
}

// printQueue writes the counts by status, and a table of the lanes with what keeps them and how fast they are.
func printQueue(w io.Writer, r events.QueueReply, zone *time.Location) error {
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
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n", l.Lane, l.Provider, l.ByPhase[events.PhaseWaiting],
			l.ByPhase[events.PhaseInDoubt], l.ByPhase[events.PhaseParked], l.AtProvider, l.Active, l.CompletedLastHour,
			l.FailedLastHour, oldest)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, l := range r.Lanes {
		printBlocked(w, l.Lane, l.Blocked, zone)
		for _, line := range describeLane(l) {
			fmt.Fprintf(w, "%s %s\n", l.Lane, line)
		}
	}
	return nil
}

// describeLane says what is known of a lane's speed, one line each: how much it sends, how long the provider takes, and
// how well its callbacks arrive.
func describeLane(l events.LaneQueue) (lines []string) {
	span := func(seconds float64) string { return short(time.Duration(seconds * float64(time.Second))) }
	if l.SentPerMinute > 0 {
		lines = append(lines, fmt.Sprintf("sent %g in the last minute", l.SentPerMinute))
	}
	for _, of := range slices.Sorted(maps.Keys(l.Typical)) {
		y := l.Typical[of]
		line := fmt.Sprintf("%s takes %s, nine of ten under %s", of, span(y.WholeS), span(y.LateS))
		if y.RunS > 0 {
			line += fmt.Sprintf("; it waits %s and runs %s", span(y.WaitS), span(y.RunS))
		}
		lines = append(lines, line+fmt.Sprintf(" (learned from %d)", y.Samples))
	}
	if h := l.Callbacks; h != nil {
		lines = append(lines, fmt.Sprintf("callbacks: %.0f%% missed, %.1fs behind (%d ends seen)", 100*h.MissRate, h.LagS,
			h.Seen))
	}
	return lines
}
