package mcpwire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"golang.org/x/time/rate"
)

const (
	// statelessSince is the first revision without sessions.
	statelessSince = "2026-07-28"

	// maxBody bounds a request, readWait the time in which it has to come.
	maxBody  = 1 << 20
	readWait = 30 * time.Second
	// sessionIdle ends a session of an older client that has sent nothing for as long.
	sessionIdle = 24 * time.Hour
	// maxSessions bounds the sessions of a server. Another one ends that which was silent for longest: a client that is
	// killed leaves its own behind.
	maxSessions = 5_000
	// maxCalls bounds the requests under way; callsPerSecond and callsBurst those that begin.
	maxCalls       = 5_000
	callsPerSecond = 500
	callsBurst     = 5_000
)

// A handler serves a server by HTTP in both eras, within limits of its own.
type handler struct {
	server *sdk.Server
	// modern serves 2026-07-28, which knows no sessions, legacy what came before.
	modern, legacy http.Handler
	rate           *rate.Limiter
	calls          chan struct{}

	// most is maxSessions.
	most int
	mu   sync.Mutex
	// uses are what the sessions have asked for.
	uses map[string]*use
}

// NewHandler returns what serves a server by HTTP. A page of another site has no way in: it must not use the browser of
// whoever runs this.
func NewHandler(server *sdk.Server, log *slog.Logger) http.Handler {
	return http.NewCrossOriginProtection().Handler(newHandler(server, log))
}

func newHandler(server *sdk.Server, log *slog.Logger) *handler {
	always := func(*http.Request) *sdk.Server { return server }
	options := sdk.StreamableHTTPOptions{
		Logger: Warnings(log), MaxRequestBodyBytes: maxBody, SessionTimeout: sessionIdle, PropagateRequestCancellation: true,
	}
	stateless := options
	stateless.Stateless = true
	return &handler{
		server: server, modern: sdk.NewStreamableHTTPHandler(always, &stateless),
		legacy: sdk.NewStreamableHTTPHandler(always, &options),
		rate:   rate.NewLimiter(callsPerSecond, callsBurst), calls: make(chan struct{}, maxCalls), most: maxSessions,
		uses: map[string]*use{},
	}
}

// ServeHTTP serves one request.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case h.calls <- struct{}{}:
		defer func() { <-h.calls }()
	default:
		refuse(w, http.StatusTooManyRequests, "too many requests under way")
		return
	}
	if !h.rate.Allow() {
		refuse(w, http.StatusTooManyRequests, "too many requests")
		return
	}
	body, ok := readBody(w, r)
	if !ok {
		return
	}
	if !sameTask(r, body) {
		mismatch(w, body)
		return
	}
	o := newOutlet(w, r.Method == http.MethodGet || streams(body))
	defer o.close()
	r.Body = io.NopCloser(bytes.NewReader(keepTaskIn(body)))
	h.serve(o, r, body)
}

// A head is what has to be known of a message before the SDK reads it.
type head struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params struct {
		TaskID string `json:"taskId"`
	} `json:"params"`
}

// headOf reads the head of a message; the zero head of what is none, such as a batch.
func headOf(body []byte) (h head) {
	if json.Unmarshal(body, &h) != nil {
		return head{}
	}
	return h
}

// streams reports whether the answer to a message may be long in coming.
func streams(body []byte) bool {
	m := headOf(body).Method
	return m == "tools/call" || m == "subscriptions/listen" || m == "tasks/result"
}

// sameTask reports whether the header that names a task names that of the message. The SDK knows no tasks.
func sameTask(r *http.Request, body []byte) bool {
	name, h := r.Header.Get("Mcp-Name"), headOf(body)
	return name == "" || !strings.HasPrefix(h.Method, "tasks/") || name == h.Params.TaskID
}

// codeHeaderMismatch is the code of a request whose headers and body do not agree.
const codeHeaderMismatch = -32020

func mismatch(w http.ResponseWriter, body []byte) {
	id := headOf(body).ID
	if len(id) == 0 {
		id = json.RawMessage("null")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":%d,"message":"Mcp-Name is not the taskId"}}`, id,
		codeHeaderMismatch)
}

// serve passes a request to the SDK.
func (h *handler) serve(w http.ResponseWriter, r *http.Request, body []byte) {
	session := r.Header.Get("Mcp-Session-Id")
	if session == "" && r.Header.Get("MCP-Protocol-Version") >= statelessSince {
		h.modern.ServeHTTP(w, r)
		return
	}
	switch {
	case session != "":
		defer h.asks(session)()
	case headOf(body).Method == "initialize" && !h.makeRoom():
		refuse(w, http.StatusTooManyRequests, "too many sessions")
		return
	}
	h.legacy.ServeHTTP(w, r)
}

// A use is what a session has asked for: how many of its requests are open, its stream of messages included, and when the
// last has begun or ended.
type use struct {
	open int
	last time.Time
}

// asks remembers that a session asks for something, if it is one, until it is answered.
func (h *handler) asks(session string) (answered func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	u := h.uses[session]
	if u == nil {
		if u = new(use); len(h.uses) < 2*h.most {
			h.uses[session] = u
		}
	}
	u.open++
	u.last = time.Now()
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		u.open--
		u.last = time.Now()
	}
}

// makeRoom ends the session that has been silent for longest if there are too many for another. It reports false if all of
// them are in use.
func (h *handler) makeRoom() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	uses := map[string]*use{}
	var silent *sdk.ServerSession
	for s := range h.server.Sessions() {
		u := h.uses[s.ID()]
		if u == nil {
			u = &use{last: time.Now()} // it has just begun
		}
		uses[s.ID()] = u
		if u.open == 0 && (silent == nil || u.last.Before(uses[silent.ID()].last)) {
			silent = s
		}
	}
	h.uses = uses
	if len(uses) < h.most {
		return true
	}
	if silent != nil {
		go func() { _ = silent.Close() }() // it waits for what is under way
	}
	return silent != nil
}

// CloseSessions ends the sessions of a server, which nobody serves any more.
func CloseSessions(server *sdk.Server) {
	for s := range server.Sessions() {
		go func() { _ = s.Close() }() // it waits for what is under way
	}
}

// refuse answers with an error that a client may try to overcome in a second.
func refuse(w http.ResponseWriter, status int, why string) {
	w.Header().Set("Retry-After", "1")
	http.Error(w, why, status)
}

// readBody reads the body of a request within readWait. A stream may then be open for as long as it likes.
func readBody(w http.ResponseWriter, r *http.Request) (body []byte, ok bool) {
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Now().Add(readWait)) // where it cannot be set there is no connection to hold
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	_ = c.SetReadDeadline(time.Time{})
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		http.Error(w, "the request has more than 1 MiB; give media by URL", http.StatusRequestEntityTooLarge)
		return nil, false
	case err != nil:
		http.Error(w, "the request did not come in time", http.StatusRequestTimeout)
		return nil, false
	}
	return body, true
}
