package mcp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"reelay/internal/emulator"
)

// read reads a resource as JSON, with the time that a client may keep it.
func (e *fixture) read(s *sdk.ClientSession, uri string) (fields, int, error) {
	e.Helper()
	r, err := s.ReadResource(e.Context(), &sdk.ReadResourceParams{URI: uri})
	if err != nil {
		return nil, 0, err
	}
	var out fields
	if err := json.Unmarshal([]byte(r.Contents[0].Text), &out); err != nil {
		e.Fatal(err)
	}
	return out, r.TTLMs, nil
}

// Resources show the principal's tasks, and nobody else's.
func TestResources(t *testing.T) {
	run(t, emulator.Speed{Queue: 5 * time.Second, Run: 10 * time.Second}, func(e *fixture) {
		s := e.agent(studioToken, modern, nil)
		for _, project := range []string{"demo", "film"} {
			e.ok(s, "generate_video", map[string]any{"prompt": "a", "request_id": "kite", "project_id": project, "wait_seconds": 50})
		}
		for uri, want := range map[string]string{
			"queue://status":       `"total_tasks":1`,
			"queue://project/film": `"film.kite"`,
			"queue://task/kite":    `"id":"kite"`, "queue://task/demo.kite": `"id":"kite"`,
			"queue://task/film.kite": `"id":"film.kite"`, "media://kite/1": `"file_id":"kite/1"`,
		} {
			out, ttl, err := e.read(s, uri)
			if text, _ := json.Marshal(out); err != nil || !strings.Contains(string(text), want) {
				t.Errorf("%s: %s, %v", uri, text, err)
			}
			if ended := strings.HasPrefix(uri, "queue://task/"); (ttl > 0) != ended {
				t.Errorf("%s may be kept for %d ms", uri, ttl)
			}
		}
		guest := e.agent(guestToken, legacy, nil)
		for _, uri := range []string{
			"queue://task/demo.kite", "queue://task/kite", "queue://project/demo", "media://demo.kite/1", "queue://task/a.b.c",
			"queue://else", "media://kite/x",
		} {
			_, _, err := e.read(guest, uri)
			var wire *jsonrpc.Error
			if !errors.As(err, &wire) || wire.Code != jsonrpc.CodeInvalidParams && wire.Code != -32002 {
				t.Errorf("%s of another: %v", uri, err)
			}
		}
		if _, _, err := e.read(s, "media://kite/2"); err == nil {
			t.Error("a second file of a task that has one")
		}
	})
}

// Whoever subscribes to a task hears of its changes, twice a second at most, in either era.
func TestSubscriptions(t *testing.T) {
	for _, version := range []string{modern, legacy} {
		t.Run(version, func(t *testing.T) {
			run(t, emulator.Speed{Queue: 5 * time.Second, Run: 20 * time.Second, Position: 4}, func(e *fixture) {
				heard := make(chan time.Time, 1000)
				s := e.agent(studioToken, version, &sdk.ClientOptions{
					ResourceUpdatedHandler: func(_ context.Context, r *sdk.ResourceUpdatedNotificationRequest) {
						if r.Params.URI == "queue://task/kite" {
							heard <- time.Now()
						}
					},
				})
				e.ok(s, "generate_video", map[string]any{"prompt": "a", "request_id": "kite", "wait_seconds": 0})
				if err := s.Subscribe(e.Context(), &sdk.SubscribeParams{URI: "queue://task/kite"}); err != nil {
					t.Fatal(err)
				}
				out := e.ok(s, "get_task", map[string]any{"task_id": "kite", "wait_seconds": 50})
				time.Sleep(2 * time.Second)
				n := len(heard)
				if out["status"] != "completed" || n < 3 {
					t.Errorf("heard %d changes of a task that is %v", n, out["status"])
				}
				last := time.Time{}
				for range n {
					if at := <-heard; at.Sub(last) < 490*time.Millisecond {
						t.Errorf("two changes within %v", at.Sub(last))
					} else {
						last = at
					}
				}
			})
		})
	}
}

// Completion offers what there is, and prompts tell it.
func TestCompletionAndPrompts(t *testing.T) {
	run(t, job, func(e *fixture) {
		s := e.agent(studioToken, modern, nil)
		for i := range 3 {
			e.ok(s, "generate_video", map[string]any{"prompt": "a", "request_id": fmt.Sprint("kite-", i), "wait_seconds": 0})
		}
		for _, row := range []struct {
			uri, name, value string
			want             int
		}{
			{"queue://task/{id}", "id", "kite-", 3},
			{"queue://task/{id}", "id", "kite-2", 1},
			{"queue://task/{id}", "id", "x", 0},
			{"queue://project/{id}", "id", "", 2},
			{"media://{task}/{n}", "task", "kite-0", 1},
		} {
			r, err := s.Complete(e.Context(), &sdk.CompleteParams{
				Ref:      &sdk.CompleteReference{Type: "ref/resource", URI: row.uri},
				Argument: sdk.CompleteParamsArgument{Name: row.name, Value: row.value},
			})
			if err != nil || len(r.Completion.Values) != row.want {
				t.Errorf("%s %s: %v, %v", row.uri, row.value, r, err)
			}
		}
		r, err := s.GetPrompt(e.Context(), &sdk.GetPromptParams{Name: "resume_my_generations"})
		if err != nil || !strings.Contains(r.Messages[0].Content.(*sdk.TextContent).Text, "kite-1 queued") {
			t.Errorf("prompt: %v, %v", r, err)
		}
	})
}
