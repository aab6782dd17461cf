package bus_test

import (
	"cmp"
	"reflect"
	"slices"
	"testing"

	"reelay/events"
)

// TestHookHealth: each poller has its figures for each lane, the newest count, and what is no figure hides none. In real time: a bubble's
// past is older than the bucket keeps.
func TestHookHealth(t *testing.T) {
	outside(t, func(b *broker) {
		on := b.open()
		if all, err := on.HookHealth(t.Context()); err != nil || len(all) != 0 {
			t.Errorf("before anything is told: %v, %v", all, err)
		}
		one, two := events.HookHealth{MissRate: 0.25, LagS: 0.5, Seen: 4}, events.HookHealth{Seen: 9}
		for _, row := range []struct {
			lane, replica string
			figures       events.HookHealth
		}{
			{"fal", "a", events.HookHealth{MissRate: 1, Seen: 1}},
			{"fal", "a", one},
			{"fal", "b", two},
			{"minimax", "a", two},
		} {
			b.ok(on.PutHookHealth(t.Context(), row.lane, row.replica, row.figures))
		}
		kv, err := on.JetStream().KeyValue(t.Context(), "reelay_health")
		b.ok(err)
		_, err = kv.PutString(t.Context(), "fal.c", "well")
		b.ok(err)
		all, err := on.HookHealth(t.Context())
		b.ok(err)
		slices.SortFunc(all["fal"], func(x, y events.HookHealth) int { return cmp.Compare(x.Seen, y.Seen) })
		want := map[string][]events.HookHealth{"fal": {one, two}, "minimax": {two}}
		if !reflect.DeepEqual(all, want) {
			t.Errorf("%v, want %v", all, want)
		}
	})
}
