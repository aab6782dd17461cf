package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"reelay/events"
)

// lsCmd lists tasks.
type lsCmd struct {
	connection `embed:""`

	All      bool     `help:"List all projects, whatever REELAY_PROJECT says."`
	Project  string   `help:"List one project only (default: all)." env:"REELAY_PROJECT"`
	Status   []string `help:"Only these statuses: queued, in_progress, completed, failed, cancelled."`
	Phase    []string `help:"Only these phases: waiting, submitting, in_doubt, parked, provider_queued, running, cancelling, fetching, done."`
	SceneID  string   `name:"scene-id" help:"Only tasks of this scene."`
	Batch    string   `help:"Only tasks of this batch."`
	Provider string   `help:"Only tasks of this provider."`
	Model    string   `help:"Only tasks of this model."`
	Since    string   `help:"Only tasks newer than this: a time (RFC 3339) or an age such as 2h." placeholder:"TIME"`
	Limit    int      `help:"Tasks of one page, 1 to 200." default:"50"`
	Cursor   string   `help:"Begin with this page, as an earlier answer named it."`
	AllPages bool     `help:"List all pages."`
	JSON     bool     `name:"json" help:"Print JSON."`
}

// Run lists the tasks.
func (c *lsCmd) Run(ctx context.Context, e *env) error {
	request, err := c.request(time.Now())
	if err != nil {
		return err
	}
	project := c.Project
	if c.All {
		project = ""
	}
	if err := checkProject(project); err != nil {
		return err
	}
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	all := events.ListReply{Tasks: []events.Task{}}
	for {
		p, err := a.List(ctx, project, request)
		if err != nil {
			return err
		}
		all.Tasks = append(all.Tasks, p.Tasks...)
		all.NextCursor = p.NextCursor
		if !c.AllPages || p.NextCursor == "" {
			break
		}
		if p.NextCursor == request.Cursor {
			return fmt.Errorf("list: the service names the same page again and again (%s)", p.NextCursor)
		}
		request.Cursor = p.NextCursor
	}
	if c.JSON {
		return printJSON(e.stdout, all)
	}
	if err := printTasks(e.stdout, all.Tasks, time.Now()); err != nil {
		return err
	}
	if all.NextCursor != "" {
		fmt.Fprintf(e.stderr, "there is more: --all-pages, or --cursor %s\n", all.NextCursor)
	}
	return nil
}

// request returns the filters. Its error is a usageError.
func (c *lsCmd) request(now time.Time) (events.ListRequest, error) {
	r := events.ListRequest{
		SceneID: c.SceneID, BatchID: c.Batch, Provider: c.Provider, Model: c.Model, Limit: c.Limit,
		Cursor: c.Cursor,
	}
	for _, s := range c.Status {
		r.Status = append(r.Status, events.Status(s))
	}
	for _, p := range c.Phase {
		r.Phase = append(r.Phase, events.Phase(p))
	}
	if c.Limit < 1 {
		return r, usagef("--limit: %d is not between 1 and %d", c.Limit, events.MaxListLimit)
	}
	if c.Since != "" {
		since, err := parseSince(c.Since, now)
		if err != nil {
			return r, err
		}
		r.Since = &since
	}
	// The service would refuse the same, but only here is it known to be a matter of usage.
	raw, err := events.Marshal(r)
	if err != nil {
		return r, &usageError{err}
	}
	if _, err := events.DecodeListRequest(raw); err != nil {
		return r, &usageError{fmt.Errorf("--%w", err)}
	}
	return r, nil
}

// parseSince reads a time or an age. Its error is a usageError.
func parseSince(s string, now time.Time) (time.Time, error) {
	if at, err := time.Parse(time.RFC3339, s); err == nil {
		return at, nil
	}
	if age, err := time.ParseDuration(s); err == nil && age >= 0 {
		return now.Add(-age), nil
	}
	return time.Time{}, usagef("--since: %q is neither a time such as 2026-01-31T15:04:05Z nor an age such as 2h", s)
}

// printTasks writes tasks as a table. A task that has ended shows its status, any other its phase, and what keeps it.
func printTasks(w io.Writer, tasks []events.Task, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "TASK\tTYPE\tSTATE\tQUEUE\tDONE\tAGE\tLEFT\tPACE\tPROVIDER\tMODEL\tSCENE")
	for _, task := range tasks {
		state, done, pace := string(task.Phase), "-", ""
		if task.Status.Terminal() {
			state = string(task.Status)
		}
		if b := blockedBy(task); b != nil {
			state += " (" + string(b.Reason) + ")"
		}
		if task.ProgressPercentage != nil {
			done = fmt.Sprintf("%.0f%%", *task.ProgressPercentage)
		}
		if isSlow(task) {
			pace = clean(string(task.Pace))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", task.Key(), task.TaskType, clean(state),
			orDash(describeQueue(task)), done, short(max(0, now.Sub(task.CreatedAt))), orDash(timeLeft(task, now)), orDash(pace),
			orDash(task.Provider), orDash(clean(task.Model)), orDash(clean(task.SceneID)))
	}
	return t.Flush()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
