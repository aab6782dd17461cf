package bus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/internal/bus"
	"reelay/internal/natsd"
	"reelay/internal/test/broker"
)

// configs returns what the server says of every stream.
func (b *fixture) configs(nc *nats.Conn) map[string]jetstream.StreamConfig {
	b.Helper()
	js, err := jetstream.New(nc)
	b.OK(err)
	all := map[string]jetstream.StreamConfig{}
	streams := js.ListStreams(b.Context())
	for info := range streams.Info() {
		all[info.Config.Name] = info.Config
	}
	b.OK(streams.Err())
	return all
}

// TestOpenMakesTheTable compares the server's streams with the contract's.
func TestOpenMakesTheTable(t *testing.T) {
	bubble(t, func(b *fixture) {
		b.Open(bus.Options{})
		got := b.configs(b.Connect())
		if len(got) != len(events.Streams())+len(bucket.All()) {
			b.Errorf("%d streams, want those of the table, the object store and the buckets beside it", len(got))
		}
		for name, c := range got { // the server reserves what a stream may have at most, and a small disk could not start
			if c.MaxBytes > 0 {
				b.Errorf("%s reserves %d bytes", name, c.MaxBytes)
			}
		}
		for _, s := range events.Streams() {
			c := got[s.Name]
			if !reflect.DeepEqual(c.Subjects, s.Subjects) || c.MaxAge != s.MaxAge || c.Description != s.Description ||
				c.Storage != jetstream.FileStorage || c.Replicas != 1 || c.MaxMsgs != -1 {
				b.Errorf("%s: %+v", s.Name, c)
			}
			if (c.Retention == jetstream.WorkQueuePolicy) != (s.Retention == events.WorkQueue) {
				b.Errorf("%s: retention %v", s.Name, c.Retention)
			}
			if s.Duplicates > 0 && c.Duplicates != s.Duplicates {
				b.Errorf("%s: duplicates %v, want %v", s.Name, c.Duplicates, s.Duplicates)
			}
			if s.MaxMsgsPerSubject > 0 && c.MaxMsgsPerSubject != s.MaxMsgsPerSubject ||
				s.MaxMsgsPerSubject == 0 && c.MaxMsgsPerSubject != -1 {
				b.Errorf("%s: %d messages per subject", s.Name, c.MaxMsgsPerSubject)
			}
			if (c.Discard == jetstream.DiscardNew) != s.DiscardNew ||
				c.DiscardNewPerSubject != (s.DiscardNew && s.MaxMsgsPerSubject > 0) {
				b.Errorf("%s: discard %v, per subject %v", s.Name, c.Discard, c.DiscardNewPerSubject)
			}
			if c.AllowRollup != s.KeyValue || c.AllowMsgTTL != s.KeyValue || c.AllowMsgSchedules != s.KeyValue {
				b.Errorf("%s: rollup %v, TTL %v, schedules %v", s.Name, c.AllowRollup, c.AllowMsgTTL, c.AllowMsgSchedules)
			}
			if c.RePublish != nil || c.SubjectTransform != nil {
				b.Errorf("%s: republish %+v, transform %+v", s.Name, c.RePublish, c.SubjectTransform)
			}
		}
	})
}

// TestOpenTwice: a second Open changes nothing, and neither do many at once on an empty store.
func TestOpenTwice(t *testing.T) {
	bubble(t, func(b *fixture) {
		const many = 6
		failed := make(chan error, many)
		for range many {
			nc := b.Connect()
			go func() {
				_, err := bus.Open(b.Context(), nc, bus.Options{Log: b.Logger})
				failed <- err
			}()
		}
		for range many {
			b.OK(<-failed)
		}
		nc := b.Connect()
		before := b.configs(nc)
		on := b.Open(bus.Options{})
		b.send(on, 3)
		b.Open(bus.Options{})
		if after := b.configs(nc); !reflect.DeepEqual(before, after) {
			b.Errorf("a second Open changed the streams:\n%+v\n%+v", before, after)
		}
		if n := b.stored(on, events.StreamRequests); n != 3 {
			b.Errorf("%d of 3 messages after a second Open", n)
		}
	})
}

