package webhook

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	requests     *prometheus.CounterVec
	duration     *prometheus.HistogramVec
	refusedConns prometheus.Counter
}

func newMetrics() metrics {
	return metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reelay_webhook_requests_total",
			Help: "Requests to the webhook service by provider (none: not to a good URL) and by what became of them.",
		}, []string{"provider", "result"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "reelay_webhook_duration_seconds", Help: "Time to the answer of a request to the webhook service.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 4, 9),
		}, []string{"provider"}),
		refusedConns: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "reelay_webhook_refused_connections_total", Help: "Connections to the webhook service that were over a limit.",
		}),
	}
}

func (m metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.requests, m.duration, m.refusedConns}
}
