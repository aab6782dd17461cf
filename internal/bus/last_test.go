package bus_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/internal/bus"
	"reelay/internal/lease"
	"reelay/internal/test/broker"
)

// A wire is between a client and the broker, and keeps some of what the client publishes to itself: so a cluster does
// that has no leader. What it answers instead is what a clustered nats-server 2.15 answers, and a single one does not.
type wire struct {
	nats.InProcessConnProvider
	// other answers in the broker's place.
	other *nats.Conn

	mu      sync.Mutex
	subject string
	left    int
	answer  string
}

// keepAlive lets the next n messages on a subject vanish; an answer that is not empty is their reply.
func (w *wire) keep(n int, subject, answer string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left, w.subject, w.answer = n, subject, answer
}

// rest is how many messages are yet to be kept.
func (w *wire) rest() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.left
}

// InProcessConn is how the client library connects.
func (w *wire) InProcessConn() (net.Conn, error) {
	c, err := w.InProcessConnProvider.InProcessConn()
	return &wired{c, w}, err
}

type wired struct {
	net.Conn
	wire *wire
}

// Write passes on what comes before a message that is kept.
func (c *wired) Write(b []byte) (int, error) {
	w := c.wire
	w.mu.Lock()
	at := -1
	if w.left > 0 {
		at = bytes.Index(b, []byte("PUB "+w.subject+" "))
	}
	if at < 0 {
		w.mu.Unlock()
		return c.Conn.Write(b)
	}
	w.left--
	answer := w.answer
	w.mu.Unlock()
	start := max(0, bytes.LastIndexByte(b[:at], '\n')+1) // it may be HPUB
	if _, err := c.Conn.Write(b[:start]); err != nil {
		return 0, err
	}
	if reply := strings.Fields(string(b[at:]))[2]; answer != "" {
		if err := w.other.Publish(reply, []byte(answer)); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// wire returns a connection with a wire in it.
func (b *fixture) wire() (*wire, *nats.Conn) {
	b.Helper()
	w := &wire{InProcessConnProvider: b.Server, other: b.Connect()}
	nc, err := nats.Connect("", nats.InProcessServer(w))
	b.OK(err)
	b.Cleanup(nc.Close)
	return w, nc
}

const (
	// noLeader and onItsWay are answers of a cluster.
	noLeader = `{"error":{"code":503,"err_code":10008,"description":"JetStream system temporarily unavailable"}}`
	onItsWay = `{"error":{"code":400,"err_code":10164,"description":"wrong last sequence"},"stream":"X","seq":0}`
)

// TestRetry: a question that nobody answers, or nobody can, is asked again, long before its time is over.
func TestRetry(t *testing.T) {
	get := "$JS.API.STREAM.MSG.GET." + events.StreamTasks
	read := func(on *bus.Bus) error { _, _, err := on.GetFromLeader(context.Background(), key); return err }
	direct := "$JS.API.DIRECT.GET." + events.StreamTasks + "." + events.RecordSubject(key)
	readDirect := func(on *bus.Bus) error { _, _, err := on.Get(context.Background(), key); return err }
	rows := []struct {
		name, subject, answer string
		times                 int
		ask                   func(on *bus.Bus) error // nil opens
		want                  error
		within                time.Duration
	}{
		{"unanswered read", get, "", 2, read, nil, 5 * time.Second},
		{"unanswered read of one replica", direct, "", 2, readDirect, nil, 5 * time.Second},
		{"read without a leader", get, noLeader, 30, read, nil, 5 * time.Second},
		{"read that nobody ever answers", get, "", 100, read, context.DeadlineExceeded, 16 * time.Second},
		{"unanswered question for a stream", "$JS.API.STREAM.INFO.REELAY_POLLS", "", 1, nil, nil, 3 * time.Second},
		{"unanswered creation of a stream", "$JS.API.STREAM.CREATE.REELAY_CLAIMS", "", 1, nil, nil, 3 * time.Second},
		{
			"unanswered creation of a bucket", "$JS.API.STREAM.CREATE.KV_" + bucket.Leases, "", 1, nil, nil,
			3 * time.Second,
		},
		{"no leader to create a stream", "$JS.API.STREAM.CREATE.REELAY_CLAIMS", noLeader, 20, nil, nil, 3 * time.Second},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			bubble(t, func(b *fixture) {
				w, nc := b.wire()
				if row.ask == nil {
					row.ask = func(*bus.Bus) error { _, err := bus.Open(b.Context(), nc, bus.Options{Log: b.Logger}); return err }
				} else {
					on, err := bus.Open(b.Context(), nc, bus.Options{Log: b.Logger})
					b.OK(err)
					_, err = on.Put(b.Context(), bus.Put{Task: record("")})
					b.OK(err)
					ask := row.ask
					row.ask = func(*bus.Bus) error { return ask(on) }
				}
				w.keep(row.times, row.subject, row.answer)
				begin := time.Now()
				err := row.ask(nil)
				if !errors.Is(err, row.want) || time.Since(begin) > row.within {
					b.Errorf("%v after %v, want %v within %v", err, time.Since(begin), row.want, row.within)
				}
				if row.want == nil && w.rest() > 0 {
					b.Errorf("%d were never sent", w.rest())
				}
			})
		})
	}
}

