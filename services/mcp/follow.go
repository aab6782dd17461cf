package mcp

import (
	"context"
	"encoding/json"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"reelay/events"
	"reelay/internal/describe"
	"reelay/internal/mcpwire"
)

// tasks are the principal's tasks as the extension tells them. A task is its record: nothing else is kept.
func (b *bridge) tasks() mcpwire.Source {
	return mcpwire.Source{
		Get: func(ctx context.Context, id string) (mcpwire.State, error) {
			t, err := b.get(ctx, id, "")
			if err != nil {
				return mcpwire.State{}, wireError(err)
			}
			return b.taskState(ctx, t), nil
		},
		Cancel: func(ctx context.Context, id string) error {
			_, err := b.cancelTask(ctx, nil, cancelTaskIn{TaskID: id, Reason: "asked for by tasks/cancel"})
			return wireError(err)
		},
		// A task asks for nothing once it is there: what has to be confirmed is confirmed before.
		Answer: func(ctx context.Context, id string, _ map[string]json.RawMessage) error {
			_, err := b.get(ctx, id, "")
			return wireError(err)
		},
	}
}

// wireError is the protocol's error for a task that is unknown, or cannot be asked for now.
func wireError(err error) error {
	if err == nil {
		return nil
	}
	f := failureOf(err)
	if f.Code == codeNotFound {
		return &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: f.Message}
	}
	return &jsonrpc.Error{Code: jsonrpc.CodeInternalError, Message: f.Message}
}

// taskState describes a task as the extension does. A task that has failed is completed, with a result that says so.
func (b *bridge) taskState(ctx context.Context, t events.Task) mcpwire.State {
	s := mcpwire.State{
		ID: b.id(t.Key()), Status: mcpwire.Working, Message: describe.Task(t, time.Now()), Created: t.CreatedAt, Updated: t.CreatedAt,
		TTL: events.RecordAge, Poll: time.Duration(describe.PollAfter(t) * float64(time.Second)),
	}
	if n := len(t.Transitions); n > 0 {
		s.Updated = t.Transitions[n-1].At
	}
	switch t.Status {
	case events.StatusCancelled:
		s.Status = mcpwire.Cancelled
	case events.StatusCompleted, events.StatusFailed:
		a := b.taskAnswer(ctx, t, true)
		s.Status = mcpwire.Completed
		s.Result = &sdk.CallToolResult{Content: a.content(), StructuredContent: a, IsError: a.failure() != nil}
	}
	return s
}

// await waits for a task that a call has handed in. For a client that declares tasks it waits a moment only, and leaves
// the rest to the extension.
func (b *bridge) await(ctx context.Context, r *sdk.CallToolRequest, t events.Task, d time.Duration) (events.Task, error) {
	p := mcpwire.PendingOf(ctx)
	if p == nil || d <= 0 {
		return b.wait(ctx, r, t, d)
	}
	t, err := b.wait(ctx, r, t, min(d, mcpwire.Grace))
	if err == nil && !t.Status.Terminal() {
		p.GoesOn(b.taskState(ctx, t))
	}
	return t, err
}
