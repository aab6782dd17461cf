package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reelay/events/bucket"
	"reelay/internal/bus"
	"reelay/internal/failpoint"
	"reelay/internal/test/broker"
)

// TestBucketUpdate: a key is written over what was read and over nothing else: over no key, a value, and whatever marks
// that the key was deleted or has expired.
func TestBucketUpdate(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		k := on.Bucket(bucket.Leases, "lease")
		kv, err := on.JetStream().KeyValue(b.Context(), bucket.Leases)
		b.OK(err)
		const ttl = 3 * time.Second
		rows := []struct {
			name   string
			before func()
		}{
			{"no key", func() {}},
			{"a value", func() {}},
			{"deleted", func() { b.OK(kv.Delete(b.Context(), "x")) }},
			{"purged", func() { b.OK(kv.Purge(b.Context(), "x")) }},
			{"expired", func() { time.Sleep(2 * ttl) }},
			{"expired, and its marker too", func() { time.Sleep(10 * time.Minute) }},
			{"deleted by the bucket", func() {
				e, err := k.Get(b.Context(), "x")
				b.OK(err)
				b.OK(k.Delete(b.Context(), "x", e.Revision))
			}},
		}
		for _, row := range rows {
			before, err := k.Get(b.Context(), "x")
			b.OK(err)
			row.before()
			entry, err := k.Get(b.Context(), "x")
			b.OK(err)
			if present := row.name == "a value"; entry.Present != present || present != (string(entry.Value) == "v") {
				b.Errorf("%s: %+v", row.name, entry)
			}
			if before.Revision != entry.Revision {
				if _, err := k.Update(b.Context(), "x", []byte("late"), before.Revision, ttl); !errors.Is(err, bus.ErrConflict) {
					b.Errorf("%s, over what was there before: %v", row.name, err)
				}
			}
			revision, err := k.Update(b.Context(), "x", []byte("v"), entry.Revision, ttl)
			b.OK(err)
			got, err := k.Get(b.Context(), "x")
			if b.OK(err); !got.Present || got.Revision != revision || string(got.Value) != "v" {
				b.Errorf("%s: written as %d, read %+v", row.name, revision, got)
			}
			if err := k.Delete(b.Context(), "x", revision-1); !errors.Is(err, bus.ErrConflict) {
				b.Errorf("%s: an older revision was deleted: %v", row.name, err)
			}
		}
	})
}

// TestBucketLifetime: a value that is updated lives as long as the update says, and the last update counts.
func TestBucketLifetime(t *testing.T) {
	bubble(t, func(b *fixture) {
		k := b.Open(bus.Options{}).Bucket(bucket.Leases, "lease")
		revision := uint64(0)
		for range 5 {
			var err error
			revision, err = k.Update(b.Context(), "x", nil, revision, 4*time.Second)
			b.OK(err)
			time.Sleep(3 * time.Second)
		}
		e, err := k.Get(b.Context(), "x")
		if b.OK(err); !e.Present {
			b.Error("it has ended although it was renewed")
		}
		time.Sleep(3 * time.Second)
		e, err = k.Get(b.Context(), "x")
		if b.OK(err); e.Present {
			b.Error("it outlives its lifetime")
		}
	})
}

// TestBucketWatch tells every key, then nil, then every change; All tells the keys that have a value.
func TestBucketWatch(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		k := on.Bucket(bucket.Lanes, "switch")
		all := func(want ...string) {
			b.Helper()
			entries, err := k.All(b.Context())
			b.OK(err)
			var got []string
			for _, e := range entries {
				got = append(got, e.Key+"="+string(e.Value))
			}
			if slices.Sort(got); !slices.Equal(got, want) {
				b.Errorf("all are %q, want %q", got, want)
			}
		}
		all()
		b.OK(k.Put(b.Context(), "a", []byte("1")))
		b.OK(k.Put(b.Context(), "b", []byte("2")))
		e, err := k.Get(b.Context(), "a")
		b.OK(err)
		b.OK(k.Delete(b.Context(), "a", e.Revision))
		all("b=2")
		var story []string
		stop := broker.Begin(b, func(ctx context.Context) error {
			return k.Watch(ctx, func(e *bus.Entry) {
				if e == nil {
					story = append(story, "ready")
					return
				}
				story = append(story, fmt.Sprintf("%s=%s %t %d", e.Key, e.Value, e.Present, e.Revision))
			})
		})
		synctest.Wait()
		b.OK(k.Put(b.Context(), "b", nil))
		synctest.Wait()
		b.OK(stop())
		if want := []string{"b=2 true 2", "a= false 3", "ready", "b= true 4"}; !slices.Equal(story, want) {
			b.Errorf("%q, want %q", story, want)
		}
		all("b=")
		on.Conn().Close()
		if _, err := k.All(b.Context()); err == nil {
			b.Error("no error without a broker")
		}
	})
}

// TestBucketFailpoint: the writes of a bucket fail by its name, those of another do not.
func TestBucketFailpoint(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{
			Faults: func(point string) failpoint.Outcome { return failpoint.Outcome{Lose: point == "health"} },
		})
		if err := on.Bucket(bucket.Health, "health").Put(b.Context(), "x", nil); !errors.Is(err, failpoint.ErrLost) {
			b.Errorf("%v", err)
		}
		b.OK(on.Bucket(bucket.Health, "other").Put(b.Context(), "x", nil))
	})
}

// TestSetLanePauseOverMarker: a pause can be set after a person has deleted its key, by whoever watches and by whoever
// reads.
func TestSetLanePauseOverMarker(t *testing.T) {
	for _, remove := range []func(jetstream.KeyValue, context.Context) error{
		func(kv jetstream.KeyValue, ctx context.Context) error { return kv.Delete(ctx, "fal") },
		func(kv jetstream.KeyValue, ctx context.Context) error { return kv.Purge(ctx, "fal") },
	} {
		bubble(t, func(b *fixture) {
			on := b.Open(bus.Options{})
			_, err := on.SetLanePause(b.Context(), "fal", bucket.LanePause{Paused: true}, 0)
			b.OK(err)
			b.OK(remove(b.switches(), b.Context()))
			var known uint64
			stop := broker.Begin(b, func(ctx context.Context) error {
				return on.WatchLanes(ctx, func(u bus.LaneUpdate) {
					if !u.Ready {
						known = u.Revision
					}
				})
			})
			synctest.Wait()
			b.OK(stop())
			_, err = on.SetLanePause(b.Context(), "fal", bucket.LanePause{Paused: true}, known)
			b.OK(err)
			if err := on.CheckLane(b.Context(), "fal"); !errors.Is(err, bucket.ErrPaused) {
				b.Errorf("%v", err)
			}
		})
	}
}
