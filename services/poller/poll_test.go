package poller

import (
	"testing"
	"time"

	"reelay/events"
)

// TestMayPollBatched: what is some seconds old never stands in for what has to be known now.
func TestMayPollBatched(t *testing.T) {
	callback := cause{received: time.Unix(1, 0)}
	for _, p := range events.Phases() {
		task := events.Task{Phase: p}
		if got := mayPollBatched(task, byClock); got != (p == events.PhaseRunning) {
			t.Errorf("%s: %t", p, got)
		}
		if mayPollBatched(task, callback) {
			t.Errorf("%s: a callback is answered by an old list", p)
		}
	}
	if mayPollBatched(events.Task{Phase: events.PhaseRunning, Trouble: &events.Trouble{}}, byClock) {
		t.Error("a task in trouble is answered by an old list")
	}
}
