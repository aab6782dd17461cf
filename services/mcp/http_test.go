package mcp_test

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// A principal sees its own projects, and may do what its roles say. What is another's is unknown to it.
func TestPrincipals(t *testing.T) {
	run(t, job, func(e *fixture) {
		studio, guest, reader := e.agent(studioToken, modern, nil), e.agent(guestToken, legacy, nil), e.agent(readerToken, modern, nil)
		now := map[string]any{"prompt": "a kite", "request_id": "kite", "wait_seconds": 0}
		if id := e.ok(studio, "generate_video", now)["task_id"]; id != "kite" {
			t.Errorf("task of the default project: %v", id)
		}
		now["project_id"] = "film"
		if id := e.ok(studio, "generate_video", now)["task_id"]; id != "film.kite" {
			t.Errorf("task of another project: %v", id)
		}
		for _, row := range []struct {
			who   *sdk.ClientSession
			id    string
			known bool
		}{
			{studio, "kite", true},
			{studio, "demo.kite", true},
			{studio, "film.kite", true},
			{reader, "kite", true},
			{reader, "film.kite", false},
			{guest, "kite", false},
			{guest, "demo.kite", false},
			{studio, "other.kite", false},
		} {
			out, failed := e.call(row.who, "get_task", map[string]any{"task_id": row.id, "wait_seconds": 0})
			if f, _ := out["error"].(map[string]any); failed == row.known || failed && f["code"] != "NOT_FOUND" {
				t.Errorf("%s: %v", row.id, out)
			}
		}
		out, failed := e.call(guest, "cancel_task", map[string]any{"task_id": "demo.kite"})
		if f, _ := out["error"].(map[string]any); !failed || f["code"] != "NOT_FOUND" {
			t.Errorf("cancel of another's task: %v", out)
		}
		if all := e.ok(reader, "list_tasks", nil)["tasks"].([]any); len(all) != 1 {
			t.Errorf("a reader of one project sees %v", all)
		}
		var names []string
		for tool, err := range reader.Tools(e.Context(), nil) {
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, tool.Name)
		}
		if slices.Contains(names, "generate_video") || slices.Contains(names, "cancel_task") || !slices.Contains(names, "get_task") {
			t.Errorf("a reader has the tools %v", names)
		}
	})
}

// A client of the endpoint needs a token, and a page of another site has no way in.
func TestEndpoint(t *testing.T) {
	const list = `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{` +
		`"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`
	run(t, job, func(e *fixture) {
		post := func(token, body string, header map[string]string) (*http.Response, string) {
			t.Helper()
			r, err := http.NewRequestWithContext(e.Context(), http.MethodPost, e.url, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			for name, v := range map[string]string{
				"Content-Type": "application/json", "Accept": "application/json, text/event-stream",
				"MCP-Protocol-Version": modern, "Mcp-Method": "tools/list",
			} {
				r.Header.Set(name, v)
			}
			for name, v := range header {
				r.Header.Set(name, v)
			}
			res, err := e.http(token).Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			text, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			return res, string(text)
		}
		for _, row := range []struct {
			name, token, body string
			header            map[string]string
			want              int
		}{
			{"plain", studioToken, list, nil, 200},
			{"wrong token", "studio-token-123456789", list, nil, 401},
			{"own page", studioToken, list, map[string]string{"Origin": "http://127.0.0.1:8091"}, 200},
			{"page of another site", studioToken, list, map[string]string{"Origin": "https://evil.test"}, 403},
			{"browser of another site", studioToken, list, map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
			{"too large", studioToken, `{"a":"` + strings.Repeat("x", 1<<20) + `"}`, nil, 413},
			{"no JSON", studioToken, "{", nil, 400},
		} {
			res, text := post(row.token, row.body, row.header)
			if res.StatusCode != row.want {
				t.Errorf("%s: %d %.200s, want %d", row.name, res.StatusCode, text, row.want)
			}
			if row.want == 200 && res.Header.Get("X-Accel-Buffering") != "no" {
				t.Errorf("%s: a proxy may keep the answer back", row.name)
			}
		}
		// Methods of which the SDK does not check whether they have parameters, from a client that sends none.
		for _, method := range []string{"tools/call", "resources/read", "prompts/get", "completion/complete", "tasks/get"} {
			body := `{"jsonrpc":"2.0","id":1,"method":"` + method + `"}`
			for _, version := range []string{modern, legacy, "2025-03-26"} {
				if res, text := post(studioToken, body, map[string]string{"MCP-Protocol-Version": version, "Mcp-Method": method}); res.StatusCode >= 500 {
					t.Errorf("%s of %s without parameters: %d %s", method, version, res.StatusCode, text)
				}
			}
		}
		if res, _ := post(studioToken, list, nil); res.StatusCode != 200 {
			t.Error("the endpoint is gone")
		}
	})
}

// A silent stream has comments, so that nobody takes it for dead.
func TestKeepAlive(t *testing.T) {
	run(t, job, func(e *fixture) {
		body := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"generate_video","arguments":{"prompt":"a","wait_seconds":50},` +
			`"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`
		r, err := http.NewRequestWithContext(e.Context(), http.MethodPost, e.url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for name, v := range map[string]string{
			"Content-Type": "application/json", "Accept": "application/json, text/event-stream",
			"MCP-Protocol-Version": modern, "Mcp-Method": "tools/call", "Mcp-Name": "generate_video",
		} {
			r.Header.Set(name, v)
		}
		begun := time.Now()
		res, err := e.http(studioToken).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), ": alive\n\n"); n != 3 || !strings.Contains(string(text), `"task_id"`) {
			t.Errorf("after %v with %d comments: %s", time.Since(begun), n, text)
		}
	})
}
