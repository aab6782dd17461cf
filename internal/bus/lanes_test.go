package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/internal/bus"
	"reelay/internal/test/broker"
)

// switches opens the bucket as any client can.
func (b *fixture) switches() jetstream.KeyValue {
	b.Helper()
	js, err := jetstream.New(b.Connect())
	b.OK(err)
	kv, err := js.KeyValue(b.Context(), bucket.Lanes)
	b.OK(err)
	return kv
}

func TestCheckLane(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		kv := b.switches()
		rows := []struct {
			key, value string
			paused     string // the key that pauses fal, "" if none
			text       string
		}{
			{"", "", "", ""},
			{"minimax", `{"paused":true}`, "", ""},
			{
				"fal", `{"paused":true,"reason":"the bill","by":"ann","at":"2026-01-02T03:04:05Z"}`, "fal",
				"the lane is paused: fal: the bill (by ann)",
			},
			{bucket.AllLanes, `{"paused":true,"reason":"fire"}`, bucket.AllLanes, "the lane is paused: _all: fire"},
			{"fal", `{"paused":false}`, bucket.AllLanes, "fire"},
			{bucket.AllLanes, `{"paused":false}`, "", ""},
			{"fal", `stop!`, "fal", "no readable JSON"},
			{"fal", `{}`, "", ""},
			{"fal", `{"paused":true}`, "fal", "the lane is paused: fal"},
			{"fal", "delete", "", ""},
		}
		for _, row := range rows {
			switch {
			case row.key == "":
			case row.value == "delete":
				b.OK(kv.Delete(b.Context(), row.key))
			default:
				_, err := kv.PutString(b.Context(), row.key, row.value)
				b.OK(err)
			}
			err := on.CheckLane(b.Context(), "fal")
			var paused *bucket.PausedError
			if row.paused == "" {
				b.OK(err)
			} else if !errors.Is(err, bucket.ErrPaused) || !errors.As(err, &paused) || paused.Key != row.paused ||
				!strings.Contains(err.Error(), row.text) {
				b.Errorf("%s=%s: %v, want %s by %s", row.key, row.value, err, row.text, row.paused)
			}
		}
		on.Conn().Close()
		if err := on.CheckLane(b.Context(), "fal"); err == nil || errors.Is(err, bucket.ErrPaused) {
			b.Errorf("without a broker: %v, want an error that is not ErrPaused", err)
		}
	})
}

func TestWatchLanes(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		kv := b.switches()
		_, err := kv.PutString(b.Context(), "fal", `{"paused":true}`)
		b.OK(err)
		var story []string
		stop := broker.Begin(b, func(ctx context.Context) error {
			return on.WatchLanes(ctx, func(u bus.LaneUpdate) {
				switch {
				case u.Pause != nil:
					story = append(story, fmt.Sprint(u.Lane, " ", u.Pause.Paused))
				case u.Limits != nil:
					story = append(story,
						fmt.Sprint(u.Lane, " limits of ", u.Limits.Models[events.AnyModel].Requests, ", wrong ", u.Err != nil))
				default:
					story = append(story, fmt.Sprint("ready ", u.Ready))
				}
			})
		})
		_, err = kv.PutString(b.Context(), bucket.AllLanes, `{"paused":true}`)
		b.OK(err)
		b.OK(kv.Delete(b.Context(), "fal"))
		for _, limits := range []string{`{"models":{"*":{"requests":5}}}`, `{"models":{"*":{"request":5}}}`} {
			_, err = kv.PutString(b.Context(), bucket.LimitsKey("fal"), limits)
			b.OK(err)
		}
		b.OK(kv.Delete(b.Context(), bucket.LimitsKey("fal")))
		synctest.Wait()
		b.OK(stop())
		if want := []string{
			"fal true", "ready true", "_all true", "fal false", "fal limits of 5, wrong false", "fal limits of 0, wrong true",
			"fal limits of 0, wrong false",
		}; !slices.Equal(story, want) {
			b.Errorf("%q, want %q", story, want)
		}
	})
}

// TestSetLanePause: a pause is set only if nobody else has set it meanwhile.
func TestSetLanePause(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		kv := b.switches()
		revision, err := on.SetLanePause(b.Context(), "fal", bucket.LanePause{Paused: true, Until: time.Now().Add(time.Hour)},
			0)
		b.OK(err)
		if err := on.CheckLane(b.Context(), "fal"); !errors.Is(err, bucket.ErrPaused) {
			b.Errorf("paused until later: %v", err)
		}
		time.Sleep(time.Hour)
		b.OK(on.CheckLane(b.Context(), "fal")) // one may be sent to see
		later, err := kv.PutString(b.Context(), "fal", `{"paused":true}`)
		b.OK(err)
		for _, known := range []uint64{0, revision} {
			if _, err := on.SetLanePause(b.Context(), "fal", bucket.LanePause{}, known); !errors.Is(err, bus.ErrConflict) {
				b.Errorf("over another's: %v", err)
			}
		}
		_, err = on.SetLanePause(b.Context(), "fal", bucket.LanePause{}, later)
		b.OK(err)
		b.OK(on.CheckLane(b.Context(), "fal"))
	})
}
