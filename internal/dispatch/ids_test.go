package dispatch

import (
	"strconv"
	"testing"

	"reelay/events"
)

func TestIDs(t *testing.T) {
	var ids IDs
	a, b := events.Key{Project: "demo", ID: "a"}, events.Key{Project: "demo", ID: "b"}
	for _, step := range []struct {
		id     string
		k      events.Key
		shared bool
	}{{"1", a, false}, {"1", a, false}, {"2", b, false}, {"1", b, true}, {"2", b, false}} {
		if other, shared := ids.Take(step.id, step.k); shared != step.shared || shared && other != a {
			t.Errorf("id %s for %s: shared with %v, %v", step.id, step.k, other, shared)
		}
	}
	for i := range maxIDs {
		ids.Take("more"+strconv.Itoa(i), a)
	}
	if _, shared := ids.Take("1", b); shared || len(ids.holders) != maxIDs || len(ids.oldest) != maxIDs {
		t.Errorf("after many more: shared %v, %d ids, %d in line", shared, len(ids.holders), len(ids.oldest))
	}
}
