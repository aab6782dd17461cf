package bus_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/internal/bus"
	"reelay/internal/layout"
)

// edit changes the settings of a stream as an operator would.
func (b *fixture) edit(js jetstream.JetStream, stream string, change func(c *jetstream.StreamConfig)) {
	b.Helper()
	s, err := js.Stream(b.Context(), stream)
	b.OK(err)
	c := s.CachedInfo().Config
	change(&c)
	_, err = js.UpdateStream(b.Context(), c)
	b.OK(err)
}

// TestMend: what an operator or another tool has set against the contract is mended by the next service that starts,
// and by a running one; where records may be gone by it, the stream says so until a person accepts that.
func TestMend(t *testing.T) {
	lanes, leases := bucket.Stream(bucket.Lanes), bucket.Stream(bucket.Leases)
	changes := map[string]func(c *jetstream.StreamConfig){
		events.StreamTasks: func(c *jetstream.StreamConfig) {
			c.MaxMsgs, c.MaxMsgSize, c.NoAck = 2, 1000, true
		},
		lanes:  func(c *jetstream.StreamConfig) { c.MaxAge, c.Discard, c.MaxMsgs = 3600e9, jetstream.DiscardOld, 10 },
		leases: func(c *jetstream.StreamConfig) { c.SubjectDeleteMarkerTTL = 0 },
	}
	for _, again := range []func(b *fixture, on *bus.Bus){
		func(b *fixture, _ *bus.Bus) { b.Open(bus.Options{}) },
		func(b *fixture, on *bus.Bus) {
			left, err := on.Mend(b.Context())
			if err != nil || len(left) > 0 {
				b.Errorf("left %v, %v", left, err)
			}
		},
	} {
		bubble(t, func(b *fixture) {
			var log bytes.Buffer
			on := b.Open(bus.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
			_, err := on.Put(b.Context(), bus.Put{Task: record("")})
			b.OK(err)
			before := b.configs(on.Conn())
			for stream, change := range changes {
				b.edit(on.JetStream(), stream, change)
				if f := layout.Of(stream).Faults(b.configs(on.Conn())[stream]); len(f) == 0 {
					b.Errorf("%s: no fault", stream)
				}
			}
			again(b, on)
			after := b.configs(on.Conn())
			for stream := range changes {
				if f := layout.Of(stream).Faults(after[stream]); len(f) > 0 {
					b.Errorf("%s: %v", stream, f)
				}
			}
			if before[lanes].Discard != after[lanes].Discard || after[lanes].MaxMsgs != 10 {
				b.Errorf("the lanes' stream was\n%+v\nand is\n%+v", before[lanes], after[lanes])
			}
			if got := after[events.StreamTasks].Metadata[events.RecordsEvictedKey]; !strings.HasPrefix(got, "max_msgs 2, found at") {
				b.Errorf("the mark of the records is %q", got)
			}
			b.OK(on.AcceptEvicted(b.Context()))
			if got, ok := b.configs(on.Conn())[events.StreamTasks].Metadata[events.RecordsEvictedKey]; ok {
				b.Errorf("the mark is still there: %q", got)
			}
		})
	}
}

// TestMendLeaves what cannot be changed without loss, and says what a person can do.
func TestMendLeaves(t *testing.T) {
	bubble(t, func(b *fixture) {
		js, err := jetstream.New(b.Connect())
		b.OK(err)
		_, err = js.CreateKeyValue(b.Context(), jetstream.KeyValueConfig{Bucket: events.TaskBucket, Storage: jetstream.MemoryStorage})
		b.OK(err)
		left, err := b.Open(bus.Options{}).Mend(b.Context())
		if err != nil || len(left) != 1 || left[0].Mendable || left[0].Stream != events.StreamTasks ||
			!strings.Contains(left[0].Error(), "storage is Memory, and File is needed") {
			b.Errorf("left %v, %v", left, err)
		}
	})
}

// TestMendMakesAnew a stream that was removed, but for that of the task records.
func TestMendMakesAnew(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		all := b.configs(on.Conn())
		for name := range all {
			b.OK(on.JetStream().DeleteStream(b.Context(), name))
		}
		if _, err := on.Mend(b.Context()); !errors.Is(err, jetstream.ErrStreamNotFound) {
			b.Errorf("%v, want ErrStreamNotFound", err)
		}
		got := b.configs(on.Conn())
		if _, ok := got[events.StreamTasks]; ok || len(got) != len(all)-1 {
			b.Errorf("%d of %d streams are there, the records %t", len(got), len(all)-1, ok)
		}
		b.Open(bus.Options{}) // a start makes that as well, and the guard knows it for another one
	})
}

// TestWorlds: the records are of the world of the first process with lanes; one of the other world does not start, but on a
// person's word. A process without lanes is of no world.
func TestWorlds(t *testing.T) {
	bubble(t, func(b *fixture) {
		for _, row := range []struct {
			world events.World
			join  bool
			is    error
		}{
			{"", false, nil},
			{events.WorldLive, false, nil},
			{events.WorldLive, false, nil},
			{events.WorldSandbox, false, bus.ErrOtherWorld},
			{events.WorldSandbox, true, nil},
			{events.WorldSandbox, false, bus.ErrOtherWorld},
			{events.WorldLive, false, nil},
		} {
			_, err := bus.OpenRetrying(b.Context(), b.Connect(), bus.Options{World: row.world, JoinWorld: row.join, Log: b.Logger})
			if !errors.Is(err, row.is) {
				b.Errorf("%+v: %v", row, err)
			}
		}
	})
}

// TestStreamBytes: an account that requires a bound on every stream gets it.
func TestStreamBytes(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{MaxBytes: bus.StreamBytes{bus.EveryStream: 8 << 20, events.StreamTasks: 16 << 20}})
		for name, c := range b.configs(on.Conn()) {
			want := int64(8 << 20)
			if name == events.StreamTasks {
				want *= 2
			}
			if c.MaxBytes != want {
				b.Errorf("%s holds %d bytes", name, c.MaxBytes)
			}
		}
	})
}

// TestBucketsAreTheClients: a bucket is made as the client's library makes one, so that every tool works with it.
func TestBucketsAreTheClients(t *testing.T) {
	bubble(t, func(b *fixture) {
		js := b.Open(bus.Options{}).JetStream()
		for _, c := range bucket.All() {
			var err error
			if c.Objects {
				_, err = js.CreateObjectStore(b.Context(), jetstream.ObjectStoreConfig{
					Bucket: c.Name, Description: c.Description, TTL: c.TTL,
				})
			} else {
				_, err = js.CreateKeyValue(b.Context(), jetstream.KeyValueConfig{
					Bucket: c.Name, Description: c.Description, History: c.History, TTL: c.TTL, MaxValueSize: c.MaxValueBytes,
					LimitMarkerTTL: c.MarkerAge,
				})
			}
			if err != nil {
				b.Errorf("%s: %v", c.Name, err) // of the same settings it is none
			}
		}
	})
}
