package mcpwire

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// Sessions that their clients have left behind keep nobody out: that which was silent for longest ends.
func TestSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := sdk.NewServer(&sdk.Implementation{Name: "test", Version: "1"}, nil)
		h := newHandler(server, slog.New(slog.DiscardHandler))
		h.most = 2
		post := func(session, body string) *httptest.ResponseRecorder {
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Accept", "application/json, text/event-stream")
			if session != "" {
				r.Header.Set("Mcp-Session-Id", session)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			synctest.Wait()
			time.Sleep(time.Second)
			return w
		}
		begin := func() string {
			return post("", `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},`+
				`"clientInfo":{"name":"x","version":"1"}}}`).Header().Get("Mcp-Session-Id")
		}
		const ping = `{"jsonrpc":"2.0","id":2,"method":"ping"}`
		first, left := begin(), begin()
		post(left, ping)
		post(first, ping)
		third := begin()
		for session, want := range map[string]int{first: http.StatusOK, left: http.StatusNotFound, third: http.StatusOK} {
			if w := post(session, ping); w.Code != want {
				t.Errorf("%q of %q, %q, %q: %d %s", session, first, left, third, w.Code, w.Body)
			}
		}
		// One that listens is in use, however long it says nothing.
		listening, leave := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			r := httptest.NewRequestWithContext(listening, http.MethodGet, "/", nil)
			r.Header.Set("Accept", "text/event-stream")
			r.Header.Set("Mcp-Session-Id", first)
			h.ServeHTTP(httptest.NewRecorder(), r)
		}()
		synctest.Wait()
		post(third, ping)
		if begin() == "" {
			t.Error("no room was made")
		}
		if w := post(first, ping); w.Code != http.StatusOK {
			t.Errorf("a session that listens was ended: %d", w.Code)
		}
		leave()
		<-done
		CloseSessions(server)
	})
}
