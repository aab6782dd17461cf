package notifier

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	deliveries     *prometheus.CounterVec
	oldest, queued *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) metrics {
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{"endpoint"})
	}
	m := metrics{
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reelay_notifier_deliveries_total", Help: "Deliveries to endpoints, by what came of them.",
		}, []string{"endpoint", "result"}),
		oldest: gauge("reelay_notifier_oldest_seconds", "Age of the oldest event that an endpoint has not taken; 0 for none."),
		queued: gauge("reelay_notifier_waiting", "Events that an endpoint has not taken."),
	}
	reg.MustRegister(m.deliveries, m.oldest, m.queued)
	return m
}
