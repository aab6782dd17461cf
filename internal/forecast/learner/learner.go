// Package learner keeps the forecasts of one process: it follows what all processes have learned and adds what this one learns.
//
// Samples are stored some seconds after they come, together, by compare-and-set on each key, so that any number of processes learn
// at the same time. It is a memory, not a record: samples that cannot be stored are dropped, ones whose store was not answered may
// count for nothing, and a bucket that is lost is learned anew.
package learner

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/forecast"
)

const (
	// flushEvery and flushAt bound how long samples wait to be stored together, and how many.
	flushEvery = 5 * time.Second
	flushAt    = 20
	// maxPending bounds the samples that wait. Beyond it the oldest are dropped.
	maxPending = 1_000
	// lastWait bounds the store of what is left at the end.
	lastWait = 2 * time.Second
)

// A Store keeps the forecasts of all processes: bus.Bus.
type Store interface {
	// ChangeForecast replaces a value by compare-and-set.
	ChangeForecast(ctx context.Context, key string, change func(stored []byte) ([]byte, error)) error
	// FollowForecasts calls handle with every value and every change until ctx ends; nil is a key that is gone.
	FollowForecasts(ctx context.Context, handle func(key string, value []byte)) error
}

// Options configure New.
type Options struct {
	Store Store
	Log   *slog.Logger
	// Registerer takes the almanac's metrics; nil for none.
	Registerer prometheus.Registerer
}

// An Learner is safe for concurrent use. Without Run it knows the task types only, and learns nothing.
type Learner struct {
	store Store
	log   *slog.Logger
	atlas *forecast.Atlas

	mu      sync.Mutex
	pending []forecast.Sample
	// some tells that there are samples, enough that there are many.
	some, enough chan struct{}
	samples      *prometheus.CounterVec
}

// New returns an almanac. It registers its metrics.
func New(o Options) *Learner {
	a := &Learner{
		store: o.Store, log: o.Log.With("component", "almanac"), atlas: forecast.NewAtlas(),
		some: make(chan struct{}, 1), enough: make(chan struct{}, 1),
		samples: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reelay_forecast_samples_total", Help: "Finished tasks learned from: stored, failed, or dropped because too many waited.",
		}, []string{"result"}),
	}
	if o.Registerer != nil {
		o.Registerer.MustRegister(a.samples)
	}
	return a
}

// Forecast returns what is known about tasks like t.
func (a *Learner) Forecast(t events.Task) *forecast.Forecast { return a.Of(forecast.ClassOf(t)) }

// Of returns what is known about a class of tasks.
func (a *Learner) Of(c forecast.Class) *forecast.Forecast { return a.atlas.Forecast(c) }

// Learn takes in what a finished task teaches. It does not wait for anything.
func (a *Learner) Learn(s forecast.Sample) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.pending) == maxPending {
		a.pending = a.pending[1:]
		a.samples.WithLabelValues("dropped").Inc()
	}
	a.pending = append(a.pending, s)
	tell(a.some)
	if len(a.pending) >= flushAt {
		tell(a.enough)
	}
}

func tell(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it was told and has yet to listen
	}
}

// Run follows and stores until ctx ends, then stores what is left, for at most 2 s. Its error is nil.
func (a *Learner) Run(ctx context.Context) error {
	var follower sync.WaitGroup
	follower.Go(func() { a.follow(ctx) })
	defer follower.Wait()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWait)
			defer cancel()
			a.flush(last)
			return nil
		case <-a.some:
		}
		select {
		case <-ctx.Done():
		case <-a.enough:
			a.flush(ctx)
		case <-time.After(flushEvery):
			a.flush(ctx)
		}
	}
}

// flush stores the samples that wait, each key once.
func (a *Learner) flush(ctx context.Context) {
	a.mu.Lock()
	pending := a.pending
	a.pending = nil
	a.mu.Unlock()
	var keys []string // the general before the special, as they come
	byKey := map[string][]forecast.Sample{}
	for _, s := range pending {
		for _, key := range s.Class.Keys() {
			if byKey[key] == nil {
				keys = append(keys, key)
			}
			byKey[key] = append(byKey[key], s)
		}
	}
	result := "stored"
	for _, key := range keys {
		err := a.store.ChangeForecast(ctx, key, func(stored []byte) ([]byte, error) { return a.atlas.Learn(key, stored, byKey[key]) })
		if err != nil {
			result = "failed"
			a.log.Warn("samples are not stored", "key", key, "samples", len(byKey[key]), "error", err)
			if ctx.Err() != nil {
				break
			}
		}
	}
	a.samples.WithLabelValues(result).Add(float64(len(pending)))
}

// follow keeps the atlas up to date until ctx ends.
func (a *Learner) follow(ctx context.Context) {
	bus.KeepFollowing(ctx, a.log, "watch of the forecasts interrupted", func(ctx context.Context) error {
		return a.store.FollowForecasts(ctx, func(key string, value []byte) {
			if err := a.atlas.Put(key, value); err != nil {
				a.log.Warn("forecast left out", "key", key, "error", err)
			}
		})
	})
}
