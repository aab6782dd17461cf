package bus_test

import (
	"cmp"
	"reflect"
	"slices"
	"testing"

	"reelay/events"
	"reelay/internal/bus"
)

// TestHookHealth: each poller has its figures for each lane, the newest count, and what is no figure hides none.
func TestHookHealth(t *testing.T) {
	bubble(t, func(b *fixture) {
		on := b.Open(bus.Options{})
		if all, err := on.CallbackHealth(b.Context()); err != nil || len(all) != 0 {
			b.Errorf("before anything is told: %v, %v", all, err)
		}
		one, two := events.CallbackHealth{MissRate: 0.25, LagS: 0.5, Seen: 4}, events.CallbackHealth{Seen: 9}
		for _, row := range []struct {
			lane, replica string
			figures       events.CallbackHealth
		}{
			{"fal", "a", events.CallbackHealth{MissRate: 1, Seen: 1}},
			{"fal", "a", one},
			{"fal", "b", two},
			{"minimax", "a", two},
		} {
			b.OK(on.PutCallbackHealth(b.Context(), row.lane, row.replica, row.figures))
		}
		kv, err := on.JetStream().KeyValue(b.Context(), "reelay_health")
		b.OK(err)
		_, err = kv.PutString(b.Context(), "fal.c", "well")
		b.OK(err)
		all, err := on.CallbackHealth(b.Context())
		b.OK(err)
		slices.SortFunc(all["fal"], func(x, y events.CallbackHealth) int { return cmp.Compare(x.Seen, y.Seen) })
		want := map[string][]events.CallbackHealth{"fal": {one, two}, "minimax": {two}}
		if !reflect.DeepEqual(all, want) {
			b.Errorf("%v, want %v", all, want)
		}
	})
}
