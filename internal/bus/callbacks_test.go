package bus_test

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/internal/bus"
)

func aCallback(change ...func(*events.Callback)) events.Callback {
	h := events.Callback{
		Lane: "fal", Task: key, Attempt: 1, Received: time.Now().UTC().Truncate(0),
		Body: []byte(`{"status":"OK"}`),
	}
	for _, f := range change {
		f(&h)
	}
	return h
}

// A callback is stored byte by byte, once per attempt and body.
func TestPublishCallback(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		p, err := bus.NewCallbackPublisher(b.Connect())
		b.OK(err)
		first := aCallback()
		round := first.Received.Truncate(time.Minute)
		refused := func(after time.Duration) events.Callback {
			return aCallback(func(h *events.Callback) {
				h.Received, h.Unproven, h.Body = round.Add(after), events.UnprovenClock, nil
			})
		}
		for _, row := range []struct {
			name      string
			callback  events.Callback
			duplicate bool
		}{
			{"first", first, false},
			{"again", aCallback(), true},
			{"again, later", aCallback(func(h *events.Callback) { h.Received = h.Received.Add(time.Minute) }), true},
			{"other body", aCallback(func(h *events.Callback) { h.Body = []byte("{}") }), false},
			{"other attempt", aCallback(func(h *events.Callback) { h.Attempt = 2 }), false},
			{"other task", aCallback(func(h *events.Callback) { h.Task.ID = "t2" }), false},
			{"other lane", aCallback(func(h *events.Callback) { h.Lane = "fal-2" }), false},
			{
				"as large as can be",
				aCallback(func(h *events.Callback) { h.Body = bytes.Repeat([]byte("x"), events.MaxCallbackBytes) }), false,
			},
			{"refused", refused(0), false},
			{"refused again at once", refused(time.Second), true},
			{"refused again", refused(time.Minute), false},
		} {
			if got, err := p.Publish(b.Context(), row.callback); err != nil || got != row.duplicate {
				b.Errorf("%s: duplicate %v, %v", row.name, got, err)
			}
		}
		if n := b.stored(on, events.StreamCallbacks); n != 8 {
			b.Errorf("%d messages are stored", n)
		}
		s, err := on.JetStream().Stream(b.Context(), events.StreamCallbacks)
		b.OK(err)
		msg, err := s.GetMsg(b.Context(), 1)
		b.OK(err)
		if got, err := events.ParseCallback(msg.Subject, msg.Header.Get, msg.Data); err != nil ||
			!reflect.DeepEqual(got, first) {
			b.Errorf("%+v, %v, want %+v", got, err, first)
		}
		time.Sleep(events.EventDuplicates + time.Minute)
		if again, err := p.Publish(b.Context(), aCallback()); again || err != nil {
			b.Errorf("after the window: duplicate %v, %v", again, err)
		}
	})
}

// Without the stream, and without a server, the caller hears so, and nothing is sent later.
func TestPublishCallbackFails(t *testing.T) {
	bubble(t, func(b *fixture) {
		nc := b.Connect()
		p, err := bus.NewCallbackPublisher(nc)
		b.OK(err)
		publish := func() error {
			ctx, cancel := context.WithTimeout(b.Context(), 3*time.Second)
			defer cancel()
			_, err := p.Publish(ctx, aCallback())
			return err
		}
		if err := publish(); !errors.Is(err, jetstream.ErrNoStreamResponse) || !strings.Contains(err.Error(), "demo.t1") {
			b.Errorf("no stream: %v", err)
		}
		b.Open(bus.Options{})
		if err := publish(); err != nil {
			b.Errorf("stream is there: %v", err)
		}
		nc.Close()
		synctest.Wait()
		if err := publish(); !errors.Is(err, nats.ErrDisconnected) {
			b.Errorf("closed: %v", err)
		}
	})
}
