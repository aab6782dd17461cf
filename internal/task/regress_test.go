package task_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/provider"
	"reelay/internal/task"
)

// apply takes one step from before, which it leaves as it is, and fails the test on an error.
func apply(tb testing.TB, before events.Task, tr task.Trigger) task.Change {
	tb.Helper()
	c, err := task.Apply(&before, tr)
	if err != nil {
		tb.Fatalf("%T: %v", tr, err)
	}
	return c
}

// after is apply for several steps; it returns the record.
func after(tb testing.TB, before events.Task, all ...task.Trigger) events.Task {
	tb.Helper()
	for _, tr := range all {
		before = apply(tb, before, tr).Task
	}
	return before
}

// types returns the types of events that a change publishes.
func types(all []events.Event) []events.EventType {
	var types []events.EventType
	for _, e := range all {
		types = append(types, e.Type)
	}
	return types
}

// wantPhase fails the test if the task is elsewhere.
func wantPhase(tb testing.TB, t events.Task, phase events.Phase, status events.Status) {
	tb.Helper()
	if t.Phase != phase || t.Status != status {
		tb.Errorf("%s %s, want %s %s; last step %+v", t.Phase, t.Status, phase, status, t.Transitions[len(t.Transitions)-1])
	}
}

func resolve(d time.Duration, command uint64, action events.ResolveAction) task.Resolve {
	r := task.Resolve{Meta: at(d), Command: command, Action: action, Reason: "seen in the dashboard"}
	if action == events.ResolveAdopt {
		r.Ref, r.ID = ref, "r1"
	}
	return r
}

func intentAt(d time.Duration, owner string) task.Intent {
	return task.Intent{Meta: at(d), Owner: owner, BodySHA256: "sha", NotAfter: t0.Add(d + 2*time.Minute)}
}

func due(d time.Duration) task.Heartbeat { return task.Heartbeat{Meta: at(d), Horizon: horizon} }

func withPolicy(p events.InDoubtPolicy, paid int) func(*events.Task) {
	return func(t *events.Task) { t.OnInDoubt, t.MaxPaidAttempts = p, paid }
}

var (
	inDoubt   = []task.Trigger{intent, doubt}
	succeeded = provider.Snapshot{State: provider.Succeeded, Outputs: outputs}
)

// A person's decision is a message, and messages are delivered again: also long after what it decided has moved on.
func TestResolveRedeliveredChangesNothing(t *testing.T) {
	const soon = 10 * time.Second
	rows := []struct {
		name   string
		action events.ResolveAction
		later  []task.Trigger
	}{
		{"adopt, at once", events.ResolveAdopt, nil},
		{"adopt, running", events.ResolveAdopt, []task.Trigger{running(20 * time.Second)}},
		{"adopt, completed", events.ResolveAdopt, []task.Trigger{observed(20*time.Second, succeeded)}},
		{"resubmit, at once", events.ResolveResubmit, nil},
		{"resubmit, attempt 2 is out", events.ResolveResubmit, []task.Trigger{intentAt(20*time.Second, "you")}},
		{"resubmit, attempt 2 is in doubt", events.ResolveResubmit, []task.Trigger{
			intentAt(20*time.Second, "you"),
			task.Doubt{Meta: at(21 * time.Second), Owner: "you", Err: fault(events.KindAmbiguous, "timeout")},
		}},
		{"resubmit, attempt 2 is parked", events.ResolveResubmit, []task.Trigger{
			intentAt(20*time.Second, "you"),
			task.Doubt{Meta: at(21 * time.Second), Owner: "you", Err: fault(events.KindAmbiguous, "timeout")},
			due(2 * horizon),
		}},
		{"resubmit, attempt 2 is accepted", events.ResolveResubmit, []task.Trigger{
			intentAt(20*time.Second, "you"),
			task.Accepted{Meta: at(21 * time.Second), Attempt: 2, Ref: ref, ID: "r1", Source: "reply"},
		}},
		{"write off", events.ResolveWriteOff, nil},
		{"write off, then it turned out to be accepted", events.ResolveWriteOff, []task.Trigger{
			task.Accepted{Meta: at(time.Minute), Attempt: 1, Ref: ref, ID: "r1", Source: "callback"},
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			decided := after(t, story(t, request(), inDoubt...), resolve(soon, 7, row.action))
			now := after(t, decided, row.later...)
			for _, command := range []uint64{7, 3} {
				c, err := task.Apply(&now, resolve(time.Hour, command, row.action))
				if err != nil || c.Written {
					t.Errorf("command %d again: written %v, error %v", command, c.Written, err)
				}
				if !slices.Contains(types(c.Events), events.EventInDoubt) || !slices.Contains(types(c.Events), events.EventQueued) {
					t.Errorf("command %d again repairs only %v", command, types(c.Events))
				}
			}
			if row.action == events.ResolveResubmit && now.MaxPaidAttempts != 2 {
				t.Errorf("%d paid attempts are allowed after one resubmit", now.MaxPaidAttempts)
			}
			if row.action == events.ResolveWriteOff {
				return
			}
			// A new command is another decision, and no longer fits unless something is in doubt again.
			_, err := task.Apply(&now, resolve(time.Hour, 8, events.ResolveResubmit))
			again := now.Phase == events.PhaseInDoubt || now.Phase == events.PhaseParked
			if again != (err == nil) || !again && !errors.Is(err, task.ErrNotApplicable) {
				t.Errorf("another resubmit in %s: %v", now.Phase, err)
			}
		})
	}
}

