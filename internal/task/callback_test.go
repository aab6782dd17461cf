package task_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"reelay/events"
	"reelay/internal/provider"
	"reelay/internal/task"
)

// Evidence may come in any order and any number of times, and gives one and the same record in the end.
func TestCallbackReplyAndPollInAnyOrder(t *testing.T) {
	ways := map[string][]task.Trigger{
		"reply":    {accepted},
		"doubt":    {doubt},
		"timer":    {task.Heartbeat{Meta: at(3 * time.Minute), Horizon: horizon}},
		"callback": {task.Accepted{Attempt: 1, Ref: ref, ID: "r1", Source: "callback"}, callback(0, "r1", succeeded)},
		"stray":    {callback(0, "r2", provider.Snapshot{State: provider.Failed, Err: fault(events.KindInvalid, "422")})},
		"list":     {task.Accepted{Attempt: 1, Ref: ref, ID: "r1", Source: "list"}},
		"poll":     {observed(0, succeeded)},
	}
	var names []string
	for name := range ways {
		names = append(names, name)
	}
	rapid.Check(t, func(rt *rapid.T) {
		order := append(rapid.SliceOfN(rapid.SampledFrom(names), 0, 8).Draw(rt, "first"), "callback")
		order = append(order, rapid.SliceOfN(rapid.SampledFrom(names), 0, 4).Draw(rt, "then")...)
		record, ended := story(t, request(), intent), 0
		for _, name := range order {
			for _, tr := range ways[name] {
				c, err := task.Apply(&record, tr)
				if err != nil {
					rt.Fatalf("%s in %v: %v", name, order, err)
				}
				for _, e := range c.Events {
					if e.Type.Terminal() && e.Version == c.Task.Version && c.Written {
						ended++
					}
				}
				record = c.Task
			}
		}
		a := record.Attempts[0]
		if record.Status != events.StatusCompleted || record.ProviderID != "r1" || a.Outcome != events.AttemptAccepted ||
			a.Charge != events.ChargeConfirmed || len(record.Attempts) != 1 || ended != 1 {
			rt.Fatalf("%v: %s with %q, %d ends, %+v", order, record.Status, record.ProviderID, ended, record.Attempts)
		}
	})
}

// A callback of attempt 1, which was bought as well, is written down and ends nothing that lives by attempt 2; when
// attempt 2 comes to nothing, attempt 1 is what the task lives by.
func TestCallbackOfAnotherAttempt(t *testing.T) {
	const soon = 22 * time.Second
	resubmitted := after(t, story(t, request(), inDoubt...), resolve(10*time.Second, 1, events.ResolveResubmit),
		intentAt(20*time.Second, "you"))
	first := task.Accepted{Meta: at(30 * time.Second), Attempt: 1, Ref: ref, ID: "r1", Source: "callback"}
	second := task.Accepted{
		Meta: at(soon), Attempt: 2, Owner: "you", Ref: json.RawMessage(`{"request_id":"r2"}`),
		ID: "r2", Source: "reply",
	}
	says := func(s provider.State) task.PollResult {
		return callback(40*time.Second, "r1",
			provider.Snapshot{State: s, Outputs: outputs, Err: fault(events.KindModeration, "1027")})
	}
	for _, state := range []provider.State{provider.Succeeded, provider.Failed, provider.Cancelled} {
		now := after(t, resubmitted, second, first, says(state))
		wantPhase(t, now, events.PhaseProviderQueued, events.StatusQueued)
		if now.ProviderID != "r2" || now.Attempts[0].ProviderID != "r1" {
			t.Errorf("%s: lives by %s; %+v", state, now.ProviderID, now.Attempts)
		}
		if c := apply(t, now, says(state)); c.Written {
			t.Errorf("%s: the same callback again is written", state)
		}
		freed := after(t, resubmitted, first, says(state),
			task.Release{Meta: at(50 * time.Second), Owner: "you", Reason: "vetoed"}, says(provider.Succeeded))
		wantPhase(t, freed, events.PhaseDone, events.StatusCompleted)
	}
}

// That a request named a callback URL is on its attempt, and on no other.
func TestIntentRemembersTheCallback(t *testing.T) {
	with := intent
	with.Callback = true
	now := after(t, story(t, request(), with), task.Release{Meta: at(2 * time.Second), Owner: "me", Reason: "vetoed"},
		intentAt(20*time.Second, "you"))
	if got := fmt.Sprint(now.Attempts[0].Callback, now.Attempts[1].Callback); got != "true false" {
		t.Errorf("the attempts with a callback: %s", got)
	}
}
