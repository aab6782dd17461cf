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
	backoffs *prometheus.CounterVec
	// sharedIDs should stay 0.
	sharedIDs *prometheus.CounterVec
	orphaned  prometheus.Counter
	paused    *prometheus.GaugeVec
	// breakerOpen is known by the process alone that dispatches the lane.
	breakerOpen *prometheus.GaugeVec
	leads       *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		reg.MustRegister(c)
		return c
	}
	byLane := func(name, help string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{"lane"})
		reg.MustRegister(g)
		return g
	}
	orphaned := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "reelay_orphaned_outcomes_total",
		Help: "Outcomes of paid requests whose task has no record; they stay in the journal.",
	})
	reg.MustRegister(orphaned)
	return metrics{
		orphaned: orphaned,
		paused:   byLane("reelay_lane_paused", "1 while a key in the bucket reelay_lanes pauses the lane."),
		breakerOpen: byLane("reelay_lane_breaker_open",
			"1 while too many outcomes of the lane's paid requests are unknown and one a minute is tried; set by the process "+
				"that dispatches it."),
		leads:    byLane("reelay_lane_dispatched", "1 while this process dispatches the lane."),
		accepted: counter("reelay_requests_accepted_total", "Requests that became a task.", "lane"),
		rejected: counter("reelay_requests_rejected_total", "Requests and commands that were refused, by code.", "code"),
		submits: counter("reelay_submits_total",
			"Paid requests by outcome: accepted, refused, in_doubt, not_sent; breaker_open for those that were not tried.",
			"lane", "outcome"),
		sharedIDs: counter("reelay_shared_provider_ids_total", "Paid requests answered with an id that another task has.", "lane"),
		backoffs: counter("reelay_lane_backoffs_total", "Refusals that paused a limit group or the lane, by kind.", "lane",
			"kind"),
	}
}

// gauge returns the value of a gauge that says whether something is so.
func gauge(so bool) float64 {
	if so {
		return 1
	}
	return 0
}

// codeLabel keeps the label set closed.
func codeLabel(code string) string {
	known := []string{
		events.CodeInvalidRequest, events.CodePayloadTooLarge, events.CodeUnknownProvider, events.CodeUnknownModel,
		events.CodeNotConfigured, events.CodeNotFound, events.CodeConflict, events.CodeIdempotencyConflict,
		events.CodeUnsupported, events.CodeOverLimit, events.CodeInternal,
	}
	if slices.Contains(known, code) {
		return code
	}
	return "other"
}
