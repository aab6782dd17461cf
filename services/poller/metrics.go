package poller

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	looks       *prometheus.CounterVec
	retries     *prometheus.CounterVec
	ended       *prometheus.CounterVec
	resolutions *prometheus.CounterVec
	heartbeats  prometheus.Counter
	duration    *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer) metrics {
	m := metrics{
		looks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reelay_looks_total", Help: "Looks at tasks by result: ok, skipped by the breaker, or the kind of failure.",
		}, []string{"lane", "result"}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reelay_look_retries_total", Help: "Looks that were tried again at once.",
		}, []string{"lane"}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reelay_tasks_ended_total", Help: "Tasks that a look has ended, by status.",
		}, []string{"lane", "status"}),
		resolutions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reelay_resolutions_total",
			Help: "Searches for submits in doubt in a provider's list, by result: adopted, ambiguous, not_listed or error.",
		}, []string{"lane", "result"}),
		heartbeats: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "reelay_heartbeats_total", Help: "Heartbeats of task records handled.",
		}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "reelay_look_duration_seconds", Help: "Time of a look, retries included.", Buckets: prometheus.ExponentialBuckets(0.01, 2, 14),
		}, []string{"lane"}),
	}
	reg.MustRegister(m.looks, m.retries, m.ended, m.resolutions, m.heartbeats, m.duration)
	return m
}