// TestAsksTheLeader: nothing that decides is read from a replica that may lag behind.
func TestAsksTheLeader(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		_, err := on.Put(b.Context(), bus.Put{Task: record("")})
		b.OK(err)
		reads, err := b.Connect().SubscribeSync("$JS.API.DIRECT.GET.>")
		b.OK(err)
		b.OK(on.Conn().FlushWithContext(ctx(b)))
		_, _, err = on.GetFromLeader(b.Context(), key)
		b.OK(err)
		_, err = on.LastChange(b.Context())
		b.OK(err)
		b.OK(on.CheckLane(b.Context(), "fal"))
		_, err = lease.Holder(b.Context(), on, "fal")
		b.OK(err)
		_, err = lease.HandOver(b.Context(), on, "fal")
		b.OK(err)
		_, err = on.Bucket(bucket.Spend, "counter").Get(b.Context(), bucket.CounterKey(bucket.AllScope, "2026-11-22"))
		b.OK(err)
		_, err = on.Claimant(b.Context(), "fal", "r1")
		b.OK(err)
		if m, err := reads.NextMsg(time.Second); err == nil {
			b.Errorf("asked any replica: %s", m.Subject)
		}
		// What such a question looks like.
		kv, err := on.JetStream().KeyValue(b.Context(), events.TaskBucket)
		b.OK(err)
		_, err = kv.Get(b.Context(), key.String())
		b.OK(err)
		if _, err := reads.NextMsg(time.Second); err != nil {
			b.Errorf("this test shows nothing: %v", err)
		}
	})
}

// TestGetOfOneReplica: the only replica of the records answers as its leader does, in fewer bytes.
func TestGetOfOneReplica(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		kv, err := on.JetStream().KeyValue(b.Context(), events.TaskBucket)
		b.OK(err)
		same := func(step string, want error) {
			b.Helper()
			task, revision, err := on.Get(b.Context(), key)
			wantTask, wantRevision, wantErr := on.GetFromLeader(b.Context(), key)
			if !reflect.DeepEqual(task, wantTask) || revision != wantRevision || !errors.Is(err, want) || !errors.Is(wantErr, want) {
				b.Errorf("%s: revision %d, %v; of the leader %d, %v", step, revision, err, wantRevision, wantErr)
			}
		}
		same("none", bus.ErrNotFound)
		_, err = on.Put(b.Context(), bus.Put{Task: record("a note"), Heartbeat: time.Minute})
		b.OK(err)
		same("stored", nil)
		_, err = kv.Put(b.Context(), key.String(), []byte("no record"))
		b.OK(err)
		same("unreadable", bus.ErrUnreadable)
		b.OK(kv.Delete(b.Context(), key.String()))
		same("deleted", bus.ErrNotFound)
		if _, revision, _ := on.Get(b.Context(), key); revision == 0 {
			b.Error("the marker of a deleted record has no revision")
		}
		reads, err := b.Connect().SubscribeSync("$JS.API.STREAM.MSG.GET.>")
		b.OK(err)
		_, _, _ = on.Get(b.Context(), key) // only how it asks is looked at
		if m, err := reads.NextMsg(time.Second); err == nil {
			b.Errorf("asked by the API: %s", m.Subject)
		}
	})
}

