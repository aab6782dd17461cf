package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"reelay/events"
)

// submitCmd hands in a task and prints its id.
type submitCmd struct {
	connection   `embed:""`
	requestFlags `embed:""`

	Wait bool `help:"Wait for the end and print the links of the result."`
	JSON bool `name:"json" help:"Print the task as JSON."`
}

// Run hands the task in.
func (c *submitCmd) Run(ctx context.Context, e *env) error {
	request, tokens, err := c.build(e.stdin)
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
		if stream, err = a.subscribe(ctx, events.EventSubject(k, "*"), false); err != nil {
			return err
		}
	}
	task, raw, err := a.submit(ctx, request, tokens)
	if err != nil {
		return err
	}
	if !c.Wait {
		if c.JSON {
			return printJSON(e.stdout, raw)
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
		if raw, err = events.Marshal(events.TaskReply{Task: task}); err != nil {
			return err
		}
		if err := printJSON(e.stdout, raw); err != nil {
			return err
		}
	} else if task.Result != nil {
		for _, o := range task.Result.Outputs {
			fmt.Fprintln(e.stdout, clean(o.URL))
		}
	}
	return outcome(task)
}

// submit hands in a request and returns the task as accepted.
func (a *api) submit(ctx context.Context, r events.Request, tokens []string) (events.Task, []byte, error) {
	payload, err := events.Marshal(r)
	if err != nil {
		return events.Task{}, nil, &usageError{err}
	}
	if len(payload) > events.MaxRequestBytes {
		return events.Task{}, nil, usagef("the request has %d bytes, over the limit of %d", len(payload), events.MaxRequestBytes)
	}
	var reply events.TaskReply
	raw, err := a.ask(ctx, events.VerbSubmit, tokens, r, &reply, askTimeout)
	if errors.Is(err, errNoAnswer) || errors.Is(err, context.Canceled) {
		err = fmt.Errorf("%w; it may have been taken: to ask again without paying twice, add --id %s", err, r.ID)
	}
	if err != nil {
		return events.Task{}, nil, fmt.Errorf("submit %s: %w", r.ID, err)
	}
	return reply.Task, raw, nil
}

// show follows a task on a live line until it has ended.
func (e *env) show(ctx context.Context, a *api, task events.Task, stream <-chan events.Event) (events.Task, error) {
	line := &liveLine{w: e.stderr, width: e.width(), now: time.Now}
	defer line.end()
	line.set(task)
	f := follower{task: line.set, note: line.say, since: task.Version}
	if line.width > 0 {
		f.tick = line.paint
	}
	return a.follow(ctx, task.Key(), stream, f)
}

// interrupted says how to find a task again when the user broke off, and returns err as it is otherwise.
func interrupted(e *env, k events.Key, err error) error {
	if exitCode(err) != exitInterrupted {
		return err
	}
	fmt.Fprintf(e.stderr, "\nstopped watching; task %s goes on. Follow it with: reelay watch %s; end it with: reelay cancel %s\n", k.ID, k, k)
	return errInterrupted
}
