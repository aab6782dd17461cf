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

// A world is how long a provider takes, in seconds.
type world struct {
	name string
	// static is the middle of the polling guide's range for it, in seconds.
	static float64
	draw   func(r *rand.Rand) float64
	// fewer is by how many times fewer looks must do at equal lag. Two humps as wide as the guide's rows leave less to gain: even
	// who knows them exactly saves 1.8 times.
	fewer float64
}

// bell draws lognormal times of which nine in ten lie between low and high minutes.
func bell(low, high, times float64) func(*rand.Rand) float64 {
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

// worlds are the three rows of the polling guide, a provider twice as fast and twice as slow as it says, and ones with two humps.
func worlds() []world {
	const target = 2.2
	return []world{
		{"480p turbo", 180, bell(2, 4, 1), target},
		{"720p standard", 360, bell(4, 8, 1), target},
		{"1080p HD", 480, bell(6, 10, 1), target},
		{"720p, twice as fast", 360, bell(4, 8, 0.5), target},
		{"720p, twice as slow", 360, bell(4, 8, 2), target},
		{"720p, cold or warm", 360, either(0.7, bell(2.7, 3.7, 1), bell(7, 9, 1)), target},
		{"480p or 1080p", 360, either(0.7, bell(2, 4, 1), bell(6, 10, 1)), 1.6},
	}
}

var (
	class = forecast.Class{Provider: "minimax", TaskType: events.Video, Model: "MiniMax-Hailuo-2.3", Size: "s6-p768"}
	epoch = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	every = forecast.Pacing{Interval: 10 * time.Second}
)

// A school is an atlas that learns as a poller would: from what its own looks have noticed.
type school struct {
	testing.TB
	atlas  *forecast.Atlas
	stored map[string][]byte
	class  forecast.Class
	now    time.Time
	// pending is what flush is to take in.
	pending []forecast.Sample
}

func newSchool(tb testing.TB) *school {
	return &school{TB: tb, atlas: forecast.NewAtlas(), stored: map[string][]byte{}, class: class, now: epoch}
}

// teach takes samples in.
func (s *school) teach(samples ...forecast.Sample) {
	s.Helper()
	for _, key := range s.class.Keys() {
		value, err := s.atlas.Learn(key, s.stored[key], samples)
		if err == nil {
			s.stored[key] = value
			err = s.atlas.Put(key, value)
		}
		if err != nil {
			s.Fatal(err)
		}
	}
}

func (s *school) flush() {
	s.Helper()
	if len(s.pending) > 0 {
		s.teach(s.pending...)
	}
	s.pending = nil
}

// running is a task of the school's class, submitted elapsed seconds before the school's now.
func (s *school) running(elapsed float64) events.Task {
	submitted := s.now.Add(-seconds(elapsed))
	return events.Task{
		Provider: s.class.Provider, TaskType: s.class.TaskType, Model: s.class.Model, Phase: events.PhaseProviderQueued,
		SubmittedAt: &submitted, Deadline: submitted.Add(2 * time.Hour),
	}
}

// live looks at a task that takes the given seconds until a look finds it ended, and keeps what was seen for flush.
func (s *school) live(takes float64) (lag float64, looks int) {
	s.Helper()
	f := s.atlas.Forecast(s.class)
	at := 0.0
	for ; at < takes; looks++ {
		at += f.Schedule(forecast.Whole, every).Gap(seconds(at), 1).Seconds()
	}
	s.now = s.now.Add(seconds(at))
	unseen := f.Unseen(s.running(at), s.now, every)
	s.pending = append(s.pending, forecast.Sample{Class: s.class, At: s.now, Whole: seconds(at) - unseen})
	return at - takes, looks
}

// taught is a school after n tasks of a world. As with a busy poller, most samples are stored a few at a time.
func taught(tb testing.TB, draw func(*rand.Rand) float64, n int, r *rand.Rand) *school {
	tb.Helper()
	s := newSchool(tb)
	for i := range n {
		s.live(draw(r))
		if i < 10 || i%10 == 9 {
			s.flush()
		}
	}
	s.flush()
	return s
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// looks returns when the looks of a schedule come, in seconds.
func looksOf(s *forecast.Schedule) []float64 {
	var all []float64
	for at := 0.0; at < 3*3600; all = append(all, at) {
		at += s.Gap(seconds(at), 1).Seconds()
	}
	return all
}

// judge returns the mean lag and number of looks with which tasks are noticed.
func judge(looks, tasks []float64) (lag, polls float64) {
	for _, takes := range tasks {
		i := sort.SearchFloat64s(looks, takes)
		lag += looks[i] - takes
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
