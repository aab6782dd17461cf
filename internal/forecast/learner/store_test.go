package learner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"reelay/events/bucket"
	"reelay/internal/bus"
	"reelay/internal/failpoint"
	"reelay/internal/test/broker"
)

// TestChange: many writers at a time lose nothing.
func TestChange(t *testing.T) {
	broker.Run(t, func(b *broker.Broker) {
		const writers = 4
		var all sync.WaitGroup
		for range writers {
			on := b.Open(bus.Options{})
			all.Go(func() {
				err := change(b.Context(), on, "fal.video.x=2Ey/z",
					func(stored []byte) ([]byte, error) { return append(stored, '+'), nil })
				if err != nil {
					b.Error(err)
				}
			})
		}
		all.Wait()
		on := b.Open(bus.Options{})
		b.OK(change(b.Context(), on, "fal.video.x=2Ey/z", func(stored []byte) ([]byte, error) {
			if len(stored) != writers {
				b.Errorf("%d changes are stored, want %d", len(stored), writers)
			}
			return stored, nil
		}))
	})
}

func TestChangeErrors(t *testing.T) {
	broker.Run(t, func(b *broker.Broker) {
		on := b.Open(bus.Options{})
		refused := errors.New("refused")
		same := func(value string) func([]byte) ([]byte, error) {
			return func([]byte) ([]byte, error) { return []byte(value), nil }
		}
		busy := b.Open(bus.Options{})
		lost := b.Open(bus.Options{Faults: func(point string) failpoint.Outcome {
			return failpoint.Outcome{Lose: point == "forecast"}
		}})
		rows := []struct {
			name   string
			on     *bus.Bus
			change func([]byte) ([]byte, error)
			want   error
		}{
			{"of the change", on, func([]byte) ([]byte, error) { return nil, refused }, refused},
			{"others are always faster", on, func(stored []byte) ([]byte, error) {
				b.OK(change(b.Context(), busy, "k", same(string(stored)+"+")))
				return []byte("mine"), nil
			}, bus.ErrConflict},
			{"lost", lost, same("v"), failpoint.ErrLost},
		}
		for _, row := range rows {
			if err := change(b.Context(), row.on, "k", row.change); !errors.Is(err, row.want) {
				b.Errorf("%s: %v, want %v", row.name, err, row.want)
			}
		}
		if err := change(b.Context(), on, "k", same(string(make([]byte, 20<<10)))); err == nil {
			b.Error("a value over the limit is stored")
		}
	})
}

func TestWatch(t *testing.T) {
	broker.Run(t, func(b *broker.Broker) {
		on := b.Open(bus.Options{})
		put := func(key, value string) {
			b.OK(change(b.Context(), on, key, func([]byte) ([]byte, error) { return []byte(value), nil }))
		}
		put("a", "1")
		var story []string
		stop := broker.Begin(b, func(ctx context.Context) error {
			return watch(ctx, on, func(key string, value []byte) {
				story = append(story, fmt.Sprintf("%s=%s %t", key, value, value == nil))
			})
		})
		put("b", "2")
		put("a", "3")
		kv, err := on.JetStream().KeyValue(b.Context(), bucket.Forecasts)
		b.OK(err)
		b.OK(kv.Delete(b.Context(), "b"))
		synctest.Wait()
		put("b", "4") // over the marker of what was deleted
		synctest.Wait()
		b.OK(stop())
		if want := []string{"a=1 false", "b=2 false", "a=3 false", "b= true", "b=4 false"}; !slices.Equal(story, want) {
			b.Errorf("%q, want %q", story, want)
		}
	})
}
