package main

import (
	"context"
	"errors"
	"fmt"

	"reelay/events"
	"reelay/events/client"
	"reelay/internal/segment"
)

// cancelCmd asks for the end of a task, of a segment, or of all that have not ended of a batch, a scene or a provider.
type cancelCmd struct {
	connection `embed:""`

	Task     string `arg:"" optional:"" help:"Task id, or <project>.<task>."`
	Project  string `help:"Project of the tasks." env:"REELAY_PROJECT" default:"default"`
	Batch    string `help:"Every task of this batch."`
	SceneID  string `name:"scene-id" help:"Every task of this scene."`
	Provider string `help:"Every task of this provider."`
	Reason   string `help:"Why, for the timeline."`
	Only     bool   `help:"Of a segment end the last task only. The voice, the speech and the video go on, and are paid for."`
	JSON     bool   `name:"json" help:"Print each task as one line of JSON."`
}

// Run asks for the end and tells where each task is now.
func (c *cancelCmd) Run(ctx context.Context, e *env) error {
	many := c.Batch != "" || c.SceneID != "" || c.Provider != ""
	if many == (c.Task != "") {
		return usagef("name one task, or --batch, --scene-id or --provider")
	}
	if many {
		return c.cancelMany(ctx, e)
	}
	k, err := parseKey(c.Project, c.Task)
	if err != nil {
		return err
	}
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	ids := []string{k.ID}
	if !c.Only {
		// First, for it tells what a segment is made of, also where its own end is not recorded in time.
		task, err := a.Get(ctx, k)
		if err != nil {
			return err
		}
		ids = append(ids, segment.Parts(task)...)
	}
	var failed []error
	for i, id := range ids {
		k := events.Key{Project: k.Project, ID: id}
		err := c.cancel(ctx, e, a, k)
		if err != nil && (i == 0 || !client.HasCode(err, events.CodeNotFound)) { // not every segment has every part
			failed = append(failed, fmt.Errorf("cancel %s: %w", k, err))
		}
	}
	return errors.Join(failed...)
}

// cancel asks for the end of one task and tells where it is now.
func (c *cancelCmd) cancel(ctx context.Context, e *env, a *api, k events.Key) error {
	now, err := a.Cancel(ctx, k, events.Cancel{Reason: c.Reason})
	switch {
	case err != nil:
		return err
	case c.JSON:
		return printLine(e.stdout, events.TaskReply{Task: now})
	}
	_, err = fmt.Fprintf(e.stdout, "%s  %s\n", k, describeState(now))
	return err
}

// cancelMany asks for the end of what has not ended. One that could not be asked is told, and the others go on.
func (c *cancelCmd) cancelMany(ctx context.Context, e *env) error {
	if c.Project == "" {
		return usagef("--project: name one")
	}
	if err := checkProject(c.Project); err != nil {
		return err
	}
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	found, err := a.listAll(ctx, c.Project, events.ListRequest{
		BatchID: c.Batch, SceneID: c.SceneID, Provider: c.Provider,
		Status: []events.Status{events.StatusQueued, events.StatusInProgress},
	})
	if err != nil {
		return err
	}
	var failed []error
	for _, t := range found {
		if err := c.cancel(ctx, e, a, t.Key()); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", t.Key(), err))
		}
	}
	fmt.Fprintf(e.stderr, "%d of %d tasks were asked to end\n", len(found)-len(failed), len(found))
	return errors.Join(failed...)
}
