package taskstore

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"reelay/events"
)

// TestEnds: a task that has ended counts once, by what became of it; models beyond a number share a label.
func TestEnds(t *testing.T) {
	reg := prometheus.NewRegistry()
	e := newEnds(reg)
	start := time.Date(2026, time.May, 1, 12, 0, 0, 0, time.UTC)
	at := func(seconds int) *time.Time { v := start.Add(time.Duration(seconds) * time.Second); return &v }
	ended := func(s events.Status, seconds int, usd float64) events.Task {
		return events.Task{
			Provider: "fal", Lane: "fal-2", Model: "kling", Status: s, SubmittedAt: at(0), CompletedAt: at(seconds),
			Forecast: &events.Forecast{Earliest: *at(10), ETA: *at(15), Latest: *at(20)},
			Cost:     &events.Cost{ActualUSD: &usd},
		}
	}
	for _, seconds := range []int{9, 10, 20, 21} {
		e.count(ended(events.StatusCompleted, seconds, 0.5))
	}
	e.count(ended(events.StatusFailed, 15, 0.25))
	e.count(events.Task{Provider: "fal", Lane: "fal-2", Model: "kling", Status: events.StatusCancelled})
	const labels = `lane="fal-2",model="kling",provider="fal"`
	want := strings.NewReplacer("LABELS", labels).Replace(`
# HELP reelay_spent_usd_total US dollars that ended tasks have cost, as far as was known at their end.
# TYPE reelay_spent_usd_total counter
reelay_spent_usd_total{LABELS} 2.25
# HELP reelay_tasks_ended_total Tasks that have ended, by status.
# TYPE reelay_tasks_ended_total counter
reelay_tasks_ended_total{LABELS,status="cancelled"} 1
reelay_tasks_ended_total{LABELS,status="completed"} 4
reelay_tasks_ended_total{LABELS,status="failed"} 1
`)
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "reelay_spent_usd_total",
		"reelay_tasks_ended_total"); err != nil {
		t.Error(err)
	}
	for result, want := range map[events.ForecastResult]float64{
		events.ForecastInside: 2, events.ForecastEarly: 1, events.ForecastLate: 1,
	} {
		if got := testutil.ToFloat64(e.forecasts.WithLabelValues("fal", "fal-2", "kling", string(result))); got != want {
			t.Errorf("%s: %v, want %v", result, got, want)
		}
	}
	for i := range 2 * maxModels {
		e.count(events.Task{Provider: "fal", Lane: "fal", Model: fmt.Sprint("model-", i), Status: events.StatusFailed})
	}
	// three of kling, then models of their own and one for all others
	if n := testutil.CollectAndCount(e.tasks); n != 3+maxModels {
		t.Errorf("%d series", n)
	}
	if got := testutil.ToFloat64(e.tasks.WithLabelValues("fal", "fal", otherModel, "failed")); got != maxModels+1 {
		t.Errorf("%v tasks of other models", got)
	}
}
