package bus_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/test/broker"
)

func TestMain(m *testing.M) { broker.Main(m) }

// A fixture is a real broker within a bubble, so that hours of its time take milliseconds.
type fixture struct{ *broker.Broker }

func bubble(t *testing.T, f func(b *fixture)) {
	t.Helper()
	broker.Run(t, func(b *broker.Broker) { f(&fixture{b}) })
}

// stored counts the messages of a stream, of one subject if given.
func (b *fixture) stored(on *bus.Bus, stream string, subject ...string) uint64 {
	b.Helper()
	s, err := on.JetStream().Stream(b.Context(), stream)
	b.OK(err)
	if len(subject) == 0 {
		return s.CachedInfo().State.Msgs
	}
	info, err := s.Info(b.Context(), jetstream.WithSubjectFilter(subject[0]))
	b.OK(err)
	return info.State.Subjects[subject[0]]
}

var key = events.Key{Project: "demo", ID: "t1"}

func record(note string) events.Task {
	return events.Task{
		Schema: events.TaskSchema, ID: key.ID, Project: key.Project, TaskType: events.Video, Phase: events.PhaseWaiting,
		Status: events.StatusQueued, SceneID: note,
	}
}

// consumer is a work queue consumer of the request stream.
func consumer() events.Consumer {
	return events.Consumer{Stream: events.StreamRequests, Durable: "test", AckWait: 30 * time.Second, MaxAckPending: 1_000}
}

// consume runs Consume until stop is called, which returns its error.
func (b *fixture) consume(on *bus.Bus, c events.Consumer, inFlight int, h bus.Handler) (stop func() error) {
	return broker.Begin(b, func(ctx context.Context) error { return on.Consume(ctx, c, inFlight, h) })
}

// send publishes n requests.
func (b *fixture) send(on *bus.Bus, n int) {
	b.Helper()
	for range n {
		_, err := on.JetStream().Publish(b.Context(), events.RequestSubject("demo", events.Video), []byte("{}"))
		b.OK(err)
	}
}

// about says whether the server kept a time to within half a second.
func about(got, want time.Duration) bool { return got >= want && got < want+500*time.Millisecond }
