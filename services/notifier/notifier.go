// Package notifier sends events to web services of users, as signed webhooks by Standard Webhooks
// (https://www.standardwebhooks.com).
//
// It makes a notification for each event and endpoint that is to be sent it: the endpoint that the request has named, and
// those that are always sent the events of the project. Which endpoints there are, with URL and secret, says a file that
// the operator keeps; it is read again when it changes. A record, an event or a log line has no more than a name.
//
// Promises: an event is delivered at least once, each time with its ce-id as the webhook-id, or it is a dead letter after
// 24 hours, which can be replayed. An event of a task is sent to an endpoint after the earlier ones of that task have been
// delivered there or given up. One endpoint that is away or slow takes no place of another's: each has a queue, a number
// of deliveries under way and waits of its own. What is erased meanwhile is sent no more.
//
// Events of a name that the file does not define wait as for an endpoint that does not answer. The notifier reaches
// public addresses, and others only where the file names the host.
package notifier

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/run"
	"github.com/prometheus/client_golang/prometheus"

	"reelay/events"
	"reelay/internal/api"
	"reelay/internal/bus"
)

const name = "notifier"

const (
	// requestWait bounds one question to NATS, maxRequests the requests of the API that are under way at once.
	requestWait = 5 * time.Second
	maxRequests = 16
	// fileTick is how often it is asked whether the file has changed, surveyTick how often what waits is counted.
	fileTick, surveyTick = 10 * time.Second, time.Minute
)

// Options configure a Service.
type Options struct {
	Bus *bus.Bus
	// File defines the endpoints; empty for none. Hosts, as they stand in URLs, may be reached whatever they are.
	File  string
	Hosts []string
	// Transport carries the deliveries, for simulations; nil for one that reaches public addresses and named hosts.
	Transport http.RoundTripper
	// MaxAge is how long an endpoint is tried that does not take an event; events.MaxNotifyAge for 0.
	MaxAge time.Duration
	// Version is that of this build.
	Version    string
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// A Service is one notifier.
type Service struct {
	o        Options
	log      *slog.Logger
	settings atomic.Pointer[settings]
	metrics  metrics
	api      *api.Server
	ready    atomic.Bool
	// tickets and events are REELAY_NOTIFY and REELAY_EVENTS.
	tickets, events jetstream.Stream
	// since is when notifications were first made of events.
	since time.Time
	// strayed tells that there is a new name that the file does not define.
	strayed chan struct{}

	// mu guards what follows: fileError, the strays, which are the names that notifications wait for and the file does not
	// define, and the gates of all names.
	mu        sync.Mutex
	fileError string
	strays    map[string]bool
	gates     map[string]*gate
}

// New returns a notifier. It registers its metrics. It fails if the file cannot be read.
func New(o Options) (*Service, error) {
	o.MaxAge = cmp.Or(o.MaxAge, events.MaxNotifyAge)
	s := &Service{
		o: o, log: o.Log.With("service", name), metrics: newMetrics(o.Registerer), strayed: make(chan struct{}, 1),
		strays: map[string]bool{}, gates: map[string]*gate{},
	}
	read, err := s.read()
	if err != nil {
		return nil, err
	}
	s.settings.Store(read)
	s.api = api.New(api.Options{
		Conn: o.Bus.Conn(), Service: name, Description: "webhooks to users' services", Version: o.Version,
		MaxRequests: maxRequests, Log: s.log,
	})
	return s, nil
}

// read reads the file.
func (s *Service) read() (*settings, error) {
	read, err := load(s.o.File, s.o.Hosts)
	if err == nil && s.o.Transport != nil {
		read.client = &http.Client{Transport: s.o.Transport}
	}
	return read, err
}

// Ready reports whether the notifier takes events and answers. An endpoint that does not answer is the doctor's to tell.
func (s *Service) Ready() bool { return s.ready.Load() && s.o.Bus.Connected() }

// Run works until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	defer s.ready.Store(false)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	interrupt := func(error) { cancel() }
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	if err := s.open(ctx); err != nil {
		return err
	}
	if err := s.api.Serve(work, ctx, s.endpoints()); err != nil {
		return err
	}
	var g run.Group
	g.Add(func() error { return s.o.Bus.Consume(ctx, events.RouteConsumer(), 1, s.route) }, interrupt)
	g.Add(func() error { return s.deliverLoop(ctx) }, interrupt)
	s.ready.Store(true)
	return errors.Join(g.Run(), s.api.Drain())
}

// open finds the streams.
func (s *Service) open(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, requestWait)
	defer cancel()
	if s.tickets, err = s.o.Bus.JetStream().Stream(ctx, events.StreamNotify); err == nil {
		s.events, err = s.o.Bus.JetStream().Stream(ctx, events.StreamEvents)
	}
	return err
}

// gate returns that of an endpoint.
func (s *Service) gate(endpoint string) *gate {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.gates[endpoint]
	if g == nil {
		g = newGate()
		s.gates[endpoint] = g
	}
	return g
}
