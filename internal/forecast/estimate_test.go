package forecast_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/forecast"
)

// queued is a fixture of a provider that has a queue: a wait of about a minute, a run of about five.
func queued(t *testing.T, r *rand.Rand) (s *fixture, draw func() (wait, run float64)) {
	draw = func() (wait, run float64) { return 60 * math.Exp(0.9*r.NormFloat64()), lognormal(4, 6, 1)(r) }
	s = newFixture(t)
	for i := range 200 {
		wait, run := draw()
		s.pending = append(s.pending,
			forecast.Sample{Class: class, At: s.now, Wait: seconds(wait), Run: seconds(run), Whole: seconds(wait + run)})
		if i%20 == 0 {
			s.flush()
		}
	}
	s.flush()
	return s, draw
}

// TestEstimateByStage: the range holds for tasks that are in the provider's queue, and for ones that run.
func TestEstimateByStage(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	s, draw := queued(t, r)
	f := s.model.Forecast(class)
	inside, asked := map[events.Phase]int{}, map[events.Phase]int{}
	for range 1500 {
		wait, run := draw()
		for gone := 0.0; gone < wait+run; gone += 45 {
			task := s.running(gone)
			if gone > wait {
				started := s.now.Add(-seconds(gone - wait))
				task.Phase, task.StartedAt = events.PhaseRunning, &started
			}
			e, ok := f.Estimate(task, s.now, events.Position{})
			if !ok {
				t.Fatal("no estimate")
			}
			asked[task.Phase]++
			if left := seconds(wait + run - gone); e.Earliest <= left && left <= e.Latest {
				inside[task.Phase]++
			}
		}
	}
	for phase, n := range asked {
		covered := float64(inside[phase]) / float64(n)
		t.Logf("%s: the range covers %.1f %% of %d", phase, 100*covered, n)
		if covered < 0.75 || covered > 0.86 {
			t.Errorf("%s: the range covers %.1f %%", phase, 100*covered)
		}
	}
}

func TestEstimate(t *testing.T) {
	s, _ := queued(t, rand.New(rand.NewPCG(4, 4)))
	f := s.model.Forecast(class)
	start := epoch.Add(-100 * time.Second)
	rows := []struct {
		phase events.Phase
		place events.Position
		ok    bool
		want  float64 // seconds to the end, about
	}{
		{events.PhaseWaiting, events.Position{}, true, 360},
		{events.PhaseWaiting, events.Position{Ahead: 99, WaitS: 1000}, true, 1360},
		// three rounds of about 385 s
		{events.PhaseWaiting, events.Position{Ahead: 99, WaitS: 10, Behind: 90, InFlight: 30}, true, 1510},
		{events.PhaseWaiting, events.Position{Ahead: 99, Behind: 90, InFlight: 30, EachS: 1000}, true, 3360},
		{events.PhaseWaiting, events.Position{Ahead: 99, WaitS: 3000, Behind: 90, InFlight: 30}, true, 3360},
		{
			events.PhaseWaiting,
			events.Position{WaitS: 30, Blocked: &events.Blocked{Reason: events.BlockedRequests}},
			true,
			390,
		},
		{events.PhaseWaiting, events.Position{Blocked: &events.Blocked{Reason: events.BlockedPaused}}, false, 0},
		{events.PhaseWaiting, events.Position{Blocked: &events.Blocked{Reason: events.BlockedCap}}, false, 0},
		{events.PhaseSubmitting, events.Position{}, true, 360},
		{events.PhaseProviderQueued, events.Position{}, true, 380},
		{events.PhaseRunning, events.Position{}, true, 195},
		{events.PhaseInDoubt, events.Position{}, false, 0},
		{events.PhaseParked, events.Position{}, false, 0},
		{events.PhaseCancelling, events.Position{}, false, 0},
		{events.PhaseDone, events.Position{}, false, 0},
	}
	for _, row := range rows {
		task := events.Task{Phase: row.phase, SubmittedAt: &start, Deadline: epoch.Add(time.Hour)}
		switch row.phase {
		case events.PhaseWaiting, events.PhaseSubmitting:
			task.SubmittedAt = nil
		case events.PhaseRunning:
			task.StartedAt = &start
		}
		e, ok := f.Estimate(task, epoch, row.place)
		if ok != row.ok || ok &&
			(math.Abs(e.Left.Seconds()/row.want-1) > 0.12 || !(e.Earliest < e.Left && e.Left < e.Latest)) {
			t.Errorf("%s %+v: %v to %v to %v, %t; want about %v s", row.phase, row.place, e.Earliest, e.Left, e.Latest, ok,
				row.want)
		}
		if ok {
			e.Fill(&task, epoch)
			if !task.ETAEarliest.Before(*task.ETA) || !task.ETA.Before(*task.ETALatest) || *task.EstimatedWaitS <= 0 {
				t.Errorf("%s: the record says %v, %v, %v, %v", row.phase, task.ETAEarliest, task.ETA, task.ETALatest,
					*task.EstimatedWaitS)
			}
		}
	}
}

func TestPace(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	steady := taught(t, lognormal(4, 8, 1), 150, r)
	busy := taught(t, lognormal(4, 8, 1), 150, r)
	for range 10 {
		busy.pollUntilEnd(lognormal(4, 8, 2)(r))
	}
	busy.flush()
	quiet := taught(t, lognormal(4, 8, 1), 150, r)
	quiet.now = quiet.now.Add(time.Hour) // nothing has ended since
	rows := []struct {
		name    string
		at      *fixture
		elapsed time.Duration
		want    events.Pace
	}{
		{"early", steady, time.Minute, events.PaceNormal},
		{"about the usual", steady, 6 * time.Minute, events.PaceNormal},
		{"slower than nine of ten", steady, 8 * time.Minute, events.PaceSlow},
		{"slower than all, others end", steady, 20 * time.Minute, events.PaceStuck},
		{"slower than all, nobody ends", quiet, 20 * time.Minute, events.PaceSlow},
		{"slow, like all of late", busy, 10 * time.Minute, events.PaceCongested},
		{"slower than all, like all of late", busy, 20 * time.Minute, events.PaceCongested},
		{"early, others slow", busy, time.Minute, events.PaceNormal},
		{"of what nothing is known", newFixture(t), 5 * time.Minute, events.PaceNormal},
		{"of what nothing is known, very long", newFixture(t), 40 * time.Minute, events.PaceSlow},
	}
	for _, row := range rows {
		if got := row.at.model.Forecast(class).Pace(row.elapsed, row.at.now.Add(-row.elapsed)); got != row.want {
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
	}
}
