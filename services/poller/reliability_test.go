package poller

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var noon = time.Date(2026, time.May, 1, 12, 0, 0, 0, time.UTC)

// afterEnds returns the reliability after ends that callbacks brought (true) or polls found (false), a minute apart.
func (h reliability) afterEnds(all ...bool) reliability {
	now := h.updatedAt
	if now.IsZero() {
		now = noon
	}
	for _, came := range all {
		now = now.Add(time.Minute)
		if came {
			h = h.afterArrival(now, 10*time.Millisecond)
		} else {
			h = h.afterMiss(now)
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

// TestAssumedMissRate: hopeful at first, sure after a few, doubtful after a few that are missing, and sure again.
func TestAssumedMissRate(t *testing.T) {
	var h reliability
	if r := h.assumedMissRate(noon); r < 0.3 || r > 0.7 {
		t.Errorf("before anything is known polls have to find %.2f of the ends, want about half", r)
	}
	h = h.afterEnds(repeated(true, 6)...)
	if r := h.assumedMissRate(h.updatedAt); r > 0.1 {
		t.Errorf("after six callbacks polls have to find %.2f of the ends", r)
	}
	lost := 0
	for h.assumedMissRate(h.updatedAt) < 1 {
		h = h.afterEnds(false)
		lost++
	}
	if lost < 2 || lost > 4 {
		t.Errorf("it takes %d lost callbacks until polls are as frequent as without, want 2 to 4", lost)
	}
	h = h.afterEnds(repeated(true, 6)...)
	if r := h.assumedMissRate(h.updatedAt); r > 0.5 {
		t.Errorf("after six more callbacks polls have to find %.2f of the ends", r)
	}
	if h.ends != 12+lost {
		t.Errorf("%d ends are counted, want %d", h.ends, 12+lost)
	}
}

// TestArrivalRateDecays: what was seen long ago counts for little, either way.
func TestArrivalRateDecays(t *testing.T) {
	var unknown reliability
	for _, came := range []bool{true, false} {
		h := reliability{}.afterEnds(repeated(came, 10)...)
		if d := math.Abs(h.arrivalRate(h.updatedAt.Add(24*time.Hour)) - unknown.arrivalRate(noon)); d > 0.01 {
			t.Errorf("a day after ten ends (callbacks came: %v) trust is %.2f off that of nothing known", came, d)
		}
		if d := math.Abs(h.arrivalRate(h.updatedAt.Add(time.Minute)) - h.arrivalRate(h.updatedAt)); d > 0.02 {
			t.Errorf("a minute changes trust by %.2f", d)
		}
	}
}

// TestLate: a callback that a poll was barely faster than is none that is missing; one that is minutes late is.
func TestLate(t *testing.T) {
	h := reliability{}.afterEnds(repeated(true, 3)...).afterMiss(noon.Add(10 * time.Minute))
	soon := h.afterLate(h.updatedAt.Add(time.Second), time.Second, 10*time.Second)
	if soon.missRate() != 0 || soon.ends != h.ends {
		t.Errorf("a second late: %.2f missing of %d ends", soon.missRate(), soon.ends)
	}
	late := h.afterLate(h.updatedAt.Add(2*time.Minute), 2*time.Minute, 10*time.Second)
	if late.missRate() != h.missRate() || late.lag < 30 {
		t.Errorf("two minutes late: %.2f missing, lag %.1f s", late.missRate(), late.lag)
	}
}

// TestReliabilityIsBounded: whatever order of ends and callbacks, clocks that stand still or go back included.
func TestReliabilityIsBounded(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var h reliability
		now := noon
		for range rapid.IntRange(0, 60).Draw(rt, "steps") {
			now = now.Add(time.Duration(rapid.Int64Range(-int64(time.Minute), int64(5*time.Hour)).Draw(rt, "later")))
			lag := time.Duration(rapid.Int64Range(-int64(time.Second), int64(2*time.Hour)).Draw(rt, "lag"))
			before := h
			switch rapid.IntRange(0, 2).Draw(rt, "what") {
			case 0:
				if h = h.afterArrival(now, lag); h.arrivalRate(now) < before.arrivalRate(now)-1e-9 {
					rt.Fatalf("a callback that came lowers trust from %v to %v", before.arrivalRate(now), h.arrivalRate(now))
				}
			case 1:
				if h = h.afterMiss(now); h.arrivalRate(now) > before.arrivalRate(now)+1e-9 {
					rt.Fatalf("a callback that is missing raises trust from %v to %v", before.arrivalRate(now), h.arrivalRate(now))
				}
			case 2:
				h = h.afterLate(now, lag, 10*time.Second)
			}
			trust, rate, assumed := h.arrivalRate(now), h.missRate(), h.assumedMissRate(now)
			if !(trust >= 0 && trust <= 1) || !(rate >= 0 && rate <= 1) || !(assumed >= 0 && assumed <= 1) || !(h.lag >= 0) ||
				h.missed < 0 {
				rt.Fatalf("trust %v, misses %v, %v assumed: %+v", trust, rate, assumed, h)
			}
		}
	})
}
