package bus_test

import (
	"fmt"
	"log/slog"
	"net/url"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/internal/bus"
)

// TestDomain: through a leaf node the streams of another domain are made and written, and none in the leaf's own.
func TestDomain(t *testing.T) {
	hubOptions := &server.Options{LeafNode: server.LeafNodeOpts{Host: "127.0.0.1", Port: server.RANDOM_PORT}}
	start := func(name string, o *server.Options) *server.Server {
		o.ServerName, o.Host, o.Port, o.NoSigs, o.NoLog = name, "127.0.0.1", server.RANDOM_PORT, true, true
		o.JetStream, o.StoreDir, o.JetStreamDomain = true, t.TempDir(), name
		s, err := server.NewServer(o)
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		if !s.ReadyForConnections(10 * time.Second) {
			t.Fatal("the server does not start")
		}
		return s
	}
	start("hub", hubOptions)
	remote := &url.URL{Scheme: "nats-leaf", Host: fmt.Sprint("127.0.0.1:", hubOptions.LeafNode.Port)}
	leaf := start("leaf", &server.Options{LeafNode: server.LeafNodeOpts{
		Remotes: []*server.RemoteLeafOpts{{URLs: []*url.URL{remote}}},
	}})
	nc, err := nats.Connect(leaf.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	log := slog.New(slog.DiscardHandler)
	b, err := bus.OpenRetrying(t.Context(), nc, bus.Options{APIPrefix: "$JS.hub.API", Log: log})
	if err != nil {
		t.Fatal(err)
	}
	k := events.Key{Project: "demo", ID: "t1"}
	record := events.Task{Schema: events.TaskSchema, ID: k.ID, Project: k.Project}
	if _, err := b.Put(t.Context(), bus.Put{Task: record, Heartbeat: time.Minute}); err != nil {
		t.Fatal(err)
	}
	if got, _, err := b.Get(t.Context(), k); err != nil || got.ID != k.ID {
		t.Errorf("%+v, %v", got, err)
	}
	if err := b.Bucket(bucket.Lanes, "lanes").Put(t.Context(), "fal", []byte("{}")); err != nil {
		t.Error(err)
	}
	if info, err := leaf.Jsz(nil); err != nil || info.Streams != 0 {
		t.Errorf("%d streams in the leaf, %v", info.Streams, err)
	}
}
