package dependency_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/dependency"
)

// records are the records of a project by id.
type records map[string]events.Task

func (r records) Get(_ context.Context, k events.Key) (events.Task, error) {
	t, ok := r[k.ID]
	if !ok || k.Project != "p" {
		return t, fmt.Errorf("%w: %s", bus.ErrNotFound, k)
	}
	return t, nil
}

func waiting(id string, on ...string) events.Task {
	return events.Task{Project: "p", ID: id, Phase: events.PhaseWaiting, Status: events.StatusQueued, WaitsFor: on}
}

func done(id string, s events.Status, r *events.Result) events.Task {
	return events.Task{Project: "p", ID: id, Phase: events.PhaseDone, Status: s, Result: r}
}

var (
	made = &events.Result{Outputs: []events.Output{{URL: "https://media.test/a.mp4"}}}
	late = &events.Result{Outputs: made.Outputs, Late: true}
)

func TestRead(t *testing.T) {
	refused := done("refused", events.StatusFailed, &events.Result{Raw: json.RawMessage(`{}`)})
	refused.Error = &events.Error{Code: "moderation", Message: "the prompt was refused"}
	all := records{
		"made": done("made", events.StatusCompleted, made), "late": done("late", events.StatusFailed, late),
		"refused": refused, "cancelled": done("cancelled", events.StatusCancelled, nil),
		"running": {Project: "p", ID: "running", Phase: events.PhaseRunning}, "waiting": waiting("waiting", "made"),
	}
	for _, row := range []struct {
		on, first     []string
		ignore        bool
		open, missing string
		failed        string
		ended         int
	}{
		{on: []string{"made", "late"}, ended: 2},
		{on: []string{"made", "running", "waiting"}, open: "running waiting", ended: 1},
		{on: []string{"nobody", "made", "nothing"}, open: "nobody nothing", missing: "nobody", ended: 1},
		{
			on:     []string{"running", "refused"},
			failed: "task refused, which it depends on, has failed: the prompt was refused (moderation)", open: "running",
		},
		{on: []string{"cancelled"}, failed: "task cancelled, which it depends on, has cancelled"},
		{on: []string{"refused", "cancelled", "made"}, ignore: true, ended: 3},
		{on: []string{"running", "waiting", "refused"}, first: []string{"made"}, open: "running"},
		{
			on: []string{"running", "waiting", "refused"}, first: []string{"refused"},
			failed: "task refused, which it depends on, has failed: the prompt was refused (moderation)",
		},
	} {
		task := waiting("me", row.on...)
		if row.ignore {
			task.OnDependency = events.DependencyIgnore
		}
		s, err := dependency.Read(t.Context(), all, task, row.first...)
		failed := ""
		if s.Failed != nil {
			failed = s.Failed.Message
			if s.Failed.Code != events.CodeDependencyFailed || s.Failed.Charge != events.ChargeNone || s.Failed.Retryable {
				t.Errorf("%v: %+v", row.on, s.Failed)
			}
		}
		if err != nil || strings.Join(s.Open, " ") != row.open || s.Missing != row.missing || failed != row.failed ||
			row.failed == "" && len(s.Ended) != row.ended && len(row.first) == 0 {
			t.Errorf("%v, %v first: open %v, missing %q, failed %q, %d ended, %v", row.on, row.first, s.Open, s.Missing, failed,
				len(s.Ended), err)
		}
	}
}

