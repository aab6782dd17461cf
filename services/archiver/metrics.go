package archiver

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	stored, retries, lost, asked, bytes *prometheus.CounterVec
	expiring                            prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := metrics{
		stored:  counter("reelay_archiver_stored_total", "Outputs that were stored.", "lane"),
		retries: counter("reelay_archiver_retries_total", "Tries that did not store all outputs of a task.", "lane", "reason"),
		lost:    counter("reelay_archiver_lost_total", "Outputs that were given up. Each is an alarm.", "lane", "reason"),
		asked:   counter("reelay_archiver_fresh_links_total", "Polls of a provider for a fresh link.", "lane"),
		bytes:   counter("reelay_archiver_bytes_total", "Bytes that were fetched, and of files that were stored.", "what"),
		expiring: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "reelay_archiver_expiring_tasks",
			Help: "Tasks with a link that dies soon, or has, before the output is stored. More than 0 is an alarm.",
		}),
	}
	reg.MustRegister(m.stored, m.retries, m.lost, m.asked, m.bytes, m.expiring)
	return m
}
