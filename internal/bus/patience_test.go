package bus_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"reelay/events"
	"reelay/internal/bus"
)

// TestPatience: a message that goes wrong for ever ends as a dead letter while others go on, or when such messages take
// the places of all; on its own it is tried for ever, for then the trouble may be anybody's.
func TestPatience(t *testing.T) {
	for _, row := range []struct {
		name      string
		poisonous int
		others    bool
		letters   uint64
	}{
		{"others go on", 1, true, 1},
		{"nobody else", 1, false, 0},
		{"they take the places", 20, false, 20},
	} {
		t.Run(row.name, func(t *testing.T) {
			bubble(t, func(b *fixture) {
				on := b.Open(bus.Options{})
				c := consumer()
				c.MaxAckPending = 20
				stop := b.consume(on, c, 2, func(_ context.Context, m bus.Message) bus.Outcome {
					if m.Get("X") == "bad" {
						return bus.Failed(errors.New("it can never be stored"), 30*time.Second)
					}
					return bus.Done()
				})
				for range row.poisonous {
					_, err := on.JetStream().PublishMsg(b.Context(), &nats.Msg{
						Subject: "reelay.request.demo.video", Header: nats.Header{"X": {"bad"}},
					})
					b.OK(err)
				}
				for range 60 {
					time.Sleep(time.Minute)
					if row.others {
						b.send(on, 1)
					}
				}
				b.OK(stop())
				if n := b.stored(on, events.StreamDead); n < row.letters/2 || n > row.letters {
					b.Errorf("%d letters", n)
				}
				for _, l := range b.letters(on) {
					if !strings.HasPrefix(l.Reason, "it went wrong 30 times: it can never be stored") {
						b.Errorf("the reason is %q", l.Reason)
					}
				}
			})
		})
	}
}
