package forecast_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"reelay/internal/forecast"
)

// TestPollTable prints, with -v, what learned polls cost beside fixed ones, on tasks that nothing was learned from.
func TestPollTable(t *testing.T) {
	const runs = 3
	t.Logf("%-22s %17s %26s %17s %17s", "", "every 10 s", "learned, interval 10 s", "at equal lag", "at equal polls")
	t.Logf("%-22s %8s %8s %8s %8s %8s %8s %8s %8s %8s", "provider", "lag s", "polls", "lag s", "p95 s", "polls", "polls",
		"fewer", "lag s", "less")
	for _, w := range providers() {
		var sum row
		for seed := range uint64(runs) {
			sum.add(compare(t, w, seed))
		}
		sum.scale(1.0 / runs)
		t.Logf("%-22s %8.2f %8.1f %8.2f %8.2f %8.1f %8.1f %7.2fx %8.2f %7.2fx", w.name, sum[fixedLag], sum[fixedPolls],
			sum[lag], sum[late], sum[learnedPolls], sum[equalLag], sum[fixedPolls]/sum[equalLag], sum[equalPolls],
			sum[fixedLag]/sum[equalPolls])
		if sum[lag] > 1.05*sum[fixedLag] {
			t.Errorf("%s: ends are noticed after %.2f s, every 10 s after %.2f s", w.name, sum[lag], sum[fixedLag])
		}
		if got := sum[fixedPolls] / sum[equalLag]; got < w.fewer {
			t.Errorf("%s: %.2f times fewer polls at equal lag, want %.1f", w.name, got, w.fewer)
		}
	}
}

// The columns of a row: by a fixed interval, by the learned schedule with its mean lag and its 95 % quantile, the polls
// it takes at the lag of the fixed one, and its lag with as many polls.
const (
	fixedLag = iota
	fixedPolls
	lag
	late
	learnedPolls
	equalLag
	equalPolls
	columns
)

type row [columns]float64

func (r *row) add(other row) {
	for i := range r {
		r[i] += other[i]
	}
}

func (r *row) scale(by float64) {
	for i := range r {
		r[i] *= by
	}
}

func compare(t *testing.T, w provider, seed uint64) (c row) {
	r := rand.New(rand.NewPCG(seed, 11))
	f := taught(t, w.draw, 200, r).model.Forecast(class)
	tasks := draws(w.draw, 2000, r)
	learned := func(interval float64) (lag, polls float64) {
		return judge(pollsOf(f.Schedule(forecast.Whole, forecast.Pacing{Interval: seconds(interval)})), tasks)
	}
	c[fixedLag], c[fixedPolls] = judge(fixed(10), tasks)
	c[lag], c[learnedPolls] = learned(10)
	c[late] = percentile(pollsOf(f.Schedule(forecast.Whole, every)), tasks, 0.95)
	_, c[equalLag] = learned(search(func(i float64) bool { lag, _ := learned(i); return lag < c[fixedLag] }))
	c[equalPolls], _ = learned(search(func(i float64) bool { _, polls := learned(i); return polls > c[fixedPolls] }))
	return c
}

func fixed(interval float64) []float64 {
	var all []float64
	for at := interval; at < 3*3600; at += interval {
		all = append(all, at)
	}
	return all
}

// search returns the interval, in seconds, up to which more holds.
func search(more func(interval float64) bool) float64 {
	low, high := 2.0, 20.0
	for range 10 {
		if mid := (low + high) / 2; more(mid) {
			low = mid
		} else {
			high = mid
		}
	}
	return (low + high) / 2
}

func percentile(pollTimes, tasks []float64, p float64) float64 {
	lags := make([]float64, len(tasks))
	for i, takes := range tasks {
		lags[i], _ = judge(pollTimes, []float64{takes})
	}
	return quantile(lags, p)
}

// TestDrift: a provider that becomes twice as fast or as slow is followed within 20 tasks.
func TestDrift(t *testing.T) {
	const seeds, known, since, until = 12, 120, 20, 50
	for _, row := range []struct {
		name  string
		times float64
	}{{"twice as fast", 0.5}, {"twice as slow", 2}} {
		first, then, polls := 0.0, 0.0, 0
		off := 0.0 // of the posterior median, in the logarithm
		for seed := range uint64(seeds) {
			r := rand.New(rand.NewPCG(seed, 3))
			s := taught(t, lognormal(4, 8, 1), known, r)
			draw := lognormal(4, 8, row.times)
			for i := range until {
				if i == since {
					median := s.model.Forecast(class).Curve(forecast.Whole).Remaining(0, 0.5)
					off += math.Abs(math.Log(median.Seconds()/(row.times*60*math.Sqrt(4*8)))) / seeds
				}
				lag, n := s.pollUntilEnd(draw(r))
				s.flush()
				if i < since {
					first += lag / seeds / since
				} else {
					then += lag / seeds / (until - since)
					polls += n
				}
			}
		}
		t.Logf("%s: lag %.1f s over the first %d tasks, %.1f s over the next %d at %.1f polls; fixed 5 s", row.name, first,
			since, then, until-since, float64(polls)/seeds/(until-since))
		if then > 7.5 {
			t.Errorf("%s: lag %.1f s after %d tasks, want at most 7.5", row.name, then, since)
		}
		if off > 0.1 {
			t.Errorf("%s: the median is %.2f times off after %d tasks", row.name, math.Exp(off), since)
		}
		if first > 30 {
			t.Errorf("%s: lag %.1f s over the first %d tasks", row.name, first, since)
		}
	}
}

// TestMissedCallbacks: with reliable callbacks polls are few, and an end without one is still noticed.
func TestMissedCallbacks(t *testing.T) {
	for _, w := range providers() {
		r := rand.New(rand.NewPCG(9, 4))
		schedule := taught(t, w.draw, 100, r).model.Forecast(class).Schedule(forecast.Whole, every)
		for _, missed := range []float64{0, 0.02, 0.1, 0.5} {
			polls, worst := 0, 0.0
			const n = 500
			for range n {
				takes := w.draw(r)
				at := 0.0
				for {
					if at += schedule.Gap(seconds(at), missed).Seconds(); at >= takes {
						break // the callback was heard
					}
					polls++
				}
				worst = max(worst, at-takes)
			}
			per := float64(polls) / n
			t.Logf("%-22s %3.0f %% missed: %.2f polls a task; one missed is noticed within %s", w.name, 100*missed, per,
				seconds(worst).Round(time.Second))
			if missed <= 0.02 && per > 1.5 {
				t.Errorf("%s: %.2f polls a task with %v of the callbacks missing, want at most 1.5", w.name, per, missed)
			}
		}
	}
}

func ExampleStretch() {
	fmt.Println(forecast.Stretch(100, 10*time.Second, 50), forecast.Stretch(10_000, 10*time.Second, 50),
		forecast.Stretch(10_000, 10*time.Second, 0))
	// Output: 1 20 1
}
