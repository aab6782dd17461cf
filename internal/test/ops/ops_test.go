package ops_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/internal/test/sim"
)

func TestMain(m *testing.M) { sim.Main(m) }

// request publishes a request of a task.
func request(w *sim.World, id string) {
	w.Publish(events.RequestSubject("demo", events.Video),
		fmt.Sprintf(`{"id":%q,"provider":"fal","model":"fal-ai/kling-video/v3/pro/text-to-video","input":{"prompt":%[1]q},"timeout":"6h"}`, id))
}

// act does one thing in the middle of tasks that wait, are at the provider and are yet to come, and has all of them end.
func act(t *testing.T, do func(w *sim.World, step int) (more bool)) {
	t.Helper()
	sim.Run(t, sim.Options{Quiet: true, Webhooks: true}, func(t *testing.T, w *sim.World) {
		var ids []string
		for step, more := 0, true; more; step++ {
			for i := range 2 {
				ids = append(ids, fmt.Sprintf("t%d-%d", step, i))
				request(w, ids[len(ids)-1])
			}
			w.Settle(20 * time.Second)
			more = do(w, step)
			w.Settle(2 * time.Minute)
		}
		request(w, "last")
		for _, id := range append(ids, "last") {
			if task := w.AwaitEnd("demo", id); task.Status != events.StatusCompleted || len(task.Attempts) != 1 {
				t.Errorf("%s is %s after %d attempts", id, task.Status, len(task.Attempts))
			}
		}
		if jobs := w.Stack.Ledger("fal").Jobs(); len(jobs) != len(ids)+1 {
			t.Errorf("%d tasks were paid for %d times", len(ids)+1, len(jobs))
		}
	})
}

// The streams that can be lost without a task: the records are told of elsewhere, and with the events goes what happened.
var streams = []string{
	events.StreamRequests, events.StreamPolls, events.StreamCallbacks, events.StreamClaims, events.StreamAdvisories,
	events.StreamDead, bucket.Stream(bucket.Leases), bucket.Stream(bucket.Health), bucket.Stream(bucket.Forecasts),
	bucket.Stream(bucket.Schemas), bucket.Stream(bucket.Spend),
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestStreamsRemoved: each is made anew within a minute, and its consumers are back.
func TestStreamsRemoved(t *testing.T) {
	act(t, func(w *sim.World, step int) bool {
		must(t, w.JS.DeleteStream(w.T.Context(), streams[step]))
		return step < len(streams)-1
	})
}

// TestStreamsPurged: what was purged is made again by the heartbeats.
func TestStreamsPurged(t *testing.T) {
	act(t, func(w *sim.World, step int) bool {
		s, err := w.JS.Stream(w.T.Context(), streams[step])
		must(t, err)
		must(t, s.Purge(w.T.Context()))
		return step < len(streams)-1
	})
}

// TestConsumersRemovedAndPaused: one that was removed is made anew; one that is paused goes on when that ends.
func TestConsumersRemovedAndPaused(t *testing.T) {
	consumers := []events.Consumer{
		events.IntakeConsumer(), events.HeartbeatConsumer(), events.PollConsumer("fal"), events.CallbackConsumer(),
		events.AdvisoryConsumer(),
	}
	act(t, func(w *sim.World, step int) bool {
		c := consumers[step/2]
		if step%2 == 0 {
			must(t, w.JS.DeleteConsumer(w.T.Context(), c.Stream, c.Durable))
			return true
		}
		_, err := w.JS.PauseConsumer(w.T.Context(), c.Stream, c.Durable, time.Now().Add(30*time.Minute))
		must(t, err)
		return step/2 < len(consumers)-1
	})
}

// TestSettingsChanged: what breaks the contract is mended before it does harm.
func TestSettingsChanged(t *testing.T) {
	changes := []struct {
		stream string
		change func(c *jetstream.StreamConfig)
	}{
		{events.StreamTasks, func(c *jetstream.StreamConfig) { c.NoAck = true }},
		{events.StreamTasks, func(c *jetstream.StreamConfig) { c.MaxMsgSize = 100 }},
		{events.StreamPolls, func(c *jetstream.StreamConfig) { c.DiscardNewPerSubject = false }},
		{events.StreamRequests, func(c *jetstream.StreamConfig) { c.Subjects = c.Subjects[:1] }},
		{bucket.Stream(bucket.Leases), func(c *jetstream.StreamConfig) { c.SubjectDeleteMarkerTTL = 0 }},
	}
	act(t, func(w *sim.World, step int) bool {
		s, err := w.JS.Stream(w.T.Context(), changes[step].stream)
		must(t, err)
		c := s.CachedInfo().Config
		changes[step].change(&c)
		_, err = w.JS.UpdateStream(w.T.Context(), c)
		must(t, err)
		return step < len(changes)-1
	})
}
