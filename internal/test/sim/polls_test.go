package sim_test

import (
	"testing"
	"time"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/internal/test/sim"
)

// TestLookLimits: a new limit on polls counts at once, also for tasks that run.
func TestPollLimits(t *testing.T) {
	sim.Run(t, sim.Options{}, func(t *testing.T, w *sim.World) {
		kv, err := w.JS.KeyValue(t.Context(), bucket.Lanes)
		if err != nil {
			t.Fatal(err)
		}
		polls := func() float64 { return w.MetricSum("reelay_polls_total", "fal") }
		w.Publish(video, falRequest("a", `{"run_ms":1200000}`))
		w.Settle(3 * time.Minute)
		before := polls()
		if _, err := kv.PutString(t.Context(), bucket.LimitsKey("fal"), `{"polls":{"spacing":"1m"}}`); err != nil {
			t.Fatal(err)
		}
		w.Settle(time.Minute) // one poll is on its way
		at := polls()
		w.Settle(10 * time.Minute)
		if n := polls() - at; before < 12 || n < 8 || n > 11 {
			t.Errorf("%v polls in 3 minutes without a limit, %v in 10 with one a minute", before, n)
		}
		if task := w.AwaitEnd("demo", "a"); task.Status != events.StatusCompleted {
			t.Errorf("%s: %+v", task.Status, task.Error)
		}
	})
}
