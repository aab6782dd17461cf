package forecast_test

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"reelay/events"
	"reelay/internal/forecast"
)

// TestGapBounds: whatever was learned, a gap is within its bounds, the same each time, and no shorter where callbacks
// come.
func TestGapBounds(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := learned(rt, t).Schedule(forecast.Whole,
			forecast.Pacing{Interval: 10 * time.Second, Spacing: 5 * time.Second, Cap: time.Minute})
		elapsed := seconds(math.Exp(rapid.Float64Range(-5, 14).Draw(rt, "log elapsed")))
		gap := s.Gap(elapsed, 1)
		if gap < 5*time.Second || gap > time.Minute || gap != s.Gap(elapsed, 1) {
			rt.Fatalf("after %v: %v", elapsed, gap)
		}
		if thin := s.Gap(elapsed, rapid.Float64Range(0, 1).Draw(rt, "missed")); thin < gap || thin > 10*time.Minute {
			rt.Fatalf("after %v: %v without callbacks, %v with", elapsed, gap, thin)
		}
	})
}

// TestUnknownPace: of what nothing is known, polls come no rarer than at the fixed interval.
func TestUnknownPace(t *testing.T) {
	s := forecast.NewModel().Forecast(class).Schedule(forecast.Whole, every)
	for at := time.Duration(0); at < time.Hour; at += 7 * time.Second {
		if gap := s.Gap(at, 1); gap > every.Interval {
			t.Fatalf("after %v the next poll comes in %v", at, gap)
		}
	}
}

// TestShortInterval: an interval that is nothing beside the tasks, or is nothing, gives a schedule all the same.
func TestShortInterval(t *testing.T) {
	s := newFixture(t)
	s.teach(forecast.Sample{Class: class, At: epoch, Whole: 100 * time.Hour})
	for _, interval := range []time.Duration{-time.Second, 0, time.Microsecond, 500 * time.Millisecond} {
		gap := s.model.Forecast(class).Schedule(forecast.Whole, forecast.Pacing{Interval: interval}).Gap(time.Hour, 1)
		if gap <= 0 || gap > max(9*interval, time.Second) {
			t.Errorf("every %v: %v", interval, gap)
		}
	}
}

func TestNext(t *testing.T) {
	s := newFixture(t)
	for range 60 {
		s.pending = append(s.pending, forecast.Sample{
			Class: class, At: epoch, Wait: 20 * time.Second, Run: 280 * time.Second, Whole: 300 * time.Second,
		})
	}
	s.flush()
	f := s.model.Forecast(class)
	in := func(d time.Duration) *time.Time { at := epoch.Add(d); return &at }
	rows := []struct {
		name     string
		phase    events.Phase
		ago      time.Duration // remainingOf the submit
		started  *time.Time
		deadline time.Duration
		start    *time.Time
		missed   float64
		least    time.Duration
		most     time.Duration
	}{
		{
			"long before the end", events.PhaseRunning, time.Minute, in(-40 * time.Second), time.Hour, nil, 1, 30 * time.Second,
			90 * time.Second,
		},
		{
			"about the end", events.PhaseRunning, 300 * time.Second, in(-280 * time.Second), time.Hour, nil, 1, 2 * time.Second,
			8 * time.Second,
		},
		{
			"late, but running only now", events.PhaseRunning, 800 * time.Second, in(-40 * time.Second), time.Hour, nil, 1,
			30 * time.Second, 90 * time.Second,
		},
		{
			"as late, and not begun", events.PhaseProviderQueued, 800 * time.Second, nil, time.Hour, nil, 1, 60 * time.Second,
			90 * time.Second,
		},
		{
			"a deadline before", events.PhaseRunning, time.Minute, in(-40 * time.Second), 7 * time.Second, nil, 1,
			7 * time.Second, 7 * time.Second,
		},
		{
			"a start deadline before", events.PhaseProviderQueued, time.Minute, nil, time.Hour, in(9 * time.Second), 1,
			9 * time.Second, 9 * time.Second,
		},
		{
			"one that was kept", events.PhaseRunning, time.Minute, in(-40 * time.Second), time.Hour, in(9 * time.Second), 1,
			30 * time.Second, 90 * time.Second,
		},
		{
			"a deadline gone", events.PhaseRunning, time.Minute, in(-40 * time.Second), -time.Second, nil, 1, 30 * time.Second,
			90 * time.Second,
		},
		{
			"with callbacks", events.PhaseRunning, time.Minute, in(-40 * time.Second), time.Hour, nil, 0.01, 4 * time.Minute,
			10 * time.Minute,
		},
		{"not at the provider", events.PhaseParked, time.Minute, nil, time.Hour, nil, 1, 10 * time.Second, 10 * time.Second},
	}
	for _, row := range rows {
		submitted := epoch.Add(-row.ago)
		task := events.Task{
			Phase: row.phase, SubmittedAt: &submitted, StartedAt: row.started, Deadline: epoch.Add(row.deadline),
			StartDeadline: row.start,
		}
		if got := f.Next(task, epoch, every, row.missed); got < row.least || got > row.most {
			t.Errorf("%s: %v, want %v to %v", row.name, got, row.least, row.most)
		}
	}
}

func BenchmarkNext(b *testing.B) {
	s := newFixture(b)
	for range 60 {
		s.pending = append(s.pending, forecast.Sample{Class: class, At: epoch, Whole: 300 * time.Second})
	}
	s.flush()
	task := s.running(200)
	for b.Loop() {
		s.model.Forecast(class).Next(task, epoch, every, 1)
	}
}

// BenchmarkUpdate is one sample on each of three levels, and the schedule that follows from it.
func BenchmarkUpdate(b *testing.B) {
	s, i := newFixture(b), 0
	for b.Loop() {
		i++
		s.teach(forecast.Sample{Class: class, At: epoch, Whole: seconds(300 + float64(i%50))})
		s.model.Forecast(class).Schedule(forecast.Whole, every)
	}
}