func TestCycle(t *testing.T) {
	all := records{
		"a": waiting("a", "b", "made"), "b": waiting("b", "c", "nobody"), "made": done("made", events.StatusCompleted, made),
		"x": waiting("x", "y"), "y": waiting("y", "x"),
	}
	for _, row := range []struct {
		id   string
		on   []string
		want string
	}{
		{"c", []string{"a"}, "tasks wait for each other: c waits for a waits for b waits for c"},
		{"c", []string{"made", "b"}, "tasks wait for each other: c waits for b waits for c"},
		{"d", []string{"a", "b", "made"}, ""},
		{"d", []string{"x"}, ""}, // others may wait for each other: the walk ends all the same
	} {
		e, err := dependency.Cycle(t.Context(), all, events.Key{Project: "p", ID: row.id}, row.on)
		got := ""
		if e != nil {
			got = e.Message
		}
		if err != nil || got != row.want || e != nil && e.Code != events.CodeDependencyCycle {
			t.Errorf("%s on %v: %q, %v, want %q", row.id, row.on, got, err, row.want)
		}
	}
	for i := range 1_200 {
		all[fmt.Sprint("n", i)] = waiting(fmt.Sprint("n", i), fmt.Sprint("n", i+1))
	}
	if _, err := dependency.Cycle(t.Context(), all, events.Key{Project: "p", ID: "z"}, []string{"n0"}); !errors.Is(err,
		dependency.ErrTooMany) {
		t.Errorf("a chain of 1,200 tasks: %v", err)
	}
}

// objects holds what is too large for a record.
type objects map[string]string

func (o objects) GetObject(_ context.Context, name string) ([]byte, error) {
	if v, ok := o[name]; ok {
		return []byte(v), nil
	}
	return nil, errors.New("no such object")
}

func (objects) Link(_ context.Context, k events.Key, output int) (string, error) {
	return fmt.Sprintf("https://archiver.test/%s/%d", k, output), nil
}

func TestResolve(t *testing.T) {
	ended := map[string]events.Task{
		"v": done("v", events.StatusCompleted, &events.Result{
			Outputs: []events.Output{{URL: "https://media.test/a.mp4?x=1&y=<2>"}, {URL: "https://media.test/b.mp4"}},
			Values:  map[string]string{events.ValueVoiceID: "voice\"7"},
			Raw:     json.RawMessage(`{"voice_id":"raw","seed":12345678901234567890,"a/b":{"c":[1,{"d":"deep"}]},"none":null}`),
		}),
		"mux": done("mux", events.StatusCompleted, &events.Result{Outputs: []events.Output{
			{Object: "work-1", Stored: new(true)},
			{Object: "work-2"},
			{Object: "work-3", Stored: new(false)},
			{URL: "https://media.test/old.mp4", ExpiresAt: new(time.Now()), Stored: new(true)},
			{URL: "https://media.test/new.mp4", ExpiresAt: new(time.Now().Add(time.Hour)), Stored: new(true)},
		}}),
		"large":  done("large", events.StatusCompleted, &events.Result{RawRef: "raw-1"}),
		"gone":   done("gone", events.StatusCompleted, &events.Result{RawRef: "raw-2"}),
		"failed": done("failed", events.StatusFailed, nil),
	}
	stored := objects{"raw-1": `{"text":"` + strings.Repeat("x", 20<<10) + `"}`}
	for _, row := range []struct{ reference, want, fails string }{
		{`{"$from":"v"}`, `"https://media.test/a.mp4?x=1&y=<2>"`, ""},
		{`{"$from":"v","output":1}`, `"https://media.test/b.mp4"`, ""},
		{`{"$from":"v","output":2}`, "", "task v, which it refers to, has 2 outputs and no output 2"},
		{`{"$from":"mux"}`, `"https://archiver.test/p.mux/0"`, ""},
		{`{"$from":"mux","output":2}`, "", "task mux, which it refers to, has an output 2 that could not be stored, and its link has died"},
		{`{"$from":"mux","output":3}`, `"https://archiver.test/p.mux/3"`, ""},
		{`{"$from":"mux","output":4}`, `"https://media.test/new.mp4"`, ""},
		{`{"$from":"v","field":"voice_id"}`, `"voice\"7"`, ""},
		{`{"$from":"v","field":"/voice_id"}`, `"raw"`, ""},
		{`{"$from":"v","field":"seed"}`, `12345678901234567890`, ""},
		{`{"$from":"v","field":"/a~1b/c/1/d"}`, `"deep"`, ""},
		{`{"$from":"v","field":"a/b"}`, `{"c":[1,{"d":"deep"}]}`, ""},
		{`{"$from":"v","field":"/a~1b/c/2"}`, "", `task v, which it refers to, has no field "/a~1b/c/2" in its result`},
		{`{"$from":"v","field":"none"}`, "", `task v, which it refers to, has no field "none" in its result`},
		{`{"$from":"v","field":"/seed/x"}`, "", `task v, which it refers to, has no field "/seed/x" in its result`},
		{`{"$from":"large","field":"text"}`, `"` + strings.Repeat("x", 20<<10) + `"`, ""},
		{`{"$from":"large"}`, "", "task large, which it refers to, has 0 outputs and no output 0"},
		{`{"$from":"failed"}`, "", "task failed, which it refers to, has no result"},
	} {
		got, err := dependency.Resolve(t.Context(), stored, json.RawMessage(`{"a": [`+row.reference+`] }`), ended, false)
		if row.fails == "" {
			if want := `{"a": [` + row.want + `] }`; err != nil || string(got) != want {
				t.Errorf("%s: %.200s, %v, want %.200s", row.reference, got, err, want)
			}
			continue
		}
		var e *events.Error
		if !errors.As(err, &e) || e.Message != row.fails || e.Field != "input.a[0]" || e.Code != events.CodeDependencyFailed {
			t.Errorf("%s: %v, want %q", row.reference, err, row.fails)
		}
	}
	var e *events.Error
	if _, err := dependency.Resolve(t.Context(), stored, json.RawMessage(`{"a":{"$from":"gone","field":"b"}}`), ended, false); err == nil ||
		errors.As(err, &e) {
		t.Errorf("an object that cannot be read: %v, want an error that is tried again", err)
	}
	many := json.RawMessage(`{"a":[` + strings.Join(slices.Repeat([]string{`{"$from":"large","field":"text"}`}, 60), ",") + `]}`)
	if _, err := dependency.Resolve(t.Context(), stored, many, ended, false); !errors.As(err, &e) || e.Field != "input" {
		t.Errorf("an input that becomes too large: %v", err)
	}
}

