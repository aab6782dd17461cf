package mcp_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"reelay/events/client"
	"reelay/services/mcp"
)

// stdio serves one agent over pipes and returns the agent's ends.
func (e *fixture) stdio() (from io.ReadCloser, to io.WriteCloser) {
	e.Helper()
	nc, err := e.stack.Connect("stdio")
	if err != nil {
		e.Fatal(err)
	}
	in, to := io.Pipe()
	from, out := io.Pipe()
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(e.Context())
	go func() {
		log := slog.New(slog.NewTextHandler(e.Output(), nil))
		done <- mcp.Stdio(ctx, mcp.Setup{Client: client.New(nc), Project: "demo", ConfirmOver: e.confirmOver, Log: log}, in, out)
	}()
	e.Cleanup(func() {
		_, _ = to.Close(), from.Close()
		if err := <-done; err != nil {
			e.Errorf("at the end of stdio: %v", err)
		}
		cancel()
		nc.Close()
	})
	return from, to
}

// A client of 2025-11-25 that asks for a task with the call gets one, and its result when that is there.
func TestLegacyTasks(t *testing.T) {
	run(t, job, func(e *fixture) {
		from, to := e.stdio()
		lines := bufio.NewReader(from)
		ask := func(id int, method, params string) fields {
			t.Helper()
			if _, err := fmt.Fprintf(to, `{"jsonrpc":"2.0","id":%d,"method":%q,"params":%s}`+"\n", id, method, params); err != nil {
				t.Fatal(err)
			}
			for {
				line, err := lines.ReadBytes('\n')
				if err != nil {
					t.Fatal(err)
				}
				var m struct {
					ID     int             `json:"id"`
					Result fields          `json:"result"`
					Error  json.RawMessage `json:"error"`
				}
				if err := json.Unmarshal(line, &m); err != nil {
					t.Fatalf("on standard output: %s", line)
				}
				if m.ID == id {
					if m.Error != nil {
						return fields{"error": string(m.Error)}
					}
					return m.Result
				}
			}
		}
		init := ask(1, "initialize", `{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}`)
		if c, _ := init["capabilities"].(map[string]any); c["tasks"] == nil || c["tools"] == nil {
			t.Errorf("capabilities %v", c)
		}
		fmt.Fprintln(to, `{"jsonrpc":"2.0","method":"notifications/initialized"}`)
		support := map[string]any{}
		for _, tool := range ask(2, "tools/list", `{}`)["tools"].([]any) {
			tool := tool.(map[string]any)
			support[tool["name"].(string)] = tool["execution"]
		}
		if support["generate_video"] == nil || support["get_task"] != nil {
			t.Errorf("tools with tasks: %v", support)
		}
		created := ask(3, "tools/call", `{"name":"generate_video","arguments":{"prompt":"a","request_id":"kite"},"task":{"ttl":60000}}`)
		task, _ := created["task"].(map[string]any)
		if task["taskId"] != "kite" || task["status"] != "working" || task["ttl"] == nil || created["content"] != nil {
			t.Fatalf("created: %v", created)
		}
		if got := ask(4, "tasks/get", `{"taskId":"kite"}`); got["status"] != "working" || got["pollInterval"] == nil {
			t.Errorf("tasks/get: %v", got)
		}
		begun := time.Now()
		result := ask(5, "tasks/result", `{"taskId":"kite"}`)
		answer, _ := result["structuredContent"].(map[string]any)
		if answer["status"] != "completed" || time.Since(begun) < 5*time.Minute {
			t.Errorf("tasks/result after %v: %v", time.Since(begun), result)
		}
		if got := ask(6, "tasks/get", `{"taskId":"none"}`); got["error"] == nil {
			t.Errorf("tasks/get of none: %v", got)
		}
	})
}
