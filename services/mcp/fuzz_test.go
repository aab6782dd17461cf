package mcp

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"

	"reelay/events/client"
	"reelay/internal/access"
)

// FuzzEndpoint sends any message as any revision: it is answered, nothing panics, and no answer has a token.
func FuzzEndpoint(f *testing.F) {
	const canary = "canary-0123456789-canary"
	file := filepath.Join(f.TempDir(), "tokens")
	row := `[{"token":"` + canary + `","name":"a","projects":["p"],"roles":["read","generate"]}]`
	if err := os.WriteFile(file, []byte(row), 0o600); err != nil {
		f.Fatal(err)
	}
	tokens, err := access.ReadTokens(file)
	if err != nil {
		f.Fatal(err)
	}
	// NATS is away: what an agent can ask for is answered all the same.
	nc, err := nats.Connect("nats://127.0.0.1:1", nats.RetryOnFailedConnect(true), nats.SetCustomDialer(refusing{}))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(nc.Close)
	panics := &panicHandler{Handler: slog.DiscardHandler}
	h := New(Options{Client: client.New(nc), Tokens: tokens, Version: "1", Log: slog.New(panics)}).handler()

	meta := `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":` +
		`{"extensions":{"io.modelcontextprotocol/tasks":{}}}}`
	for _, method := range []string{
		"initialize", "ping", "server/discover", "tools/list", "tools/call", "resources/read", "resources/subscribe", "prompts/get",
		"completion/complete", "tasks/get", "tasks/cancel", "tasks/update", "subscriptions/listen",
	} {
		for _, params := range []string{"", `,"params":null`, `,"params":{}`, `,"params":{` + meta + `}`} {
			f.Add(`{"jsonrpc":"2.0","id":1,"method":"`+method+`"`+params+`}`, method, "", "2026-07-28")
			f.Add(`{"jsonrpc":"2.0","id":1,"method":"`+method+`"`+params+`}`, "", "", "2025-11-25")
		}
	}
	f.Add(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_task","arguments":{"task_id":"x"},`+meta+`}}`,
		"tools/call", "get_task", "2026-07-28")
	f.Add(`[{"jsonrpc":"2.0","id":1,"method":"ping"}]`, "", "", "2025-03-26")
	f.Fuzz(func(t *testing.T, body, method, name, version string) {
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
		if strings.Contains(body, "subscriptions/listen") {
			return // a stream has no end of its own
		}
		for header, v := range map[string]string{
			"Authorization": "Bearer " + canary, "Content-Type": "application/json", "Accept": "application/json, text/event-stream",
			"Mcp-Method": method, "Mcp-Name": name, "MCP-Protocol-Version": version,
		} {
			r.Header.Set(header, v)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code >= 500 || panics.seen.Load() {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if answer := w.Body.String(); strings.Contains(answer, canary) && !strings.Contains(body, canary) {
			t.Fatalf("an answer has the token: %s", answer)
		}
	})
}

type refusing struct{}

func (refusing) Dial(string, string) (net.Conn, error) { return nil, net.ErrClosed }

// A panicHandler remembers that a panic was logged.
type panicHandler struct {
	slog.Handler
	seen atomic.Bool
}

func (h *panicHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h *panicHandler) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "panic" {
			h.seen.Store(true)
		}
		return true
	})
	return nil
}
