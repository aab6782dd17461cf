package status

import (
	"testing"

	"reelay/events"
)

// TestMerged: each poller counts by what it has seen.
func TestMerged(t *testing.T) {
	if c, d := merged(nil); c != nil || d != nil {
		t.Errorf("of nothing: %+v, %+v", c, d)
	}
	if c, d := merged([]events.LaneHealth{{}}); c != nil || d != nil {
		t.Errorf("of a poller that has seen nothing: %+v, %+v", c, d)
	}
	c, d := merged([]events.LaneHealth{
		{
			CallbackHealth: events.CallbackHealth{MissRate: 1, LagS: 8, Seen: 1},
			Detection:      events.Detection{LagS: 2, PollsPerTask: 7, Seen: 3},
		},
		{
			CallbackHealth: events.CallbackHealth{MissRate: 0, LagS: 4, Seen: 3},
			Detection:      events.Detection{LagS: 6, PollsPerTask: 3, Seen: 1},
		},
	})
	if want := (events.CallbackHealth{MissRate: 0.25, LagS: 5, Seen: 4}); c == nil || *c != want {
		t.Errorf("callbacks %+v, want %+v", c, want)
	}
	if want := (events.Detection{LagS: 3, PollsPerTask: 6, Seen: 4}); d == nil || *d != want {
		t.Errorf("detection %+v, want %+v", d, want)
	}
}
