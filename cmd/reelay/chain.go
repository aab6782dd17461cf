package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/sync/errgroup"

	"reelay/events"
	"reelay/events/client"
	"reelay/internal/segment"
)

// chainFlags is how tasks that build upon each other are made together. The first of them is the one whose output is
// wanted.
type chainFlags struct {
	place `embed:""`

	Project string `help:"Project of the tasks." env:"REELAY_PROJECT" default:"default"`
	ID      string `name:"id" help:"Task id of what is made. The same id again completes what is missing, and pays for nothing twice." placeholder:"ID"`
	SceneID string `name:"scene-id" help:"Your own group of the tasks." placeholder:"ID"`
	Batch   string `help:"Batch that the tasks belong to (default for a segment: one of its own, of its id)." placeholder:"ID"`
	Output  string `help:"Directory the media is saved in." default:"." placeholder:"DIR"`
	DryRun  bool   `name:"dry-run" help:"Only print the price, and the requests as the commands that publish them."`
}

// make quotes the tasks and hands them in, shows them until all have ended, and saves what the first has made.
func (c chainFlags) make(ctx context.Context, e *env, tasks []segment.Task, files localFiles) error {
	if !events.ValidToken(c.Project) {
		return usagef("--project: must be 1 to %d characters of A-Z a-z 0-9 _ -", events.MaxTokenBytes)
	}
	for _, t := range tasks {
		if err := t.Request.Validate(); err != nil {
			return &usageError{fmt.Errorf("%s: %w", t.Type, err)}
		}
	}
	a, stop, err := c.reach(ctx, e)
	if err != nil {
		return err
	}
	defer stop()
	if err := c.quote(ctx, e, a, tasks); err != nil {
		return err
	}
	if c.DryRun {
		return c.print(e.stdout, tasks, files)
	}
	if err := files.handIn(ctx, e, a, c.Project); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended, err := c.run(ctx, e, a, tasks)
	switch {
	case exitCode(err) == exitInterrupted && c.alone():
		fmt.Fprintln(e.stderr, "\nstopped; the sandbox and its tasks are gone, nothing was paid")
		return errInterrupted
	case exitCode(err) == exitInterrupted:
		fmt.Fprintf(e.stderr, "\nstopped watching; the tasks go on. Follow them with the same command and --id %s\n", c.ID)
		return errInterrupted
	case err != nil:
		return err
	}
	if err := outcomeOf(ended); err != nil {
		return err
	}
	return saveResult(ctx, e, a, awaitStored(ctx, e, a, ended[0]), c.Output)
}

// quote tells what the tasks cost. It fails where one of them would be refused, so that none is handed in.
func (c chainFlags) quote(ctx context.Context, e *env, a *api, tasks []segment.Task) error {
	total := 0.0
	var unknown []string
	for _, t := range tasks {
		q, err := a.Quote(ctx, c.Project, events.QuoteRequest{TaskType: t.Type, Request: t.Request})
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", t.Type, err)
		case q.Cost == nil || q.Cost.EstimatedUSD == nil:
			unknown = append(unknown, q.Model)
		default:
			total += *q.Cost.EstimatedUSD
		}
	}
	text := "this costs nothing"
	if total > 0 || len(unknown) > 0 {
		text = fmt.Sprintf("this costs about %s USD", usd(total))
	}
	if len(unknown) > 0 {
		text += ", and more, which nobody knows, for " + strings.Join(unknown, ", ")
	}
	_, err := fmt.Fprintln(e.stderr, clean(text))
	return err
}

// print writes the commands of the nats CLI that hand in the same.
func (c chainFlags) print(w io.Writer, tasks []segment.Task, files localFiles) error {
	for _, f := range files {
		fmt.Fprintf(w, "nats object put --force %s --name %s/%s %s\n", events.InputBucket, c.Project, f.name, quoted(f.path))
	}
	for _, t := range tasks {
		body, err := events.Marshal(t.Request)
		if err != nil {
			return err
		}
		// {{ would be a template of that CLI. In JSON it stands in texts only, where it can be written so.
		text := strings.ReplaceAll(string(body), "{{", `{\u007b`)
		fmt.Fprintf(w, "nats pub -J %s %s\n", events.RequestSubject(c.Project, t.Type), quoted(text))
	}
	return nil
}

// quoted writes a text as one word of a shell.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// run hands in the tasks and follows them until all have ended.
func (c chainFlags) run(ctx context.Context, e *env, a *api, tasks []segment.Task) ([]events.Task, error) {
	known, heard := make([]events.Task, len(tasks)), make([]<-chan events.Event, len(tasks))
	for i, t := range tasks {
		var err error
		if heard[i], err = a.Subscribe(ctx, events.EventSubject(events.Key{Project: c.Project, ID: t.Request.ID}, "*")); err != nil {
			return nil, err
		}
	}
	for i, t := range tasks {
		var err error
		if known[i], err = a.Submit(ctx, c.Project, t.Type, t.Request); err != nil {
			return nil, fmt.Errorf("submit %s: %w; the same command with --id %s hands in what is missing, and pays for nothing twice",
				t.Request.ID, err, c.ID)
		}
		e.warn(known[i])
	}
	for i, t := range known {
		if len(t.WaitsFor) == 0 {
			continue
		}
		if now, err := a.Get(ctx, t.Key()); err == nil { // with all handed in, it is known when they end
			known[i] = now
		}
	}
	fmt.Fprintf(e.stderr, "task %s\n", known[0].Key())
	lines := newLiveLines(e, known)
	ended := make([]events.Task, len(tasks))
	group, ctx := errgroup.WithContext(ctx)
	for i := range tasks {
		w := client.Watcher{Task: lines.set, Trouble: func(err error) { lines.say(cannotSee(err)) }}
		if i == 0 && lines.width > 0 {
			w.Tick = lines.tick
		}
		group.Go(func() (err error) {
			ended[i], err = a.Watch(ctx, known[i], heard[i], w)
			return err
		})
	}
	return ended, group.Wait()
}

// outcomeOf says why the first of several tasks has not completed: what went wrong, not what that kept from being done.
func outcomeOf(all []events.Task) error {
	if all[0].Status == events.StatusCompleted {
		return nil
	}
	var failed []error
	for _, t := range all {
		if t.Error == nil || t.Error.Code != events.CodeDependencyFailed {
			failed = append(failed, outcome(t))
		}
	}
	if err := errors.Join(failed...); err != nil {
		return err
	}
	return outcome(all[0])
}
