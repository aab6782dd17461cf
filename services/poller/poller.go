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

// A BatchPoller is a driver that can answer many looks by one call. ok is false where it cannot, and a look has to be taken. It tells
// only of tasks that have not ended, as of some seconds ago.
type BatchPoller interface {
	PollBatched(ctx context.Context, ref json.RawMessage) (snap provider.Snapshot, ok bool)
}

// Options configure a Service.
type Options struct {
	Bus        *bus.Bus
	Lanes      []provider.Lane
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

const (
	defaultInterval = 10 * time.Second
	// pollsInFlight is how many polls of a lane may be under way at once.
	pollsInFlight = 32
	// listings is how many complete listings without a task it takes, beside the horizon, to settle that it was not accepted.
	listings          = 3
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
		if l.PollInterval == 0 {
			l.PollInterval = defaultInterval
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
			return s.o.Bus.Consume(ctx, events.PollConsumer(l.Name), pollsInFlight, s.watch)
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
