package mcpwire

import (
	"context"
	"encoding/json"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// Tasks of 2025-11-25, which were experimental and are not those of the extension: a client asks for a task with the
// call itself (https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/tasks). VS Code does.
const (
	legacyTasksIn = "2025-11-25"
	// metaTask is where the "task" of a call is kept for withLegacyTasks: the SDK's parameters of a call have no place for
	// it.
	metaTask = "reelay/task"
	// legacyPoll bounds the pause between two reads of a task whose result is waited for.
	legacyPoll = 2 * time.Second
)

// keepTask moves the "task" of a call's parameters into its metadata.
func keepTask(params json.RawMessage) json.RawMessage {
	var all map[string]json.RawMessage
	if json.Unmarshal(params, &all) != nil || len(all["task"]) == 0 {
		return params
	}
	meta := map[string]json.RawMessage{}
	if len(all["_meta"]) > 0 && json.Unmarshal(all["_meta"], &meta) != nil {
		return params
	}
	meta[metaTask] = all["task"]
	delete(all, "task")
	var err error
	if all["_meta"], err = json.Marshal(meta); err != nil {
		return params
	}
	moved, err := json.Marshal(all)
	if err != nil {
		return params
	}
	return moved
}

// keepTaskIn is keepTask for a whole message.
func keepTaskIn(body []byte) []byte {
	var all map[string]json.RawMessage
	if headOf(body).Method != "tools/call" || json.Unmarshal(body, &all) != nil {
		return body
	}
	all["params"] = keepTask(all["params"])
	moved, err := json.Marshal(all)
	if err != nil {
		return body
	}
	return moved
}

// legacyFields is a task as 2025-11-25 has it, where a result that is an error is a failed task.
func (s State) legacyFields() map[string]any {
	f := s.fields()
	f["ttl"] = f["ttlMs"]
	delete(f, "ttlMs")
	if p, ok := f["pollIntervalMs"]; ok {
		f["pollInterval"] = p
		delete(f, "pollIntervalMs")
	}
	if s.Result != nil && s.Result.IsError {
		f["status"] = Failed
	}
	return f
}

// withLegacyTasks serves the tasks of 2025-11-25. able are the tools whose calls may become tasks.
func withLegacyTasks(from Source, able map[string]bool) sdk.Middleware {
	return func(next sdk.MethodHandler) sdk.MethodHandler {
		return func(ctx context.Context, method string, r sdk.Request) (sdk.Result, error) {
			switch r := r.(type) {
			case *taskRequest:
				if r.Params != nil && r.ProtocolVersion() == legacyTasksIn {
					return legacyTask(ctx, from, method, r.Params.TaskID)
				}
				if method == "tasks/result" {
					return nil, &jsonrpc.Error{Code: jsonrpc.CodeMethodNotFound, Message: "there is no tasks/result in this revision"}
				}
			case *sdk.CallToolRequest:
				if r.Params != nil && r.Params.Meta[metaTask] != nil && r.ProtocolVersion() == legacyTasksIn {
					p := &Pending{}
					result, err := next(context.WithValue(ctx, pendingKey{}, p), method, r)
					if err != nil || p.state == nil {
						return result, err
					}
					return &wireResult{fields: map[string]any{"task": p.state.legacyFields()}}, nil
				}
			}
			result, err := next(ctx, method, r)
			if err != nil {
				return result, err
			}
			switch all := result.(type) {
			case *sdk.InitializeResult:
				return withFields(all, func(f map[string]any) {
					if capabilities, ok := f["capabilities"].(map[string]any); ok && f["protocolVersion"] == legacyTasksIn {
						capabilities["tasks"] = map[string]any{
							"cancel": struct{}{}, "requests": map[string]any{"tools": map[string]any{"call": struct{}{}}},
						}
					}
				})
			case *sdk.ListToolsResult:
				if list, ok := r.(*sdk.ListToolsRequest); !ok || list.ProtocolVersion() != legacyTasksIn {
					break
				}
				return withFields(all, func(f map[string]any) {
					tools, _ := f["tools"].([]any)
					for _, tool := range tools {
						if tool, ok := tool.(map[string]any); ok && able[tool["name"].(string)] {
							tool["execution"] = map[string]any{"taskSupport": "optional"}
						}
					}
				})
			}
			return result, nil
		}
	}
}

// legacyTask answers a method about one task.
func legacyTask(ctx context.Context, from Source, method, id string) (sdk.Result, error) {
	if method == "tasks/cancel" {
		if err := from.Cancel(ctx, id); err != nil {
			return nil, err
		}
	}
	for {
		s, err := from.Get(ctx, id)
		switch {
		case err != nil:
			return nil, err
		case method != "tasks/result":
			return &wireResult{fields: s.legacyFields()}, nil
		case s.Error != nil:
			return nil, s.Error
		case s.Status == Cancelled:
			return nil, &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: "the task was cancelled and has no result"}
		case s.Result != nil:
			result := *s.Result
			result.Meta = sdk.Meta{"io.modelcontextprotocol/related-task": map[string]any{"taskId": id}}
			return &result, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(min(max(s.Poll, time.Second), legacyPoll)):
		}
	}
}

// withFields returns a result with changes that the SDK's type of it has no place for.
func withFields(result sdk.Result, change func(map[string]any)) (sdk.Result, error) {
	text, err := json.Marshal(result)
	if err != nil {
		return nil, err
	}
	f := map[string]any{}
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, err
	}
	change(f)
	return &wireResult{fields: f}, nil
}
