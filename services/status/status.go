package status

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"reelay/internal/api"
	"reelay/internal/bus"
	"reelay/internal/catalog"
	"reelay/internal/forecast/learner"
	"reelay/internal/inputs"
	"reelay/internal/provider"
	"reelay/internal/quota"
	"reelay/internal/schemas"
)

// name is the service's name in logs and errors.
const name = "status"

const (
	defaultSubmitWait = 10 * time.Second
	// maxRequests and maxWaits bound what is under way at once; waits are apart, since they do nothing most of the time.
	maxRequests = 256
	maxWaits    = 4_000
)

// Options configure a Service.
type Options struct {
	Bus *bus.Bus
	// Lanes are shown by queue even when they are empty, and are the only lane names in metrics; all others count as
	// "other".
	Lanes []provider.Lane
	// Catalog tells of models. Its Lanes, Forecasts and Schemas are filled in.
	Catalog catalog.Catalog
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
	cache     *recordCache
	gap       gap
	figures   healthFigures
	learner   *learner.Learner
	metrics   metrics
	capsCache *capsCache
	files     *inputs.Files
	api       *api.Server
	quotas    *quota.Quotas
	serving   atomic.Bool
}

// New returns a status service. It registers its metrics. Its error names the option that is wrong.
func New(o Options) (*Service, error) {
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if o.SubmitWait == 0 {
		o.SubmitWait = defaultSubmitWait
	}
	mark, err := newGap()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	s := &Service{
		cache: newRecordCache(maxRecordBytes), gap: mark,
		o: o, log: o.Log.With("service", name), index: newIndex(), metrics: newMetrics(), capsCache: newCapsCache(),
		learner: learner.New(learner.Options{Bus: o.Bus, Log: o.Log}), files: inputs.New(o.Bus, o.Log),
		quotas: quota.New(o.Bus, o.Log),
	}
	s.api = api.New(api.Options{
		Conn: o.Bus.Conn(), Service: name, Version: o.Version, MaxRequests: maxRequests, MaxWaits: maxWaits,
		Description: "long-running generative-media tasks: submit, follow, cancel", Observe: s.metrics.observe, Log: s.log, Quota: s.quotas.Calls,
	})
	s.o.Catalog.Lanes, s.o.Catalog.Forecasts, s.o.Catalog.Schemas = o.Lanes, s.learner, schemas.Reader{Bus: o.Bus, Lanes: o.Lanes}
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

// watch follows the records. What is kept of them may be of another stream.
func (s *Service) watch(ctx context.Context, apply func(bus.SummaryUpdate)) error {
	s.cache.clear()
	return s.o.Bus.FollowTasks(ctx, apply)
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
	follower.Go(func() { s.index.follow(work, s.watch, s.log) })
	follower.Go(func() { _ = s.learner.Run(work) }) // it has no error
	follower.Go(func() { s.followCaps(work) })
	follower.Go(func() { _ = s.quotas.Watch(work) }) // it has no error
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
	if err := s.api.Serve(work, ctx, s.endpoints()); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	s.serving.Store(true)
	s.log.Info("serving", "tasks", s.index.size())
	<-ctx.Done()
	s.serving.Store(false)
	if err := s.api.Drain(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
