package poller

import (
	"testing"
	"time"

	"reelay/events"
)

// TestMayGlance: what is some seconds old never stands in for what has to be known now.
func TestMayGlance(t *testing.T) {
	hook := cause{received: time.Unix(1, 0)}
	for _, p := range events.Phases() {
		task := events.Task{Phase: p}
		if got := mayGlance(task, byClock); got != (p == events.PhaseRunning) {
			t.Errorf("%s: %t", p, got)
		}
		if mayGlance(task, hook) {
			t.Errorf("%s: a callback is answered by an old list", p)
		}
	}
	if mayGlance(events.Task{Phase: events.PhaseRunning, Trouble: &events.Trouble{}}, byClock) {
		t.Error("a task in trouble is answered by an old list")
	}
}
