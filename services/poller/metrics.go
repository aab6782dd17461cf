package poller

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	polls       *prometheus.CounterVec
	retries     *prometheus.CounterVec
	resolutions *prometheus.CounterVec
	heartbeats  prometheus.Counter
	duration    *prometheus.HistogramVec
	callbacks   *prometheus.CounterVec
	misses      *prometheus.GaugeVec
	lag         *prometheus.HistogramVec
	detection   *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer) metrics {
	m := metrics{
		polls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reelay_polls_total",
			Help: "Polls of tasks by result: ok, batched if a list has answered, skipped by the breaker, or the kind " +
				"of failure.",
		}, []string{"lane", "result"}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reelay_poll_retries_total", Help: "Polls that were retried at once.",
		}, []string{"lane"}),
		resolutions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reelay_resolutions_total",
			Help: "Searches for submits in doubt in a provider's list, by result: adopted, ambiguous, not_listed or error.",
		}, []string{"lane", "result"}),
		heartbeats: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "reelay_heartbeats_total", Help: "Heartbeats of task records handled.",
		}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "reelay_poll_duration_seconds", Help: "Duration of a poll, retries included.",
			Buckets: prometheus.ExponentialBuckets(0.01, 2, 14),
		}, []string{"lane"}),
		callbacks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reelay_webhook_callbacks_total",
			Help: "Callbacks handled, by result: applied, polled, adopted, repeated, other_attempt, double_accept, conflict, " +
				"contradicts, unproven, unreadable or unknown.",
		}, []string{"lane", "result"}),
		misses: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "reelay_webhook_miss_ratio",
			Help: "Share of the last ends that a poll had to find although a callback was requested.",
		}, []string{"lane"}),
		lag: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "reelay_webhook_lag_seconds",
			Help:    "Delay of the callback of an end: from its receipt to the record, or since a poll had found the end.",
			Buckets: prometheus.ExponentialBuckets(0.005, 4, 10),
		}, []string{"lane"}),
		detection: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "reelay_detection_lag_seconds",
			Help: "Time for which the end of a task was not known: since its callback was received, or half the usual gap " +
				"before the poll that found it.",
			Buckets: prometheus.ExponentialBuckets(0.05, 2, 13),
		}, []string{"lane", "by"}),
	}
	reg.MustRegister(m.polls, m.retries, m.resolutions, m.heartbeats, m.duration, m.callbacks, m.misses, m.lag,
		m.detection)
	return m
}
