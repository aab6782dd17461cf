// Package api serves verbs of reelay's API: a table of endpoints on NATS request-reply, as services of nats micro, so
// that `nats micro info reelay` documents each verb.
//
// Promises: every request is answered, within its limits or by an error that a client can read. Each has a goroutine of
// its own, as many as the options allow at once; one above that is refused, retryable. A panic costs its own request
// and no other. An answer larger than a message of the server is an error that gives the limit.
package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"reelay/events"
	"reelay/events/bucket"
)

const (
	// name is that of the whole API in `nats micro ls`, whichever service has which part of it.
	name = "reelay"
	// NoVersion stands for a version that is not a semantic one.
	NoVersion = "0.0.0"
	// DrainWait bounds the requests that are under way when a server is told to stop.
	DrainWait = 10 * time.Second
	flushWait = time.Second
	// drainTick is how often a stopping server checks whether it is idle.
	drainTick = 50 * time.Millisecond
)

// Tokens of a subject after its verb.
const (
	Project  = "project"
	Task     = "task"
	Batch    = "batch"
	TaskType = "task_type"
)

// A Call is one request.
type Call struct {
	// Key has an empty id where the subject names no task.
	Key      events.Key
	TaskType events.TaskType
	Header   micro.Headers
	Data     []byte
	// Stop ends when the server is told to stop, before the context of the call does.
	Stop context.Context
}

// Raw is an answer that is JSON already.
type Raw []byte

// An Endpoint is one verb on one subject.
type Endpoint struct {
	// Name is the verb's where it is empty.
	Name string
	Verb events.Verb
	// Tokens are those of the subject after the verb.
	Tokens []string
	// Waits reports whether a request counts as a wait, not as a request; nil for never. It must be quick. The body is
	// not decoded, nor is its length known to be allowed.
	Waits func(Call) bool
	// About, Request and Answer document it in `nats micro info`.
	About, Request, Answer string
	// Handle answers a request with what is encoded as JSON, or with an error: an *Error, or any other, which Serve
	// makes into one.
	Handle func(context.Context, Call) (any, error)
}

// Options configure a Server.
type Options struct {
	Conn *nats.Conn
	// Service is what is called faulty where a panic is answered; Description is shown by `nats micro`.
	Service, Description string
	// Version is shown by `nats micro`; one that is no semantic version is shown as metadata only.
	Version string
	// MaxRequests and MaxWaits bound what is under way at once; waits are apart, since they do nothing most of the time. A
	// project has no more of each than are left for others: alone half of them.
	MaxRequests, MaxWaits int
	// Quota says how many requests, and how many waits, a project may have under way; nil for no bound but those.
	Quota func(project string) (requests, waits int)
	// Observe is told of each answer: its verb, its code (200, or the error's) and how long it took. It may be nil.
	Observe func(v events.Verb, code string, took time.Duration)
	Log     *slog.Logger
}

// A Server serves endpoints.
type Server struct {
	o               Options
	requests, waits *slots
	underWay        atomic.Int64
	micro           micro.Service
}

// New returns a server that serves nothing yet.
func New(o Options) *Server {
	if o.Quota == nil {
		o.Quota = func(string) (int, int) { return o.MaxRequests, o.MaxWaits }
	}
	if o.Observe == nil {
		o.Observe = func(events.Verb, string, time.Duration) {}
	}
	return &Server{
		o:        o,
		requests: &slots{name: bucket.QuotaCalls, size: o.MaxRequests, held: map[string]int{}},
		waits:    &slots{name: bucket.QuotaWaits, size: o.MaxWaits, held: map[string]int{}},
	}
}

