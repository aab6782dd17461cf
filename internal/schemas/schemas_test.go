package schemas_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/provider"
	"reelay/internal/schemas"
	"reelay/internal/test/broker"
)

func TestMain(m *testing.M) { broker.Main(m) }

// driver is of a provider that serves no schema of any model.
type driver struct{ provider.Driver }

func (driver) InputSchema(context.Context, string) ([]byte, error) { return nil, errors.New("none") }

// TestReplyToRequests: nobody has the answer to a question stored as a request.
func TestReplyToRequests(t *testing.T) {
	broker.Run(t, func(b *broker.Broker) {
		on := b.Open(bus.Options{})
		stop, err := schemas.New(on, slog.New(slog.DiscardHandler)).Answer(b.Context(), on.Conn(),
			provider.Lane{Name: "acme", Provider: "acme", Driver: driver{}})
		b.OK(err)
		defer stop()
		client, question := b.Connect(), []byte(`{"model":"m"}`)
		reply := events.RequestSubject("demo", events.Video)
		b.OK(client.PublishRequest(events.LaneSchemaSubject("acme"), reply, question))
		answer, err := client.Request(events.LaneSchemaSubject("acme"), question, time.Minute)
		if b.OK(err); string(answer.Data) != "null" {
			b.Errorf("answered %s", answer.Data)
		}
		time.Sleep(time.Minute)
		if stored, err := on.HasRequests(b.Context()); err != nil || stored {
			b.Errorf("the answer is stored as a request; %v", err)
		}
	})
}
