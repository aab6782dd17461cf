package poller

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var noon = time.Date(2026, time.May, 1, 12, 0, 0, 0, time.UTC)

// after returns the health after ends that callbacks brought (true) or looks found (false), a minute apart.
func (h health) afterEnds(all ...bool) health {
	now := h.at
	if now.IsZero() {
		now = noon
	}
	for _, came := range all {
		now = now.Add(time.Minute)
		if came {
			h = h.brought(now, 10*time.Millisecond)
		} else {
			h = h.missed(now)
		}
	}
	return h
}

func repeated(came bool, n int) []bool {
	all := make([]bool, n)
	for i := range all {
		all[i] = came
	}
	return all
}

// TestTrust: hopeful at first, sure after a few, doubtful after a few that are missing, and sure again.
func TestTrust(t *testing.T) {
	var h health
	if r := h.unheard(noon); r < 0.3 || r > 0.7 {
		t.Errorf("before anything is known looks have to find %.2f of the ends, want about half", r)
	}
	h = h.afterEnds(repeated(true, 6)...)
	if r := h.unheard(h.at); r > 0.1 {
		t.Errorf("after six callbacks looks have to find %.2f of the ends", r)
	}
	lost := 0
	for h.unheard(h.at) < 1 {
		h = h.afterEnds(false)
		lost++
	}
	if lost < 2 || lost > 4 {
		t.Errorf("it takes %d lost callbacks until looks are as frequent as without, want 2 to 4", lost)
	}
	h = h.afterEnds(repeated(true, 6)...)
	if r := h.unheard(h.at); r > 0.5 {
		t.Errorf("after six more callbacks looks have to find %.2f of the ends", r)
	}
	if h.ends != 12+lost {
		t.Errorf("%d ends are counted, want %d", h.ends, 12+lost)
	}
}

// TestTrustFades: what was seen long ago counts for little, either way.
func TestTrustFades(t *testing.T) {
	var unknown health
	for _, came := range []bool{true, false} {
		h := health{}.afterEnds(repeated(came, 10)...)
		if d := math.Abs(h.trust(h.at.Add(24*time.Hour)) - unknown.trust(noon)); d > 0.01 {
			t.Errorf("a day after ten ends (callbacks came: %v) trust is %.2f off that of nothing known", came, d)
		}
		if d := math.Abs(h.trust(h.at.Add(time.Minute)) - h.trust(h.at)); d > 0.02 {
			t.Errorf("a minute changes trust by %.2f", d)
		}
	}
}

// TestLate: a callback that a look was barely faster than is none that is missing; one that is minutes late is.
func TestLate(t *testing.T) {
	h := health{}.afterEnds(repeated(true, 3)...).missed(noon.Add(10 * time.Minute))
	soon := h.late(h.at.Add(time.Second), time.Second, 10*time.Second)
	if soon.missRate() != 0 || soon.ends != h.ends {
		t.Errorf("a second late: %.2f missing of %d ends", soon.missRate(), soon.ends)
	}
	late := h.late(h.at.Add(2*time.Minute), 2*time.Minute, 10*time.Second)
	if late.missRate() != h.missRate() || late.lag < 30 {
		t.Errorf("two minutes late: %.2f missing, lag %.1f s", late.missRate(), late.lag)
	}
}

// TestHealthIsBounded: whatever order of ends and callbacks, clocks that stand still or go back included.
func TestHealthIsBounded(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var h health
		now := noon
		for range rapid.IntRange(0, 60).Draw(rt, "steps") {
			now = now.Add(time.Duration(rapid.Int64Range(-int64(time.Minute), int64(5*time.Hour)).Draw(rt, "later")))
			lag := time.Duration(rapid.Int64Range(-int64(time.Second), int64(2*time.Hour)).Draw(rt, "lag"))
			before := h
			switch rapid.IntRange(0, 2).Draw(rt, "what") {
			case 0:
				if h = h.brought(now, lag); h.trust(now) < before.trust(now)-1e-9 {
					rt.Fatalf("a callback that came lowers trust from %v to %v", before.trust(now), h.trust(now))
				}
			case 1:
				if h = h.missed(now); h.trust(now) > before.trust(now)+1e-9 {
					rt.Fatalf("a callback that is missing raises trust from %v to %v", before.trust(now), h.trust(now))
				}
			case 2:
				h = h.late(now, lag, 10*time.Second)
			}
			trust, rate, unheard := h.trust(now), h.missRate(), h.unheard(now)
			if !(trust >= 0 && trust <= 1) || !(rate >= 0 && rate <= 1) || !(unheard >= 0 && unheard <= 1) || !(h.lag >= 0) || h.missing < 0 {
				rt.Fatalf("trust %v, misses %v, %v unheard: %+v", trust, rate, unheard, h)
			}
		}
	})
}
