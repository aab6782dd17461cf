package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"reelay/events"
	"reelay/events/client"
)

// watchCmd shows events as they happen.
type watchCmd struct {
	connection `embed:""`

	Task       string `arg:"" optional:"" help:"Task id, or <project>.<task>; without one, all tasks of the project."`
	Project    string `help:"Project to watch." env:"REELAY_PROJECT" default:"default"`
	All        bool   `help:"Watch all projects."`
	SinceStart bool   `help:"Begin with what is stored, 30 days back."`
	JSON       bool   `name:"json" help:"Print each event as one line of JSON."`
}

// Run prints events: those of a task until it has ended, others until it is interrupted.
func (c *watchCmd) Run(ctx context.Context, e *env) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	print := func(event events.Event) { printEvent(e.stdout, event, time.Local) }
	if c.JSON {
		print = func(event events.Event) { printEventJSON(e.stdout, event) }
	}
	if c.Task == "" {
		return c.watchAll(ctx, e, print)
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
	stream, err := c.stream(ctx, a, events.EventSubject(k, "*"))
	if err != nil {
		return err
	}
	task, err := a.Get(ctx, k)
	if err != nil {
		return err
	}
	fmt.Fprintf(e.stderr, "%s is %s  %s\n", k, describeState(task), describeTimes(task, time.Now()))
	if task.Status.Terminal() && !c.SinceStart {
		return outcome(task)
	}
	trouble := func(err error) { fmt.Fprintln(e.stderr, cannotSee(err)) }
	known := events.Task{Project: k.Project, ID: k.ID}
	task, err = a.Watch(ctx, known, stream, client.Watcher{Event: print, Trouble: trouble, Linger: c.SinceStart})
	if err != nil {
		return interrupted(e, k, err)
	}
	return outcome(task)
}

// stream delivers the events that the command is about.
func (c *watchCmd) stream(ctx context.Context, a *api, filter string) (<-chan events.Event, error) {
	if c.SinceStart {
		return a.Replay(ctx, filter)
	}
	return a.Subscribe(ctx, filter)
}

// watchAll prints the events of a project, or of all, until it is interrupted, which is its ordinary end.
func (c *watchCmd) watchAll(ctx context.Context, e *env, print func(events.Event)) error {
	scope := events.Key{Project: c.Project, ID: "*"}
	if c.All {
		scope.Project = "*"
	} else if !events.ValidToken(c.Project) {
		return usagef("--project: must be 1 to %d characters of A-Z a-z 0-9 _ -", events.MaxTokenBytes)
	}
	a, closeConn, err := c.open(e)
	if err != nil {
		return err
	}
	defer closeConn()
	stream, err := c.stream(ctx, a, events.EventSubject(scope, "*"))
	if err != nil {
		return err
	}
	fmt.Fprintf(e.stderr, "watching %s; Ctrl-C ends\n", events.EventSubject(scope, "*"))
	for {
		select {
		case <-ctx.Done():
			return nil
		case event := <-stream:
			print(event)
		}
	}
}

// printEvent writes an event as a line, and its new log lines below it.
func printEvent(w io.Writer, e events.Event, zone *time.Location) {
	words := []string{e.Time.In(zone).Format(time.TimeOnly), e.Key().String(), string(e.Type)}
	if t := e.Update(events.Task{}); t.Phase != "" && !e.Type.Terminal() {
		words = append(words, describeState(t))
		if left := describeLeft(t, e.Time); left != "" {
			words = append(words, left)
		}
	}
	reason := ""
	if e.Error != nil {
		reason = e.Error.Error()
		if e.Error.Field != "" && !strings.HasPrefix(reason, e.Error.Field+":") {
			reason = e.Error.Field + ": " + reason
		}
	}
	for _, text := range []string{e.Message, reason} {
		// the message is most often what the error says
		if text != "" && (text == reason || !strings.Contains(reason, text)) {
			words = append(words, clean(text))
		}
	}
	fmt.Fprintln(w, strings.Join(words, "  "))
	for _, l := range e.Logs {
		fmt.Fprintln(w, "          | "+clean(l.Message))
	}
	if e.Task != nil && e.Task.Result != nil {
		for _, line := range valueLines(*e.Task.Result) {
			fmt.Fprintln(w, "          > "+clean(line))
		}
		for _, o := range e.Task.Result.Outputs {
			fmt.Fprintln(w, "          > "+clean(describeOutput(o)))
		}
	}
}

func printEventJSON(w io.Writer, e events.Event) {
	if raw, err := events.Marshal(e); err == nil {
		fmt.Fprintf(w, "%s\n", raw)
	}
}
