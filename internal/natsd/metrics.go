package natsd

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	restarts prometheus.Counter
	writable prometheus.Gauge
	free     prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) metrics {
	m := metrics{
		restarts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "reelay_broker_restarts_total", Help: "Restarts of the embedded broker because its store took no writes.",
		}),
		writable: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "reelay_broker_store_writable",
			Help: "1 while the last check of the embedded broker's store could write to it.",
		}),
		free: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "reelay_broker_store_free_bytes", Help: "Room on the disk of the embedded broker's store.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.restarts, m.writable, m.free)
	}
	return m
}
