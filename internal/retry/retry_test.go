package retry_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/retry"
)

// failedTask is a task that has failed and cost nothing.
func failedTask(change func(*events.Task)) events.Task {
	created := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	start := created.Add(time.Minute)
	t := events.Task{
		ID: "kite", Project: "demo", TaskType: events.Video, Lane: "fal-team2", Provider: "fal", Model: "m", SceneID: "s",
		BatchID: "b", BatchSize: 3, Priority: 7, Metadata: map[string]string{"take": "3"}, Status: events.StatusFailed,
		Phase: events.PhaseDone, CreatedAt: created, Deadline: created.Add(time.Hour), StartDeadline: &start,
		OnInDoubt: events.InDoubtHold, MaxPaidAttempts: 2, Keep: events.KeepRequired, OnDependency: events.DependencyIgnore,
		Error: &events.Error{Code: "x", Charge: events.ChargeNone}, Attempts: []events.Attempt{{N: 1, Charge: events.ChargeNone}},
		Cost: &events.Cost{EstimatedUSD: new(0.5), MaxUSD: new(2.0)},
	}
	if change != nil {
		change(&t)
	}
	return t
}

func TestRequest(t *testing.T) {
	input := json.RawMessage(`{"prompt":"a <kite>"}`)
	got, err := retry.Request(events.Request{ID: "kite-r2", RetryOf: "kite"}, failedTask(nil), input)
	if err != nil {
		t.Fatal(err)
	}
	want := events.Request{
		ID: "kite-r2", RetryOf: "kite", Provider: "fal-team2", Model: "m", Input: input, SceneID: "s", BatchID: "b", BatchSize: 3,
		Priority: 7, Metadata: map[string]string{"take": "3"}, Timeout: events.Duration(time.Hour),
		StartTimeout: events.Duration(time.Minute), OnInDoubt: events.InDoubtHold, MaxPaidAttempts: 2, Keep: events.KeepRequired,
		OnDependency: events.DependencyIgnore, EstimatedUSD: 0.5, MaxCostUSD: 2,
	}
	a, _ := events.Marshal(got)
	b, _ := events.Marshal(want)
	if string(a) != string(b) {
		t.Errorf("got  %s\nwant %s", a, b)
	}
	got, err = retry.Request(events.Request{RetryOf: "kite"}, failedTask(func(t *events.Task) { t.Group = "fal-all" }), input)
	if err != nil || got.Provider != "fal-all" {
		t.Errorf("of a task of a group the provider is %q, %v", got.Provider, err)
	}
	own := events.Request{
		RetryOf: "kite", BatchID: "other", Priority: 1, Timeout: events.Duration(time.Minute), MaxCostUSD: 1,
		Metadata: map[string]string{},
	}
	got, err = retry.Request(own, failedTask(nil), input)
	if err != nil || got.BatchID != "other" || got.BatchSize != 0 || got.Priority != 1 || got.MaxCostUSD != 1 ||
		got.Timeout != events.Duration(time.Minute) || len(got.Metadata) != 0 {
		t.Errorf("what the request says itself does not count: %+v, %v", got, err)
	}
}

// TestMoney: what may have been paid for is made again only by a word.
func TestMoney(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*events.Task)
		field  string // of the error without the word; with it there is none
	}{
		{"free", nil, ""},
		{"cancelled while it waited", func(t *events.Task) { t.Status, t.Attempts, t.Error = events.StatusCancelled, nil, nil }, ""},
		{"completed", func(t *events.Task) { t.Status, t.Error = events.StatusCompleted, nil }, "pay_again"},
		{"possible", func(t *events.Task) { t.Attempts[0].Charge = events.ChargePossible }, "pay_again"},
		{"confirmed", func(t *events.Task) { t.Attempts[0].Charge = events.ChargeConfirmed }, "pay_again"},
		{"possible by its error", func(t *events.Task) { t.Error.Charge = events.ChargePossible }, "pay_again"},
		{"in doubt", func(t *events.Task) { t.Status, t.Phase = events.StatusQueued, events.PhaseInDoubt }, "pay_again"},
		{"parked", func(t *events.Task) { t.Status, t.Phase = events.StatusQueued, events.PhaseParked }, "pay_again"},
		{"under way", func(t *events.Task) { t.Status, t.Phase = events.StatusInProgress, events.PhaseRunning }, "retry_of"},
		{"erased", func(t *events.Task) { t.ErasedAt = new(time.Now()) }, "retry_of"},
	} {
		for _, word := range []bool{false, true} {
			_, err := retry.Request(events.Request{RetryOf: "kite", PayAgain: word}, failedTask(row.change), json.RawMessage(`{}`))
			var fe *events.FieldError
			errors.As(err, &fe)
			refused := row.field == "retry_of" || row.field == "pay_again" && !word
			if (fe != nil) != refused || fe != nil && fe.Field != row.field {
				t.Errorf("%s, pay_again %v: %v", row.name, word, err)
			}
		}
	}
}

// TestReplace: a retry waits for the retries of what the task has waited for.
func TestReplace(t *testing.T) {
	input := json.RawMessage(`{"a": {"$from":"voice","field":"voice_id"}, "b": [{"$from":"still","output":2}], "n": 1.0}`)
	waiting := failedTask(func(t *events.Task) { t.After = []string{"voice", "still"}; t.WaitsFor = t.After })
	r := events.Request{RetryOf: "kite", Replace: map[string]string{"voice": "voice-r2"}}
	got, err := retry.Request(r, waiting, input)
	if want := `{"a": {"$from":"voice-r2","field":"voice_id"}, "b": [{"$from":"still","output":2}], "n": 1.0}`; err != nil ||
		string(got.Input) != want || strings.Join(got.After, " ") != "voice-r2 still" || got.Replace != nil {
		t.Errorf("%s after %v, %v", got.Input, got.After, err)
	}
	released := failedTask(func(t *events.Task) { t.After = []string{"voice"} })
	if got, err := retry.Request(r, released, input); err == nil {
		t.Errorf("the old value of a reference is used without a word: %s", got.Input)
	}
	if got, err := retry.Request(events.Request{RetryOf: "kite"}, released, input); err != nil || got.After != nil {
		t.Errorf("it waits for %v, which may be gone, %v", got.After, err)
	}
}

func TestNextID(t *testing.T) {
	long := strings.Repeat("x", events.MaxTokenBytes)
	for id, want := range map[string]string{
		"kite": "kite-r2", "kite-r2": "kite-r3", "kite-r9": "kite-r10", "kite-r": "kite-r-r2", "-r2": "-r2-r2", "kite-r1": "kite-r1-r2",
		"kite-r99999": "kite-r99999-r2", long: long[3:] + "-r2", "kite-r02": "kite-r3",
	} {
		if got := retry.NextID(id); got != want || !events.ValidToken(got) {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
}
