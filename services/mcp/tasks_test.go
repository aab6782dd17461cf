package mcp_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"reelay/internal/emulator"
)

// A reply is the answer to one message, as it is on the wire.
type reply struct {
	Result fields `json:"result"`
	Error  *struct {
		Code int    `json:"code"`
		Data fields `json:"data"`
	} `json:"error"`
}

// post sends one message of 2026-07-28 and returns its answer.
func (e *fixture) post(token, method string, params fields, capabilities string, header ...string) reply {
	e.Helper()
	params["_meta"] = json.RawMessage(`{"io.modelcontextprotocol/protocolVersion":"2026-07-28",` +
		`"io.modelcontextprotocol/clientCapabilities":` + capabilities + `}`)
	body, err := json.Marshal(fields{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
	if err != nil {
		e.Fatal(err)
	}
	r, err := http.NewRequestWithContext(e.Context(), http.MethodPost, e.url, strings.NewReader(string(body)))
	if err != nil {
		e.Fatal(err)
	}
	name, _ := params["name"].(string)
	for _, pair := range append([]string{
		"Content-Type: application/json", "Accept: application/json, text/event-stream",
		"MCP-Protocol-Version: " + modern, "Mcp-Method: " + method, "Mcp-Name: " + name,
	}, header...) {
		name, v, _ := strings.Cut(pair, ": ")
		if v != "" {
			r.Header.Set(name, v)
		}
	}
	res, err := e.http(token).Do(r)
	if err != nil {
		e.Fatal(err)
	}
	defer res.Body.Close()
	var last string
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if text := strings.TrimPrefix(lines.Text(), "data: "); strings.HasPrefix(text, "{") {
			last = text
		}
	}
	var out reply
	if err := json.Unmarshal([]byte(last), &out); err != nil {
		e.Fatalf("%s: %d %q: %v", method, res.StatusCode, last, err)
	}
	return out
}

const declaresTasks = `{"extensions":{"io.modelcontextprotocol/tasks":{}}}`

// A client that declares tasks gets the result of a job of six minutes in one call, and follows the task by itself.
func TestTasks(t *testing.T) {
	run(t, job, func(e *fixture) {
		begun := time.Now()
		video := fields{"name": "generate_video", "arguments": fields{"prompt": "a kite", "request_id": "kite"}}
		created := e.post(studioToken, "tools/call", video, declaresTasks).Result
		if created["resultType"] != "task" || created["taskId"] != "kite" || created["status"] != "working" ||
			created["pollIntervalMs"] == nil || created["result"] != nil || time.Since(begun) > 3*time.Second {
			t.Fatalf("after %v: %v", time.Since(begun), created)
		}
		get := func(token, id string) reply {
			return e.post(token, "tasks/get", fields{"taskId": id}, declaresTasks)
		}
		state := get(studioToken, "kite").Result
		for ; state["status"] == "working" && time.Since(begun) < time.Hour; state = get(studioToken, "kite").Result {
			time.Sleep(time.Duration(state["pollIntervalMs"].(float64)) * time.Millisecond)
		}
		result, _ := state["result"].(map[string]any)
		answer, _ := result["structuredContent"].(map[string]any)
		if state["status"] != "completed" || result["isError"] == true || answer["status"] != "completed" ||
			len(answer["outputs"].([]any)) != 1 {
			t.Errorf("at the end: %v", state)
		}
		if e.paid("fal") != 1 {
			t.Errorf("%d jobs were paid", e.paid("fal"))
		}

		// Whoever does not declare tasks gets none, and may not ask for any.
		if r := e.post(studioToken, "tools/call", video, `{}`).Result; r["resultType"] != "complete" {
			t.Errorf("without the extension: %v", r)
		}
		if r := e.post(studioToken, "tasks/get", fields{"taskId": "kite"}, `{}`); r.Error == nil || r.Error.Code != -32021 {
			t.Errorf("tasks/get without the extension: %+v", r)
		}
		for _, id := range []string{"kite", "demo.kite", "other.none", ""} {
			if r := get(guestToken, id); r.Error == nil || r.Error.Code != -32602 {
				t.Errorf("tasks/get of %q by another: %+v", id, r)
			}
		}
		r := e.post(studioToken, "tasks/get", fields{"taskId": "kite"}, declaresTasks, "Mcp-Name: other")
		if r.Error == nil || r.Error.Code != -32020 {
			t.Errorf("another name in the header: %+v", r)
		}
		// A retry after the end is the result itself.
		if r := e.post(studioToken, "tools/call", video, declaresTasks).Result; r["resultType"] != "complete" {
			t.Errorf("a retry after the end: %v", r)
		}
	})
}

// A task ends by tasks/cancel, and one that has failed is completed with an error that an agent can act on.
func TestTaskEnds(t *testing.T) {
	run(t, emulator.Speed{Queue: time.Minute, Run: time.Minute}, func(e *fixture) {
		video := fields{"name": "generate_video", "arguments": fields{"prompt": "a kite", "request_id": "kite"}}
		e.post(studioToken, "tools/call", video, declaresTasks)
		if r := e.post(guestToken, "tasks/cancel", fields{"taskId": "demo.kite"}, declaresTasks); r.Error == nil {
			t.Errorf("tasks/cancel by another: %+v", r)
		}
		for range 2 {
			r := e.post(studioToken, "tasks/cancel", fields{"taskId": "kite"}, declaresTasks)
			if r.Result["resultType"] != "complete" || len(r.Result) > 2 {
				t.Errorf("tasks/cancel: %+v", r)
			}
			time.Sleep(time.Minute)
		}
		if s := e.post(studioToken, "tasks/get", fields{"taskId": "kite"}, declaresTasks).Result; s["status"] != "cancelled" {
			t.Errorf("after the cancel: %v", s)
		}
	})
}