var semanticVersion = regexp.MustCompile(`^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)

// Serve puts the endpoints up. Requests run under work; stop ends those that wait. It is called once, and Drain after
// it. Its error is one of the connection.
func (s *Server) Serve(work, stop context.Context, endpoints []Endpoint) error {
	version := strings.TrimPrefix(s.o.Version, "v")
	if !semanticVersion.MatchString(version) {
		version = NoVersion
	}
	served, err := micro.AddService(s.o.Conn, micro.Config{
		Name: name, Version: version, Metadata: map[string]string{"version": s.o.Version}, Description: s.o.Description,
		ErrorHandler: func(_ micro.Service, err *micro.NATSError) {
			s.o.Log.Warn("a subscription of the api failed", "subject", err.Subject, "error", err.Description)
		},
	})
	if err != nil {
		return err
	}
	for _, e := range endpoints {
		subject := events.APISubject(e.Verb, slices.Repeat([]string{"*"}, len(e.Tokens))...)
		err := served.AddEndpoint(cmp.Or(e.Name, string(e.Verb)), s.handler(work, stop, e),
			micro.WithEndpointSubject(subject),
			micro.WithEndpointMetadata(map[string]string{"description": e.About, "request": e.Request, "answer": e.Answer}))
		if err != nil {
			return errors.Join(err, served.Stop())
		}
	}
	s.micro = served
	s.flush(work) // what is ready is known to the broker
	return nil
}

// flush waits until the broker knows what was subscribed or taken down. A connection that is gone does so when it is
// back.
func (s *Server) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, flushWait)
	defer cancel()
	if err := s.o.Conn.FlushWithContext(ctx); err != nil {
		s.o.Log.Debug("the connection could not be flushed", "error", err)
	}
}

// UnderWay is how many requests are being answered.
func (s *Server) UnderWay() int64 { return s.underWay.Load() }

// handler gives each request a goroutine of its own, as many as there are slots, so that none waits behind another.
func (s *Server) handler(work, stop context.Context, e Endpoint) micro.HandlerFunc {
	return func(r micro.Request) {
		begin := time.Now()
		if !events.ValidReply(r.Reply()) {
			s.o.Log.Warn("a request was dropped: its answer would be taken for a message of reelay or of the server",
				"subject", r.Subject(), "reply", r.Reply())
			return
		}
		c := Call{Header: r.Headers(), Data: r.Data(), Stop: stop}
		invalid := c.parse(e.Tokens, r.Subject())
		slots := s.requests
		quota, waits := s.o.Quota(c.Key.Project)
		if e.Waits != nil && invalid == nil && e.Waits(c) {
			slots, quota = s.waits, waits
		}
		if err := slots.take(c.Key.Project, quota); err != nil {
			s.answer(e, r, begin, nil, err)
			return
		}
		s.underWay.Add(1)
		go func() {
			defer func() {
				slots.give(c.Key.Project)
				s.underWay.Add(-1)
			}()
			var reply any
			err := invalid
			if err == nil {
				reply, err = s.safely(work, e, r.Subject(), c)
			}
			s.answer(e, r, begin, reply, err)
		}()
	}
}

// safely runs the handler of an endpoint; a panic costs this request and no other.
func (s *Server) safely(work context.Context, e Endpoint, subject string, c Call) (reply any, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.o.Log.Error("a request of the api panicked", "subject", subject, "panic", p, "stack", string(debug.Stack()))
			err = Fail(500, events.CodeInternal, events.KindInternal, "a fault in reelay's %s service; its log tells more",
				s.o.Service)
		}
	}()
	if len(c.Data) > events.MaxRequestBytes {
		return nil, TooLarge(len(c.Data))
	}
	return e.Handle(work, c)
}

// parse reads the tokens from the end of the subject. Its error is a FieldError that names the token.
func (c *Call) parse(names []string, subject string) error {
	words := strings.Split(subject, ".")
	words = words[len(words)-len(names):]
	for i, word := range words {
		switch names[i] {
		case TaskType:
			if c.TaskType = events.TaskType(word); !c.TaskType.Valid() {
				return events.NewFieldError(TaskType, "%q is not one of %v", word, events.TaskTypes())
			}
			continue
		case Project:
			c.Key.Project = word
		case Task, Batch:
			c.Key.ID = word
		}
		if !events.ValidToken(word) {
			return events.NewFieldError(names[i], "%q is not 1 to %d characters of A-Z a-z 0-9 _ -", word, events.MaxTokenBytes)
		}
	}
	return nil
}

// answer sends a reply or an error, as micro does. It does not use the micro request for that, which may not outlive
// its handler.
func (s *Server) answer(e Endpoint, r micro.Request, begin time.Time, reply any, err error) {
	m := &nats.Msg{Subject: r.Reply()}
	if raw, ok := reply.(Raw); ok {
		m.Data = raw
	} else if err == nil {
		m.Data, err = events.Marshal(reply)
	}
	if limit := s.MaxAnswer(); err == nil && len(m.Data) > limit {
		err = Fail(500, events.CodeInternal, events.KindInternal, "the answer has %d bytes, over the server's limit of %d",
			len(m.Data), limit)
	}
	code := "200"
	if err != nil {
		f := errorOf(err)
		code = f.code()
		m.Header = nats.Header{micro.ErrorHeader: {f.Error()}, micro.ErrorCodeHeader: {code}}
		if m.Data, err = events.Marshal(events.ErrorReply{Error: f.Body}); err != nil {
			s.o.Log.Error("error answer could not be encoded", "subject", r.Subject(), "error", err)
		}
	}
	if m.Subject != "" { // else nobody asked for an answer
		if err := s.o.Conn.PublishMsg(m); err != nil {
			s.o.Log.Warn("answer could not be sent", "subject", r.Subject(), "error", err)
		}
	}
	s.o.Observe(e.Verb, code, time.Since(begin))
}

// MaxAnswer is the largest answer in bytes: a message of the server less room for headers.
func (s *Server) MaxAnswer() int { return int(s.o.Conn.MaxPayload()) - 4<<10 }

// Drain takes the endpoints down and waits for the requests under way. A request that the server had handed over before
// it saw the endpoints go may begin after that, so idle means idle for two ticks. Its error says that requests were cut
// off.
func (s *Server) Drain() error {
	deadline := time.After(DrainWait)
	if err := s.micro.Stop(); err != nil {
		s.o.Log.Warn("the api could not be stopped", "error", err) // the connection is gone, and the requests with it
	}
	s.flush(context.Background())
	for idle := 0; idle < 2; {
		select {
		case <-deadline:
			return fmt.Errorf("%d requests were still under way after %v", s.underWay.Load(), DrainWait)
		case <-time.After(drainTick):
		}
		if idle++; s.underWay.Load() > 0 {
			idle = 0
		}
	}
	return nil
}
