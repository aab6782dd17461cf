package poller

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	looks       *prometheus.CounterVec
	retries     *prometheus.CounterVec
	ended       *prometheus.CounterVec
	resolutions *prometheus.CounterVec
	heartbeats  prometheus.Counter
	duration    *prometheus.HistogramVec
	hooks       *prometheus.CounterVec
	misses      *prometheus.GaugeVec
	lag         *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer) metrics {
	m := metrics{
		looks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reelay_looks_total",
			Help: "Looks at tasks by result: ok, glance if a list has answered, skipped by the breaker, or the kind of failure.",
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
		hooks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reelay_hooks_total",
			Help: "Provider callbacks by result: applied, looked, adopted, repeated, other_attempt, double_accept, conflict, " +
				"contradicts, unproven, unreadable or unknown.",
		}, []string{"lane", "result"}),
		misses: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "reelay_hook_miss_ratio",
			Help: "Share of the newest ends that a look had to find although a callback was asked for.",
		}, []string{"lane"}),
		lag: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "reelay_hook_lag_seconds",
			Help:    "How far callbacks of an end are behind: from their receipt to the record, or from the end that a look had found before.",
			Buckets: prometheus.ExponentialBuckets(0.005, 4, 10),
		}, []string{"lane"}),
	}
	reg.MustRegister(m.looks, m.retries, m.ended, m.resolutions, m.heartbeats, m.duration, m.hooks, m.misses, m.lag)
	return m
}
