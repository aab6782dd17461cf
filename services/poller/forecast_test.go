package poller

import (
	"testing"
	"time"

	"reelay/events"
)

func TestStretched(t *testing.T) {
	rows := []struct {
		watched int
		budget  float64
		limits  events.PollLimits
		want    time.Duration
	}{
		{0, 50, events.PollLimits{}, 10 * time.Second},
		{400, 50, events.PollLimits{}, 10 * time.Second},
		{1_000, 50, events.PollLimits{}, 20 * time.Second},
		{10_000, 50, events.PollLimits{}, 200 * time.Second},
		{1_000, 50, events.PollLimits{PerSecond: 200}, 10 * time.Second},
		{1_000, 50, events.PollLimits{PerSecond: 10}, 100 * time.Second},
		{0, 50, events.PollLimits{Spacing: events.Duration(30 * time.Second)}, 30 * time.Second},
		{0, 50, events.PollLimits{Spacing: events.Duration(time.Second)}, 10 * time.Second},
	}
	for _, row := range rows {
		p := pace{watched: row.watched}
		p.limit(row.limits)
		if got := p.stretched(10*time.Second, row.budget); got != row.want {
			t.Errorf("%d tasks, %v looks a second: %v, want %v", row.watched, row.budget, got, row.want)
		}
	}
}

// TestSample: when a task began is not learned where looks were too rare to tell.
func TestSample(t *testing.T) {
	good, bad := health{}.afterEnds(repeated(true, 8)...), health{}.afterEnds(repeated(false, 8)...)
	start := good.at
	at := func(seconds int) *time.Time { v := start.Add(time.Duration(seconds) * time.Second); return &v }
	for _, row := range []struct {
		name     string
		health   health
		callback bool
		run      time.Duration
	}{
		{"callbacks come", good, true, 0},
		{"callbacks are lost", bad, true, 70 * time.Second},
		{"none was asked for", good, false, 70 * time.Second},
	} {
		l := &lane{health: row.health}
		task := events.Task{
			Status: events.StatusCompleted, SubmittedAt: at(0), StartedAt: at(30), CompletedAt: at(100), Result: &events.Result{}, ProviderID: "r1",
			Attempts: []events.Attempt{{N: 1, ProviderID: "r1", Callback: row.callback}},
		}
		s, ok := l.sample(task, 0, start)
		if !ok || s.Whole != 100*time.Second || s.Run != row.run || (s.Wait == 0) != (row.run == 0) {
			t.Errorf("%s: wait %v, run %v, whole %v, %t", row.name, s.Wait, s.Run, s.Whole, ok)
		}
	}
}

// TestMayGlance: what is some seconds old never stands in for what has to be known now.
func TestMayGlance(t *testing.T) {
	hook := cause{received: time.Unix(1, 0)}
	for _, p := range events.Phases() {
		task := events.Task{Phase: p}
		if got := mayGlance(task, byClock); got != (p == events.PhaseRunning) {
			t.Errorf("%s: %t", p, got)
		}
		if mayGlance(task, hook) {
			t.Errorf("%s: a callback is answered by an old list", p)
		}
	}
	if mayGlance(events.Task{Phase: events.PhaseRunning, Trouble: &events.Trouble{}}, byClock) {
		t.Error("a task in trouble is answered by an old list")
	}
}
