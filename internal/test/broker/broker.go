package broker

import (
	"cmp"
	"log/slog"
	"testing"

	"github.com/nats-io/nats.go"

	"reelay/internal/bus"
	"reelay/internal/natsd"
)

// A Broker is a real one that takes connections in process only, and ends with the test.
type Broker struct {
	*testing.T
	Server *natsd.Server
	// Logger writes to the log of the test.
	Logger *slog.Logger
}

// Run calls f with a new broker in a bubble of its own.
func Run(t *testing.T, f func(b *Broker)) {
	t.Helper()
	Bubble(t, func(t *testing.T) { f(Start(t)) })
}

// Start starts a broker, in a bubble or not.
func Start(t *testing.T) *Broker {
	t.Helper()
	b := &Broker{T: t, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
	var err error
	b.Server, err = natsd.Start(natsd.Options{StoreDir: t.TempDir(), Sync: natsd.SyncInterval, Log: b.Logger})
	b.OK(err)
	t.Cleanup(b.Server.Stop)
	return b
}

// Connect returns a connection that is closed at the end of the test.
func (b *Broker) Connect(opts ...nats.Option) *nats.Conn {
	b.Helper()
	nc, err := b.Server.Connect("test", opts...)
	b.OK(err)
	b.Cleanup(nc.Close)
	return nc
}

// Open returns a bus on a connection of its own. It logs to the test unless o says otherwise.
func (b *Broker) Open(o bus.Options) *bus.Bus {
	b.Helper()
	o.Log = cmp.Or(o.Log, b.Logger)
	on, err := bus.Open(b.Context(), b.Connect(), o)
	b.OK(err)
	return on
}

// OK fails the test on an error.
func (b *Broker) OK(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}
