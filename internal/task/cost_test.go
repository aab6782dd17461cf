package task_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/provider"
	"reelay/internal/task"
)

// costing returns a request whose price is known as the cost says.
func costing(c events.Cost, change ...func(*events.Task)) events.Task {
	return request(append(change, func(t *events.Task) { t.Cost = &c })...)
}

func amount(v *float64) string {
	if v == nil {
		return "?"
	}
	return fmt.Sprint(*v)
}

// TestCosts tells of every end what the record says it cost: the attempts, and all together, "?" for what nobody knows.
func TestCosts(t *testing.T) {
	var (
		held = func(usd float64) task.Intent {
			i := intent
			i.ReservedUSD = &usd
			return i
		}
		clip    = events.Cost{EstimatedUSD: ptr(0.28), FixedUSD: ptr(0.28)}
		seconds = events.Cost{EstimatedUSD: ptr(0.4), FixedUSD: ptr(0.04), UnitUSD: ptr(0.08)}
		guess   = events.Cost{EstimatedUSD: ptr(0.5)}

		success = provider.Snapshot{State: provider.Succeeded, Outputs: outputs}
		counted = func(s provider.Snapshot, units float64) provider.Snapshot {
			s.Units, s.Unit = &units, "second"
			return s
		}
		failure = func(c events.Charge) provider.Snapshot {
			return provider.Snapshot{
				State: provider.Failed,
				Err:   &provider.Error{Kind: events.KindInternal, Code: "x", Charge: c},
			}
		}
		refused = task.Refused{Meta: at(2 * time.Second), Owner: "me", Err: fault(events.KindInvalid, "422")}
		release = task.Release{Meta: at(2 * time.Second), Owner: "me", Reason: "veto"}
		ask     = task.Cancel{Meta: at(3 * time.Second)}
		gone    = []task.Trigger{
			running(3 * time.Second),
			task.Heartbeat{Meta: at(total + time.Second)},
			task.Heartbeat{Meta: at(total + time.Minute + task.CancelGrace)},
		}
		after  = total + time.Hour
		off    = task.Resolve{Meta: at(10 * time.Second), Action: events.ResolveWriteOff}
		adopt  = task.Resolve{Meta: at(after), Action: events.ResolveAdopt, Ref: ref, ID: "r1"}
		again  = task.Resolve{Meta: at(10 * time.Second), Action: events.ResolveResubmit}
		second = task.Intent{
			Meta: at(11 * time.Second), Owner: "me2", NotAfter: t0.Add(2 * time.Minute),
			ReservedUSD: ptr(0.4),
		}
		second2 = task.Accepted{Meta: at(12 * time.Second), Attempt: 2, Ref: ref, ID: "r2", Source: "reply"}
	)
	for _, row := range []struct {
		name     string
		cost     events.Cost
		triggers []task.Trigger
		attempts string
		actual   string
	}{
		{"under way", seconds, []task.Trigger{held(0.4), accepted}, "0.4", "?"},
		{"in doubt", seconds, []task.Trigger{held(0.4), doubt}, "0.4", "?"},
		{"nobody knows a price", events.Cost{}, []task.Trigger{intent, accepted}, "?", "?"},
		{"clip", clip, []task.Trigger{held(0.28), accepted, observed(3*time.Second, success)}, "0.28", "0.28"},
		{
			"seconds as counted", seconds,
			[]task.Trigger{held(0.4), accepted, observed(3*time.Second, counted(success, 7))},
			"0.6", "0.6",
		},
		{"seconds not counted", seconds, []task.Trigger{held(0.4), accepted, observed(3*time.Second, success)}, "0.4", "?"},
		{
			"only guessed", guess,
			[]task.Trigger{held(0.5), accepted, observed(3*time.Second, counted(success, 7))},
			"0.5",
			"?",
		},
		{
			"counted without a price",
			events.Cost{},
			[]task.Trigger{intent, accepted, observed(3*time.Second, counted(success, 7))},
			"?", "?",
		},
		{
			"failed free", clip,
			[]task.Trigger{held(0.28), accepted, observed(3*time.Second, failure(events.ChargeNone))},
			"0",
			"0",
		},
		{
			"failed, perhaps charged", clip,
			[]task.Trigger{held(0.28), accepted, observed(3*time.Second, failure(events.ChargePossible))},
			"0.28", "?",
		},
		{
			"failed, nothing said", clip,
			[]task.Trigger{held(0.28), accepted, observed(3*time.Second, failure(""))},
			"0.28",
			"?",
		},
		{
			"failed and charged", seconds,
			[]task.Trigger{held(0.4), accepted, observed(3*time.Second, counted(failure(events.ChargeConfirmed), 5))},
			"0.44", "0.44",
		},
		{"refused", clip, []task.Trigger{held(0.28), refused}, "0", "0"},
		{"not sent", clip, []task.Trigger{held(0.28), release}, "0", "?"},
		{"not sent, then cancelled", clip, []task.Trigger{held(0.28), release, ask}, "0", "0"},
		{"cancelled before it was sent", clip, []task.Trigger{ask}, "", "0"},
		{
			"cancelled in the provider's queue", clip,
			[]task.Trigger{held(0.28), accepted, ask, observed(5*time.Second, provider.Snapshot{State: provider.Cancelled})},
			"0", "0",
		},
		{
			"cancelled while it ran", clip,
			[]task.Trigger{
				held(0.28), accepted, running(3 * time.Second), ask,
				observed(5*time.Second, provider.Snapshot{State: provider.Cancelled}),
			},
			"0.28", "?",
		},
		{
			"cancelled while it ran, counted", seconds,
			[]task.Trigger{
				held(0.4), accepted, running(3 * time.Second), ask,
				observed(5*time.Second, counted(provider.Snapshot{State: provider.Cancelled}, 2)),
			},
			"0.2", "0.2",
		},
		{"given up", clip, append([]task.Trigger{held(0.28), accepted}, gone...), "0.28", "?"},
		{
			"late result", clip, append(append([]task.Trigger{held(0.28), accepted}, gone...), observed(after, success)), "0.28",
			"0.28",
		},
		{
			"late result, counted", seconds,
			append(append([]task.Trigger{held(0.4), accepted}, gone...), observed(after, counted(success, 5))), "0.44", "0.44",
		},
		{
			"late failure, free", clip,
			append(append([]task.Trigger{held(0.28), accepted}, gone...), observed(after, failure(events.ChargeNone))), "0", "0",
		},
		{
			"late failure, perhaps charged", clip,
			append(append([]task.Trigger{held(0.28), accepted}, gone...), observed(after, failure(""))), "0.28", "?",
		},
		{"written off", clip, []task.Trigger{held(0.28), doubt, off}, "0.28", "?"},
		{
			"written off and found", clip,
			[]task.Trigger{held(0.28), doubt, off, adopt, observed(after+time.Second, success)},
			"0.28", "0.28",
		},
		{
			"refused, and accepted all the same", clip,
			[]task.Trigger{held(0.28), refused, task.Accepted{Meta: at(9 * time.Second), Attempt: 1, Ref: ref, ID: "r1"}},
			"0.28", "?",
		},
		{
			"the second of two", seconds,
			[]task.Trigger{held(0.4), doubt, again, second, second2, observed(13*time.Second, counted(success, 5))},
			"0.4 0.44", "?",
		},
		{
			"an attempt that the record had forgotten", clip,
			[]task.Trigger{
				task.Accepted{Meta: at(2 * time.Second), Attempt: 1, Owner: "me", Ref: ref, ID: "r1"},
				observed(3*time.Second, success),
			},
			"0.28", "0.28",
		},
	} {
		got := story(t, costing(row.cost), row.triggers...)
		attempts := ""
		for i, a := range got.Attempts {
			if i > 0 {
				attempts += " "
			}
			attempts += amount(a.CostUSD)
		}
		if actual := amount(got.Cost.ActualUSD); attempts != row.attempts || actual != row.actual {
			t.Errorf("%s: the attempts cost %s, all together %s; want %s and %s", row.name, attempts, actual, row.attempts,
				row.actual)
		}
	}
}

