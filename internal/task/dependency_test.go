package task_test

import (
	"encoding/json"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/task"
)

// dependent is a request that waits for two tasks.
func dependent(change ...func(*events.Task)) events.Task {
	t := request(change...)
	t.After = []string{"a", "b"}
	t.WaitsFor, t.Input = t.After, json.RawMessage(`{"image":{"$from":"a"}}`)
	return t
}

// TestDependent: a task that waits for others is not sent, whatever else happens to it, and its time begins when they
// have ended.
func TestDependent(t *testing.T) {
	ended := task.DependenciesEnded{Meta: at(2 * time.Hour), Input: &task.ResolvedInput{
		Input: json.RawMessage(`{"image":"u"}`), Digest: "d2", Cost: &events.Cost{EstimatedUSD: ptr(2.0)},
	}}
	got := story(t, dependent(), intent, task.Heartbeat{Meta: at(time.Hour)})
	if got.Phase != events.PhaseWaiting || len(got.WaitsFor) != 2 || len(got.Attempts) != 0 {
		t.Fatalf("phase %s, %d attempts, waits for %v", got.Phase, len(got.Attempts), got.WaitsFor)
	}
	if note := got.Transitions[0].Note; note != "waits for a, b" {
		t.Errorf("queued: %q", note)
	}
	got = story(t, dependent(), ended)
	if got.WaitsFor != nil || string(got.Input) != `{"image":"u"}` || got.InputDigest != "d2" || *got.Cost.EstimatedUSD != 2 ||
		got.RequestDigest != "digest" || len(got.After) != 2 {
		t.Errorf("released: %+v", got)
	}
	if want := t0.Add(2*time.Hour + total); !got.Deadline.Equal(want) ||
		!got.StartDeadline.Equal(t0.Add(2*time.Hour+start)) || !got.TimeoutsFrom().Equal(t0.Add(2*time.Hour)) {
		t.Errorf("deadline %v, want %v; start deadline %v, timeouts from %v", got.Deadline, want, got.StartDeadline,
			got.TimeoutsFrom())
	}
	if last := got.Transitions[len(got.Transitions)-1]; last.Event != events.EventProgress {
		t.Errorf("released without an event: %+v", last)
	}
	later := intent
	later.At = at(2*time.Hour + time.Second).At
	if sent := story(t, dependent(), ended, later); sent.Phase != events.PhaseSubmitting {
		t.Errorf("after its release it is %s, want submitting", sent.Phase)
	}
	if twice := story(t, dependent(), ended, later, ended); twice.Version != 3 {
		t.Errorf("a second release has written version %d", twice.Version)
	}
}

// TestNotBefore: a task is not sent before its time, and its timeouts begin then, or later when others end later.
func TestNotBefore(t *testing.T) {
	notBefore := t0.Add(time.Hour)
	change := func(r *events.Task) {
		r.NotBefore, r.TimeoutFrom, r.Deadline = &notBefore, &notBefore, notBefore.Add(total)
		r.StartDeadline = nil
	}
	got := story(t, request(change), intent, task.Heartbeat{Meta: at(59 * time.Minute)})
	if got.Phase != events.PhaseWaiting || got.Version != 1 {
		t.Errorf("phase %s, version %d", got.Phase, got.Version)
	}
	if note := got.Transitions[0].Note; note != "is not sent before 2026-01-02T04:04:05Z" {
		t.Errorf("queued: %q", note)
	}
	for ended, from := range map[time.Duration]time.Duration{time.Minute: time.Hour, 2 * time.Hour: 2 * time.Hour} {
		got := story(t, dependent(change), task.DependenciesEnded{Meta: at(ended)})
		if !got.Deadline.Equal(t0.Add(from+total)) || !got.TimeoutsFrom().Equal(t0.Add(from)) {
			t.Errorf("ended after %v: deadline %v, timeouts from %v", ended, got.Deadline, got.TimeoutsFrom())
		}
	}
}

// TestDependencyFails: what can never be sent has cost nothing, and is announced until that is stored.
func TestDependencyFails(t *testing.T) {
	fails := task.DependencyFailed{
		Meta: at(time.Minute), Err: &events.Error{Code: events.CodeDependencyFailed, Kind: events.KindDependency, Message: "a failed"},
	}
	got := story(t, dependent(), fails)
	if got.Status != events.StatusFailed || got.Error.Code != events.CodeDependencyFailed ||
		got.Error.Charge != events.ChargeNone || !got.Unannounced || got.WaitsFor != nil {
		t.Errorf("%s, %+v, unannounced %v", got.Status, got.Error, got.Unannounced)
	}
	if got := story(t, request(), fails); got.Phase != events.PhaseWaiting {
		t.Errorf("a task that waits for none is %s", got.Phase)
	}
	missing := func(d time.Duration) task.Heartbeat { return task.Heartbeat{Meta: at(d), Missing: "b"} }
	got = story(t, dependent(func(r *events.Task) { r.StartDeadline = nil }), missing(total-time.Second))
	if got.Phase != events.PhaseWaiting {
		t.Errorf("before its deadline it is %s", got.Phase)
	}
	got = story(t, dependent(func(r *events.Task) { r.StartDeadline = nil }), missing(total+time.Second))
	if got.Status != events.StatusFailed || got.Error.Code != events.CodeDeadlineExceeded ||
		got.Error.Message != "task b, which it depends on, was not asked for in time" || got.Error.Charge != events.ChargeNone {
		t.Errorf("past its deadline it is %s: %+v", got.Status, got.Error)
	}
	if got := story(t, dependent(), task.Cancel{Meta: at(time.Minute)}); got.Status != events.StatusCancelled {
		t.Errorf("cancelled while it waits: %s", got.Status)
	}
}
