package forecast_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"reelay/internal/forecast"
)

// learned draws a forecast that has learned some durations, of any size.
func learned(t *rapid.T, tb testing.TB) *forecast.Forecast {
	s := newFixture(tb)
	n := rapid.IntRange(0, 12).Draw(t, "samples")
	for range n {
		s.pending = append(s.pending,
			forecast.Sample{
				Class: class, At: epoch,
				Whole: seconds(math.Exp(rapid.Float64Range(-3, 14).Draw(t, "log duration"))),
			})
	}
	s.flush()
	return s.model.Forecast(class)
}

// TestCurve: more time, more certainty; and what remains is measured from now.
func TestCurve(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := learned(rt, t).Curve(forecast.Whole)
		elapsed := seconds(math.Exp(rapid.Float64Range(-5, 14).Draw(rt, "log elapsed")))
		p := rapid.Float64Range(0.02, 0.98).Draw(rt, "p")
		left := c.Remaining(elapsed, p)
		if left < 0 || left > c.Remaining(elapsed, p+0.01) {
			rt.Fatalf("after %v, %v remain at %v and %v at %v", elapsed, left, p, c.Remaining(elapsed, p+0.01), p+0.01)
		}
		begun := c.Longer(elapsed)
		if begun > 1 || begun < 0 || c.Longer(elapsed+time.Second) > begun {
			rt.Fatalf("%v take longer than %v, %v longer than a second more", begun, elapsed, c.Longer(elapsed+time.Second))
		}
		if got := 1 - c.Longer(elapsed+left)/begun; begun > 1e-250 && left > time.Microsecond && math.Abs(got-p) > 0.01 {
			rt.Fatalf("after %v and %v more %v have ended, want %v", elapsed, left, got, p)
		}
	})
}

// TestSketch: the quantiles of what was learned are those of what was drawn.
func TestSketch(t *testing.T) {
	s, r := newFixture(t), rand.New(rand.NewPCG(1, 1))
	draw := lognormal(4, 8, 1)
	for range 400 {
		s.pending = append(s.pending, forecast.Sample{Class: class, At: epoch, Whole: seconds(draw(r))})
	}
	s.flush()
	c, all := s.model.Forecast(class).Curve(forecast.Whole), draws(draw, 4000, r)
	for _, p := range []float64{0.1, 0.5, 0.9} {
		if got, want := c.Remaining(0, p).Seconds(), quantile(all, p); math.Abs(math.Log(got/want)) > 0.06 {
			t.Errorf("quantile %v: %.0f s, want about %.0f", p, got, want)
		}
	}
}
