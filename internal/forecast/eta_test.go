package forecast_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"reelay/events"
	"reelay/internal/forecast"
)

func quantile(all []float64, p float64) float64 {
	all = slices.Clone(all)
	slices.Sort(all)
	return all[min(len(all)-1, int(p*float64(len(all))))]
}

// TestETATable prints, with -v, how good the estimates are on tasks that nothing was learned from, asked for when a
// task is submitted and every minute until it ends; beside the middle of the polling guide's ranges.
func TestETATable(t *testing.T) {
	t.Logf("%-22s %10s %14s %14s %8s", "provider", "covered", "learned err s", "static err s", "share")
	var mine, static []float64
	hit, asked := 0, 0
	for _, w := range providers() {
		r := rand.New(rand.NewPCG(7, 13))
		s := taught(t, w.draw, 200, r)
		f := s.model.Forecast(class)
		inside, n := 0, 0
		var errs, others []float64
		for _, takes := range draws(w.draw, 800, r) {
			for gone := 0.0; gone < takes; gone += 60 {
				e, ok := f.Estimate(s.running(gone), s.now, events.Position{})
				if !ok {
					t.Fatal("no estimate")
				}
				left := takes - gone
				if e.Earliest.Seconds() <= left && left <= e.Latest.Seconds() {
					inside++
				}
				n++
				errs = append(errs, math.Abs(e.Left.Seconds()-left))
				others = append(others, math.Abs(max(0, w.static-gone)-left))
			}
		}
		covered := float64(inside) / float64(n)
		t.Logf("%-22s %8.1f %% %14.1f %14.1f %8.2f", w.name, 100*covered, quantile(errs, 0.5), quantile(others, 0.5),
			quantile(errs, 0.5)/quantile(others, 0.5))
		if covered < 0.75 || covered > 0.85 {
			t.Errorf("%s: the range covers %.1f %%, want 75 to 85", w.name, 100*covered)
		}
		mine, static = append(mine, errs...), append(static, others...)
		hit, asked = hit+inside, asked+n
	}
	a, b := quantile(mine, 0.5), quantile(static, 0.5)
	t.Logf("%-22s %8.1f %% %14.1f %14.1f %8.2f", "all", 100*float64(hit)/float64(asked), a, b, a/b)
	if a > b/2 {
		t.Errorf("the median error is %.1f s, that of the static table %.1f s: want at most half", a, b)
	}
}

// TestFewSamples: who knows little says so.
func TestFewSamples(t *testing.T) {
	const providers = 200
	for _, n := range []int{1, 2, 3, 5, 10, 30} {
		inside, width := 0, 0.0
		for seed := range uint64(providers) {
			r := rand.New(rand.NewPCG(seed, 17))
			median, sigma := 180*math.Exp(0.8*r.NormFloat64()), 0.12+0.3*r.Float64()
			s := newFixture(t)
			one := func() float64 { return median * math.Exp(sigma*r.NormFloat64()) }
			for range n {
				s.pending = append(s.pending, forecast.Sample{Class: class, At: s.now, Whole: seconds(one())})
			}
			s.flush()
			e, _ := s.model.Forecast(class).Estimate(s.running(0), s.now, events.Position{})
			if takes := seconds(one()); e.Earliest <= takes && takes <= e.Latest {
				inside++
			}
			width += math.Log(e.Latest.Seconds()/e.Earliest.Seconds()) / providers
		}
		covered := float64(inside) / providers
		t.Logf("%2d samples: the range covers %.0f %%, latest is %.1f times earliest", n, 100*covered, math.Exp(width))
		if covered < 0.75 || covered > 0.92 {
			t.Errorf("%d samples: the range covers %.0f %%", n, 100*covered)
		}
	}
}
