package status

import (
	"testing"

	"reelay/events"
)

// TestMerged: each poller counts by what it has seen.
func TestMerged(t *testing.T) {
	if got := merged(nil); got != nil {
		t.Errorf("of nothing: %+v", got)
	}
	if got := merged([]events.CallbackHealth{{}}); got != nil {
		t.Errorf("of a poller that has seen nothing: %+v", got)
	}
	got := merged([]events.CallbackHealth{{MissRate: 1, LagS: 8, Seen: 1}, {MissRate: 0, LagS: 4, Seen: 3}})
	if want := (events.CallbackHealth{MissRate: 0.25, LagS: 5, Seen: 4}); got == nil || *got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
