package mcpwire

import (
	"maps"
	"net/http"
	"sync"
	"time"
)

const (
	// writeWait is how long a client may take to read what was written. A stalled one would hold back everybody who is
	// told of the same task.
	writeWait = 10 * time.Second
	// keepAlive is the pause between two comments on a stream that is silent.
	keepAlive = 15 * time.Second
)

// An outlet is a response that a stalled client cannot hold back, and that tells proxies and clients that a silent
// stream is alive.
type outlet struct {
	w       http.ResponseWriter
	control *http.ResponseController
	// header is the SDK's until it writes. A comment that comes first must not read it.
	header http.Header

	mu     sync.Mutex
	begun  bool
	closed bool
	alive  *time.Timer
}

// newOutlet returns an outlet, which sends comments if the response is a stream.
func newOutlet(w http.ResponseWriter, stream bool) *outlet {
	w.Header().Set("X-Accel-Buffering", "no") // https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_buffering
	o := &outlet{w: w, control: http.NewResponseController(w), header: http.Header{}}
	o.mu.Lock()
	defer o.mu.Unlock()
	if stream {
		o.alive = time.AfterFunc(keepAlive, o.comment)
	}
	return o
}

// Unwrap lets a ResponseController reach the connection.
func (o *outlet) Unwrap() http.ResponseWriter { return o.w }

// Header returns the header as the SDK sets it.
func (o *outlet) Header() http.Header { return o.header }

// WriteHeader begins the response, if no comment has.
func (o *outlet) WriteHeader(status int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.begin(o.header, status)
}

// Write writes within writeWait.
func (o *outlet) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.begin(o.header, http.StatusOK)
	return o.write(b)
}

// FlushError sends what was written within writeWait.
func (o *outlet) FlushError() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.begin(o.header, http.StatusOK)
	return o.control.Flush()
}

func (o *outlet) begin(h http.Header, status int) {
	if !o.begun {
		o.begun = true
		maps.Copy(o.w.Header(), h)
		o.w.WriteHeader(status)
	}
}

func (o *outlet) write(b []byte) (int, error) {
	_ = o.control.SetWriteDeadline(time.Now().Add(writeWait)) // where it cannot be set there is no connection to hold
	if o.alive != nil {
		o.alive.Reset(keepAlive)
	}
	return o.w.Write(b)
}

// comment is called when nothing was written for keepAlive.
func (o *outlet) comment() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	o.begin(http.Header{"Content-Type": {"text/event-stream"}, "Cache-Control": {"no-cache"}}, http.StatusOK)
	if _, err := o.write([]byte(": alive\n\n")); err == nil {
		_ = o.control.Flush() // the next write tells what is wrong
	}
}

// close ends the response: nothing may be written to it any more.
func (o *outlet) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	if o.alive != nil {
		o.alive.Stop()
	}
}
