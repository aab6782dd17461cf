package sim_test

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
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

// unlessDown lets the pollers and submitters reach the providers' free calls unless down is set.
func unlessDown(down *atomic.Bool) func(http.RoundTripper) http.RoundTripper {
	return func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			if down.Load() {
				return nil, errors.New("connection refused")
			}
			return next.RoundTrip(r)
		})
	}
}

// TestAdoptAsksFirst: a person's id is believed only if no record has it and the provider knows it.
func TestAdoptAsksFirst(t *testing.T) {
	var down atomic.Bool
	doubtful(t, sim.Options{WrapTransport: unlessDown(&down)}, []fate{losesReply}, func(t *testing.T, w *sim.World) {
		w.Publish(video, v1Request("a", `{"run_ms":60000}`))
		w.Await("demo", "a", isParked)
		mine := lastJob(w, "minimax")
		w.Publish("reelay.request.other.video", v1Request("b", ""))
		other := w.AwaitEnd("other", "b").ProviderID
		rows := []struct {
			name, id   string
			down       bool
			code, says string
		}{
			{"of another project's task", other, false, events.CodeConflict, "belongs to attempt other.b.1"},
			{"of no task", "424242424242", false, events.CodeInvalidRequest, "does not know"},
			{"while the provider is away", mine, true, events.CodeUnavailable, "could not be asked"},
		}
		for _, row := range rows {
			down.Store(row.down)
			var reply events.TaskReply
			e := w.Ask(&reply, events.VerbResolve, adopts(row.id), "demo", "a")
			if e == nil || e.Code != row.code || e.Field != "provider_id" || !strings.Contains(e.Message, row.says) {
				t.Errorf("an id %s: %+v, want %s on provider_id", row.name, e, row.code)
			}
			w.Settle(time.Minute)
			if a := w.Get("demo", "a"); !isParked(a) {
				t.Fatalf("an id %s: the task is %s with %s", row.name, a.Phase, a.ProviderID)
			}
		}
		down.Store(false)
		w.Publish("reelay.command.demo.a.resolve", adopts(mine))
		if a := w.AwaitEnd("demo", "a"); a.Status != events.StatusCompleted || a.ProviderID != mine {
			t.Errorf("a ended as %s with %s", a.Status, a.ProviderID)
		}
	})
}

// TestAdoptedIsPolledSoon: what a callback said about a request that nobody knew was dropped, so an adopted task is
// polled at once, however reliably callbacks arrive.
func TestAdoptedIsPolledSoon(t *testing.T) {
	doubtful(t, sim.Options{Callback: sim.URLs{}}, []fate{losesReply}, func(t *testing.T, w *sim.World) {
		w.Publish(video, v1Request("a", `{"queue_ms":1000,"run_ms":10000}`))
		w.Await("demo", "a", phase(events.PhaseInDoubt))
		w.Settle(20 * time.Second)
		w.Publish("reelay.command.demo.a.resolve", adopts(lastJob(w, "minimax")))
		begin := time.Now()
		w.AwaitEnd("demo", "a")
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("its end was seen %v after it was adopted", took)
		}
	})
}