// TestFewerReplicas: a service that comes second cannot have the replicas that it was told of, and says so.
func TestFewerReplicas(t *testing.T) {
	bubble(t, func(b *fixture) {
		var text bytes.Buffer
		o := bus.Options{Replicas: 1, Log: slog.New(slog.NewTextHandler(&text, nil))}
		for _, replicas := range []int{1, 3} {
			o.Replicas = replicas
			_, err := bus.Open(b.Context(), b.Connect(), o)
			b.OK(err)
			if got := strings.Contains(text.String(),
				"stream="+events.StreamTasks+" replicas=1 wanted=3"); got != (replicas > 1) {
				b.Errorf("asked for %d:\n%s", replicas, &text)
			}
		}
	})
}

// TestOpenLeavesTheOperatorAlone changes what is an operator's to change.
func TestOpenLeavesTheOperatorAlone(t *testing.T) {
	bubble(t, func(b *fixture) {
		js := b.Open(bus.Options{}).JetStream()
		want := map[string]jetstream.StreamConfig{}
		for _, s := range events.Streams() {
			stream, err := js.Stream(b.Context(), s.Name)
			b.OK(err)
			c := stream.CachedInfo().Config
			c.Description = "ours"
			c.MaxMsgSize = 3 << 20
			c.Compression = jetstream.S2Compression
			c.Metadata = map[string]string{"owner": "us"}
			if !s.KeyValue { // a size limit there would evict records
				c.MaxBytes, c.MaxMsgs = 1<<30, 1_000_000
			}
			stream, err = js.UpdateStream(b.Context(), c)
			b.OK(err)
			want[s.Name] = stream.CachedInfo().Config
		}
		b.Open(bus.Options{})
		got := b.configs(b.Connect())
		for name, want := range want {
			got := got[name]
			if got.Metadata["owner"] != "us" {
				b.Errorf("%s: metadata %v", name, got.Metadata)
			}
			got.Metadata, want.Metadata = nil, nil // the server keeps notes of its own there
			if !reflect.DeepEqual(got, want) {
				b.Errorf("%s was\n%+v\nand is\n%+v", name, want, got)
			}
		}
	})
}

// TestOpenBringsOldStreamsUp meets streams of an older build, with messages in them.
func TestOpenBringsOldStreamsUp(t *testing.T) {
	bubble(t, func(b *fixture) {
		js, err := jetstream.New(b.Connect())
		b.OK(err)
		for _, c := range []jetstream.StreamConfig{
			{
				Name: events.StreamRequests, Subjects: []string{"reelay.request.>"}, Retention: jetstream.WorkQueuePolicy,
				MaxMsgs: 77,
			},
			{Name: events.StreamDead, Subjects: []string{"reelay.dead.>"}, MaxAge: time.Hour},
			{
				Name: events.StreamTasks, Subjects: []string{"$KV.reelay_tasks.>"}, MaxMsgsPerSubject: 1, AllowDirect: true,
				AllowRollup: true,
			},
		} {
			_, err := js.CreateStream(b.Context(), c)
			b.OK(err)
		}
		_, err = js.Publish(b.Context(), "reelay.request.demo.video", []byte("old"))
		b.OK(err)
		on := b.Open(bus.Options{})
		_, err = on.JetStream().Publish(b.Context(), events.CommandSubject(key, events.CommandCancel), nil)
		b.OK(err)
		if n := b.stored(on, events.StreamRequests); n != 2 {
			b.Errorf("%d messages, want the old and the new one", n)
		}
		got := b.configs(on.Conn())
		if c := got[events.StreamRequests]; c.MaxMsgs != 77 {
			b.Errorf("the operator's limit is %d", c.MaxMsgs)
		}
		if c := got[events.StreamDead]; c.MaxAge != events.DeadAge {
			b.Errorf("dead messages are kept %v", c.MaxAge)
		}
		_, err = on.Put(b.Context(), bus.Put{Task: record(""), Heartbeat: time.Minute, TTL: 0})
		b.OK(err)
	})
}

