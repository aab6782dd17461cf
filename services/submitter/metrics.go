package submitter

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"reelay/events"
)

type metrics struct {
	accepted *prometheus.CounterVec
	rejected *prometheus.CounterVec
	submits  *prometheus.CounterVec
	held     *prometheus.CounterVec
	orphans  prometheus.Counter
	paused   *prometheus.GaugeVec
	broken   *prometheus.GaugeVec
	leads    *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		reg.MustRegister(c)
		return c
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{"lane"})
		reg.MustRegister(g)
		return g
	}
	orphans := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "reelay_orphans_total", Help: "Outcomes of paid requests whose task has no record; they stay in the journal.",
	})
	reg.MustRegister(orphans)
	return metrics{
		orphans:  orphans,
		paused:   gauge("reelay_lane_paused", "1 while a key in the bucket reelay_lanes pauses the lane."),
		broken:   gauge("reelay_lane_broken", "1 while too many outcomes of the lane's paid requests are unknown and one a minute is tried; told by who dispatches it."),
		leads:    gauge("reelay_lane_dispatched", "1 while this process dispatches the lane."),
		accepted: counter("reelay_requests_accepted_total", "Requests that became a task.", "lane"),
		rejected: counter("reelay_requests_rejected_total", "Requests and commands that were refused, by code.", "code"),
		submits:  counter("reelay_submits_total", "Paid requests by outcome: accepted, refused, in_doubt, not_sent.", "lane", "outcome"),
		held:     counter("reelay_lane_held_total", "Refusals of the whole account, by kind.", "lane", "kind"),
	}
}

// codeLabel keeps the label set closed.
func codeLabel(code string) string {
	known := []string{
		events.CodeInvalidRequest, events.CodePayloadTooLarge, events.CodeUnknownProvider, events.CodeUnknownModel,
		events.CodeNotConfigured, events.CodeNotFound, events.CodeConflict, events.CodeIdempotencyConflict, events.CodeInternal,
	}
	if slices.Contains(known, code) {
		return code
	}
	return "other"
}