// twoOut is a task whose attempt 1 turned out to be accepted while attempt 2, owned by "you", is out.
func twoOut(tb testing.TB) events.Task {
	tb.Helper()
	t := after(tb, story(tb, request(), inDoubt...),
		resolve(10*time.Second, 1, events.ResolveResubmit), intentAt(20*time.Second, "you"),
		task.Accepted{Meta: at(21 * time.Second), Attempt: 1, Ref: ref, ID: "r1", Source: "callback"})
	if t.Phase != events.PhaseSubmitting || len(t.ProviderRef) != 0 {
		tb.Fatalf("%s with %s", t.Phase, t.ProviderRef)
	}
	if last := t.Transitions[len(t.Transitions)-1]; last.Name != task.DoubleAccept {
		tb.Errorf("that two may be paid for is told as %s", last.Name)
	}
	return t
}

// What was paid for by an earlier attempt is taken as soon as the one that is out comes to nothing, and no third is
// bought.
func TestEarlierAcceptanceIsAdoptedWhenTheLaterEnds(t *testing.T) {
	const soon = 22 * time.Second
	rows := map[string]task.Trigger{
		"released": task.Release{Meta: at(soon), Owner: "you", Reason: "vetoed"},
		"refused":  task.Refused{Meta: at(soon), Owner: "you", Err: fault(events.KindInvalid, "422")},
		"refused for its account": task.Refused{
			Meta: at(soon), Owner: "you", Err: fault(events.KindQuota, "1008"),
			Wait: time.Minute,
		},
		"in doubt":              task.Doubt{Meta: at(soon), Owner: "you", Err: fault(events.KindAmbiguous, "timeout")},
		"in doubt by the timer": due(3 * time.Minute),
	}
	for name, tr := range rows {
		t.Run(name, func(t *testing.T) {
			now := after(t, twoOut(t), tr)
			wantPhase(t, now, events.PhaseProviderQueued, events.StatusQueued)
			if now.ProviderID != "r1" || !task.Needs(now).PollTicket {
				t.Errorf("adopted %q, watched %v", now.ProviderID, task.Needs(now).PollTicket)
			}
			if c := apply(t, now, intentAt(4*time.Minute, "third")); c.Written {
				t.Errorf("a third attempt was granted: %s", c.Task.Phase)
			}
		})
	}
	t.Run("accepted as well", func(t *testing.T) {
		now := after(t, twoOut(t),
			task.Accepted{
				Meta: at(soon), Attempt: 2, Owner: "you", Ref: json.RawMessage(`{"request_id":"r2"}`), ID: "r2",
				Source: "reply",
			})
		wantPhase(t, now, events.PhaseProviderQueued, events.StatusQueued)
		if now.ProviderID != "r2" || now.Attempts[0].Charge != events.ChargeConfirmed ||
			now.Attempts[1].Charge != events.ChargeConfirmed {
			t.Errorf("lives by %q: %+v", now.ProviderID, now.Attempts)
		}
	})
}

