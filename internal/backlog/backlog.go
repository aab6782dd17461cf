// Package backlog counts the requests and commands that wait to be taken in, as a metric: whoever watches it sees an intake
// that stands still.
package backlog

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"reelay/events"
)

// countEvery is the time between two counts.
const countEvery = 15 * time.Second

// A Source counts what of a consumer is not acknowledged, delivered or not.
type Source interface {
	Backlog(ctx context.Context, c events.Consumer) (int, error)
}

// A Counter counts the backlog of the intake.
type Counter struct {
	source Source
	log    *slog.Logger
	gauge  prometheus.Gauge
}

// New returns a counter. It registers its metric.
func New(source Source, log *slog.Logger, reg prometheus.Registerer) *Counter {
	c := &Counter{source: source, log: log, gauge: prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "reelay_intake_backlog_messages", Help: "Requests and commands that wait to be taken in.",
	})}
	reg.MustRegister(c.gauge)
	return c
}

// Run counts until ctx ends. Its error is nil: without a new count the last one holds.
func (c *Counter) Run(ctx context.Context) error {
	for {
		n, err := c.source.Backlog(ctx, events.IntakeConsumer())
		switch {
		case err == nil:
			c.gauge.Set(float64(n))
		case ctx.Err() == nil:
			c.log.Debug("the backlog of the intake could not be counted", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(countEvery):
		}
	}
}
