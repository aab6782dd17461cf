package bus_test

import (
	"context"
	"log/slog"
	"os"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server/ats"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/natsd"
)

// TestMain keeps the broker's own ticker outside of every bubble.
func TestMain(m *testing.M) {
	ats.Register()
	code := m.Run()
	ats.Unregister()
	os.Exit(code)
}

// A broker is a real one within a bubble, so that hours of its time take milliseconds.
type broker struct {
	*testing.T
	srv *natsd.Server
	log *slog.Logger
}

// forgetTimers empties the pool of used timers that nats.go keeps for the whole process: a timer of another bubble is fatal.
// The second collection is the one that empties a sync.Pool.
func forgetTimers() {
	runtime.GC()
	runtime.GC()
}

func bubble(t *testing.T, f func(b *broker)) {
	t.Helper()
	forgetTimers()
	synctest.Test(t, func(t *testing.T) { outside(t, f) })
}

// outside is bubble in real time.
func outside(t *testing.T, f func(b *broker)) {
	t.Helper()
	b := &broker{T: t, log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	var err error
	if b.srv, err = natsd.Start(natsd.Options{StoreDir: t.TempDir(), Sync: natsd.SyncInterval, Log: b.log}); err != nil {
		t.Fatal(err)
	}
	defer b.srv.Stop()
	f(b)
}

// connect returns a connection that is closed when the bubble ends. The test must not outlive it.
func (b *broker) connect() *nats.Conn {
	b.Helper()
	nc, err := b.srv.Connect("test")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(nc.Close)
	return nc
}

// open returns a bus on a connection of its own.
func (b *broker) open() *bus.Bus {
	b.Helper()
	opened, err := bus.Open(b.Context(), b.connect(), bus.Options{Log: b.log})
	if err != nil {
		b.Fatal(err)
	}
	return opened
}

// ok fails the test on an error.
func (b *broker) ok(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// stored counts the messages of a stream, of one subject if given.
func (b *broker) stored(on *bus.Bus, stream string, subject ...string) uint64 {
	b.Helper()
	s, err := on.JetStream().Stream(b.Context(), stream)
	b.ok(err)
	if len(subject) == 0 {
		return s.CachedInfo().State.Msgs
	}
	info, err := s.Info(b.Context(), jetstream.WithSubjectFilter(subject[0]))
	b.ok(err)
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
func (b *broker) consume(on *bus.Bus, c events.Consumer, inFlight int, h bus.Handler) (stop func() error) {
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- on.Consume(ctx, c, inFlight, h) }()
	synctest.Wait()
	return func() error { cancel(); return <-done }
}

// send publishes n requests.
func (b *broker) send(on *bus.Bus, n int) {
	b.Helper()
	for range n {
		_, err := on.JetStream().Publish(b.Context(), events.RequestSubject("demo", events.Video), []byte("{}"))
		b.ok(err)
	}
}

// about says whether the server kept a time to within half a second.
func about(got, want time.Duration) bool { return got >= want && got < want+500*time.Millisecond }