// A task that ends without a result says whether it may have cost something: each attempt counts, not only the last.
func TestChargeCountsEarlierAttempts(t *testing.T) {
	resubmitted := append(slices.Clip(inDoubt), resolve(10*time.Second, 1, events.ResolveResubmit))
	refused := func(d time.Duration, owner string) task.Trigger {
		return task.Refused{Meta: at(d), Owner: owner, Err: fault(events.KindInvalid, "422")}
	}
	quota := task.Refused{Meta: at(2 * time.Second), Owner: "me", Err: fault(events.KindQuota, "1008"), Wait: time.Minute}
	rows := []struct {
		name  string
		steps []task.Trigger
		want  events.Charge
	}{
		{"refused", []task.Trigger{intent, refused(2*time.Second, "me")}, events.ChargeNone},
		{
			"refused after one in doubt",
			append(slices.Clip(resubmitted), intentAt(time.Minute, "you"), refused(61*time.Second, "you")),
			events.ChargePossible,
		},
		{"expired, never sent", []task.Trigger{due(2 * total)}, events.ChargeNone},
		{"expired, refused", []task.Trigger{intent, quota, due(2 * total)}, events.ChargeNone},
		{
			"expired, released",
			[]task.Trigger{intent, task.Release{Meta: at(2 * time.Second), Owner: "me"}, due(2 * total)},
			events.ChargeNone,
		},
		{"expired after one in doubt", append(slices.Clip(resubmitted), due(2*total)), events.ChargePossible},
		{"expired at the next intent", append(slices.Clip(resubmitted), intentAt(2*total, "you")), events.ChargePossible},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			now := story(t, request(), row.steps...)
			wantPhase(t, now, events.PhaseDone, events.StatusFailed)
			if now.Error == nil || now.Error.Charge != row.want {
				t.Errorf("%+v, want charge %s", now.Error, row.want)
			}
		})
	}
}

// While nobody knew, nobody could use the time: both deadlines move.
func TestTimeInDoubtIsNotCounted(t *testing.T) {
	const long = 4 * time.Hour
	t.Run("adopted, it is polled and not cancelled", func(t *testing.T) {
		now := after(t, story(t, request(), append(slices.Clip(inDoubt), due(2*horizon))...),
			resolve(long, 1, events.ResolveAdopt))
		if c := apply(t, now, due(long+time.Second)); c.Written || task.Overdue(c.Task, t0.Add(long+time.Second)) {
			t.Errorf("a heartbeat leads to %s", c.Task.Phase)
		}
		now = after(t, now, observed(long+2*time.Second, succeeded))
		wantPhase(t, now, events.PhaseDone, events.StatusCompleted)
	})
	t.Run("found by the list, it is polled and not cancelled", func(t *testing.T) {
		now := story(t, request(), append(slices.Clip(inDoubt),
			task.Accepted{Meta: at(long), Attempt: 1, Ref: ref, ID: "r1", Source: "list"}, due(long+time.Second))...)
		wantPhase(t, now, events.PhaseProviderQueued, events.StatusQueued)
	})
	t.Run("resubmitted by policy, it is sent and not expired", func(t *testing.T) {
		now := story(t, request(withPolicy(events.InDoubtResubmit, 2)),
			append(slices.Clip(inDoubt), due(long), due(long+time.Second))...)
		wantPhase(t, now, events.PhaseWaiting, events.StatusQueued)
		now = after(t, now, intentAt(long+2*time.Second, "you"))
		wantPhase(t, now, events.PhaseSubmitting, events.StatusQueued)
	})
	t.Run("resubmitted by a person, it is sent and not expired", func(t *testing.T) {
		now := story(t, request(),
			append(slices.Clip(inDoubt), due(2*horizon), resolve(long, 1, events.ResolveResubmit), due(long+time.Second),
				intentAt(long+2*time.Second, "you"))...)
		wantPhase(t, now, events.PhaseSubmitting, events.StatusQueued)
	})
	t.Run("what is left of the deadline still counts", func(t *testing.T) {
		now := story(t, request(), append(slices.Clip(inDoubt), resolve(long, 1, events.ResolveAdopt))...)
		now = after(t, now, running(long+time.Second), due(long+total+time.Second))
		wantPhase(t, now, events.PhaseCancelling, events.StatusInProgress)
	})
}

