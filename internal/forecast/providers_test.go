package forecast_test

import (
	"math"
	"math/rand/v2"
	"sort"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/forecast"
)

// A provider is how long a provider takes, in seconds.
type provider struct {
	name string
	// static is the middle of the polling guide's range for it, in seconds.
	static float64
	draw   func(r *rand.Rand) float64
	// fewer is by how many times fewer polls must do at equal lag. Two modes as wide as the guide's rows leave less to
	// gain: even who knows them exactly saves 1.8 times.
	fewer float64
}

// bell draws lognormal times of which nine in ten lie between low and high minutes.
func lognormal(low, high, times float64) func(*rand.Rand) float64 {
	median, sigma := times*60*math.Sqrt(low*high), math.Log(high/low)/(2*1.645)
	return func(r *rand.Rand) float64 { return median * math.Exp(sigma*r.NormFloat64()) }
}

func either(share float64, a, b func(*rand.Rand) float64) func(*rand.Rand) float64 {
	return func(r *rand.Rand) float64 {
		if r.Float64() < share {
			return a(r)
		}
		return b(r)
	}
}

// worlds are the three rows of the polling guide, a provider twice as fast and twice as slow as it says, and ones with
// two modes.
func providers() []provider {
	const target = 2.2
	return []provider{
		{"480p turbo", 180, lognormal(2, 4, 1), target},
		{"720p standard", 360, lognormal(4, 8, 1), target},
		{"1080p HD", 480, lognormal(6, 10, 1), target},
		{"720p, twice as fast", 360, lognormal(4, 8, 0.5), target},
		{"720p, twice as slow", 360, lognormal(4, 8, 2), target},
		{"720p, cold or warm", 360, either(0.7, lognormal(2.7, 3.7, 1), lognormal(7, 9, 1)), target},
		{"480p or 1080p", 360, either(0.7, lognormal(2, 4, 1), lognormal(6, 10, 1)), 1.6},
	}
}

var (
	class = forecast.Class{Provider: "minimax", TaskType: events.Video, Model: "MiniMax-Hailuo-2.3", Size: "s6-p768"}
	epoch = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	every = forecast.Pacing{Interval: 10 * time.Second}
)

// A fixture is a model that learns as a poller would: from what its own polls have noticed.
type fixture struct {
	testing.TB
	model  *forecast.Model
	stored map[string][]byte
	class  forecast.Class
	now    time.Time
	// pending is what flush is to take in.
	pending []forecast.Sample
}

func newFixture(tb testing.TB) *fixture {
	return &fixture{TB: tb, model: forecast.NewModel(), stored: map[string][]byte{}, class: class, now: epoch}
}

// teach takes samples in.
func (s *fixture) teach(samples ...forecast.Sample) {
	s.Helper()
	for _, key := range s.class.Keys() {
		value, err := s.model.Learn(key, s.stored[key], samples)
		if err == nil {
			s.stored[key] = value
			err = s.model.Put(key, value)
		}
		if err != nil {
			s.Fatal(err)
		}
	}
}

func (s *fixture) flush() {
	s.Helper()
	if len(s.pending) > 0 {
		s.teach(s.pending...)
	}
	s.pending = nil
}

// running is a task of the fixture's class, submitted elapsed seconds before the fixture's now.
func (s *fixture) running(elapsed float64) events.Task {
	submitted := s.now.Add(-seconds(elapsed))
	return events.Task{
		Provider: s.class.Provider, TaskType: s.class.TaskType, Model: s.class.Model, Phase: events.PhaseProviderQueued,
		SubmittedAt: &submitted, Deadline: submitted.Add(2 * time.Hour),
	}
}

// pollUntilEnd polls a task that takes the given seconds until a poll finds it ended, and keeps what was seen for
// flush.
func (s *fixture) pollUntilEnd(duration float64) (lag float64, polls int) {
	s.Helper()
	f := s.model.Forecast(s.class)
	at := 0.0
	for ; at < duration; polls++ {
		at += f.Schedule(forecast.Whole, every).Gap(seconds(at), 1).Seconds()
	}
	s.now = s.now.Add(seconds(at))
	unnoticed := f.DetectionLag(s.running(at), s.now, every)
	s.pending = append(s.pending, forecast.Sample{Class: s.class, At: s.now, Whole: seconds(at) - unnoticed})
	return at - duration, polls
}

// taught is a fixture after n tasks of a provider. As with a busy poller, most samples are stored a few at a time.
func taught(tb testing.TB, draw func(*rand.Rand) float64, n int, r *rand.Rand) *fixture {
	tb.Helper()
	s := newFixture(tb)
	for i := range n {
		s.pollUntilEnd(draw(r))
		if i < 10 || i%10 == 9 {
			s.flush()
		}
	}
	s.flush()
	return s
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// pollsOf returns when the polls of a schedule come, in seconds.
func pollsOf(s *forecast.Schedule) []float64 {
	var all []float64
	for at := 0.0; at < 3*3600; all = append(all, at) {
		at += s.Gap(seconds(at), 1).Seconds()
	}
	return all
}

// judge returns the mean lag and number of polls with which tasks are noticed.
func judge(pollTimes, tasks []float64) (lag, polls float64) {
	for _, takes := range tasks {
		i := sort.SearchFloat64s(pollTimes, takes)
		lag += pollTimes[i] - takes
		polls += float64(i + 1)
	}
	n := float64(len(tasks))
	return lag / n, polls / n
}

func draws(draw func(*rand.Rand) float64, n int, r *rand.Rand) []float64 {
	all := make([]float64, n)
	for i := range all {
		all[i] = draw(r)
	}
	return all
}
