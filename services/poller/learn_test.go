package poller

import (
	"testing"
	"time"

	"reelay/events"
)

// TestSample: when a task began is not learned where polls were too rare to tell.
func TestSample(t *testing.T) {
	good, bad := reliability{}.afterEnds(repeated(true, 8)...), reliability{}.afterEnds(repeated(false, 8)...)
	start := good.updatedAt
	at := func(seconds int) *time.Time { v := start.Add(time.Duration(seconds) * time.Second); return &v }
	for _, row := range []struct {
		name        string
		reliability reliability
		callback    bool
		run         time.Duration
	}{
		{"callbacks come", good, true, 0},
		{"callbacks are lost", bad, true, 70 * time.Second},
		{"none was asked for", good, false, 70 * time.Second},
	} {
		l := &lane{reliability: row.reliability}
		task := events.Task{
			Status: events.StatusCompleted, SubmittedAt: at(0), StartedAt: at(30), CompletedAt: at(100),
			Result: &events.Result{}, ProviderID: "r1",
			Attempts: []events.Attempt{{N: 1, ProviderID: "r1", Callback: row.callback}},
		}
		s, ok := l.sample(task, 0, start)
		if !ok || s.Whole != 100*time.Second || s.Run != row.run || (s.Wait == 0) != (row.run == 0) {
			t.Errorf("%s: wait %v, run %v, whole %v, %t", row.name, s.Wait, s.Run, s.Whole, ok)
		}
	}
}