// Who cancels does not want it bought again, and nobody may say that it was cancelled while it may be running.
func TestCancelInDoubtIsNotResubmitted(t *testing.T) {
	cancel := task.Cancel{Meta: at(time.Minute), Reason: "no longer needed"}
	now := story(t, request(withPolicy(events.InDoubtResubmit, 3)),
		append(slices.Clip(inDoubt), cancel, due(2*horizon), due(3*horizon))...)
	wantPhase(t, now, events.PhaseParked, events.StatusQueued)
	if c := apply(t, now, intentAt(3*horizon, "you")); c.Written {
		t.Error("another attempt was granted")
	}
	// When it turns up after all, the cancel goes to the provider.
	now = after(t, now, task.Accepted{Meta: at(4 * horizon), Attempt: 1, Ref: ref, ID: "r1", Source: "callback"})
	if !task.AskCancelNow(now, t0.Add(4*horizon)) {
		t.Errorf("the provider is not asked to cancel: %s", now.Phase)
	}
}

func TestResubmitByAPersonClearsTheCancel(t *testing.T) {
	cancel := task.Cancel{Meta: at(time.Minute), Reason: "no longer needed"}
	now := story(t, request(), append(slices.Clip(inDoubt), cancel, resolve(2*time.Minute, 1, events.ResolveResubmit))...)
	wantPhase(t, now, events.PhaseWaiting, events.StatusQueued)
	now = after(t, now, intentAt(3*time.Minute, "you"),
		task.Accepted{Meta: at(4 * time.Minute), Attempt: 2, Ref: ref, ID: "r1", Source: "reply"})
	wantPhase(t, now, events.PhaseProviderQueued, events.StatusQueued)
	if now.Cancel != nil || task.Needs(now).AskCancel {
		t.Errorf("still to be cancelled: %+v", now.Cancel)
	}
}

// A person finds at the provider what reelay had given up: the result is fetched, and the task stays failed.
func TestAdoptAfterFailureWatchesLate(t *testing.T) {
	for name, failed := range map[string]events.Task{
		"by policy":   story(t, request(withPolicy(events.InDoubtFail, 1)), append(slices.Clip(inDoubt), due(2*horizon))...),
		"written off": story(t, request(), append(slices.Clip(inDoubt), resolve(2*horizon, 1, events.ResolveWriteOff))...),
		"expired after a resubmit": story(t, request(),
			append(slices.Clip(inDoubt), resolve(10*time.Second, 1, events.ResolveResubmit),
				due(2*horizon))...),
	} {
		t.Run(name, func(t *testing.T) {
			wantPhase(t, failed, events.PhaseDone, events.StatusFailed)
			now := after(t, failed, resolve(3*horizon, 2, events.ResolveAdopt))
			if !task.Needs(now).PollTicket || now.Error.Charge != events.ChargeConfirmed || now.ProviderID != "r1" {
				t.Errorf("watched %v, %+v, id %q", task.Needs(now).PollTicket, now.Error, now.ProviderID)
			}
			c := apply(t, now, observed(3*horizon+time.Minute, succeeded))
			wantPhase(t, c.Task, events.PhaseDone, events.StatusFailed)
			if c.Task.Result == nil || !c.Task.Result.Late || !slices.Contains(types(c.Events), events.EventLateResult) ||
				task.Needs(c.Task).PollTicket {
				t.Errorf("the result %+v, events %v", c.Task.Result, types(c.Events))
			}
		})
	}
	free := story(t, request(), intent,
		task.Refused{Meta: at(2 * time.Second), Owner: "me", Err: fault(events.KindInvalid, "422")})
	if _, err := task.Apply(&free, resolve(time.Minute, 1, events.ResolveAdopt)); !errors.Is(err, task.ErrNotApplicable) {
		t.Errorf("adopt for a task that bought nothing: %v", err)
	}
}

