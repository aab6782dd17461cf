package poller

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"reelay/events"
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
	if r := h.rarer(noon); r < 4 || r > leastOften/1.5 {
		t.Errorf("before anything is known looks are %.1f times rarer, want moderately", r)
	}
	h = h.afterEnds(repeated(true, 6)...)
	if r := h.rarer(h.at); r < leastOften-1 {
		t.Errorf("after six callbacks looks are %.1f times rarer", r)
	}
	lost := 0
	for h.rarer(h.at) > 1 {
		h = h.afterEnds(false)
		lost++
	}
	if lost < 2 || lost > 4 {
		t.Errorf("it takes %d lost callbacks until looks are as frequent as without, want 2 to 4", lost)
	}
	h = h.afterEnds(repeated(true, 6)...)
	if r := h.rarer(h.at); r < leastOften/2 {
		t.Errorf("after six more callbacks looks are %.1f times rarer", r)
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
			trust, rate, rarer := h.trust(now), h.missRate(), h.rarer(now)
			if !(trust >= 0 && trust <= 1) || !(rate >= 0 && rate <= 1) || !(rarer >= 1 && rarer <= leastOften) || !(h.lag >= 0) || h.missing < 0 {
				rt.Fatalf("trust %v, misses %v, %v times rarer: %+v", trust, rate, rarer, h)
			}
		}
	})
}

// TestNextLook: which tasks are left alone, and for how long.
func TestNextLook(t *testing.T) {
	const interval = 10 * time.Second
	good, bad := health{}.afterEnds(repeated(true, 8)...), health{}.afterEnds(repeated(false, 8)...)
	start := good.at
	record := func(change func(*events.Task)) events.Task {
		task := events.Task{
			Phase: events.PhaseRunning, ProviderID: "r1", Deadline: start.Add(time.Hour),
			Attempts: []events.Attempt{{N: 1, ProviderID: "r1", Callback: true, IntentAt: start}},
		}
		change(&task)
		return task
	}
	for _, row := range []struct {
		name   string
		health health
		after  time.Duration
		change func(*events.Task)
		want   time.Duration
	}{
		{"callbacks come", good, 0, func(*events.Task) {}, 150 * time.Second},
		{"it takes long", good, 10 * time.Minute, func(*events.Task) {}, maxNet},
		{"callbacks are lost", bad, 10 * time.Minute, func(*events.Task) {}, interval},
		{"none was asked for", good, 0, func(t *events.Task) { t.Attempts[0].Callback = false }, interval},
		{"another attempt asked", good, 0, func(t *events.Task) {
			t.Attempts[0].Callback = false
			t.Attempts = append(t.Attempts, events.Attempt{N: 2, Callback: true})
		}, interval},
		{"trouble", good, 0, func(t *events.Task) { t.Trouble = &events.Trouble{} }, interval},
		{"finished, no result yet", good, 0, func(t *events.Task) { t.Phase = events.PhaseFetching }, interval},
		{"cancelling", good, 0, func(t *events.Task) { t.Phase = events.PhaseCancelling }, interval},
		{"given up", good, 0, func(t *events.Task) { t.Phase = events.PhaseDone }, lateInterval},
		{"a deadline is near", good, 0, func(t *events.Task) { t.Deadline = start.Add(time.Minute) }, 50 * time.Second},
		{"a deadline has passed", good, 0, func(t *events.Task) { t.Deadline = start.Add(-time.Minute) }, interval},
		{"it must have begun by", good, 0, func(t *events.Task) { at := start.Add(time.Minute); t.StartDeadline = &at }, 50 * time.Second},
		{"it has begun", good, 0, func(t *events.Task) {
			at := start.Add(time.Minute)
			t.StartDeadline, t.StartedAt = &at, &start
		}, 150 * time.Second},
	} {
		l := &lane{Lane: Lane{Interval: interval}, health: row.health}
		task, now := record(row.change), start.Add(row.after)
		if got := l.nextLook(task, now); got < row.want-time.Second || got > row.want+time.Second {
			t.Errorf("%s: the next look in %v, want %v", row.name, got, row.want)
		}
		first := l.firstLook(task, now)
		if alone := row.want > interval && row.name != "given up"; alone != (first > 0) && row.after == 0 || first > row.want+time.Second {
			t.Errorf("%s: the first look in %v", row.name, first)
		}
	}
}

// TestNextLookIsBounded: never sooner than the interval, never later than the net, and before any deadline that is not past.
func TestNextLookIsBounded(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := &lane{Lane: Lane{Interval: time.Duration(rapid.Int64Range(int64(500*time.Millisecond), int64(30*time.Second)).Draw(rt, "interval"))}}
		l.health = health{}.afterEnds(rapid.SliceOfN(rapid.Bool(), 0, 20).Draw(rt, "ends")...)
		task := events.Task{
			Phase: rapid.SampledFrom([]events.Phase{events.PhaseProviderQueued, events.PhaseRunning}).Draw(rt, "phase"), ProviderID: "r1",
			Deadline: noon.Add(time.Duration(rapid.Int64Range(0, int64(48*time.Hour)).Draw(rt, "deadline"))),
			Attempts: []events.Attempt{{N: 1, ProviderID: "r1", Callback: true, IntentAt: noon}},
		}
		now := noon.Add(time.Duration(rapid.Int64Range(0, int64(48*time.Hour)).Draw(rt, "now")))
		wait := l.nextLook(task, now)
		if wait < l.Interval || wait > max(maxNet, l.Interval) || wait > l.Interval && now.Add(wait).After(task.Deadline) {
			rt.Fatalf("the next look in %v, %v before the deadline", wait, task.Deadline.Sub(now))
		}
	})
}
