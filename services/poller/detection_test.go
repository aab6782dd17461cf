package poller

import (
	"math"
	"testing"
	"time"

	"reelay/events"
)

// TestDetection: figures stand as of the last end, are means at first, and follow what has changed.
func TestDetection(t *testing.T) {
	var d detection
	add := func(tasks, polls int, lag time.Duration) {
		for range tasks {
			for range polls {
				d = d.afterPoll()
			}
			d = d.afterEnd(lag)
		}
	}
	check := func(name string, want events.Detection) {
		t.Helper()
		got := d.last
		if got.Seen != want.Seen || math.Abs(got.LagS-want.LagS) > 0.1 || math.Abs(got.PollsPerTask-want.PollsPerTask) > 0.1 {
			t.Errorf("%s: %+v, want about %+v", name, got, want)
		}
	}
	add(3, 4, 2*time.Second)
	check("three alike", events.Detection{LagS: 2, PollsPerTask: 4, Seen: 3})
	d = d.afterPoll()
	check("a poll of a task that goes on", events.Detection{LagS: 2, PollsPerTask: 4, Seen: 3})
	add(300, 1, time.Second)
	check("many others", events.Detection{LagS: 1, PollsPerTask: 1, Seen: 303})
}
