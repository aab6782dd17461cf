package status

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/micro"
	"github.com/prometheus/client_golang/prometheus"

	"reelay/internal/bus"
	"reelay/internal/forecast/learner"
	"reelay/internal/provider"
)

// name is the service's name in logs and errors.
const name = "status"

const (
	defaultSubmitWait = 10 * time.Second
	// maxRequests and maxWaits bound what is under way at once; waits are apart, since they do nothing most of the time.
	maxRequests = 256
	maxWaits    = 2_000
	// drainWait bounds the requests under way when the service is told to stop.
	drainWait = 10 * time.Second
	// drainTick is how often the stopping service checks whether it is idle.
	drainTick = 50 * time.Millisecond
)

// Options configure a Service.
type Options struct {
	Bus *bus.Bus
	// Lanes are shown by queue even when they are empty, and are the only lane names in metrics; all others count as
	// "other".
	Lanes []provider.Lane
	// SubmitWait is how long submit, cancel and resolve wait for their effect; 10 s if 0.
	SubmitWait time.Duration
	Log        *slog.Logger
	Registerer prometheus.Registerer
	// Version is shown by `nats micro`; one that is no semantic version is shown as metadata only.
	Version string
}

func (o Options) validate() error {
	switch {
	case o.Bus == nil:
		return errors.New("option Bus is missing")
	case o.Log == nil:
		return errors.New("option Log is missing")
	case o.Registerer == nil:
		return errors.New("option Registerer is missing")
	case o.SubmitWait < 0:
		return fmt.Errorf("option SubmitWait: %v is negative", o.SubmitWait)
	}
	return nil
}

// A Service is one status service.
type Service struct {
	o         Options
	log       *slog.Logger
	index     *index
	learner   *learner.Learner
	metrics   metrics
	capsCache *capsCache
	// requests and waits hold one token for each request under way.
	requests, waits chan struct{}
	underWay        atomic.Int64
	serving         atomic.Bool
}

// New returns a status service. It registers its metrics. Its error names the option that is wrong.
func New(o Options) (*Service, error) {
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if o.SubmitWait == 0 {
		o.SubmitWait = defaultSubmitWait
	}
	s := &Service{
		o: o, log: o.Log.With("service", name), index: newIndex(), metrics: newMetrics(), capsCache: newCapsCache(),
		learner:  learner.New(learner.Options{Bus: o.Bus, Log: o.Log}),
		requests: make(chan struct{}, maxRequests), waits: make(chan struct{}, maxWaits),
	}
	for _, c := range append(s.metrics.collectors(), gauges{s}) {
		if err := o.Registerer.Register(c); err != nil {
			return nil, fmt.Errorf("%s: metrics: %w", name, err)
		}
	}
	return s, nil
}

// Ready reports whether the index has seen all records and rejections and follows their changes, and the API is served.
// It is false as soon as the service is told to stop.
func (s *Service) Ready() bool {
	return s.serving.Load() && s.index.current.Load() && s.index.rejectionsCurrent.Load() && s.o.Bus.Connected()
}

// Run serves until ctx ends, then takes no more requests and finishes those under way, for at most 10 s. It is called
// once. Its error is one of the API's start, or says that requests were cut off.
func (s *Service) Run(ctx context.Context) error {
	// The index and the requests under way outlive ctx: they end when the service is drained.
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	var follower sync.WaitGroup
	defer func() {
		stopWork()
		follower.Wait()
	}()
	follower.Go(func() { s.index.follow(work, s.o.Bus.WatchTasks, s.log) })
	follower.Go(func() { _ = s.learner.Run(work) }) // it has no error
	follower.Go(func() { s.followCaps(work) })
	follower.Go(func() { s.countSpending(work) })
	follower.Go(func() { s.followRejections(work) })
	follower.Go(func() { s.announceBatches(work) })
	for _, built := range []chan struct{}{s.index.built, s.index.rejectionsBuilt} {
		select {
		case <-built:
		case <-ctx.Done():
			return nil
		}
	}
	api, err := s.serve(work, ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	s.serving.Store(true)
	s.log.Info("serving", "tasks", s.index.size())
	<-ctx.Done()
	s.serving.Store(false)
	return s.drain(api)
}

// drain takes the endpoints down and waits for the requests under way. A request that the server had handed over before
// it saw the endpoints go may begin after that, so idle means idle for two ticks.
func (s *Service) drain(api micro.Service) error {
	deadline := time.After(drainWait)
	if err := api.Stop(); err != nil {
		s.log.Warn("the api could not be stopped", "error", err) // the connection is gone, and the requests with it
	}
	flush, cancel := context.WithTimeout(context.Background(), drainWait/10)
	defer cancel()
	if err := s.o.Bus.Conn().FlushWithContext(flush); err != nil {
		s.log.Debug("connection could not be flushed before the stop", "error", err)
	}
	for idle := 0; idle < 2; {
		select {
		case <-deadline:
			return fmt.Errorf("%s: %d requests were still under way after %v", name, s.underWay.Load(), drainWait)
		case <-time.After(drainTick):
		}
		if idle++; s.underWay.Load() > 0 {
			idle = 0
		}
	}
	return nil
}
