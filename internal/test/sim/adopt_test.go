package sim_test

import (
	"strings"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/test/sim"
)

// TestAdoptClaims: a provider id that a person adopts is claimed first, so it goes to one attempt at most; a decision
// that does not apply claims nothing.
func TestAdoptClaims(t *testing.T) {
	doubtful(t, sim.Options{}, []fate{losesReply, losesReply}, func(t *testing.T, w *sim.World) {
		for _, id := range []string{"a", "b"} {
			w.Publish(video, v1Request(id, ""))
			w.Await("demo", id, isParked)
		}
		jobs := w.Stack.Ledger("minimax").Jobs()
		if len(jobs) != 2 {
			t.Fatalf("%d jobs", len(jobs))
		}
		first, second := jobs[0].ID, jobs[1].ID
		resolve := func(id, decision string) { w.Publish("reelay.command.demo."+id+".resolve", decision) }

		resolve("a", adopts(first))
		w.AwaitEnd("demo", "a")
		resolve("b", adopts(first)) // is taken
		resolve("a", adopts(second))
		w.Settle(time.Minute)
		if b := w.Get("demo", "b"); !isParked(b) {
			t.Errorf("b is %s with the id of a", b.Phase)
		}
		var refusals []string
		for _, e := range append(w.Story("demo", "b"), w.Story("demo", "a")...) {
			if e.Type == events.EventRejected {
				refusals = append(refusals, e.Error.Code+" "+e.Error.Field+" "+e.Message)
			}
		}
		if len(refusals) != 2 || !strings.HasPrefix(refusals[0], events.CodeConflict+" provider_id ") ||
			!strings.Contains(refusals[0], events.ClaimHolder(events.Key{Project: "demo", ID: "a"}, 1)) {
			t.Errorf("refusals %q", refusals)
		}
		resolve("b", adopts(second)) // which a's useless decision has not claimed
		if b := w.AwaitEnd("demo", "b"); b.Status != events.StatusCompleted || b.ProviderID != second {
			t.Errorf("b ended as %s with %s", b.Status, b.ProviderID)
		}
	})
}
