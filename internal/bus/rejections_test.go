package bus_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"reelay/events"
	"reelay/internal/bus"
)

// following runs WatchRejections until the test or stop ends it; heard are the task ids, "|" the end of those that were
// there.
func (b *fixture) following(on *bus.Bus) (heard *[]string, stop func() error) {
	ctx, cancel := context.WithCancel(b.Context())
	heard, done := new([]string), make(chan error, 1)
	go func() {
		done <- on.WatchRejections(ctx, func(e *events.Event) {
			if e == nil {
				*heard = append(*heard, "|")
				return
			}
			*heard = append(*heard, e.TaskID)
		})
	}()
	stop = func() error {
		cancel()
		return <-done
	}
	return heard, stop
}

func (b *fixture) reject(on *bus.Bus, ids ...string) {
	b.Helper()
	for _, id := range ids {
		b.OK(on.Publish(b.Context(),
			events.Event{Type: events.EventRejected, Project: "demo", TaskID: id, Time: time.Now(), RequestDigest: id}))
	}
}

func (b *fixture) wantHeard(what string, heard *[]string, want ...string) {
	b.Helper()
	time.Sleep(time.Second)
	synctest.Wait()
	if !slices.Equal(*heard, want) {
		b.Errorf("%s: heard %v, want %v", what, *heard, want)
	}
}

// TestWatchRejections: all that are kept, then the mark, then each new one, and of other events nothing.
func TestWatchRejections(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		none, stop := b.following(on)
		b.wantHeard("nothing is stored", none, "|")
		b.OK(on.Publish(b.Context(), events.Event{Type: events.EventQueued, Project: "demo", TaskID: "q", Once: true}))
		b.reject(on, "a", "b", "a")
		b.wantHeard("three came, one of them twice", none, "|", "a", "b")
		some, stop2 := b.following(on)
		b.wantHeard("they are there", some, "a", "b", "|")
		b.OK(on.Conn().PublishMsg(&nats.Msg{
			Subject: events.EventSubject(key, events.EventRejected),
			Header:  nats.Header{events.HeaderType: {"reelay.task.rejected.v9"}}, Data: []byte("{}"),
		}))
		time.Sleep(3 * time.Hour)
		b.reject(on, "c")
		b.wantHeard("one came after a layout that nobody knows, and hours", some, "a", "b", "|", "c")
		fresh, stop3 := b.following(on)
		b.wantHeard("one that is there cannot be read", fresh, "a", "b", "c", "|")
		for _, stop := range []func() error{stop, stop2, stop3} {
			b.OK(stop())
		}
		b.reject(on, "d")
		b.wantHeard("it was told to end", some, "a", "b", "|", "c")
	})
}

// TestFollowManyRejections: more than are fetched at a time.
func TestFollowManyRejections(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		var want []string
		for i := range 1_200 {
			want = append(want, fmt.Sprint("t", i))
		}
		b.reject(on, want...)
		heard, stop := b.following(on)
		b.wantHeard("all", heard, append(want, "|")...)
		b.OK(stop())
	})
}

// TestWatchRejectionsGone: where some vanish before they are read, whoever follows is told to begin anew, not kept
// waiting.
func TestWatchRejectionsGone(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		var all []string
		for i := range 1_200 {
			all = append(all, fmt.Sprint("t", i))
		}
		b.reject(on, all...)
		stream, err := on.JetStream().Stream(b.Context(), events.StreamEvents)
		b.OK(err)
		ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
		defer cancel()
		heard := 0
		err = on.WatchRejections(ctx, func(e *events.Event) {
			if e == nil {
				b.Error("told that these were all")
			}
			if heard++; heard == 1 {
				b.OK(stream.Purge(b.Context()))
			}
		})
		if err == nil || heard == len(all) {
			b.Errorf("%v, heard %d", err, heard)
		}
	})
}

// TestWatchRejectionsBreaks: whoever follows is told when it cannot go on.
func TestWatchRejectionsBreaks(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		done := make(chan error, 1)
		go func() { done <- on.WatchRejections(b.Context(), func(*events.Event) {}) }()
		time.Sleep(time.Second)
		b.OK(on.JetStream().DeleteStream(b.Context(), events.StreamEvents))
		select {
		case err := <-done:
			if err == nil {
				b.Error("no error")
			}
		case <-time.After(5 * time.Minute):
			b.Error("it was not noticed that the stream is gone")
		}
		if err := on.WatchRejections(b.Context(), func(*events.Event) {}); err == nil {
			b.Error("no error without a stream")
		}
	})
}
