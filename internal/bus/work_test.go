package bus_test

import (
	"context"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/bus"
)

// TestDropWork: work that is taken out of the queue while it is done costs no other work its next try.
func TestDropWork(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		tries := map[string]int{}
		stop := b.consume(on, events.WorkConsumer(), 1, func(ctx context.Context, m bus.Message) bus.Outcome {
			op, k, err := events.ParseWorkSubject(m.Subject)
			b.OK(err)
			tries[k.ID]++
			switch {
			case k.ID == "again" && tries[k.ID] == 1:
				return bus.RetryAfter(2 * time.Second)
			case k.ID == "dropped":
				time.Sleep(3 * time.Second) // what is to be tried again waits for this one
				for range 2 {
					b.OK(on.DropWork(ctx, op, k))
				}
			}
			return bus.Done()
		})
		for _, id := range []string{"again", "dropped", "next"} {
			b.OK(on.EnsureWork(b.Context(), "mux", events.Key{Project: "demo", ID: id}))
		}
		time.Sleep(5 * time.Minute)
		b.OK(stop())
		if tries["again"] != 2 || tries["dropped"] != 1 || tries["next"] != 1 {
			b.Errorf("tries: %v", tries)
		}
	})
}
