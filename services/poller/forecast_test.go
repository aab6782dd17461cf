package poller

import (
	"log/slog"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/almanac"
)

func TestStretched(t *testing.T) {
	rows := []struct {
		watched int
		budget  float64
		want    time.Duration
	}{
		{0, 50, 10 * time.Second},
		{400, 50, 10 * time.Second},
		{1_000, 50, 20 * time.Second},
		{10_000, 50, 200 * time.Second},
	}
	for _, row := range rows {
		p := pace{watched: row.watched}
		if got := p.stretched(10*time.Second, row.budget); got != row.want {
			t.Errorf("%d tasks, %v looks a second: %v, want %v", row.watched, row.budget, got, row.want)
		}
	}
}

// TestNextLookFixed: in trouble, or on its way out, a task is looked at at the fixed interval, whatever was learned.
func TestNextLookFixed(t *testing.T) {
	s := &Service{almanac: almanac.New(almanac.Options{Log: slog.New(slog.DiscardHandler)})}
	l := &lane{Lane: Lane{Interval: 10 * time.Second, Budget: defaultBudget}}
	now := time.Now()
	submitted := now.Add(-time.Minute)
	good := events.Task{TaskType: events.Video, Phase: events.PhaseRunning, SubmittedAt: &submitted, Deadline: now.Add(3 * time.Second)}
	with := func(change func(*events.Task)) events.Task { task := good; change(&task); return task }
	rows := []struct {
		name string
		task events.Task
		want time.Duration
	}{
		{"running, with a deadline before", good, 3 * time.Second},
		{"in trouble", with(func(t *events.Task) { t.Trouble = &events.Trouble{} }), 10 * time.Second},
		{"to be cancelled", with(func(t *events.Task) { t.Cancel = &events.CancelState{} }), 10 * time.Second},
		{"its result is fetched", with(func(t *events.Task) { t.Phase = events.PhaseFetching }), 10 * time.Second},
		{"ended, and watched for a late result", with(func(t *events.Task) { t.Phase = events.PhaseDone }), 10 * time.Second},
	}
	for _, row := range rows {
		if got := s.nextLook(l, row.task, now, 1); got != row.want {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
	}
}
