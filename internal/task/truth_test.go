package task_test

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/provider"
	"reelay/internal/task"
)

// gatewayError is a failure that the provider did not tell of itself.
func gatewayError(after time.Duration) task.PollResult {
	return observed(after, provider.Snapshot{
		State: provider.Failed, Word: "COMPLETED", Unconfirmed: true,
		Err: &provider.Error{Kind: events.KindInternal, Code: "http_502", Message: "bad gateway", Charge: events.ChargeNone},
	})
}

func started(t *testing.T) events.Task {
	t.Helper()
	return story(t, request(), intent, accepted, running(3*time.Second))
}

// A failure that the provider did not tell of itself is no verdict until it was seen for a minute.
func TestUnconfirmedEndIsSeenAgain(t *testing.T) {
	now := after(t, started(t), gatewayError(10*time.Second))
	wantPhase(t, now, events.PhaseFetching, events.StatusInProgress)
	for i := range 5 {
		now = after(t, now, gatewayError(time.Duration(11+i)*time.Second))
	}
	wantPhase(t, now, events.PhaseFetching, events.StatusInProgress)
	now = after(t, now, gatewayError(10*time.Second+task.EndSpan))
	wantPhase(t, now, events.PhaseDone, events.StatusFailed)
	if e := now.Error; e.Charge != events.ChargePossible || e.Retryable || e.Code != "http_502" {
		t.Errorf("failed with %+v; it may have been made and billed", e)
	}
	if !task.Needs(now).PollTicket {
		t.Fatal("what may have been paid for is no longer polled")
	}
	again := after(t, now, gatewayError(10*time.Minute))
	if again.Version != now.Version {
		t.Error("the same evidence is written again")
	}
	late := after(t, now, observed(time.Hour, provider.Snapshot{State: provider.Succeeded, Outputs: outputs}))
	if late.Result == nil || !late.Result.Late || late.Error.Charge == events.ChargeNone {
		t.Errorf("the result that came after it: %+v", late.Result)
	}
}

// A few polls far apart are not enough, and a result among them wins.
func TestUnconfirmedEndThatPasses(t *testing.T) {
	now := after(t, started(t), gatewayError(10*time.Second), gatewayError(10*time.Second+2*task.EndSpan),
		task.PollFailed{Meta: at(3 * time.Minute), Err: fault(events.KindRetry, "network")})
	wantPhase(t, now, events.PhaseFetching, events.StatusInProgress)
	back := after(t, now, running(4*time.Minute))
	wantPhase(t, back, events.PhaseRunning, events.StatusInProgress)
	if back.Trouble != nil {
		t.Errorf("still in trouble: %+v", back.Trouble)
	}
	now = after(t, now, observed(4*time.Minute, provider.Snapshot{State: provider.Succeeded, Outputs: outputs}))
	wantPhase(t, now, events.PhaseDone, events.StatusCompleted)
}

// What the provider says itself counts at once, and what it made is kept beside the reason.
func TestProvidersOwnVerdict(t *testing.T) {
	now := after(t, started(t), observed(10*time.Second, provider.Snapshot{
		State: provider.Failed, Raw: json.RawMessage(`{"images":[]}`),
		Err: &provider.Error{Kind: events.KindInternal, Code: "no_output", Message: "nothing", Charge: events.ChargeConfirmed},
	}))
	wantPhase(t, now, events.PhaseDone, events.StatusFailed)
	if now.Result == nil || string(now.Result.Raw) != `{"images":[]}` || now.Result.Outputs == nil {
		t.Errorf("the raw result is %+v", now.Result)
	}
	if now.Error.Retryable {
		t.Error("what was charged is called retryable")
	}
}

// A deadline does not make what may have been paid for a thing to ask for again.
func TestDeadlineOfAPaidTaskIsNotRetryable(t *testing.T) {
	now := after(t, started(t), due(total+time.Second), due(total+task.CancelGrace+2*time.Second))
	wantPhase(t, now, events.PhaseDone, events.StatusFailed)
	if now.Error.Retryable || now.Error.Charge != events.ChargePossible {
		t.Errorf("%+v", now.Error)
	}
}

