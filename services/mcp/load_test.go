package mcp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"reelay/internal/allinone"
	"reelay/internal/config"
	"reelay/internal/emulator"
	"reelay/internal/natsd"
	"reelay/internal/proc"
)

// agents is how many agents TestManyAgents has at once. A thousand need a quiet machine and two minutes.
var agents = flag.Int("mcp.agents", 0, "agents of TestManyAgents; 0 skips it")

// A subscriber that reads no more is given up, and nobody else waits for it.
func TestStalledSubscriber(t *testing.T) {
	run(t, emulator.Speed{Queue: 5 * time.Second, Run: 20 * time.Second, Position: 4}, func(e *fixture) {
		conn, err := e.network.Dial(e.Context(), "tcp", strings.TrimSuffix(strings.TrimPrefix(e.url, "http://"), "/mcp"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		s := e.agent(studioToken, modern, nil)
		e.ok(s, "generate_video", map[string]any{"prompt": "a", "request_id": "stalled", "wait_seconds": 0})
		e.ok(s, "generate_video", map[string]any{"prompt": "a", "request_id": "kite", "wait_seconds": 0})
		body := `{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"resourceSubscriptions":` +
			`["queue://task/stalled"]},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",` +
			`"io.modelcontextprotocol/clientCapabilities":{}}}}`
		if _, err := fmt.Fprintf(conn, "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nAccept: "+
			"application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: subscriptions/listen\r\n"+
			"Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s", studioToken, len(body), body); err != nil {
			t.Fatal(err)
		}
		read := make([]byte, 64<<10)
		for heard := ""; !strings.Contains(heard, "acknowledged"); {
			n, err := conn.Read(read)
			if err != nil {
				t.Fatalf("%q: %v", heard, err)
			}
			heard += string(read[:n])
		}
		heard := make(chan time.Time, 100)
		other := e.agent(studioToken, modern, &sdk.ClientOptions{
			ResourceUpdatedHandler: func(context.Context, *sdk.ResourceUpdatedNotificationRequest) { heard <- time.Now() },
		})
		if err := other.Subscribe(e.Context(), &sdk.SubscribeParams{URI: "queue://task/kite"}); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if out := e.ok(s, "get_task", map[string]any{"task_id": "stalled", "wait_seconds": 50}); out["status"] != "completed" {
			t.Errorf("a task whose subscriber has stalled: %v", out)
		}
		if took := time.Since(begun); took > 27*time.Second {
			t.Errorf("an agent waited for %v", took)
		}
		time.Sleep(2 * time.Second)
		if n := len(heard); n < 3 {
			t.Errorf("another subscriber heard %d changes", n)
		}
	})
}

// A thousand agents at once lose no call, and a question without waiting is answered quickly.
func TestManyAgents(t *testing.T) {
	if *agents == 0 {
		t.Skip("with -mcp.agents=1000 only")
	}
	runtime.GOMAXPROCS(runtime.NumCPU())
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	p := proc.New(log)
	defer func() { _ = p.Stop() }()
	stack, err := allinone.Start(t.Context(), p, allinone.Options{
		StoreDir: t.TempDir(), Sync: natsd.SyncInterval, Providers: config.Resolved{Sandbox: true}, Log: log,
		MCP: &config.MCP{MCPListen: "127.0.0.1:0", MCPProject: "demo"},
	})
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: *agents}}
	call := func(tool string, args fields) fields {
		meta := json.RawMessage(`{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`)
		body, _ := json.Marshal(fields{
			"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": fields{"name": tool, "arguments": args, "_meta": meta},
		})
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, stack.MCPURL(), bytes.NewReader(body))
		for name, v := range map[string]string{
			"Content-Type": "application/json", "Accept": "application/json, text/event-stream", "MCP-Protocol-Version": modern,
			"Mcp-Method": "tools/call", "Mcp-Name": tool,
		} {
			r.Header.Set(name, v)
		}
		res, err := client.Do(r)
		if err != nil {
			return fields{"lost": err}
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		var out reply
		_, data, _ := bytes.Cut(text, []byte("data: "))
		data, _, _ = bytes.Cut(data, []byte("\n")) // a comment may follow
		if err != nil || json.Unmarshal(data, &out) != nil {
			return fields{"lost": fmt.Sprintf("%d %s %v", res.StatusCode, text, err)}
		}
		answer, _ := out.Result["structuredContent"].(map[string]any)
		return answer
	}
	var all sync.WaitGroup
	for i := range *agents {
		all.Go(func() {
			id := fmt.Sprint("agent-", i)
			out := call("generate_video", fields{"prompt": "a kite", "request_id": id, "wait_seconds": 20})
			for n := 0; out["status"] != "completed" && n < 40; n++ {
				if out["task_id"] != id {
					t.Errorf("%s: %v", id, out)
					return
				}
				out = call("get_task", fields{"task_id": id, "wait_seconds": 20})
			}
			if out["status"] != "completed" {
				t.Errorf("%s: %v", id, out)
			}
		})
	}
	all.Wait()
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	var took []time.Duration
	for i := range 1000 {
		begun := time.Now()
		call("get_task", fields{"task_id": fmt.Sprint("agent-", i%*agents), "wait_seconds": 0})
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	t.Logf("%d agents; p99 of get_task %v; memory of the whole of reelay and of the agents: %d MB from the system, %d MB in use",
		*agents, took[len(took)*99/100], memory.Sys>>20, memory.HeapInuse>>20)
	if memory.HeapInuse > 300<<20 {
		t.Error("that is too much memory")
	}
	if n := len(stack.Ledger("fal").Jobs()); n != *agents {
		t.Errorf("%d jobs were paid", n)
	}
}