// A provider that does not answer a cancel is asked again, ever more slowly, and not for ever; who asks again is heard.
func TestCancelUnanswered(t *testing.T) {
	now := story(t, request(), intent, accepted, running(3*time.Second), task.Cancel{Meta: at(4 * time.Second)})
	moment, waits := 4*time.Second, []time.Duration{}
	for range task.CancelTries {
		if !task.AskCancelNow(now, t0.Add(moment)) {
			t.Fatalf("not asked at %v: %+v", moment, now.Cancel)
		}
		now = after(t, now, task.CancelAnswered{Meta: at(moment), Err: fault(events.KindRetry, "502")})
		if now.Cancel.RetryAt == nil {
			break
		}
		wait := now.Cancel.RetryAt.Sub(t0.Add(moment))
		waits = append(waits, wait)
		if task.AskCancelNow(now, t0.Add(moment+wait-time.Millisecond)) {
			t.Errorf("asked before %v have passed", wait)
		}
		if beat := task.HeartbeatInterval(now); beat != wait {
			t.Errorf("the heartbeat is %v, the next try in %v", beat, wait)
		}
		moment += wait
	}
	s := time.Second
	if want := []time.Duration{s, 2 * s, 4 * s, 8 * s, 16 * s, 32 * s, 60 * s, 60 * s, 60 * s}; !slices.Equal(waits,
		want) {
		t.Errorf("waits %v, want %v", waits, want)
	}
	if now.Phase != events.PhaseCancelling || task.Needs(now).AskCancel || now.Cancel.Tries != task.CancelTries {
		t.Fatalf("after %d tries: %s %+v", task.CancelTries, now.Phase, now.Cancel)
	}
	late := t0.Add(moment + time.Hour)
	if task.AskCancelNow(now, late) || !task.Needs(now).PollTicket {
		t.Error("given up and still asking, or no longer looking")
	}
	now = after(t, now, task.Cancel{Meta: at(moment + time.Minute), Reason: "really"})
	if !task.AskCancelNow(now, t0.Add(moment+time.Minute)) || now.Cancel.By != "client" || now.Cancel.Reason != "really" {
		t.Errorf("a new cancel: %+v", now.Cancel)
	}
}

// A deadline that passes while a client's cancel is at the provider does not make a failure of it.
func TestDeadlineDuringAClientsCancel(t *testing.T) {
	cancelling := story(t, request(), intent, accepted, running(3*time.Second),
		task.Cancel{Meta: at(total / 2), Reason: "enough"},
		task.CancelAnswered{Meta: at(total / 2), Outcome: provider.CancelRequested})
	now := after(t, cancelling, due(total-time.Second), due(total+time.Second))
	wantPhase(t, now, events.PhaseCancelling, events.StatusInProgress)
	if now.Cancel.By != "client" {
		t.Errorf("it is now the cancel of the %s", now.Cancel.By)
	}
	ended := after(t, now, observed(total+2*time.Second, provider.Snapshot{State: provider.Cancelled}))
	wantPhase(t, ended, events.PhaseDone, events.StatusCancelled)
	if ended.Error != nil {
		t.Errorf("cancelled with %+v", ended.Error)
	}
	// It is bounded all the same.
	given := after(t, now, due(total+task.CancelGrace+time.Second))
	wantPhase(t, given, events.PhaseDone, events.StatusFailed)
	if !task.Needs(given).PollTicket {
		t.Error("what may be paid for is no longer watched")
	}
}

// A provider that has confirmed a cancel may forget the task: that is not a loss.
func TestForgottenAfterTheCancel(t *testing.T) {
	for outcome, want := range map[provider.CancelOutcome]events.Status{
		provider.CancelDone: events.StatusCancelled, provider.CancelRequested: events.StatusCancelled,
		provider.CancelTooLate: events.StatusFailed,
	} {
		t.Run(string(outcome), func(t *testing.T) {
			now := story(t, request(), intent, accepted, running(3*time.Second), task.Cancel{Meta: at(4 * time.Second)},
				task.CancelAnswered{Meta: at(5 * time.Second), Outcome: outcome})
			for i := range task.NotFoundPolls + 1 {
				moment := 10*time.Second + time.Duration(i)*task.NotFoundSpan/time.Duration(task.NotFoundPolls)
				now = after(t, now, task.PollFailed{Meta: at(moment), Err: fault(events.KindNotFound, "404")})
			}
			wantPhase(t, now, events.PhaseDone, want)
		})
	}
}

