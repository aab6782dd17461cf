package sim_test

import (
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	collect "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	spans "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"reelay/events"
	"reelay/internal/test/sim"
	"reelay/internal/trace"
)

// A collector keeps the spans that are sent to it by OTLP over HTTP, and counts the exports of metrics.
type collector struct {
	tb      testing.TB
	mu      sync.Mutex
	spans   []*spans.Span
	metrics int
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		c.tb.Error(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch r.Method + " " + r.URL.Path {
	case "POST /v1/traces":
		var export collect.ExportTraceServiceRequest
		if err := proto.Unmarshal(body, &export); err != nil {
			c.tb.Error(err)
		}
		for _, resource := range export.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				c.spans = append(c.spans, scope.Spans...)
			}
		}
	case "POST /v1/metrics":
		c.metrics++
	default:
		c.tb.Errorf("%s %s", r.Method, r.URL.Path)
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// ofTrace returns the spans of a trace by their names.
func (c *collector) ofTrace(id string) map[string][]*spans.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := map[string][]*spans.Span{}
	for _, s := range c.spans {
		if hex.EncodeToString(s.TraceId) == id {
			all[s.Name] = append(all[s.Name], s)
		}
	}
	return all
}

// check fails the test unless a trace has spans of all these names, each below the publisher's or one of the trace, and
// none that is open over a wait.
func (c *collector) check(id, publisher string, names ...string) map[string][]*spans.Span {
	c.tb.Helper()
	got := c.ofTrace(id)
	known := map[string]bool{publisher: true}
	for _, all := range got {
		for _, s := range all {
			known[hex.EncodeToString(s.SpanId)] = true
		}
	}
	for _, name := range names {
		if len(got[name]) == 0 {
			c.tb.Errorf("trace %s has no span %q", id, name)
		}
	}
	for name, all := range got {
		for _, s := range all {
			if !known[hex.EncodeToString(s.ParentSpanId)] {
				c.tb.Errorf("the parent of %q is not in the trace", name)
			}
			if took := time.Duration(s.EndTimeUnixNano - s.StartTimeUnixNano); took > time.Minute {
				c.tb.Errorf("%q is open for %v", name, took)
			}
			for _, l := range s.Links {
				if !known[hex.EncodeToString(l.SpanId)] {
					c.tb.Errorf("%q has a link that leads out of the trace", name)
				}
			}
		}
	}
	return got
}

// linked reports whether every span has a link to one of those that it names.
func linked(from, to []*spans.Span) bool {
	ids := map[string]bool{}
	for _, s := range to {
		ids[string(s.SpanId)] = true
	}
	for _, s := range from {
		if len(s.Links) != 1 || !ids[string(s.Links[0].SpanId)] {
			return false
		}
	}
	return true
}

// lines keeps what is logged.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, string(p))
	return len(p), nil
}

// TestTrace follows a task from a publish with a traceparent until its output is stored, and one that is made of it here:
// every step is in the trace of its publisher, what waits of minutes lie between is linked, and every line of the log that
// names a task names its trace.
func TestTrace(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", sim.CollectorURL)
	c, log := &collector{tb: t}, &lines{}
	const (
		made, madeBy     = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
		joined, joinedBy = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	)
	sim.Run(t, sim.Options{
		Webhooks: true, Artifacts: true, FindWorker: (&copier{}).find, Collector: c,
		Log: trace.Handler(slog.NewTextHandler(log, nil)),
	}, func(t *testing.T, w *sim.World) {
		publish := func(body, id, by string) {
			m := &nats.Msg{Subject: video, Data: []byte(body), Header: nats.Header{"traceparent": {"00-" + id + "-" + by + "-01"}}}
			if _, err := w.JS.PublishMsg(t.Context(), m); err != nil {
				t.Fatal(err)
			}
		}
		publish(falRequest("k", ""), made, madeBy)
		publish(`{"id":"both","provider":"local","model":"ffmpeg/concat","input":{"videos":[{"$from":"k"},{"$from":"k"}]}}`,
			joined, joinedBy)
		w.Publish(video, falRequest("untraced", ""))
		w.Publish(video, `{"id":"bad","provider":"nobody","model":"m","input":{}}`)
		w.Settle(20 * time.Minute)
		for _, id := range []string{"k", "both"} {
			if story := sim.Types(w.Story("demo", id)); story[len(story)-1] != events.EventStored {
				t.Errorf("%s: %v", id, story)
			}
		}
		got := c.check(made, madeBy, "intake", "dispatch", "paid post", "poll", "callback", "store")
		if !linked(got["store"], got["callback"]) {
			t.Error("what is stored has no link to the callback that told of it")
		}
		if polls := got["poll"]; len(polls) == 0 || len(polls[0].Links) != 1 || string(polls[0].Links[0].SpanId) !=
			string(got["dispatch"][0].SpanId) {
			t.Error("a poll has no link to what sent the task")
		}
		got = c.check(joined, joinedBy, "intake", "dispatch", "paid post", "concat", "store")
		if !linked(got["concat"], got["paid post"]) {
			t.Error("the work has no link to what sent it")
		}
		own := strings.Split(w.Get("demo", "untraced").Traceparent, "-")
		if len(own) != 4 {
			t.Fatalf("a task without a traceparent has %q", own)
		}
		c.check(own[1], "", "intake", "dispatch", "paid post", "store")
		checkLines(t, log, map[string]string{"demo.k": made, "demo.both": joined, "demo.untraced": own[1]})
	})
	if c.metrics == 0 {
		t.Error("no metrics were exported")
	}
}

// checkLines fails the test unless every line of the log that names a task names its trace.
func checkLines(t *testing.T, log *lines, traces map[string]string) {
	t.Helper()
	seen := map[string]int{}
	log.mu.Lock()
	defer log.mu.Unlock()
	for _, line := range log.all {
		for key, id := range traces {
			if !strings.Contains(line, "task="+key+" ") {
				continue
			}
			seen[key]++
			if !strings.Contains(line, "trace_id="+id) {
				t.Errorf("no trace_id of %s in: %s", id, line)
			}
		}
	}
	if len(seen) != len(traces) {
		t.Errorf("lines: %v", seen)
	}
}