// TestOpenRefusesAnotherBuild: what another build has stored, and this one would leave unread, is said at once and is
// not waited for.
func TestOpenRefusesAnotherBuild(t *testing.T) {
	for _, row := range []struct {
		stream jetstream.StreamConfig
		record string
		want   string
	}{
		{
			stream: jetstream.StreamConfig{
				Name: events.StreamTasks, Subjects: []string{"$KV.reelay_tasks.>", "reelay.due.>"},
				MaxMsgsPerSubject: 1,
			},
			want: "stream KV_reelay_tasks: the store was written by another build of reelay (it stores reelay.due.>)",
		},
		{
			stream: jetstream.StreamConfig{Name: events.StreamEvents, Subjects: []string{"reelay.announce.>"}},
			want:   "stream REELAY_EVENTS: the store was written by another build of reelay (it stores reelay.announce.>)",
		},
		{
			stream: jetstream.StreamConfig{
				Name: events.StreamCallbacks, Subjects: []string{"reelay.callback.>"}, Retention: jetstream.WorkQueuePolicy,
			},
			want: "stream REELAY_CALLBACKS: the store was written by another build of reelay (its retention is WorkQueue)",
		},
		{
			stream: jetstream.StreamConfig{
				Name: events.StreamTasks, Subjects: []string{"$KV.reelay_tasks.>"},
				MaxMsgsPerSubject: 1,
			},
			record: `{"schema":99,"id":"t1"}`,
			want: "bucket reelay_tasks: the store was written by another build of reelay (a task record has schema 99, and " +
				"this build reads " + fmt.Sprint(events.TaskSchema) + ")",
		},
	} {
		bubble(t, func(b *fixture) {
			nc := b.Connect()
			js, err := jetstream.New(nc)
			b.OK(err)
			_, err = js.CreateStream(b.Context(), row.stream)
			b.OK(err)
			if row.record != "" {
				_, err := js.Publish(b.Context(), events.RecordSubject(key), []byte(row.record))
				b.OK(err)
			}
			before := b.configs(nc)[row.stream.Name]
			_, err = bus.OpenRetrying(b.Context(), nc, bus.Options{Log: b.Logger})
			want := row.want + ": let the tasks end with that build, or use another store directory"
			if !errors.Is(err, bus.ErrOtherBuild) || err.Error() != want {
				b.Errorf("%v, want %s", err, want)
			}
			if after := b.configs(nc)[row.stream.Name]; row.record == "" && !reflect.DeepEqual(before, after) {
				b.Errorf("%s was %+v and is %+v", row.stream.Name, before, after)
			}
		})
	}
}

// TestOpenNamesTheStream that cannot be made.
func TestOpenNamesTheStream(t *testing.T) {
	bubble(t, func(b *fixture) {
		nc := b.Connect()
		js, err := jetstream.New(nc)
		b.OK(err)
		_, err = js.CreateStream(b.Context(), jetstream.StreamConfig{Name: "FOREIGN", Subjects: []string{"reelay.poll.>"}})
		b.OK(err)
		_, err = bus.Open(b.Context(), nc, bus.Options{Log: b.Logger})
		var api *jetstream.APIError
		if !errors.As(err, &api) || !strings.Contains(err.Error(), "stream "+events.StreamPolls) {
			b.Errorf("%v, want the server's error and the stream's name", err)
		}
		// A service goes on trying, and says at once what a person has to do.
		var log bytes.Buffer
		ctx, cancel := context.WithTimeout(b.Context(), 10*time.Second)
		defer cancel()
		_, err = bus.OpenRetrying(ctx, nc, bus.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(log.String(), "level=ERROR") ||
			!strings.Contains(log.String(), "nats stream report") {
			b.Errorf("%v, and the log is\n%s", err, &log)
		}
	})
}

// greet is a server as a client sees it until it asks for something: its version, and answers to pings.
func greet(tb testing.TB, version string) *nats.Conn {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = l.Close() })
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		fmt.Fprintf(c, "INFO {\"server_id\":\"x\",\"version\":%q,\"headers\":true,\"max_payload\":1048576}\r\n", version)
		buffer := make([]byte, 4096)
		for {
			n, err := c.Read(buffer)
			if err != nil {
				return
			}
			if bytes.Contains(buffer[:n], []byte("PING")) {
				fmt.Fprint(c, "PONG\r\n")
			}
		}
	}()
	nc, err := nats.Connect("nats://" + l.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(nc.Close)
	return nc
}

