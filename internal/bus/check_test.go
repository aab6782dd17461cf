package bus_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/internal/bus"
)

// TestCheck: what keeps a process from its work is said, with the command that ends it.
func TestCheck(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		hang := make(chan struct{})
		c := consumer()
		c.MaxAckPending = 2
		stop := b.consume(on, c, 2, func(context.Context, bus.Message) bus.Outcome {
			<-hang
			return bus.Done()
		})
		check := func(when, want string) {
			b.Helper()
			err := on.Check(b.Context())
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				b.Errorf("%s: %v, want %q", when, err, want)
			}
		}
		check("idle", "")
		b.send(on, 3)
		for range 8 {
			time.Sleep(5 * time.Second)
			_ = on.Check(b.Context())
		}
		check("two messages that are never done", "consumer test of REELAY_REQUESTS delivers none of 1 messages, with 2 of 2")
		close(hang)
		time.Sleep(time.Second)
		check("done", "")
		_, err := on.JetStream().PauseConsumer(b.Context(), c.Stream, c.Durable, time.Now().Add(time.Hour))
		b.OK(err)
		check("paused", "is paused for another 1h0m0s; end that with: nats consumer resume REELAY_REQUESTS test")
		_, err = on.JetStream().ResumeConsumer(b.Context(), c.Stream, c.Durable)
		b.OK(err)
		check("resumed", "")
		b.OK(on.JetStream().DeleteStream(b.Context(), events.StreamTasks))
		short, cancel := context.WithTimeout(b.Context(), 4*time.Second)
		defer cancel()
		if err := on.Check(short); err == nil {
			b.Error("without the records all is well")
		}
		b.OK(stop())
		if err := on.JetStream().DeleteConsumer(b.Context(), c.Stream, c.Durable); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			b.Error(err)
		}
	})
}
