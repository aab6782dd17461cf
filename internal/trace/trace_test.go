package trace_test

import (
	"bytes"
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"reelay/events"
	"reelay/internal/trace"
)

const (
	id          = "0af7651916cd43dd8448eb211c80319c"
	traceparent = "00-" + id + "-b7ad6b7169203331-01"
)

// TestOff: without a provider, what is done for each message and each step makes nothing.
func TestOff(t *testing.T) {
	ctx, of := context.Background(), &events.Task{Project: "demo", ID: "k"}
	headers := map[string][]string{"Nats-Msg-Id": {"1"}}
	tracer := trace.New(nil, "poller", "")
	if n := testing.AllocsPerRun(100, func() {
		ctx := trace.With(trace.Caused(ctx, headers), of.Traceparent)
		ctx, span := tracer.Start(ctx, trace.Poll, of)
		trace.Inject(ctx, headers)
		span.Fail("transport")
		span.End()
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
	if trace.Inject(ctx, nil) != nil || trace.OfRequest(ctx, "") != "" {
		t.Error("a trace begins where nothing is traced")
	}
}

// BenchmarkOff measures what a step and its message cost where nothing is exported, of a task whose request had a
// traceparent and of one whose had none.
func BenchmarkOff(b *testing.B) {
	for name, parent := range map[string]string{"plain": "", "traceparent": traceparent} {
		b.Run(name, func(b *testing.B) {
			of := &events.Task{Traceparent: parent}
			b.ReportAllocs()
			for b.Loop() {
				ctx, span := trace.Tracer{}.Start(context.Background(), trace.Poll, of)
				trace.Inject(ctx, nil)
				span.End()
			}
		})
	}
}

// TestOfRequest: a task has the trace of its request, as it came, unless that is malformed.
func TestOfRequest(t *testing.T) {
	for _, row := range []struct{ given, want string }{
		{traceparent, traceparent},
		{strings.TrimSuffix(traceparent, "1") + "0", strings.TrimSuffix(traceparent, "1") + "0"}, // not sampled
		{"", ""},
		{"00-ab-cd-01", ""},
		{"00-00000000000000000000000000000000-b7ad6b7169203331-01", ""},
		{strings.ToUpper(traceparent), ""},
		{traceparent + strings.Repeat("-x", 1000), ""},
	} {
		if got := trace.OfRequest(context.Background(), row.given); got != row.want {
			t.Errorf("%.80q: %q, want %q", row.given, got, row.want)
		}
	}
}

// TestCarried: a message that a step publishes names it in small letters, and the step that the message causes is in the
// trace of its task, with a link to that.
func TestCarried(t *testing.T) {
	exporter := tracetest.NewInMemoryExporter()
	provider := sdk.NewTracerProvider(sdk.WithSyncer(exporter))
	defer func() { _ = provider.Shutdown(context.Background()) }()
	tracer := trace.New(provider, "submitter", "")
	of := &events.Task{Project: "demo", ID: "k", Traceparent: traceparent}
	ctx, sent := tracer.Start(context.Background(), trace.Dispatch, of)
	headers := trace.Inject(ctx, nil)
	within, post := tracer.Start(ctx, trace.PaidPost, of)
	if trace.OfRequest(within, "") == "" {
		t.Error("a task that is made in a step has no trace")
	}
	post.Fail("refused")
	post.End()
	sent.End()
	if names := slices.Collect(maps.Keys(headers)); !slices.Equal(names, []string{"traceparent"}) {
		t.Fatalf("headers %v", names)
	}
	_, poll := tracer.Start(trace.Caused(context.Background(), headers), trace.Poll, of)
	poll.End()
	got := exporter.GetSpans()
	if len(got) != 3 {
		t.Fatalf("%d spans", len(got))
	}
	for _, s := range got {
		if s.SpanContext.TraceID().String() != id {
			t.Errorf("%s is in trace %s", s.Name, s.SpanContext.TraceID())
		}
	}
	dispatch := got[1].SpanContext.SpanID()
	if got[0].Parent.SpanID() != dispatch || len(got[0].Links) != 0 || got[0].Status.Description != "" {
		t.Errorf("the paid post is %+v", got[0])
	}
	if p := got[2]; p.Parent.SpanID().String() != "b7ad6b7169203331" || len(p.Links) != 1 ||
		p.Links[0].SpanContext.SpanID() != dispatch {
		t.Errorf("the poll has parent %s and links %v", p.Parent.SpanID(), p.Links)
	}
}

// TestHandler: lines of a trace name it, whatever else they have, and others do not.
func TestHandler(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(trace.Handler(slog.NewTextHandler(&out, nil))).With("service", "poller")
	log.InfoContext(trace.With(t.Context(), traceparent), "a poll has failed", "task", "demo.k")
	log.InfoContext(t.Context(), "it has started")
	first, second, _ := strings.Cut(out.String(), "\n")
	if !strings.HasSuffix(first, "service=poller task=demo.k trace_id="+id) || strings.Contains(second, "trace_id") {
		t.Errorf("%s", out.String())
	}
}
