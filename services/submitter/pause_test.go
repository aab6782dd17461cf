package submitter_test

import (
	"encoding/json"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"reelay/events"
	"reelay/events/bucket"
)

func (w *world) wantEvents(want ...events.EventType) {
	w.Helper()
	if got := w.laneEvents(); !slices.Equal(got, want) {
		w.Errorf("events of the lane: %v, want %v", got, want)
	}
}

// laneSwitch reads the lane's switch.
func (w *world) laneSwitch() (s bucket.LanePause) {
	w.Helper()
	kv, err := w.client.JetStream().KeyValue(w.Context(), bucket.Lanes)
	w.ok(err)
	entry, err := kv.Get(w.Context(), "acme")
	w.ok(err)
	w.ok(json.Unmarshal(entry.Value(), &s))
	return s
}

// TestPausedOnce: each change is published by one event, whatever restarts in between, and also if nobody ran when it
// was made.
func TestPausedOnce(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		r, other := w.start(), w.start()
		time.Sleep(10 * time.Second)
		w.wantEvents()
		w.set("acme", `{"paused":true,"reason":"the bill"}`)
		time.Sleep(time.Second)
		w.set("acme", `{"paused":true,"reason":"the bill, again"}`)
		w.set(bucket.AllLanes, `{"paused":true,"reason":"fire"}`)
		time.Sleep(time.Hour)
		w.wantEvents(events.EventPaused)
		r.crash()
		r.restart()
		other.stop()
		time.Sleep(time.Hour)
		w.wantEvents(events.EventPaused)
		w.set("acme", `{"paused":false}`)
		time.Sleep(minute)
		w.wantEvents(events.EventPaused) // the switch of all lanes
		r.stop()
		w.set(bucket.AllLanes, `{}`)
		time.Sleep(minute)
		r.restart()
		time.Sleep(minute)
		w.wantEvents(events.EventPaused, events.EventResumed)
	})
}

// TestRefusedAccount: a lane whose account is refused is paused, aloud, and nothing is lost: one task at a time is sent
// after a wait that grows, and when one is taken all go on.
func TestRefusedAccount(t *testing.T) {
	for _, code := range []string{"quota", "auth", "address"} {
		t.Run(code, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				var refuse atomic.Bool
				refuse.Store(true)
				w.provider.rule(func(time.Time, []call) string {
					if refuse.Load() {
						return code
					}
					return ""
				})
				began := time.Now()
				w.ask("demo", 50, "")
				r := w.start()
				time.Sleep(10 * time.Second)
				refused, _ := w.provider.refused(began)
				if refused < 1 || refused > 4 {
					w.Fatalf("%d requests to an account that is refused", refused)
				}
				w.wantEvents(events.EventPaused)
				if s := w.laneSwitch(); !s.Paused || s.By != bucket.LaneWriter || s.Tries != 1 || s.Until.IsZero() {
					w.Errorf("the switch is %+v", s)
				}
				// After 1, 3 and 7 minutes, also by another process.
				time.Sleep(2 * minute)
				r.crash()
				r.restart()
				time.Sleep(10 * minute)
				if n, _ := w.provider.refused(began); n != refused+3 {
					w.Errorf("%d tries in twelve minutes, want 3", n-refused)
				}
				refuse.Store(false)
				time.Sleep(10 * minute)
				w.wantEvents(events.EventPaused, events.EventResumed)
				if n := len(w.provider.taken()); n != 50 {
					w.Errorf("%d of 50 taken", n)
				}
			})
		})
	}
}

// TestResumedByPerson: a person need not wait for the next try, and what a person has paused reelay does not resume.
func TestResumedByPerson(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		var refuse atomic.Bool
		refuse.Store(true)
		w.provider.rule(func(time.Time, []call) string {
			if refuse.Load() {
				return "quota"
			}
			return ""
		})
		w.ask("demo", 20, "")
		w.start()
		time.Sleep(10 * time.Second)
		refuse.Store(false)
		w.set("acme", `{"paused":false,"reason":"paid","by":"ann"}`)
		time.Sleep(10 * time.Second)
		if n := len(w.provider.taken()); n < 16 {
			w.Errorf("%d of 20 taken after the resume", n)
		}
		w.set("acme", `{"paused":true,"reason":"holiday","by":"ann"}`)
		w.ask("demo", 20, "")
		time.Sleep(3 * time.Hour)
		if n := len(w.provider.taken()); n > 20 {
			w.Errorf("%d taken after a person's pause", n)
		}
		w.wantEvents(events.EventPaused, events.EventResumed, events.EventPaused)
	})
}
