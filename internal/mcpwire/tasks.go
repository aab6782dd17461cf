package mcpwire

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// The extension of tasks (SEP-2663), which clients of 2026-07-28 declare with each request: a call may be answered with
// a task that the client then follows by itself.
const (
	tasksExtension = "io.modelcontextprotocol/tasks"
	// Grace is how long a tool should wait for a result before it has the call answered with a task.
	Grace = 2 * time.Second
	// codeMissingCapability is the code of a request that needs a capability the client has not declared.
	codeMissingCapability = -32021
)

// The states of a task. What a tool has refused is Completed; Failed is for faults of the protocol.
const (
	Working       = "working"
	InputRequired = "input_required"
	Completed     = "completed"
	Failed        = "failed"
	Cancelled     = "cancelled"
)

// A State is a task as the protocol tells it.
type State struct {
	// Message says in words where the task is.
	ID, Status, Message string
	Created, Updated    time.Time
	// TTL is for how long the task is known, Poll the pause until asking again is worth it.
	TTL, Poll time.Duration
	// Result is that of a completed task, Error that of a failed one, Inputs what one that waits for input asks.
	Result *sdk.CallToolResult
	Error  *jsonrpc.Error
	Inputs sdk.InputRequestMap
}

// fields returns what every answer about the task has.
func (s State) fields() map[string]any {
	f := map[string]any{
		"taskId": s.ID, "status": s.Status, "createdAt": s.Created.UTC().Format(time.RFC3339Nano),
		"lastUpdatedAt": s.Updated.UTC().Format(time.RFC3339Nano), "ttlMs": s.TTL.Milliseconds(),
	}
	if s.Message != "" {
		f["statusMessage"] = s.Message
	}
	if s.Status == Working || s.Status == InputRequired {
		f["pollIntervalMs"] = s.Poll.Milliseconds()
	}
	return f
}

// detail returns the answer to tasks/get.
func (s State) detail() *wireResult {
	f := s.fields()
	f["resultType"] = "complete"
	switch s.Status {
	case Completed:
		f["result"] = s.Result
	case Failed:
		f["error"] = map[string]any{"code": s.Error.Code, "message": s.Error.Message}
	case InputRequired:
		f["inputRequests"] = s.Inputs
	}
	return &wireResult{fields: f}
}

// A wireResult is a result of which the SDK has no type.
type wireResult struct {
	sdk.ResultBase
	fields map[string]any
}

// MarshalJSON writes the fields, and the metadata that the SDK has set.
func (r *wireResult) MarshalJSON() ([]byte, error) {
	all := maps.Clone(r.fields)
	if len(r.Meta) > 0 {
		all["_meta"] = r.Meta
	}
	return json.Marshal(all)
}

// A Source is where tasks are. An error of it that is a *jsonrpc.Error is the client's answer; a task that is unknown is
// jsonrpc.CodeInvalidParams.
type Source struct {
	Get    func(ctx context.Context, id string) (State, error)
	Cancel func(ctx context.Context, id string) error
	// Answer gives a task the inputs that it has asked for.
	Answer func(ctx context.Context, id string, inputs map[string]json.RawMessage) error
}

// taskParams are the parameters of the extension's methods.
type taskParams struct {
	sdk.ParamsBase
	TaskID string `json:"taskId"`
	// InputResponses may answer what was never asked, in any form.
	InputResponses map[string]json.RawMessage `json:"inputResponses,omitempty"`
}

type taskRequest = sdk.ServerRequest[*taskParams]

// A Pending is in the context of a call by a client that takes a task for an answer.
type Pending struct{ state *State }

// GoesOn has the call answered with a task, whatever the tool returns.
func (p *Pending) GoesOn(s State) { p.state = &s }

type pendingKey struct{}

// PendingOf returns the Pending of a call; nil if its client takes results alone.
func PendingOf(ctx context.Context) *Pending {
	p, _ := ctx.Value(pendingKey{}).(*Pending)
	return p
}

// AddTasks has a server serve tasks, in the form of the extension and in that of 2025-11-25. able are the tools whose
// calls may become tasks. Its error says that a method is served already.
func AddTasks(server *sdk.Server, capabilities *sdk.ServerCapabilities, from Source, able ...string) error {
	capabilities.AddExtension(tasksExtension, nil)
	ack := func() *wireResult { return &wireResult{fields: map[string]any{"resultType": "complete"}} }
	methods := map[string]func(context.Context, *taskParams) (*wireResult, error){
		"tasks/get": func(ctx context.Context, p *taskParams) (*wireResult, error) {
			s, err := from.Get(ctx, p.TaskID)
			if err != nil {
				return nil, err
			}
			return s.detail(), nil
		},
		"tasks/cancel": func(ctx context.Context, p *taskParams) (*wireResult, error) {
			return ack(), from.Cancel(ctx, p.TaskID)
		},
		"tasks/update": func(ctx context.Context, p *taskParams) (*wireResult, error) {
			return ack(), from.Answer(ctx, p.TaskID, p.InputResponses)
		},
		"tasks/result": nil, // withLegacyTasks answers it
	}
	for name, method := range methods {
		err := sdk.AddReceivingCustomMethod(server, name,
			func(ctx context.Context, _ *sdk.ServerSession, p *taskParams) (*wireResult, error) {
				return method(ctx, p)
			})
		if err != nil {
			return err
		}
	}
	names := map[string]bool{}
	for _, name := range able {
		names[name] = true
	}
	server.AddReceivingMiddleware(withLegacyTasks(from, names), withTasks)
	return nil
}

// withTasks answers a call with a task where its tool goes on and its client declares the extension, and refuses the
// extension's methods to one that does not.
func withTasks(next sdk.MethodHandler) sdk.MethodHandler {
	return func(ctx context.Context, method string, r sdk.Request) (sdk.Result, error) {
		switch r := r.(type) {
		case *taskRequest:
			// The SDK cannot read the capabilities of a request without parameters.
			if r.Params == nil {
				return nil, &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: "taskId is missing"}
			}
			if !declaresTasks(r.ClientCapabilities()) {
				return nil, missingTasks()
			}
		case *sdk.CallToolRequest:
			if r.Params == nil || r.ProtocolVersion() < statelessSince || !declaresTasks(r.ClientCapabilities()) {
				break
			}
			p := &Pending{}
			result, err := next(context.WithValue(ctx, pendingKey{}, p), method, r)
			if err != nil || p.state == nil {
				return result, err
			}
			f := p.state.fields()
			f["resultType"] = "task"
			return &wireResult{fields: f}, nil
		}
		return next(ctx, method, r)
	}
}

func declaresTasks(c *sdk.ClientCapabilities) bool {
	if c == nil {
		return false
	}
	_, ok := c.Extensions[tasksExtension]
	return ok
}

// missingTasks refuses a request that needs the extension to a client that does not declare it.
func missingTasks() error {
	return &jsonrpc.Error{
		Code: codeMissingCapability, Message: "the request does not declare the extension " + tasksExtension,
		Data: fmt.Appendf(nil, `{"requiredCapabilities":{"extensions":{%q:{}}}}`, tasksExtension),
	}
}
