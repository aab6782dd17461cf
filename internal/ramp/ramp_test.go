package ramp

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestPlaces: no more enter than there are places, whoever waits enters when one is free, and nobody waits longer than the
// context lasts.
func TestPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPlaces(2)
		enter := func() (waited, ok bool) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return r.Enter(ctx, t.Context())
		}
		check := func(what string, waited, ok bool) {
			t.Helper()
			if c, o := enter(); c != waited || o != ok {
				t.Errorf("%s: waited %v, entered %v, want %v and %v", what, c, o, waited, ok)
			}
		}
		check("the first", false, true)
		check("the last", true, true)
		check("one too many", true, false)
		time.AfterFunc(time.Second/2, r.Leave)
		check("after one has left", true, true)
		time.AfterFunc(time.Second/2, func() { r.resize(4) })
		check("after it was made larger", true, true)
		r.resize(1)
		r.Leave()
		r.Leave()
		check("after it was made smaller", true, false)
	})
}

// TestExperience: a lane sends more at once while its requests are accepted, lets more be unanswered only after hundreds
// of answers, and begins anew after one in doubt.
func TestExperience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(0)
		check := func(what string, slots, unanswered int) {
			t.Helper()
			if l.Slots.places != slots || l.Unanswered.places != unanswered {
				t.Errorf("%s: %d slots, %d unanswered, want %d and %d", what, l.Slots.places, l.Unanswered.places, slots, unanswered)
			}
		}
		for range 1000 {
			l.Sent(true, false)
			l.Answered(true, time.Now())
		}
		check("a thousand accepted", Most, 10)
		l.Sent(true, true)
		check("waited", Most-1, 10)
		time.Sleep(window / 2)
		l.Answered(true, time.Now())
		check("half a window later", Most-1, 5)
		l.Sent(false, false)
		l.Answered(false, time.Now())
		check("in doubt", Least, leastUnanswered)
	})
}
