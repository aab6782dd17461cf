package console

import (
	"bytes"
	"context"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"time"
)

const (
	// liveGap is the least time between two updates of a page, settle how long after an event the services' indexes may
	// still be behind it.
	liveGap = 400 * time.Millisecond
	settle  = time.Second
	// liveTick is how often a page is updated without an event: positions and estimates change by themselves.
	liveTick = 5 * time.Second
	// loadWait bounds one update, catchUp the wait for the events that a browser has seen already.
	loadWait = 10 * time.Second
	catchUp  = 5 * time.Second
	// writeWait bounds one write to a browser.
	writeWait = 15 * time.Second
)

// A stream is one browser that is kept up to date.
type stream struct {
	w    http.ResponseWriter
	sent map[string]template.HTML
}

// live sends the parts of a page as they change, until the browser has gone. Each part is sent whole, so that a browser
// which comes back has what it missed with the first update; the id says how new that is.
func (s *Service) live(w http.ResponseWriter, r *http.Request, p page) {
	watch, stop := s.feed.watch(p.wants(r))
	defer stop()
	header := w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("X-Accel-Buffering", "no")
	out := &stream{w, map[string]template.HTML{}}
	if !out.write([]byte("retry: 1000\n\n")) {
		return
	}
	s.awaitSequence(r)
	ticker := time.NewTicker(liveTick)
	defer ticker.Stop()
	for event := true; ; {
		if !s.update(r, p, out) {
			return
		}
		var settled <-chan time.Time
		if event {
			settled = time.After(settle)
		}
		select { // a burst of events is one update
		case <-r.Context().Done():
			return
		case <-time.After(liveGap):
		}
		select {
		case <-r.Context().Done():
			return
		case <-watch.dirty:
			event = true
		case <-settled:
			event = false
		case <-ticker.C:
			event = false
		}
	}
}

// awaitSequence waits until the feed has what the browser has seen already: a replica that has just started may not.
func (s *Service) awaitSequence(r *http.Request) {
	text := r.Header.Get("Last-Event-ID")
	if text == "" {
		text = r.FormValue("live")
	}
	seen, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), catchUp)
	defer cancel()
	watch, stop := s.feed.watch(everything(r))
	defer stop()
	for s.feed.sequence() < seen {
		select {
		case <-ctx.Done():
			return
		case <-watch.dirty:
		}
	}
}

// update sends what has changed, and reports whether the browser is still there.
func (s *Service) update(r *http.Request, p page, out *stream) bool {
	ctx, cancel := context.WithTimeout(r.Context(), loadWait)
	defer cancel()
	v := view{Page: p.name, Live: true, Sequence: s.feed.sequence(), User: userOf(r), Sandbox: s.o.Sandbox, Now: time.Now()}
	v.Path = withoutLive(r)
	var err error
	if v.Title, v.Data, err = p.load(ctx, r); err != nil {
		_, text := explain(err)
		return out.send("trouble", v.Sequence, template.HTML(template.HTMLEscapeString(text)))
	}
	for _, name := range p.parts {
		text, err := part(name, v)
		if err != nil {
			s.o.Log.Error("a part of a page could not be rendered", "part", name, "error", err)
			continue
		}
		if out.sent[name] == text {
			continue
		}
		out.sent[name] = text
		if !out.send("part", v.Sequence, text) {
			return false
		}
	}
	return out.send("fresh", v.Sequence, "ok")
}

// withoutLive is the address of the page whose updates are asked for.
func withoutLive(r *http.Request) string {
	u, q := *r.URL, r.URL.Query()
	q.Del("live")
	u.RawQuery = q.Encode()
	return u.RequestURI()
}

// send writes one event of the stream.
func (o *stream) send(kind string, id uint64, data template.HTML) bool {
	var b bytes.Buffer
	fmt.Fprintf(&b, "event: %s\nid: %d\n", kind, id)
	for line := range bytes.Lines([]byte(data)) {
		b.WriteString("data: ")
		b.Write(bytes.TrimRight(line, "\r\n"))
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	return o.write(b.Bytes())
}

func (o *stream) write(text []byte) bool {
	c := http.NewResponseController(o.w)
	if c.SetWriteDeadline(time.Now().Add(writeWait)) != nil {
		return false
	}
	if _, err := o.w.Write(text); err != nil {
		return false
	}
	return c.Flush() == nil
}
