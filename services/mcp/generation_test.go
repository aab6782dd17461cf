package mcp_test

import (
	"context"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"reelay/internal/config"
	"reelay/internal/emulator"
)

// A whole generation in each era over each transport: a person approves the cost, progress and changes are heard, the
// result is there, another task is cancelled, and an agent that was killed in the middle of a call pays nothing by calling
// again.
func TestGeneration(t *testing.T) {
	for _, by := range []string{"http", "stdio"} {
		for _, version := range []string{modern, legacy} {
			t.Run(by+" "+version, func(t *testing.T) {
				speed := emulator.Speed{Queue: 8 * time.Second, Run: 16 * time.Second, Position: 3}
				runWith(t, speed, config.MCP{ConfirmOver: 0.5}, func(e *fixture) { e.generation(by, version) })
			})
		}
	}
}

func (e *fixture) generation(by, version string) {
	asked, progress, changed := make(chan string, 10), make(chan string, 100), make(chan string, 100)
	o := &sdk.ClientOptions{
		ElicitationHandler: func(_ context.Context, r *sdk.ElicitRequest) (*sdk.ElicitResult, error) {
			asked <- r.Params.Message
			return &sdk.ElicitResult{Action: "accept", Content: map[string]any{"approve": true}}, nil
		},
		ProgressNotificationHandler: func(_ context.Context, r *sdk.ProgressNotificationClientRequest) {
			progress <- r.Params.Message
		},
		ResourceUpdatedHandler: func(_ context.Context, r *sdk.ResourceUpdatedNotificationRequest) {
			changed <- r.Params.URI
		},
	}
	connect := func() (s *sdk.ClientSession, kill func()) {
		if by == "http" {
			return e.killable(version, o)
		}
		from, to := e.stdio()
		s, err := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, o).Connect(e.Context(),
			&sdk.IOTransport{Reader: from, Writer: to}, &sdk.ClientSessionOptions{ProtocolVersion: version})
		if err != nil {
			e.Fatal(err)
		}
		e.Cleanup(func() { _ = s.Close() })
		return s, func() { _, _ = to.Close(), from.Close() }
	}
	s, kill := connect()
	kite := func(wait int) *sdk.CallToolParams {
		return &sdk.CallToolParams{
			Name: "generate_video", Meta: sdk.Meta{"progressToken": "p"},
			Arguments: map[string]any{"prompt": "a kite", "request_id": "kite", "wait_seconds": wait},
		}
	}
	out, failed := e.callWith(e.Context(), s, kite(0))
	if id, _ := out["task_id"].(string); failed || id == "" || len(asked) != 1 {
		e.Fatalf("asked %d times: %v", len(asked), out)
	}
	uri := "queue://task/" + out["task_id"].(string)
	if err := s.Subscribe(e.Context(), &sdk.SubscribeParams{URI: uri}); err != nil {
		e.Fatal(err)
	}

	// The agent is killed while it waits. Another calls again.
	broken := make(chan error, 1)
	go func() {
		_, err := s.CallTool(e.Context(), kite(50))
		broken <- err
	}()
	time.Sleep(10 * time.Second)
	if len(progress) == 0 || len(changed) == 0 || <-changed != uri {
		e.Errorf("heard %d times of progress and %d times of changes", len(progress), len(changed))
	}
	kill()
	if err := <-broken; err == nil {
		e.Error("the call of an agent that was killed was answered")
	}
	s, _ = connect()
	out, failed = e.callWith(e.Context(), s, kite(50))
	if outputs, _ := out["outputs"].([]any); failed || out["status"] != "completed" || len(outputs) != 1 {
		e.Errorf("the retry: %v", out)
	}
	if n := e.paid("fal"); n != 1 {
		e.Errorf("%d jobs were paid", n)
	}
	if r, err := s.ReadResource(e.Context(), &sdk.ReadResourceParams{URI: uri}); err != nil || len(r.Contents) != 1 {
		e.Errorf("%s: %v %v", uri, r, err)
	}

	out = e.ok(s, "generate_video", map[string]any{"prompt": "another", "request_id": "other", "wait_seconds": 0})
	e.ok(s, "cancel_task", map[string]any{"task_id": out["task_id"]})
	if out := e.ok(s, "get_task", map[string]any{"task_id": out["task_id"], "wait_seconds": 50}); out["status"] != "cancelled" {
		e.Errorf("after the cancel: %v", out)
	}
}
