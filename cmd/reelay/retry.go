package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"reelay/events"
	"reelay/events/client"
	"reelay/internal/retry"
)

// retryCmd makes tasks again that have ended, as new tasks.
type retryCmd struct {
	connection `embed:""`

	Tasks    []string `arg:"" optional:"" name:"task" help:"Task ids, or <project>.<task>. Of tasks that wait for each other, the new ones do, too."`
	Project  string   `help:"Project of the tasks." env:"REELAY_PROJECT" default:"default"`
	Batch    string   `help:"Tasks of this batch; with --failed." placeholder:"ID"`
	Failed   bool     `help:"Of the batch, all that have failed and that nobody has retried yet."`
	ID       string   `name:"id" help:"Id of the new task (default: <task>-r2, then -r3, ...)." placeholder:"ID"`
	PayAgain bool     `name:"pay-again" help:"Also make again what may have been charged, is in doubt, or has completed."`
	JSON     bool     `name:"json" help:"Print each new task as one line of JSON."`
}

// Run hands the new tasks in and tells where each is. Again with the same arguments they are the same tasks.
func (c *retryCmd) Run(ctx context.Context, e *env) error {
	switch {
	case (c.Batch != "") == (len(c.Tasks) > 0), (c.Batch != "") != c.Failed:
		return usagef("name tasks, or --batch with --failed")
	case c.ID != "" && len(c.Tasks) != 1:
		return usagef("--id: is for one task")
	case !events.ValidToken(c.Project):
		return usagef("--project: must be 1 to %d characters of A-Z a-z 0-9 _ -", events.MaxTokenBytes)
	}
	var keys []events.Key
	for _, task := range c.Tasks {
		k, err := parseKey(c.Project, task)
		if err != nil {
			return err
		}
		keys = append(keys, k)
	}
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	tasks, err := c.find(ctx, a, keys)
	if err != nil {
		return err
	}
	var failed []error
	for _, t := range tasks {
		if err := c.retry(ctx, e, a, t, tasks); err != nil {
			failed = append(failed, fmt.Errorf("retry %s: %w", t.Key(), err))
		}
	}
	if c.Batch != "" {
		fmt.Fprintf(e.stderr, "%d of %d failed tasks of batch %s are made again\n", len(tasks)-len(failed), len(tasks), c.Batch)
	}
	return errors.Join(failed...)
}

// find returns the tasks to make again: those that are named, or those of the batch that have failed.
func (c *retryCmd) find(ctx context.Context, a *api, keys []events.Key) (tasks []events.Task, err error) {
	for _, k := range keys {
		t, err := a.Get(ctx, k)
		if err != nil {
			return nil, err
		}
		tasks = append(tasks, t)
	}
	if c.Batch == "" {
		return tasks, nil
	}
	if tasks, err = a.listAll(ctx, c.Project, events.ListRequest{BatchID: c.Batch}); err != nil {
		return nil, err
	}
	retried := map[string]bool{}
	for _, t := range tasks {
		retried[t.RetryOf] = true
	}
	return slices.DeleteFunc(tasks, func(t events.Task) bool { return t.Status != events.StatusFailed || retried[t.ID] }), nil
}

// retry hands in the retry of one of several tasks.
func (c *retryCmd) retry(ctx context.Context, e *env, a *api, t events.Task, all []events.Task) error {
	r := events.Request{ID: c.ID, RetryOf: t.ID, PayAgain: c.PayAgain}
	if r.ID == "" {
		r.ID = retry.NextID(t.ID)
	}
	for _, other := range all {
		if other.Project == t.Project && slices.Contains(t.WaitsFor, other.ID) {
			if r.Replace == nil {
				r.Replace = map[string]string{}
			}
			r.Replace[other.ID] = retry.NextID(other.ID)
		}
	}
	now, err := a.Submit(ctx, t.Project, t.TaskType, r)
	var refused *client.Error
	if errors.As(err, &refused) && refused.Reason.Field == "pay_again" {
		return fmt.Errorf("%w; add --pay-again", err)
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return printLine(e.stdout, events.TaskReply{Task: now})
	}
	fmt.Fprintf(e.stdout, "%s  %s\n", now.Key(), describeState(now))
	if now.Status.Terminal() {
		fmt.Fprintf(e.stderr, "%s was retried before; once more: reelay retry %s\n", t.Key(), now.Key())
	}
	return nil
}
