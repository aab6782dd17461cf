package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/nats-io/nats.go"

	"reelay/events"
	"reelay/events/client"
	"reelay/internal/config"
)

// connection is how a command finds NATS.
type connection struct {
	NATS config.NATS `embed:""`
}

// open connects for one command; close hangs up.
func (c connection) open(e *env) (a *api, closeConn func(), err error) {
	nc, err := c.NATS.ConnectOnce("reelay", e.log)
	if err != nil {
		return nil, nil, err
	}
	return newAPI(nc.Conn, nc.APIPrefix), nc.Close, nil
}

// taskArg names one task on the command line.
type taskArg struct {
	Task    string `arg:"" help:"Task id, or <project>.<task>."`
	Project string `help:"Project of the task." env:"REELAY_PROJECT" default:"default"`
}

// key returns the task's key. Its error is a usageError.
func (t taskArg) key() (events.Key, error) { return parseKey(t.Project, t.Task) }

func parseKey(project, task string) (events.Key, error) {
	k := events.Key{Project: project, ID: task}
	if before, after, ok := strings.Cut(task, "."); ok {
		k = events.Key{Project: before, ID: after}
	}
	if !k.Valid() {
		return k, usagef("%q is no task: project and task are 1 to %d characters of A-Z a-z 0-9 _ -", k, events.MaxTokenBytes)
	}
	return k, nil
}

// api is the client of a command.
type api struct {
	*client.Client
	nc *nats.Conn
	// apiPrefix is that of JetStream's API; empty for the usual one.
	apiPrefix string
}

func newAPI(nc *nats.Conn, apiPrefix string) *api {
	return &api{client.New(nc, client.WithAPIPrefix(apiPrefix)), nc, apiPrefix}
}

// listAll returns all tasks that a list shows on any number of pages.
func (a *api) listAll(ctx context.Context, project string, r events.ListRequest) (found []events.Task, err error) {
	r.Limit = events.MaxListLimit
	for {
		page, err := a.List(ctx, project, r)
		if err != nil {
			return nil, err
		}
		found = append(found, page.Tasks...)
		if page.NextCursor == "" || page.NextCursor == r.Cursor {
			return found, nil
		}
		r.Cursor = page.NextCursor
	}
}

// printJSON writes an answer indented.
func printJSON(w io.Writer, answer any) error {
	raw, err := events.Marshal(answer)
	if err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	_, err = fmt.Fprintln(w, b.String())
	return err
}

// printLine writes an answer as one line of JSON.
func printLine(w io.Writer, answer any) error {
	raw, err := events.Marshal(answer)
	if err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	_, err = fmt.Fprintf(w, "%s\n", raw)
	return err
}

// checkProject checks a --project that may be empty. Its error is a usageError.
func checkProject(project string) error {
	if project != "" && !events.ValidToken(project) {
		return usagef("--project: must be 1 to %d characters of A-Z a-z 0-9 _ -", events.MaxTokenBytes)
	}
	return nil
}
