// Package poller polls the providers for the state of their tasks.
//
// The poll clock is a message: each task at a provider has a poll ticket in the stream REELAY_POLLS, which every
// poller of the lane shares. After a poll the ticket is handed back with the delay until the next one, which delay.go
// computes. A poll that finds nothing new writes nothing. The heartbeat of each record is the safety net: it acts on
// what is overdue and replaces a lost ticket.
//
// Callbacks of the providers are handled in callback.go. Callback and poll are one mechanism: whichever comes first
// is recorded, the other finds it done. While callbacks arrive, polling slows down: see reliability.go.
//
// A submit in doubt is searched for in the provider's own list, where there is one, on the heartbeats of its record:
// see resolve.go.
//
// A poll that fails is retried after 1, 2 and 4 seconds where that can help; otherwise the next poll comes as usual.
// A failed poll never fails a task. The poller never submits.
package poller

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nuid"
	"github.com/oklog/run"
	"github.com/prometheus/client_golang/prometheus"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/forecast/learner"
	"reelay/internal/provider"
	"reelay/internal/taskstore"
	"reelay/internal/trace"
)

// name is what the poller signs transitions with.
const name = "poller"

// A BatchPoller is a driver that can poll many tasks by one call. ok is false where it cannot tell, and a single poll
// has to follow. It answers only for tasks that have not ended, as of some seconds ago.
type BatchPoller interface {
	PollBatched(ctx context.Context, ref json.RawMessage) (snap provider.Snapshot, ok bool)
}

// Options configure a Service.
type Options struct {
	Bus        *bus.Bus
	Lanes      []provider.Lane
	Log        *slog.Logger
	Registerer prometheus.Registerer
	Tracer     trace.Tracer
	// MaxPolls is how many polls of a lane may be under way at once; 128 if 0.
	MaxPolls int
}

const (
	defaultInterval = 10 * time.Second
	// defaultPolls is how many polls of a lane may be under way at once.
	defaultPolls = 128
	// carried is how many tasks at their providers are kept in memory between two polls, some kilobytes each; others are
	// read.
	carried = 32 << 10
	// listings is how many complete listings without a task it takes, beside the horizon, to settle that it was not
	// accepted.
	listings          = 3
	heartbeatInFlight = 32
)

// A Service is one poller.
type Service struct {
	o       Options
	log     *slog.Logger
	store   *taskstore.Store
	lanes   map[string]*lane
	learner *learner.Learner
	metrics metrics
	// replica identifies this process among the pollers.
	replica string
	ready   atomic.Bool
}

// New returns a poller. It registers its metrics.
func New(o Options) (*Service, error) {
	if len(o.Lanes) == 0 {
		return nil, errors.New("poller: no lane is configured")
	}
	s := &Service{
		o: o, log: o.Log.With("service", name), lanes: map[string]*lane{}, metrics: newMetrics(o.Registerer),
		replica: nuid.Next(),
	}
	s.store = taskstore.New(o.Bus, s.log, o.Registerer)
	s.store.CarryMost(carried)
	s.learner = learner.New(learner.Options{Bus: o.Bus, Log: s.log, Registerer: o.Registerer})
	for _, l := range o.Lanes {
		if l.PollInterval == 0 {
			l.PollInterval = defaultInterval
		}
		s.lanes[l.Name] = &lane{Lane: l, polls: s.policies(l.Name)}
	}
	return s, nil
}

// Ready reports whether the poller consumes tickets, heartbeats and callbacks.
func (s *Service) Ready() bool { return s.ready.Load() && s.o.Bus.Connected() }

// Run works until ctx ends, then finishes the polls under way.
func (s *Service) Run(ctx context.Context) error {
	defer s.ready.Store(false)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	interrupt := func(error) { cancel() }
	var g run.Group
	for _, l := range s.lanes {
		g.Add(func() error {
			return s.o.Bus.Consume(ctx, events.PollConsumer(l.Name), cmp.Or(s.o.MaxPolls, defaultPolls), s.handleTicket)
		}, interrupt)
	}
	g.Add(func() error {
		return s.o.Bus.Consume(ctx, events.HeartbeatConsumer(), heartbeatInFlight, s.handleHeartbeat)
	}, interrupt)
	g.Add(func() error {
		return s.o.Bus.Consume(ctx, events.CallbackConsumer(), callbacksInFlight, s.handleCallback)
	}, interrupt)
	g.Add(func() error { return s.publishHealth(ctx) }, interrupt)
	g.Add(func() error { return s.learner.Run(ctx) }, interrupt)
	g.Add(func() error { return s.countTickets(ctx) }, interrupt)
	g.Add(func() error { return s.followLimits(ctx) }, interrupt)
	s.ready.Store(true)
	return g.Run()
}