// TestResolveStored: what is not stored yet is waited for, and who asks for stored files gets them where there are any.
func TestResolveStored(t *testing.T) {
	ended := map[string]events.Task{"a": done("a", events.StatusCompleted, &events.Result{Outputs: []events.Output{
		{URL: "https://media.test/a.mp4"}, {Object: "work-a"}, {URL: "https://media.test/c.mp4", Stored: new(true)},
	}})}
	for i, want := range []string{`"https://media.test/a.mp4"`, "", `"https://archiver.test/p.a/2"`} {
		got, err := dependency.Resolve(t.Context(), objects{}, fmt.Appendf(nil, `{"x":{"$from":"a","output":%d}}`, i), ended, true)
		if want == "" && !errors.Is(err, dependency.ErrNotStored) || want != "" && string(got) != `{"x":`+want+`}` {
			t.Errorf("output %d: %s, %v, want %s", i, got, err, want)
		}
	}
}

func TestDescribe(t *testing.T) {
	phases := map[string]events.Phase{"a": events.PhaseDone, "b": events.PhaseRunning}
	phaseOf := func(k events.Key) events.Phase { return phases[k.ID] }
	for _, row := range []struct{ on, open, message string }{
		{"a b c", "b c", "waits for b (running), c (not asked for yet)"},
		{"a", "", "what it waits for has ended; its outputs are being stored"},
		{
			"b c d e f g h", "b c d e f g h",
			"waits for b (running), c (not asked for yet), d (not asked for yet), e (not asked for yet), " +
				"f (not asked for yet) and 2 more",
		},
	} {
		task := waiting("me", strings.Fields(row.on)...)
		if !dependency.Describe(&task, phaseOf) || strings.Join(task.WaitsFor, " ") != row.open ||
			task.Blocked.Reason != events.BlockedDependency || task.Blocked.Message != row.message {
			t.Errorf("%s: waits for %v, blocked by %+v", row.on, task.WaitsFor, task.Blocked)
		}
	}
	if task := waiting("me"); dependency.Describe(&task, phaseOf) || task.Blocked != nil {
		t.Errorf("a task that waits for none is blocked by %+v", task.Blocked)
	}
}
