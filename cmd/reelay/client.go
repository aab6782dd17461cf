package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"reelay/events"
	"reelay/internal/config"
)

// askTimeout bounds one request to a service, beyond what the request itself asks to wait.
const askTimeout = 15 * time.Second

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
	return newAPI(nc), nc.Close, nil
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

// api asks the services.
type api struct {
	nc *nats.Conn
	// retryPause is the pause after a wait that nobody answered.
	retryPause time.Duration
}

func newAPI(nc *nats.Conn) *api { return &api{nc: nc, retryPause: 2 * time.Second} }

// ask sends in (nil for an empty payload) to a verb, reads the answer into out (nil if it is not wanted) and returns it raw as
// well. A refusal is an *apiError, silence errNoService or errNoAnswer.
func (a *api) ask(ctx context.Context, verb events.Verb, tokens []string, in, out any, timeout time.Duration) ([]byte, error) {
	var payload []byte
	if in != nil {
		var err error
		if payload, err = events.Marshal(in); err != nil {
			return nil, fmt.Errorf("%s: %w", verb, err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	subject := events.APISubject(verb, tokens...)
	msg, err := a.nc.RequestWithContext(ctx, subject, payload)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return nil, fmt.Errorf("%w on %s", errNoService, subject)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return nil, fmt.Errorf("%w on %s within %v", errNoAnswer, subject, timeout)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", verb, err)
	}
	if msg.Header.Get(micro.ErrorCodeHeader) != "" || msg.Header.Get(micro.ErrorHeader) != "" {
		return nil, refusal(msg)
	}
	if out != nil {
		if err := json.Unmarshal(msg.Data, out); err != nil {
			return nil, fmt.Errorf("answer to %s: %w", verb, err)
		}
	}
	return msg.Data, nil
}

// refusal reads an error answer. One without a readable body speaks through its headers.
func refusal(msg *nats.Msg) error {
	var r events.ErrorReply
	if err := json.Unmarshal(msg.Data, &r); err != nil || r.Error.Code == "" {
		r.Error = events.Error{Code: msg.Header.Get(micro.ErrorCodeHeader), Message: msg.Header.Get(micro.ErrorHeader)}
	}
	return &apiError{r.Error}
}

// get asks for a task.
func (a *api) get(ctx context.Context, k events.Key) (events.Task, []byte, error) {
	var r events.TaskReply
	raw, err := a.ask(ctx, events.VerbGet, keyTokens(k), nil, &r, askTimeout)
	return r.Task, raw, err
}

// wait asks for a task as it is when it has ended, or after at most d.
func (a *api) wait(ctx context.Context, k events.Key, d time.Duration) (events.Task, []byte, error) {
	var r events.TaskReply
	raw, err := a.ask(ctx, events.VerbWait, keyTokens(k), events.WaitRequest{Timeout: events.Duration(d)}, &r, d+askTimeout)
	return r.Task, raw, err
}

func keyTokens(k events.Key) []string { return []string{k.Project, k.ID} }

// printJSON writes a raw answer indented, its numbers as they were written.
func printJSON(w io.Writer, raw []byte) error {
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	_, err := fmt.Fprintln(w, b.String())
	return err
}
