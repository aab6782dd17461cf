package taskstore

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"reelay/events"
)

const (
	// maxModels bounds the models that have a label of their own: requests may name any. The others share otherModel.
	maxModels  = 100
	otherModel = "other"
)

// ends counts the tasks that this process has ended: how, how fast, at what cost, and how their forecasts turned out.
type ends struct {
	tasks     *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	spent     *prometheus.CounterVec
	forecasts *prometheus.CounterVec

	mu     sync.Mutex
	models map[string]struct{}
}

func newEnds(reg prometheus.Registerer) *ends {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		reg.MustRegister(c)
		return c
	}
	e := &ends{
		models: map[string]struct{}{},
		tasks: counter("reelay_tasks_ended_total", "Tasks that have ended, by status.", "provider", "lane", "model",
			"status"),
		spent: counter("reelay_spent_usd_total",
			"US dollars that ended tasks have cost, as far as was known at their end.", "provider", "lane", "model"),
		forecasts: counter("reelay_forecasts_total",
			"Completed tasks by how the forecast of their end has turned out that was made when the provider accepted them: "+
				"inside its band, early or late. Of good ones eight in ten are inside.", "provider", "lane", "model", "result"),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "reelay_task_duration_seconds", Help: "Time from a provider's acceptance of a task to its completion.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 14),
		}, []string{"provider", "lane", "model"}),
	}
	reg.MustRegister(e.duration)
	return e
}

// count counts a task that has just ended.
func (e *ends) count(t events.Task) {
	model := e.modelLabel(t.Model)
	e.tasks.WithLabelValues(t.Provider, t.Lane, model, string(t.Status)).Inc()
	e.spent.WithLabelValues(t.Provider, t.Lane, model).Add(max(0, t.SpentUSD()))
	if t.Status != events.StatusCompleted || t.CompletedAt == nil || t.SubmittedAt == nil {
		return
	}
	e.duration.WithLabelValues(t.Provider, t.Lane, model).Observe(max(0, t.CompletedAt.Sub(*t.SubmittedAt).Seconds()))
	if t.Forecast != nil {
		e.forecasts.WithLabelValues(t.Provider, t.Lane, model, string(t.Forecast.Result(*t.CompletedAt))).Inc()
	}
}

// modelLabel keeps the label set bounded.
func (e *ends) modelLabel(model string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, known := e.models[model]; !known {
		if len(e.models) >= maxModels {
			return otherModel
		}
		e.models[model] = struct{}{}
	}
	return model
}