// TestMaxCost: no attempt is opened with which everything that may be charged would exceed the request's limit.
func TestMaxCost(t *testing.T) {
	resubmit := func(max float64) events.Task {
		return costing(events.Cost{EstimatedUSD: ptr(0.3), MaxUSD: &max}, func(t *events.Task) {
			t.OnInDoubt, t.MaxPaidAttempts = events.InDoubtResubmit, 2
		})
	}
	hold := intent
	hold.ReservedUSD = ptr(0.3)
	due := task.Heartbeat{Meta: at(horizon + time.Minute), Horizon: horizon}
	for _, row := range []struct {
		max  float64
		want events.Phase
	}{{0.6, events.PhaseWaiting}, {0.599999, events.PhaseParked}} {
		if got := story(t, resubmit(row.max), hold, doubt, due); got.Phase != row.want {
			t.Errorf("in doubt, at most %v: %s, want %s", row.max, got.Phase, row.want)
		}
		parked := story(t, costing(events.Cost{EstimatedUSD: ptr(0.3), MaxUSD: &row.max}), hold, doubt, due)
		_, err := task.Apply(&parked, task.Resolve{Meta: at(2 * horizon), Action: events.ResolveResubmit})
		if dear := row.want == events.PhaseParked; errors.Is(err, task.ErrNotApplicable) != dear {
			t.Errorf("resubmitted by a person, at most %v: %v", row.max, err)
		}
	}
	dear := intent
	dear.ReservedUSD = ptr(0.7)
	if got := story(t, resubmit(0.6), dear); got.Phase != events.PhaseWaiting || len(got.Attempts) != 0 {
		t.Errorf("an attempt dearer than all may cost: %s, %d attempts", got.Phase, len(got.Attempts))
	}
}

