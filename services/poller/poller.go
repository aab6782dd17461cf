// Package poller asks the providers where the tasks are.
//
// The poll clock is a message: each task at a provider has one in the stream REELAY_POLLS, which every poller of the lane
// shares; after a look it is handed back with the delay until the next, and nothing is written unless something changed. The
// heartbeat of each record is the net under it: it acts on what is overdue and makes a missing watch message again.
//
// A provider that calls back is heard as well: see hook.go. Callback and look are one mechanism: whichever comes first is
// recorded, the other finds it done. While the callbacks of a lane prove to come, looks are rare: see health.go and schedule.go.
//
// A submit in doubt is searched for in the provider's own list, where there is one, on the beats of its record: see resolve.go.
//
// A look that fails is tried again after 1, 2 and 4 seconds where that can help, and else simply comes again. It never
// fails a task. The poller never submits.
package poller

import (
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
)

// name is what the poller signs transitions with.
const name = "poller"

// A Poller asks a provider where a task is. Its errors are *provider.Error and say nothing about the task.
type Poller interface {
	Poll(ctx context.Context, ref json.RawMessage) (provider.Snapshot, error)
}

// A Canceller asks a provider to cancel a task.
type Canceller interface {
	Cancel(ctx context.Context, ref json.RawMessage) (provider.CancelOutcome, error)
}

// A Lister shows what a provider has accepted since a time and what may be the one request that a task's input made. What speaks
// against that is left out; Found.Exact is as its documentation says. complete says that a request that is not shown was
// not accepted, as far as one listing can tell. Its errors are *provider.Error and say nothing about the task.
type Lister interface {
	List(ctx context.Context, t events.Task, input json.RawMessage, since time.Time) (found []provider.Found, complete bool, err error)
}

// A CallbackReader reads the callbacks of a provider, whose sender was verified. It does no I/O.
type CallbackReader interface {
	// ReadCallback reads the body of a callback to a task of a model. Its error is a *provider.Error and says nothing about the task.
	ReadCallback(model string, body []byte) (provider.Callback, error)
}

// A BatchPoller is a driver that can answer many looks by one call. ok is false where it cannot, and a look has to be taken. It tells
// only of tasks that have not ended, as of some seconds ago.
type BatchPoller interface {
	PollBatched(ctx context.Context, ref json.RawMessage) (snap provider.Snapshot, ok bool)
}

// A Driver is what the poller needs of a provider. One that is a BatchPoller is asked by fewer calls.
type Driver interface {
	Poller
	CallbackReader
	Canceller
	Lister
	// Features tells whether the provider lists tasks of a model.
	Features(model string) provider.Features
	// Ref builds the handle of a provider id.
	Ref(model, id string) (json.RawMessage, error)
}

// A Lane is one provider account.
type Lane struct {
	Name   string
	Driver Driver
	// Interval is the time between two looks at a task; 10 s if 0. Where something was learned, looks come as it wants, no later on
	// the mean than by the interval.
	Interval time.Duration
	// Budget is how many looks a second all pollers together may take at the lane; 50 if 0. Beyond it all looks are rarer.
	Budget float64
	// InFlight is how many looks may be under way at once; 32 if 0.
	InFlight int
	// Horizon is how long after a submit in doubt the provider may stay silent about a task before the request's policy settles it.
	Horizon func(events.Task) time.Duration
	// Listings is how many complete listings without it that takes besides, where the provider lists tasks of the model; 3 if 0.
	Listings int
}

// Options configure a Service.
type Options struct {
	Bus        *bus.Bus
	Lanes      []Lane
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

const (
	defaultInterval   = 10 * time.Second
	defaultInFlight   = 32
	defaultListings   = 3
	heartbeatInFlight = 32
)

// A Service is one poller.
type Service struct {
	o       Options
	log     *slog.Logger
	book    *taskstore.Store
	lanes   map[string]*lane
	almanac *learner.Learner
	metrics metrics
	// replica tells this poller from others.
	replica string
	ready   atomic.Bool
}

// New returns a poller. It registers its metrics.
func New(o Options) (*Service, error) {
	if len(o.Lanes) == 0 {
		return nil, errors.New("poller: no lane is configured")
	}
	s := &Service{o: o, log: o.Log.With("service", name), lanes: map[string]*lane{}, metrics: newMetrics(o.Registerer), replica: nuid.Next()}
	s.book = taskstore.New(o.Bus, s.log, o.Registerer)
	s.almanac = learner.New(learner.Options{Store: o.Bus, Log: s.log, Registerer: o.Registerer})
	for _, l := range o.Lanes {
		if l.InFlight == 0 {
			l.InFlight = defaultInFlight
		}
		if l.Interval == 0 {
			l.Interval = defaultInterval
		}
		if l.Budget == 0 {
			l.Budget = defaultBudget
		}
		if l.Listings == 0 {
			l.Listings = defaultListings
		}
		s.lanes[l.Name] = &lane{Lane: l, looks: s.policies(l.Name)}
	}
	return s, nil
}

// Ready reports whether the poller listens for watch messages and heartbeats.
func (s *Service) Ready() bool { return s.ready.Load() && s.o.Bus.Connected() }

// Run works until ctx ends, then finishes the looks under way.
func (s *Service) Run(ctx context.Context) error {
	defer s.ready.Store(false)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	interrupt := func(error) { cancel() }
	var g run.Group
	for _, l := range s.lanes {
		g.Add(func() error {
			return s.o.Bus.Consume(ctx, events.PollConsumer(l.Name), l.InFlight, s.watch)
		}, interrupt)
	}
	g.Add(func() error {
		return s.o.Bus.Consume(ctx, events.HeartbeatConsumer(), heartbeatInFlight, s.heartbeat)
	}, interrupt)
	g.Add(func() error {
		return s.o.Bus.Consume(ctx, events.CallbackConsumer(), hooksInFlight, s.hook)
	}, interrupt)
	g.Add(func() error { return s.tellHealth(ctx) }, interrupt)
	g.Add(func() error { return s.almanac.Run(ctx) }, interrupt)
	g.Add(func() error { return s.count(ctx) }, interrupt)
	g.Add(func() error { return s.followLimits(ctx) }, interrupt)
	s.ready.Store(true)
	return g.Run()
}
