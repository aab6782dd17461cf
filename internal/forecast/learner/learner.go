// Package learner learns and provides the forecasts of one process: it follows what all processes have learned and
// adds the samples of this one.
//
// Samples are stored together, some seconds after they come, by compare-and-set on each key, so that any number of
// processes learn at the same time. Forecasts are not records: samples that cannot be stored are dropped, samples
// whose write was not acknowledged may be lost, and a bucket that is lost is learned anew.
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
	// flushEvery is how long samples wait to be stored together, flushAt how many wait at most.
	flushEvery = 5 * time.Second
	flushAt    = 500
	// maxPending bounds the samples that wait for the broker. Beyond it the oldest are dropped.
	maxPending = 1_000
	// lastWait bounds the last write when the process stops.
	lastWait = 2 * time.Second
)

// Options configure New.
type Options struct {
	Bus *bus.Bus
	Log *slog.Logger
	// Registerer takes the learner's metrics; nil for none.
	Registerer prometheus.Registerer
}

// A Learner is safe for concurrent use. Until Run is called it knows only the priors of the task types, and learns
// nothing.
type Learner struct {
	bus   *bus.Bus
	log   *slog.Logger
	model *forecast.Model

	mu      sync.Mutex
	pending []forecast.Sample
	// hasSamples signals that a sample waits, hasBatch that flushAt do.
	hasSamples, hasBatch chan struct{}
	samples              *prometheus.CounterVec
}

// New returns a learner. It registers its metrics.
func New(o Options) *Learner {
	l := &Learner{
		bus: o.Bus, log: o.Log.With("component", "learner"), model: forecast.NewModel(),
		hasSamples: make(chan struct{}, 1), hasBatch: make(chan struct{}, 1),
		samples: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reelay_forecast_samples_total",
			Help: "Samples of finished tasks by result: stored, failed, or dropped because too many waited.",
		}, []string{"result"}),
	}
	if o.Registerer != nil {
		o.Registerer.MustRegister(l.samples)
	}
	return l
}

// Forecast returns the forecast for tasks like t.
func (l *Learner) Forecast(t events.Task) *forecast.Forecast { return l.Of(forecast.ClassOf(t)) }

// Of returns the forecast for a class of tasks.
func (l *Learner) Of(c forecast.Class) *forecast.Forecast { return l.model.Forecast(c) }

// Learn adds what a finished task teaches. It does not block.
func (l *Learner) Learn(s forecast.Sample) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.pending) == maxPending {
		l.pending = l.pending[1:]
		l.samples.WithLabelValues("dropped").Inc()
	}
	l.pending = append(l.pending, s)
	signal(l.hasSamples)
	if len(l.pending) >= flushAt {
		signal(l.hasBatch)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // a signal is pending already
	}
}

// Run follows and stores until ctx ends, then stores what is left, for at most 2 s. Its error is nil.
func (l *Learner) Run(ctx context.Context) error {
	var follower sync.WaitGroup
	follower.Go(func() { l.followForecasts(ctx) })
	defer follower.Wait()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWait)
			defer cancel()
			l.flush(last)
			return nil
		case <-l.hasSamples:
		}
		select {
		case <-ctx.Done():
		case <-l.hasBatch:
			l.flush(ctx)
		case <-time.After(flushEvery):
			l.flush(ctx)
		}
	}
}

// flush stores the samples that wait, each key once.
func (l *Learner) flush(ctx context.Context) {
	l.mu.Lock()
	pending := l.pending
	l.pending = nil
	l.mu.Unlock()
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
		err := change(ctx, l.bus, key, func(stored []byte) ([]byte, error) { return l.model.Learn(key, stored, byKey[key]) })
		if err != nil {
			result = "failed"
			l.log.Warn("samples of a forecast could not be stored", "key", key, "samples", len(byKey[key]), "error", err)
			if ctx.Err() != nil {
				break
			}
		}
	}
	l.samples.WithLabelValues(result).Add(float64(len(pending)))
}

// followForecasts keeps the model up to date until ctx ends.
func (l *Learner) followForecasts(ctx context.Context) {
	bus.KeepWatching(ctx, l.log, "watch of the forecasts was interrupted", func(ctx context.Context) error {
		return watch(ctx, l.bus, func(key string, value []byte) {
			if err := l.model.Put(key, value); err != nil {
				l.log.Warn("stored forecast was ignored", "key", key, "error", err)
			}
		})
	})
}