func TestLogsOfAWindow(t *testing.T) {
	line := func(i int) events.LogLine {
		when := t0.Add(time.Duration(i) * time.Second)
		return events.LogLine{At: &when, Message: fmt.Sprint("line ", i)}
	}
	lines := func(from, to int) (all []events.LogLine) {
		for i := from; i < to; i++ {
			all = append(all, line(i))
		}
		return all
	}
	plain := func(texts ...string) (all []events.LogLine) {
		for _, s := range texts {
			all = append(all, events.LogLine{Message: s})
		}
		return all
	}
	for _, row := range []struct {
		name  string
		shown [][]events.LogLine
		want  int
	}{
		{"all lines each time", [][]events.LogLine{lines(0, 3), lines(0, 5)}, 5},
		{"a window that slides", [][]events.LogLine{lines(0, 6), lines(3, 9), lines(8, 14)}, 14},
		{"a window that has left the old lines behind", [][]events.LogLine{lines(0, 6), lines(10, 16)}, 12},
		{"the same window twice", [][]events.LogLine{lines(4, 9), lines(4, 9)}, 5},
		{"a shorter window", [][]events.LogLine{lines(0, 9), lines(5, 9)}, 9},
		{"a line out of order", [][]events.LogLine{lines(0, 3), slices.Insert(lines(0, 4), 1, events.LogLine{
			At: line(1).At, Message: "late",
		})}, 5},
		{"the same text again", [][]events.LogLine{plain("a", "a"), plain("a", "a", "a")}, 3},
		{"texts of a window", [][]events.LogLine{plain("a", "b", "c"), plain("c", "d")}, 4},
		{"begun anew", [][]events.LogLine{plain("a", "b"), plain("x")}, 3},
	} {
		now := started(t)
		for i, shown := range row.shown {
			now = after(t, now, observed(time.Duration(10+i)*time.Second,
				provider.Snapshot{State: provider.Running, Logs: shown}))
		}
		if now.LogCount != row.want {
			t.Errorf("%s: %d lines, want %d", row.name, now.LogCount, row.want)
		}
	}
}

// Progress never goes back and never reaches the end before the task does, unless the provider begins anew.
func TestProgressOnlyGrows(t *testing.T) {
	now := started(t)
	for i, row := range []struct {
		said, want float64
	}{{40, 40}, {100, 99}, {10, 99}, {math.NaN(), 99}} {
		now = after(t, now, observed(time.Duration(10+i)*time.Second,
			provider.Snapshot{State: provider.Running, Progress: new(row.said)}))
		if got := now.ProgressPercentage; got == nil || *got != row.want {
			t.Errorf("%v %% shown: %v, want %v", row.said, got, row.want)
		}
	}
	now = after(t, now, observed(20*time.Second, provider.Snapshot{State: provider.Queued}),
		observed(21*time.Second, provider.Snapshot{State: provider.Running, Progress: new(5.0)}))
	if got := now.ProgressPercentage; got == nil || *got != 5 {
		t.Errorf("begun anew at %v, want 5", got)
	}
}

// Numbers and dates of a provider that no record can hold are left out.
func TestOddNumbers(t *testing.T) {
	far := time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC)
	now := after(t, started(t), observed(10*time.Second, provider.Snapshot{
		State: provider.Succeeded, Units: new(1e308), Logs: []events.LogLine{{At: &far, Message: "x"}},
		Outputs: []events.Output{{URL: "https://media.example/a.mp4", ExpiresAt: &far}},
	}))
	if _, err := events.Marshal(now); err != nil {
		t.Fatal(err)
	}
	if now.Cost != nil && now.Cost.Units != nil || now.Logs[0].At != nil || now.Result.Outputs[0].ExpiresAt != nil {
		t.Errorf("kept: %+v %+v %+v", now.Cost, now.Logs, now.Result.Outputs)
	}
}

// The provider's reason for a cancel of its own is told.
func TestCancelOfTheProvidersOwnTellsWhy(t *testing.T) {
	now := after(t, started(t), observed(time.Minute, provider.Snapshot{
		State: provider.Cancelled, Err: &provider.Error{Kind: events.KindModeration, Code: "1026", Message: "flagged"},
	}))
	wantPhase(t, now, events.PhaseDone, events.StatusCancelled)
	if got := now.Transitions[len(now.Transitions)-1].Note; got != "cancelled at the provider, not by reelay: flagged" {
		t.Errorf("the note is %q", got)
	}
}
