package poller

import (
	"testing"

	"reelay/events"
)

// TestCallbackOfLane: a callback is of the lane of its attempt, whichever the task has by now. One of an attempt that is not
// in the record yet may come from any lane of a group.
func TestCallbackOfLane(t *testing.T) {
	moved := events.Task{Lane: "b", Group: "all", Attempts: []events.Attempt{{N: 1, Lane: "a"}, {N: 2, Lane: "b"}}}
	alone := events.Task{Lane: "a", Attempts: []events.Attempt{{N: 1}}}
	for _, row := range []struct {
		task    events.Task
		lane    string
		attempt int
		want    bool
	}{
		{moved, "a", 1, true},
		{moved, "b", 1, false},
		{moved, "b", 2, true},
		{moved, "a", 2, false},
		{moved, "a", 3, true},
		{alone, "a", 1, true},
		{alone, "b", 1, false},
		{alone, "a", 2, true},
		{alone, "b", 2, false},
	} {
		if got := isOf(row.task, events.Callback{Lane: row.lane, Attempt: row.attempt}); got != row.want {
			t.Errorf("attempt %d of %s from lane %s: %t", row.attempt, row.task.Lane, row.lane, got)
		}
	}
}
