package bus_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"reelay/events/bucket"
	"reelay/internal/bus"
)

// TestWatchBeginsAnew when its stream was removed and made anew, however far it had got in the one before.
func TestWatchBeginsAnew(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		lanes := on.Bucket(bucket.Lanes, "lane")
		for range 20 { // the watch gets far
			b.OK(lanes.Put(b.Context(), "fal", []byte(`{"paused":false}`)))
		}
		var heard []string
		ctx, cancel := context.WithCancel(b.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			bus.KeepWatching(ctx, b.Logger, "interrupted", func(ctx context.Context) error {
				return lanes.Watch(ctx, func(e *bus.Entry) {
					if e != nil {
						heard = append(heard, string(e.Value))
					}
				})
			})
		}()
		time.Sleep(time.Minute)
		b.OK(on.JetStream().DeleteStream(b.Context(), bucket.Stream(bucket.Lanes)))
		_, err := on.Mend(b.Context())
		b.OK(err)
		b.OK(lanes.Put(b.Context(), "fal", []byte(`{"paused":true}`)))
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(heard) != 2 || heard[1] != `{"paused":true}` {
			b.Errorf("heard %q", heard)
		}
		cancel()
		<-done
	})
}
