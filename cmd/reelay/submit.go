package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"reelay/events"
	"reelay/events/client"
)

// submitCmd hands in a task and prints its id.
type submitCmd struct {
	connection   `embed:""`
	requestFlags `embed:""`

	JSONL string `name:"jsonl" help:"Hand in a request for each line of this file, in the words of the contract; - for standard input. A line without an id gets one of its own bytes, so that the same file again pays for nothing twice. Exit code 1 if any was rejected." placeholder:"FILE"`
	Wait  bool   `help:"Wait for the end and print the links of the result."`
	JSON  bool   `name:"json" help:"Print the task as JSON; with --jsonl one line for each request."`
}

// Run hands the task in.
func (c *submitCmd) Run(ctx context.Context, e *env) error {
	if c.JSONL != "" {
		return c.submitLines(ctx, e)
	}
	request, files, err := c.build(e.stdin)
	if err != nil {
		return err
	}
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	k := events.Key{Project: c.Project, ID: request.ID}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var stream <-chan events.Event
	if c.Wait {
		if stream, err = a.Subscribe(ctx, events.EventSubject(k, "*")); err != nil {
			return err
		}
	}
	if err := files.handIn(ctx, e, a, c.Project); err != nil {
		return err
	}
	task, err := c.submit(ctx, a, request)
	if err != nil {
		return err
	}
	e.warn(task)
	if !c.Wait {
		if c.JSON {
			return printJSON(e.stdout, events.TaskReply{Task: task})
		}
		fmt.Fprintln(e.stdout, task.ID)
		fmt.Fprintf(e.stderr, "%s; follow it with: reelay watch %s\n", describeState(task), k)
		return nil
	}
	task, err = e.show(ctx, a, task, stream)
	if err != nil {
		return interrupted(e, k, err)
	}
	if c.JSON {
		if err := printJSON(e.stdout, events.TaskReply{Task: task}); err != nil {
			return err
		}
	} else if task.Result != nil {
		for _, line := range valueLines(*task.Result) {
			fmt.Fprintln(e.stdout, clean(line))
		}
		for _, o := range task.Result.Outputs {
			fmt.Fprintln(e.stdout, clean(linkOf(o)))
		}
	}
	return outcome(task)
}

// warn says what of a lenient request is left out.
func (e *env) warn(task events.Task) {
	for _, warning := range task.Warnings {
		fmt.Fprintf(e.stderr, "warning: left out: %s\n", clean(warning))
	}
}

// submit hands in a request and returns the task as accepted.
func (f requestFlags) submit(ctx context.Context, a *api, r events.Request) (events.Task, error) {
	task, err := a.Submit(ctx, f.Project, events.TaskType(f.TaskType), r)
	switch {
	case errors.Is(err, events.ErrInvalid):
		return task, &usageError{err}
	case errors.Is(err, client.ErrNoAnswer), errors.Is(err, context.Canceled):
		err = fmt.Errorf("%w; it may have been taken: to ask again without paying twice, add --id %s", err, r.ID)
	}
	if err != nil {
		return task, fmt.Errorf("submit %s: %w", r.ID, err)
	}
	return task, nil
}

// show follows a task on a live line until it has ended.
func (e *env) show(ctx context.Context, a *api, task events.Task, stream <-chan events.Event) (events.Task, error) {
	line := &liveLine{w: e.stderr, width: e.width(), style: e.style(), now: time.Now}
	defer line.end()
	line.set(task)
	w := client.Watcher{Task: line.set, Trouble: func(err error) { line.say(cannotSee(err)) }}
	if line.width > 0 {
		w.Tick = line.paint
	}
	return a.Watch(ctx, task, stream, w)
}

// interrupted says how to find a task again when the user broke off, and returns err as it is otherwise.
func interrupted(e *env, k events.Key, err error) error {
	if exitCode(err) != exitInterrupted {
		return err
	}
	fmt.Fprintf(e.stderr, "\nstopped watching; task %s goes on. Follow it with: reelay watch %s; end it with: reelay "+
		"cancel %s\n", k.ID, k, k)
	return errInterrupted
}
