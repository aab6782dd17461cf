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

// getCmd shows one task.
type getCmd struct {
	connection `embed:""`
	taskArg    `embed:""`

	JSON bool `name:"json" help:"Print the record as JSON."`
}

// Run shows the task.
func (c *getCmd) Run(ctx context.Context, e *env) error {
	k, err := c.key()
	if err != nil {
		return err
	}
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	task, err := a.Get(ctx, k)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, events.TaskReply{Task: task})
	}
	return printTask(e.stdout, task, time.Now(), time.Local)
}

// printTask writes what a person wants to know of a task.
func printTask(w io.Writer, task events.Task, now time.Time, zone *time.Location) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(t, "%s\t%s\n", name, clean(value))
		}
	}
	at := func(v *time.Time) string {
		if v == nil {
			return ""
		}
		return v.In(zone).Format(time.DateTime)
	}
	row("task", task.Key().String())
	row("makes", string(task.TaskType))
	row("status", string(task.Status))
	blocked := task.Blocked
	task.Blocked = nil // it has a row of its own
	row("state", describeState(task))
	if blocked != nil && task.Phase == events.PhaseWaiting {
		row("blocked", describeBlocked(*blocked, zone))
	}
	row("time", describeTimes(task, now))
	if !task.Status.Terminal() {
		row("ends about", describeETA(task, zone))
		row("pace", string(task.Pace))
	}
	row("scene", task.SceneID)
	row("provider", task.Provider)
	if task.Lane != task.Provider {
		row("lane", task.Lane)
	}
	row("model", task.Model)
	row("provider id", task.ProviderID)
	row("provider says", task.ProviderWord)
	row("created", at(&task.CreatedAt))
	row("submitted", at(task.SubmittedAt))
	row("started", at(task.StartedAt))
	row("ended", at(task.CompletedAt))
	if !task.Status.Terminal() {
		row("deadline", at(&task.Deadline))
		row("start by", at(task.StartDeadline))
	}
	if task.Cancel != nil {
		text := "asked for by " + task.Cancel.By + " at " + at(&task.Cancel.AskedAt)
		if task.Cancel.Reason != "" {
			text += ", reason: " + task.Cancel.Reason
		}
		if task.Cancel.Outcome != "" {
			text += ", outcome: " + task.Cancel.Outcome
		}
		row("cancel", text)
	}
	if task.Error != nil {
		row("error", task.Error.Error())
		row("kind", string(task.Error.Kind))
		row("charge", string(task.Error.Charge))
		row("trace id", task.Error.TraceID)
	}
	if cost := task.Cost; cost != nil {
		row("cost", describeCost(*cost))
	}
	for _, name := range slices.Sorted(maps.Keys(task.Metadata)) {
		row("metadata", name+"="+task.Metadata[name])
	}
	if task.Result != nil {
		for _, o := range task.Result.Outputs {
			row("output", o.URL)
			if o.ExpiresAt != nil {
				row("", "expires "+at(o.ExpiresAt))
			}
		}
	}
	for _, l := range task.Logs {
		row("log", l.Message)
	}
	return t.Flush()
}

// describeETA says when a task is thought to end; empty if that is not known.
func describeETA(t events.Task, zone *time.Location) string {
	if t.ETA == nil || t.Phase == events.PhaseCancelling {
		return ""
	}
	text := t.ETA.In(zone).Format(time.DateTime)
	if t.ETAEarliest != nil && t.ETALatest != nil && t.ETAEarliest.Before(*t.ETALatest) {
		text += ", likely between " + t.ETAEarliest.In(zone).Format(time.TimeOnly) + " and " +
			t.ETALatest.In(zone).Format(time.TimeOnly)
	}
	if t.ETA.After(t.Deadline) {
		text += "; its deadline is before that"
	}
	return text
}

// describeCost says what a task was thought to cost and what it did cost.
func describeCost(c events.Cost) string {
	text := ""
	add := func(s string) {
		if text != "" {
			text += ", "
		}
		text += s
	}
	if c.EstimatedUSD != nil {
		add(fmt.Sprintf("estimated $%.4f", *c.EstimatedUSD))
	}
	if c.ActualUSD != nil {
		add(fmt.Sprintf("actual $%.4f", *c.ActualUSD))
	}
	if c.MaxUSD != nil {
		add(fmt.Sprintf("limit $%.4f", *c.MaxUSD))
	}
	if c.Units != nil {
		add(fmt.Sprintf("billed %g %s", *c.Units, c.Unit))
	}
	return text
}
