// Package trace makes the spans of tasks, by the API of OpenTelemetry alone: package telemetry says where they go.
//
// The trace of a task is the one that its request came with, in the header traceparent, or one that begins at its
// intake. The record keeps its context, and so each step finds it, in whatever process and after whatever wait. A span
// is one step, of seconds, and none is open while a task waits: the spans of a task lie side by side below the span of
// whoever has sent the request. A step that a message of another step has caused has a link to that.
//
// Without a provider of spans nothing is made. What is left is the id of the trace in the log, of those tasks whose
// request had one. A span holds no text of an error, no input and no link. The context goes to no provider.
package trace

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	otel "go.opentelemetry.io/otel/trace"

	"reelay/events"
)

// A Step is the name of a span: what is done for a task.
type Step string

// The steps of a task. What the media service does is a step with the name of its operation, such as mux.
const (
	Intake   Step = "intake"    // a request becomes a record
	Dispatch Step = "dispatch"  // a try to send a task, from its record to that of the outcome
	PaidPost Step = "paid post" // the paid request, until it is answered
	Poll     Step = "poll"      // the provider is asked where the task is
	Callback Step = "callback"  // what a provider has called back with is taken in
	Store    Step = "store"     // outputs are fetched and stored
)

// kind is who begins a step: a message of the broker, a call of ours, or the step around it.
func (s Step) kind() otel.SpanKind {
	switch s {
	case PaidPost, Poll:
		return otel.SpanKindClient
	case Dispatch:
		return otel.SpanKindInternal
	}
	return otel.SpanKindConsumer
}

// destination is the form of the subjects whose messages begin a step; empty for none.
func (s Step) destination() string {
	key := events.Key{Project: "{project}", ID: "{task}"}
	switch s {
	case Intake:
		return events.RequestSubject("{project}", "{task_type}")
	case Callback:
		return events.CallbackSubject("{lane}", key)
	case Store:
		return events.ArtifactSubject(key)
	case Dispatch, PaidPost, Poll:
		return ""
	}
	return events.WorkSubject(string(s), key)
}

// A Tracer makes the spans of one service. The zero Tracer makes none.
type Tracer struct{ tracer otel.Tracer }

// New returns the Tracer of a service, by its name; a nil provider makes no spans.
func New(p otel.TracerProvider, service, version string) Tracer {
	if p == nil {
		return Tracer{}
	}
	return Tracer{p.Tracer("reelay/"+service, otel.WithInstrumentationVersion(version))}
}

// Start begins a step of a task: within the step that ctx is of, else below the context that the record of the task
// has. What is done with the returned ctx is of the step, which lasts until End.
func (t Tracer) Start(ctx context.Context, s Step, of *events.Task) (context.Context, Span) {
	around := otel.SpanContextFromContext(ctx)
	if !around.IsValid() {
		ctx = With(ctx, of.Traceparent)
	}
	if t.tracer == nil {
		return ctx, Span{}
	}
	o := []otel.SpanStartOption{otel.WithSpanKind(s.kind()), otel.WithAttributes(attributes(s, of)...)}
	if !around.IsValid() || around.IsRemote() {
		if l := link(ctx); l.SpanContext.IsValid() {
			o = append(o, otel.WithLinks(l))
		}
	}
	ctx, span := t.tracer.Start(ctx, string(s), o...)
	return ctx, Span{span}
}

// attributes tell which task a span is of. They have values of no bounded number, as those of metrics may not.
func attributes(s Step, of *events.Task) []attribute.KeyValue {
	all := make([]attribute.KeyValue, 0, 9)
	add := func(name, value string) {
		if value != "" {
			all = append(all, attribute.String(name, value))
		}
	}
	add("reelay.project", of.Project)
	add("reelay.task.id", of.ID)
	add("reelay.task.type", string(of.TaskType))
	add("reelay.lane", of.Lane)
	add("reelay.provider", of.Provider)
	add("reelay.model", of.Model)
	if to := s.destination(); to != "" {
		add("messaging.system", "nats")
		add("messaging.destination.name", to)
		add("messaging.operation.type", "process")
	}
	return all
}

// A Span is one step of a task. That of a Tracer that makes none does nothing.
type Span struct{ span otel.Span }

// Fail marks the step as failed. kind is one of a bounded number of words; an empty one marks nothing.
func (s Span) Fail(kind string) {
	if s.span != nil && kind != "" {
		s.span.SetStatus(codes.Error, "")
		s.span.SetAttributes(attribute.String("error.type", kind))
	}
}

// End ends the step. It has to be called once.
func (s Span) End() {
	if s.span != nil {
		s.span.End()
	}
}

// With returns ctx with the context of a traceparent, which the log and the steps that are started with it then have. One
// that is empty or malformed is no context, as W3C has it.
func With(ctx context.Context, traceparent string) context.Context {
	if traceparent == "" {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, header{events.HeaderTraceparent: {traceparent}})
}

// From is With for the headers of a message.
func From(ctx context.Context, h map[string][]string) context.Context {
	return With(ctx, header(h).Get(events.HeaderTraceparent))
}

// OfRequest returns the traceparent of a new task: the one that its request has, if it is well-formed, else that of the
// step that ctx is of. It is empty where nothing is traced.
func OfRequest(ctx context.Context, traceparent string) string {
	if otel.SpanContextFromContext(With(context.Background(), traceparent)).IsValid() {
		return traceparent
	}
	if span := otel.SpanFromContext(ctx); span.IsRecording() {
		h := header{}
		propagation.TraceContext{}.Inject(ctx, h)
		return h.Get(events.HeaderTraceparent)
	}
	return ""
}

// Inject adds the step that ctx is of to the headers of a message, where there is one, so that the step which the message
// causes has a link to it. It makes h if that is nil.
func Inject(ctx context.Context, h map[string][]string) map[string][]string {
	if !otel.SpanContextFromContext(ctx).IsValid() {
		return h
	}
	if h == nil {
		h = map[string][]string{}
	}
	propagation.TraceContext{}.Inject(ctx, header(h))
	return h
}

// causeKey is the key of a context's value for the headers of the message that is handled.
type causeKey struct{}

// Caused returns ctx with what a message says of the step that has published it.
func Caused(ctx context.Context, h map[string][]string) context.Context {
	if len(h[events.HeaderTraceparent]) == 0 {
		return ctx
	}
	return context.WithValue(ctx, causeKey{}, header(h))
}

// link leads to the step that has published the message which is handled; its context is not valid if there is none
// but that of ctx itself.
func link(ctx context.Context) otel.Link {
	h, _ := ctx.Value(causeKey{}).(header)
	if h == nil {
		return otel.Link{}
	}
	cause := otel.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), h))
	if cause.SpanID() == otel.SpanContextFromContext(ctx).SpanID() {
		return otel.Link{}
	}
	return otel.Link{SpanContext: cause}
}

// header is what carries a context in NATS' headers, whose names are case-sensitive: it keeps to the small letters of the
// standard.
type header map[string][]string

// Get implements propagation.TextMapCarrier.
func (h header) Get(name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// Set implements propagation.TextMapCarrier. The state that other systems keep beside the context is not passed on.
func (h header) Set(name, value string) {
	if name == events.HeaderTraceparent {
		h[name] = []string{value}
	}
}

// Keys implements propagation.TextMapCarrier.
func (h header) Keys() []string { return []string{events.HeaderTraceparent} }
