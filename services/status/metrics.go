package status

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"reelay/events"
	"reelay/internal/provider"
)

// otherLane is the label of every lane that is not configured.
const otherLane = "other"

type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

func newMetrics() metrics {
	return metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reelay_api_requests_total", Help: "Requests of the API by verb and the code of the answer.",
		}, []string{"verb", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "reelay_api_duration_seconds", Help: "Time to the answer of a request of the API.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 10),
		}, []string{"verb"}),
	}
}

// observe counts an answer of the API.
func (m metrics) observe(v events.Verb, code string, took time.Duration) {
	m.requests.WithLabelValues(string(v), code).Inc()
	m.duration.WithLabelValues(string(v)).Observe(took.Seconds())
}

func (m metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.requests, m.duration}
}

// gauges are read off the index when they are scraped.
type gauges struct{ s *Service }

// Describe implements prometheus.Collector.
func (g gauges) Describe(ch chan<- *prometheus.Desc) {
	d := g.descs()
	ch <- d.tasks
	ch <- d.oldest
	ch <- d.size
	ch <- d.ready
}

type descs struct{ tasks, oldest, size, ready *prometheus.Desc }

func (gauges) descs() descs {
	return descs{
		tasks: prometheus.NewDesc("reelay_tasks", "Task records kept, by lane and phase.", []string{"lane", "phase"}, nil),
		oldest: prometheus.NewDesc("reelay_oldest_waiting_seconds",
			"Age of the task that waits longest for its submit, by lane.", []string{"lane"}, nil),
		size: prometheus.NewDesc("reelay_index_tasks", "Task records in the index.", nil, nil),
		ready: prometheus.NewDesc("reelay_index_ready", "1 while the index follows the records, 0 while it is stale.", nil,
			nil),
	}
}

// Collect implements prometheus.Collector.
func (g gauges) Collect(ch chan<- prometheus.Metric) {
	lanes := map[string]*events.LaneQueue{}
	for _, name := range append(laneNames(g.s.o.Lanes), otherLane) {
		lanes[name] = &events.LaneQueue{ByPhase: map[events.Phase]int{}}
	}
	q := g.s.index.queue("", nil, time.Now())
	for _, l := range q.Lanes {
		sum := lanes[l.Lane]
		if sum == nil {
			sum = lanes[otherLane]
		}
		for phase, n := range l.ByPhase {
			sum.ByPhase[phase] += n
		}
		sum.OldestWaitingS = max(sum.OldestWaitingS, l.OldestWaitingS)
	}
	d := g.descs()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for name, l := range lanes {
		for _, phase := range events.Phases() { // a phase that a newer build has written is not counted
			gauge(d.tasks, float64(l.ByPhase[phase]), name, string(phase))
		}
		gauge(d.oldest, l.OldestWaitingS, name)
	}
	gauge(d.size, float64(q.Total))
	ready := 0.0
	if g.s.index.current.Load() {
		ready = 1
	}
	gauge(d.ready, ready)
}

func laneNames(lanes []provider.Lane) []string {
	names := make([]string, len(lanes))
	for i, l := range lanes {
		names[i] = l.Name
	}
	return names
}