// TestCapReached: a task that may not be paid for waits and says why, once for each reason, and ends at its deadline
// like any other.
func TestCapReached(t *testing.T) {
	held := func(d time.Duration, why string) task.CapReached {
		return task.CapReached{
			Meta: at(d), Cap: events.CapReached{Scope: why, DailyUSD: 5}, Until: t0.Add(d + time.Minute),
			Note: why,
		}
	}
	waiting := story(t, request(), held(time.Second, "broke"))
	if waiting.Phase != events.PhaseWaiting || waiting.NotBefore == nil ||
		!waiting.NotBefore.Equal(t0.Add(time.Minute+time.Second)) {
		t.Fatalf("%s, not before %v", waiting.Phase, waiting.NotBefore)
	}
	if got := story(t, request(), held(time.Second, "broke"), intent); got.Phase != events.PhaseWaiting {
		t.Errorf("sent before its time: %s", got.Phase)
	}
	later := intent
	later.Meta = at(time.Minute + time.Second)
	if got := story(t, request(), held(time.Second, "broke"), later); got.Phase != events.PhaseSubmitting ||
		got.NotBefore != nil {
		t.Errorf("%s, not before %v", got.Phase, got.NotBefore)
	}
	for why, want := range map[string]bool{"broke": false, "still broke": true} {
		c, err := task.Apply(&waiting, held(2*time.Minute, why))
		if err != nil || c.Written != want {
			t.Errorf("cap reached again because it is %s: %v, written: %v", why, err, c.Written)
		}
		told := slices.ContainsFunc(c.Events,
			func(e events.Event) bool { return e.Type == events.EventProgress && e.Message == why })
		if told != want {
			t.Errorf("cap reached again because it is %s: told: %v", why, told)
		}
	}
	for name, in := range phases(t) {
		if c, err := task.Apply(&in, held(time.Hour, "broke")); err != nil || c.Written != (name == "waiting") {
			t.Errorf("%s: %v, written: %v", name, err, c.Written)
		}
	}
}

// TestFree: nothing is charged where that was fixed, however a task ends, and it may be asked for again.
func TestFree(t *testing.T) {
	free := events.Cost{EstimatedUSD: ptr(0.0), FixedUSD: ptr(0.0)}
	now := story(t, costing(free), intent, accepted, running(3*time.Second))
	for i := range task.NotFoundPolls + 1 {
		moment := 10*time.Second + time.Duration(i)*task.NotFoundSpan/time.Duration(task.NotFoundPolls)
		now = after(t, now, task.PollFailed{Meta: at(moment), Err: fault(events.KindNotFound, "404")})
	}
	wantPhase(t, now, events.PhaseDone, events.StatusFailed)
	if e := now.Error; e.Code != events.CodeTaskLost || e.Charge != events.ChargeNone || !e.Retryable {
		t.Errorf("lost: %+v", e)
	}
	if a := now.Attempts[0]; a.Charge != events.ChargeNone || amount(now.Cost.ActualUSD) != "0" {
		t.Errorf("the attempt is charged as %s, all costs %s", a.Charge, amount(now.Cost.ActualUSD))
	}
}