// The look that finds the end may also bring the last log lines.
func TestLastLogLinesAreTold(t *testing.T) {
	line := func(s string) events.LogLine { return events.LogLine{Message: s} }
	first := observed(3*time.Second, provider.Snapshot{State: provider.Running, Logs: []events.LogLine{line("one")}})
	for name, snap := range map[events.EventType]provider.Snapshot{
		events.EventCompleted: {State: provider.Succeeded, Outputs: outputs},
		events.EventFailed:    {State: provider.Failed, Err: fault(events.KindModeration, "1027")},
		events.EventCancelled: {State: provider.Cancelled},
	} {
		snap.Logs = []events.LogLine{line("one"), line("two"), line("three")}
		c := apply(t, story(t, request(), intent, accepted, first), observed(4*time.Second, snap))
		i := slices.IndexFunc(c.Events, func(e events.Event) bool { return e.Type == name })
		if i < 0 {
			t.Errorf("%s: told %v", name, types(c.Events))
			continue
		}
		var got []string
		for _, l := range c.Events[i].Logs {
			got = append(got, l.Message)
		}
		if !slices.Equal(got, []string{"two", "three"}) {
			t.Errorf("%s brings the lines %v", name, got)
		}
		for j, e := range c.Events {
			if j != i && len(e.Logs) > 0 {
				t.Errorf("%s: the lines are told by %s as well", name, e.Type)
			}
		}
	}
}

// That a person has to decide may not be lost with one publish: every heartbeat says so again, until somebody has
// decided.
func TestParkedIsToldUntilDecided(t *testing.T) {
	parked := story(t, request(), append(slices.Clip(inDoubt), due(2*horizon))...)
	version := parked.Version
	tells := func(c task.Change) bool {
		return slices.ContainsFunc(c.Events,
			func(e events.Event) bool { return e.Type == events.EventInDoubt && e.Version == version && !e.Once })
	}
	now := parked
	for i := range 5 {
		moment := 2*horizon + time.Duration(i+1)*15*time.Minute
		c := apply(t, now, due(moment))
		if c.Written || !tells(c) {
			t.Errorf("heartbeat %d: written %v, told %v", i, c.Written, types(c.Events))
		}
		now = after(t, c.Task, task.Searched{
			Meta: at(moment + time.Minute), Attempt: 1, Complete: true,
			Note: "not in the list",
		})
	}
	if task.HeartbeatInterval(parked) == 0 {
		t.Error("a parked task has no heartbeat")
	}
	for _, action := range []events.ResolveAction{events.ResolveAdopt, events.ResolveResubmit, events.ResolveWriteOff} {
		decided := after(t, now, resolve(10*horizon, 1, action))
		if c := apply(t, decided, due(10*horizon+time.Second)); tells(c) {
			t.Errorf("still told after %s", action)
		}
	}
}

// A heartbeat that ends a task was its last one: unless it leaves another, an event that is lost then is lost for good.
func TestEndByAHeartbeatIsToldAgain(t *testing.T) {
	rows := []struct {
		name   string
		before events.Task
		due    task.Heartbeat
	}{
		{"expired while waiting", story(t, request()), due(2 * total)},
		{"expired by its start deadline", story(t, request()), due(start)},
		{"in doubt, failed by policy", story(t, request(withPolicy(events.InDoubtFail, 1)), inDoubt...), due(2 * horizon)},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			ended := apply(t, row.before, row.due).Task
			wantPhase(t, ended, events.PhaseDone, events.StatusFailed)
			if !ended.Unannounced || task.HeartbeatInterval(ended) != 30*time.Second {
				t.Fatalf("unannounced %v, heartbeat %v", ended.Unannounced, task.HeartbeatInterval(ended))
			}
			// The publish was lost. Much later:
			again := due(row.due.At.Sub(t0) + 20*time.Minute)
			c := apply(t, ended, again)
			if !slices.Contains(types(c.Events), events.EventFailed) || c.Task.Unannounced ||
				task.HeartbeatInterval(c.Task) != 0 {
				t.Errorf("told %v, unannounced %v, heartbeat %v", types(c.Events), c.Task.Unannounced,
					task.HeartbeatInterval(c.Task))
			}
			if c.Events[0].Type != events.EventQueued {
				t.Errorf("the story begins with %s", c.Events[0].Type)
			}
		})
	}
}