// TestOldServer: neither waits for a server that will not get younger.
func TestOldServer(t *testing.T) {
	broker.ForgetTimers()
	nc := greet(t, "2.14.3")
	o := bus.Options{Log: slog.New(slog.DiscardHandler)}
	if _, err := bus.Open(t.Context(), nc, o); !errors.Is(err, bus.ErrOldServer) ||
		!strings.Contains(err.Error(), "2.14.3") {
		t.Errorf("%v, want ErrOldServer and the version", err)
	}
	if _, err := bus.OpenRetrying(t.Context(), nc, o); !errors.Is(err, bus.ErrOldServer) {
		t.Errorf("%v, want ErrOldServer", err)
	}
}

// TestOpenBeforeTheBroker: services may be started in any order.
func TestOpenBeforeTheBroker(t *testing.T) {
	broker.ForgetTimers()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect("nats://"+address, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1),
		nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	if _, err := bus.Open(t.Context(), nc, bus.Options{Log: log}); !errors.Is(err, nats.ErrDisconnected) {
		t.Errorf("%v, want ErrDisconnected", err)
	}
	type result struct {
		b   *bus.Bus
		err error
	}
	opened := make(chan result, 1)
	go func() {
		b, err := bus.OpenRetrying(t.Context(), nc, bus.Options{Log: log})
		opened <- result{b, err}
	}()
	srv, err := natsd.Start(natsd.Options{StoreDir: t.TempDir(), Listen: address, Sync: natsd.SyncInterval, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Stop()
	r := <-opened
	if r.err != nil || !r.b.Connected() {
		t.Fatalf("%v", r.err)
	}
}

// TestOpenRetryingEnds with its context.
func TestOpenRetryingEnds(t *testing.T) {
	bubble(t, func(b *fixture) {
		nc := b.Connect()
		nc.Close()
		enough := errors.New("enough")
		ctx, cancel := context.WithTimeoutCause(b.Context(), time.Minute, enough)
		defer cancel()
		if _, err := bus.OpenRetrying(ctx, nc, bus.Options{Log: b.Logger}); !errors.Is(err, enough) {
			b.Errorf("%v, want the context's cause", err)
		}
	})
}

func TestDrain(t *testing.T) {
	bubble(t, func(b *fixture) {
		nc, on := b.Connect(), b.Open(bus.Options{})
		got := make(chan *nats.Msg, 100)
		_, err := on.Conn().ChanSubscribe("x", got)
		b.OK(err)
		b.OK(on.Conn().FlushWithContext(ctx(b)))
		for range 100 {
			b.OK(nc.Publish("x", nil))
		}
		b.OK(bus.Drain(nc))
		if !nc.IsClosed() || on.Conn().IsClosed() {
			b.Error("closed is not what was drained")
		}
		b.OK(on.Conn().FlushWithContext(ctx(b)))
		if len(got) != 100 {
			b.Errorf("%d of 100 messages left before the end", len(got))
		}
		b.OK(bus.Drain(nc)) // of a closed one
	})
}

func ctx(b *fixture) context.Context {
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	b.Cleanup(cancel)
	return ctx
}
