package taskstore_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/natsd"
	"reelay/internal/task"
	"reelay/internal/taskstore"
	"reelay/internal/test/broker"
)

func TestMain(m *testing.M) { broker.Main(m) }

// A world is a real broker in a bubble.
type world struct{ *broker.Broker }

func bubble(t *testing.T, f func(w *world)) {
	t.Helper()
	broker.Run(t, func(b *broker.Broker) { f(&world{b}) })
}

// A desk is a Store with a connection of its own, and a hand on its wire.
type desk struct {
	*taskstore.Store
	bus     *bus.Bus
	metrics *prometheus.Registry
	wire    *wire
}

func (w *world) desk() *desk {
	w.Helper()
	d := &desk{metrics: prometheus.NewRegistry(), wire: &wire{srv: w.Server}}
	nc := w.Connect(nats.InProcessServer(d.wire), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	var err error
	d.bus, err = bus.Open(w.Context(), nc, bus.Options{Log: w.Logger})
	w.OK(err)
	d.Store = taskstore.New(d.bus, w.Logger, d.metrics)
	return d
}

// conflicts reads the counter of lost writes.
func (d *desk) conflicts(w *world) int {
	w.Helper()
	all, err := d.metrics.Gather()
	w.OK(err)
	for _, m := range all {
		if m.GetName() == "reelay_record_conflicts_total" {
			return int(m.GetMetric()[0].GetCounter().GetValue())
		}
	}
	w.Fatal("no counter of conflicts")
	return 0
}

// A wire stands between a client and the broker, and does something at a chosen place in what the client sends.
type wire struct {
	srv *natsd.Server

	mu    sync.Mutex
	match []byte
	act   func() (pass, keep bool)
}

// at has act called, once, before the client's first bytes that hold a publish on a subject are passed on.
// pass says whether they are; without keep the client hears nothing more on that connection.
func (w *wire) at(subject string, act func() (pass, keep bool)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.match, w.act = []byte("PUB "+subject+" "), act
}

// InProcessConn is how the client library connects.
func (w *wire) InProcessConn() (net.Conn, error) {
	c, err := w.srv.InProcessConn()
	if err != nil {
		return nil, err
	}
	return &tapped{Conn: c, wire: w}, nil
}

type tapped struct {
	net.Conn
	wire *wire
	deaf atomic.Bool
}

func (c *tapped) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.deaf.Load() {
		_ = c.Close()
		return 0, io.EOF
	}
	return n, err
}

func (c *tapped) Write(p []byte) (int, error) {
	c.wire.mu.Lock()
	var act func() (bool, bool)
	if c.wire.act != nil && bytes.Contains(p, c.wire.match) {
		act, c.wire.act = c.wire.act, nil
	}
	c.wire.mu.Unlock()
	if act == nil {
		return c.Conn.Write(p)
	}
	pass, keep := act()
	c.deaf.Store(!keep)
	if !pass {
		return len(p), c.Close()
	}
	return c.Conn.Write(p)
}

// The faults of a wire.
func lostBefore() (pass, keep bool) { return false, false } // the write never arrives
func lostAfter() (pass, keep bool)  { return true, false }  // the write arrives, its acknowledgement does not

var key = events.Key{Project: "demo", ID: "t1"}

// request is a task to be; at is in the bubble's time, which begins anew for each.
func request(id string) events.Task {
	now := time.Now().UTC()
	return events.Task{
		Schema: events.TaskSchema, ID: id, Project: key.Project, TaskType: events.Video, Provider: "fal", Lane: "fal",
		Model: "m", RequestDigest: "digest", CreatedAt: now, Deadline: now.Add(24 * time.Hour), OnInDoubt: events.InDoubtHold,
		MaxPaidAttempts: 1,
	}
}

func meta() task.Meta { return task.Meta{At: time.Now().UTC(), By: "test"} }

func accept() task.Accept { return task.Accept{Meta: meta(), Task: request(key.ID)} }

func intent(owner string) task.Intent {
	return task.Intent{Meta: meta(), Owner: owner, BodySHA256: "sha", NotAfter: time.Now().Add(2 * time.Minute).UTC()}
}

func accepted(id string) task.Accepted {
	return task.Accepted{Meta: meta(), Attempt: 1, Ref: []byte(fmt.Sprintf("{%q:%q}", "id", id)), ID: id, Source: "reply"}
}

// create stores a waiting task.
func (w *world) create(d *desk) {
	w.Helper()
	_, err := d.Apply(w.Context(), key, accept())
	w.OK(err)
}

// stored returns the types of the stored events, in order.
func (w *world) stored(d *desk) []events.EventType {
	w.Helper()
	s, err := d.bus.JetStream().Stream(w.Context(), events.StreamEvents)
	w.OK(err)
	var all []events.EventType
	state := s.CachedInfo().State
	for seq := state.FirstSeq; seq <= state.LastSeq && state.Msgs > 0; seq++ {
		m, err := s.GetMsg(w.Context(), seq)
		w.OK(err)
		_, t, err := events.ParseEventSubject(m.Subject)
		w.OK(err)
		all = append(all, t)
	}
	return all
}

// watches counts the watch messages.
func (w *world) watches(d *desk) int {
	w.Helper()
	s, err := d.bus.JetStream().Stream(w.Context(), events.StreamPolls)
	w.OK(err)
	return int(s.CachedInfo().State.Msgs)
}

func (w *world) get(d *desk) events.Task {
	w.Helper()
	t, err := d.Get(w.Context(), key)
	w.OK(err)
	return t
}