// TestDeletedKeys: a key that was deleted is none, and one without a value is one.
func TestDeletedKeys(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		kv, err := on.JetStream().KeyValue(b.Context(), bucket.Lanes)
		b.OK(err)
		check := func(step string, paused bool) {
			b.Helper()
			if err := on.CheckLane(b.Context(), "fal"); errors.Is(err, bucket.ErrPaused) != paused {
				b.Errorf("%s: %v, paused %v", step, err, paused)
			}
		}
		check("no key", false)
		_, err = kv.Put(b.Context(), "fal", nil)
		b.OK(err)
		check("an empty value, which nobody can read", true)
		b.OK(kv.Delete(b.Context(), "fal"))
		check("deleted", false)
		_, err = kv.Put(b.Context(), "fal", []byte(`{"paused":true}`))
		b.OK(err)
		check("set again", true)
		b.OK(kv.Purge(b.Context(), "fal"))
		check("purged", false)
	})
}

// TestEventOnItsWay: an event whose duplicate is in flight is not stored. It is as soon as the duplicate is, or is
// lost.
func TestEventOnItsWay(t *testing.T) {
	bubble(t, func(b *fixture) {
		w, nc := b.wire()
		on, err := bus.Open(b.Context(), nc, bus.Options{Log: b.Logger})
		b.OK(err)
		e := events.Event{Type: events.EventCompleted, Project: key.Project, TaskID: key.ID, Version: 3, Once: true}
		w.keep(1_000_000, events.EventSubject(key, e.Type), onItsWay)
		if err := on.Publish(b.Context(), e); err == nil {
			b.Error("an event that is on its way counts as stored")
		}
		for _, row := range []struct {
			name string
			rest int // conflicts that are not met: no event is published again that is found stored
		}{{"the duplicate is lost", 0}, {"it is stored", 4}} {
			w.keep(5, events.EventSubject(key, e.Type), onItsWay)
			begin := time.Now()
			if err := on.Publish(b.Context(), e); err != nil || w.rest() != row.rest || time.Since(begin) > time.Second {
				b.Errorf("%s: %v after %v, %d conflicts not met", row.name, err, time.Since(begin), w.rest())
			}
			if n := b.stored(on, events.StreamEvents); n != 1 {
				b.Errorf("%s: %d events, want 1", row.name, n)
			}
		}
		other := events.Key{Project: key.Project, ID: "other"}
		w.keep(5, events.EventSubject(other, events.EventSubmitted), onItsWay)
		story := []events.EventType{events.EventSubmitted, events.EventCompleted}
		var all []events.Event
		for _, of := range story {
			all = append(all, events.Event{Type: of, Project: other.Project, TaskID: other.ID, Once: true})
		}
		b.OK(on.Publish(b.Context(), all...))
		stream, err := on.JetStream().Stream(b.Context(), events.StreamEvents)
		b.OK(err)
		last := uint64(0)
		for _, of := range story {
			msg, err := stream.GetLastMsgForSubject(b.Context(), events.EventSubject(other, of))
			b.OK(err)
			if msg.Sequence < last {
				b.Errorf("%s is stored as %d, behind %d of what came later", of, msg.Sequence, last)
			}
			last = msg.Sequence
		}
	})
}

// TestRenewalOnItsWay: a lease is not lost by a renewal that the cluster has not stored yet.
func TestRenewalOnItsWay(t *testing.T) {
	bubble(t, func(b *fixture) {
		w, nc := b.wire()
		on, err := bus.Open(b.Context(), nc, bus.Options{Log: b.Logger})
		b.OK(err)
		terms := 0
		stop := broker.Begin(b, func(ctx context.Context) error {
			lease.Candidate{Bus: on, Log: b.Logger, Name: "first"}.Lead(ctx, "fal", func(term context.Context, _ *lease.Lease) {
				terms++
				<-term.Done()
			})
			return nil
		})
		time.Sleep(time.Minute)
		w.keep(2, bucket.KeySubject(bucket.Leases, "fal"), onItsWay)
		time.Sleep(time.Minute)
		if terms != 1 || w.rest() > 0 {
			b.Errorf("%d terms, %d conflicts not met", terms, w.rest())
		}
		b.OK(stop())
	})
}