// A task given up by a heartbeat is watched late, and the look that ends that watch is the last step of all: it tells
// the end again, whose publish may have been lost.
func TestLastPollTellsTheEnd(t *testing.T) {
	ended := story(t, request(), intent, accepted, running(3*time.Second), due(total+time.Second),
		due(total+time.Minute+task.CancelGrace))
	wantPhase(t, ended, events.PhaseDone, events.StatusFailed)
	if !task.Needs(ended).PollTicket || task.HeartbeatInterval(ended) == 0 {
		t.Errorf("watched %v, and if that is lost, a heartbeat of %v", task.Needs(ended).PollTicket,
			task.HeartbeatInterval(ended))
	}
	const later = 2 * time.Hour
	for name, tr := range map[string]task.Trigger{
		"still running": running(later),
		"succeeded":     observed(later, succeeded),
		"failed":        observed(later, provider.Snapshot{State: provider.Failed, Err: fault(events.KindInternal, "500")}),
		"cancelled":     observed(later, provider.Snapshot{State: provider.Cancelled}),
		"not found":     task.PollFailed{Meta: at(later), Err: fault(events.KindNotFound, "404")},
		"too late":      running(total + time.Hour + task.LatePolling),
	} {
		c := apply(t, ended, tr)
		if !slices.Contains(types(c.Events), events.EventFailed) {
			t.Errorf("%s: told %v, watched on: %v", name, types(c.Events), task.Needs(c.Task).PollTicket)
		}
	}
}

// Nothing in these stories depends on how the records are shared: Apply leaves what it is given as it is.
func TestApplyLeavesItsArgument(t *testing.T) {
	for name, before := range phases(t) {
		for _, row := range triggers() {
			was, err := json.Marshal(before)
			if err != nil {
				t.Fatal(err)
			}
			given := before
			_, _ = task.Apply(&given, row.tr) // ErrNotApplicable is fine
			if now, _ := json.Marshal(given); string(now) != string(was) {
				t.Errorf("%s changes the %s task it was given", row.name, name)
			}
		}
	}
}

// TestConflictNamesItsBatch: a request that wants the id of a task is missing in its batch, unless that is the task's
// as well.
func TestConflictNamesItsBatch(t *testing.T) {
	for _, row := range []struct{ has, wants, names string }{
		{"film", "film", ""}, {"film", "other", "other"}, {"", "film", "film"}, {"film", "", ""}, {"", "", ""},
	} {
		first, second := request(), request()
		first.BatchID = row.has
		second.RequestDigest, second.BatchID, second.CreatedAt = "another", row.wants, t0.Add(time.Second)
		if row.wants != "" {
			second.BatchSize = 2
		}
		c, err := task.Apply(nil, task.Accept{Meta: at(0), Task: first})
		if err != nil {
			t.Fatal(err)
		}
		e := apply(t, c.Task, task.Accept{Meta: at(0), Task: second}).Events[0]
		if e.Type != events.EventRejected || e.BatchID != row.names || (e.BatchSize > 0) != (row.names != "") {
			t.Errorf("a task of %q, a request of %q: %s names %q of %d", row.has, row.wants, e.Type, e.BatchID, e.BatchSize)
		}
	}
}

// One complete list does not settle that a restored record has forgotten nothing, and the time that it took is given back.
func TestForgottenTakesSeveralListings(t *testing.T) {
	long := t0.Add(-time.Hour)
	i := intentAt(time.Minute, "a")
	i.SentAfter, i.BodySHA256 = &long, ""
	now := story(t, request(), i, task.Doubt{Meta: at(time.Minute), Owner: "a", Err: fault(events.KindAmbiguous, "restored")})
	deadline := now.Deadline
	for n := range 3 {
		wantPhase(t, now, events.PhaseInDoubt, events.StatusQueued)
		now = after(t, now, task.Searched{Meta: at(time.Duration(n+2) * time.Minute), Attempt: 1, Complete: true, Listings: 3})
	}
	wantPhase(t, now, events.PhaseWaiting, events.StatusQueued)
	if a := now.Attempt(); a.Outcome != events.AttemptReleased || !now.Deadline.Equal(deadline.Add(3*time.Minute)) {
		t.Errorf("%+v, deadline %v later", a, now.Deadline.Sub(deadline))
	}
}
