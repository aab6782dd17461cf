package task_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/provider"
	"reelay/internal/task"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var t0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

const (
	start   = 10 * time.Minute
	total   = 30 * time.Minute
	horizon = time.Hour
)

func at(d time.Duration) task.Meta { return task.Meta{At: t0.Add(d), By: "test"} }

func ptr[T any](v T) *T { return &v }

func request(change ...func(*events.Task)) events.Task {
	t := events.Task{
		Schema: events.TaskSchema, ID: "t1", Project: "demo", TaskType: events.Video, Provider: "fal", Lane: "fal",
		Model: "m", RequestDigest: "digest", CreatedAt: t0, Deadline: t0.Add(total), StartDeadline: ptr(t0.Add(start)),
		OnInDoubt: events.InDoubtHold, MaxPaidAttempts: 1,
	}
	for _, f := range change {
		f(&t)
	}
	return t
}

// story applies triggers one after the other to a new task and fails the test on any error.
func story(tb testing.TB, req events.Task, triggers ...task.Trigger) events.Task {
	tb.Helper()
	c, err := task.Apply(nil, task.Accept{Meta: at(0), Task: req})
	for _, tr := range triggers {
		if err != nil {
			tb.Fatal(err)
		}
		now := c.Task
		c, err = task.Apply(&now, tr)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return c.Task
}

var (
	ref      = json.RawMessage(`{"request_id":"r1"}`)
	intent   = task.Intent{Meta: at(time.Second), Owner: "me", BodySHA256: "sha", NotAfter: t0.Add(2 * time.Minute)}
	accepted = task.Accepted{Meta: at(2 * time.Second), Attempt: 1, Ref: ref, ID: "r1", Source: "reply"}
	doubt    = task.Doubt{Meta: at(2 * time.Second), Owner: "me", Err: fault(events.KindAmbiguous, "timeout")}
	outputs  = []events.Output{{URL: "https://cdn.test/a.mp4"}}
)

func fault(k events.Kind, code string) *provider.Error {
	return &provider.Error{Kind: k, Code: code, Message: "the provider says " + code}
}

func observed(d time.Duration, s provider.Snapshot) task.PollResult {
	return task.PollResult{Meta: at(d), Snapshot: s}
}

// callback is what a callback about the request with that id says.
func callback(d time.Duration, id string, s provider.Snapshot) task.PollResult {
	return task.PollResult{Meta: at(d), ID: id, Snapshot: s}
}

func running(d time.Duration) task.PollResult {
	return observed(d, provider.Snapshot{State: provider.Running, Word: "IN_PROGRESS"})
}

// estimated is what was observed, with an estimate.
func estimated(tr task.PollResult, p events.Pace) task.PollResult {
	tr.Estimate = &events.Estimate{Left: time.Minute, Earliest: 40 * time.Second, Latest: 2 * time.Minute, Pace: p}
	return tr
}

// place tells a task that waits how many go before it, with the time that is left if that is known.
func place(d time.Duration, ours int, left ...time.Duration) task.Positioned {
	tr := task.Positioned{Meta: at(d), Position: events.QueuePosition{Ours: &ours, Total: &ours}}
	for _, l := range left {
		tr.Estimate = &events.Estimate{Left: l, Earliest: l / 2, Latest: 2 * l}
	}
	return tr
}

// phases returns a record in each phase.
func phases(tb testing.TB) map[string]events.Task {
	park := task.Heartbeat{Meta: at(2 * horizon), Horizon: horizon}
	cancel := task.Cancel{Meta: at(4 * time.Second), Reason: "no longer needed"}
	gone := task.Heartbeat{Meta: at(total + time.Second)}
	return map[string]events.Task{
		"waiting":         story(tb, request()),
		"submitting":      story(tb, request(), intent),
		"in_doubt":        story(tb, request(), intent, doubt),
		"parked":          story(tb, request(), intent, doubt, park),
		"provider_queued": story(tb, request(), intent, accepted),
		"running":         story(tb, request(), intent, accepted, running(3*time.Second)),
		"fetching": story(tb, request(), intent, accepted,
			observed(3*time.Second, provider.Snapshot{State: provider.Running, ResultPending: true})),
		"cancelling": story(tb, request(), intent, accepted, running(3*time.Second), cancel),
		"done/completed": story(tb, request(), intent, accepted,
			observed(3*time.Second, provider.Snapshot{State: provider.Succeeded, Outputs: outputs})),
		"done/failed": story(tb, request(), intent,
			task.Refused{Meta: at(2 * time.Second), Owner: "me", Err: fault(events.KindInvalid, "422")}),
		"done/cancelled": story(tb, request(), cancel),
		"done/late": story(tb, request(), intent, accepted, running(3*time.Second), gone,
			task.Heartbeat{Meta: at(total + time.Minute + task.CancelGrace)}),
	}
}

// triggers returns every trigger, in the variants that matter.
func triggers() []struct {
	name string
	tr   task.Trigger
} {
	soon, late := 5*time.Second, total+10*time.Minute
	other := request()
	other.RequestDigest, other.CreatedAt = "other", t0.Add(soon)
	again := request()
	again.RequestDigest = "of another file"
	return []struct {
		name string
		tr   task.Trigger
	}{
		{"accept, same request", task.Accept{Meta: at(soon), Task: request()}},
		{"accept, same message", task.Accept{Meta: at(soon), Task: again}},
		{"accept, other request", task.Accept{Meta: at(soon), Task: other}},
		{"intent", task.Intent{Meta: at(soon), Owner: "you", NotAfter: t0.Add(3 * time.Minute)}},
		{"intent, late", task.Intent{Meta: at(late), Owner: "you", NotAfter: t0.Add(3 * time.Hour)}},
		{"cap reached", task.CapReached{Meta: at(soon), Note: "the budget is used up", Until: t0.Add(time.Hour)}},
		{"position", place(soon, 12)},
		{"position, with an end", place(soon, 12, time.Minute)},
		{"position unknown", place(soon, -1)},
		{"release by owner", task.Release{Meta: at(soon), Owner: "me", Reason: "vetoed"}},
		{"release by other", task.Release{Meta: at(soon), Owner: "you", Reason: "vetoed"}},
		{"accepted", task.Accepted{Meta: at(soon), Attempt: 1, Ref: ref, ID: "r1", Source: "callback"}},
		{"accepted, with an end", task.Accepted{
			Meta: at(soon), Attempt: 1, Ref: ref, ID: "r1", Source: "reply", Estimate: &events.Estimate{Left: time.Minute},
		}},
		{"accepted, other id", task.Accepted{
			Meta: at(soon), Attempt: 1, Ref: json.RawMessage(`{"request_id":"r2"}`),
			ID: "r2", Source: "callback",
		}},
		{"accepted, unknown attempt", task.Accepted{Meta: at(soon), Attempt: 7, Ref: ref, ID: "r1", Source: "callback"}},
		{"refused invalid by owner", task.Refused{Meta: at(soon), Owner: "me", Err: fault(events.KindInvalid, "422")}},
		{
			"refused quota by owner",
			task.Refused{Meta: at(soon), Owner: "me", Err: fault(events.KindQuota, "1008"), Wait: time.Minute},
		},
		{"refused by other", task.Refused{Meta: at(soon), Owner: "you", Err: fault(events.KindInvalid, "422")}},
		{"doubt by owner", task.Doubt{Meta: at(soon), Owner: "me", Err: fault(events.KindAmbiguous, "502")}},
		{"doubt by other", task.Doubt{Meta: at(soon), Owner: "you", Err: fault(events.KindAmbiguous, "502")}},
		{"poll: queued", observed(soon, provider.Snapshot{State: provider.Queued, Word: "IN_QUEUE", Position: ptr(3)})},
		{"poll: running", observed(soon,
			provider.Snapshot{State: provider.Running, Word: "IN_PROGRESS", Progress: ptr(40.0)})},
		{"poll: result pending", observed(soon, provider.Snapshot{State: provider.Running, ResultPending: true})},
		{"poll: queued, normal", estimated(observed(soon, provider.Snapshot{State: provider.Queued}), events.PaceNormal)},
		{"poll: queued, slow", estimated(observed(soon, provider.Snapshot{State: provider.Queued}), events.PaceSlow)},
		{"poll: running, normal", estimated(running(soon), events.PaceNormal)},
		{"poll: running, slow", estimated(running(soon), events.PaceSlow)},
		{"poll: running, stuck", estimated(running(soon), events.PaceStuck)},
		{
			"poll: succeeded, slow",
			estimated(observed(soon, provider.Snapshot{State: provider.Succeeded, Outputs: outputs}), events.PaceSlow),
		},
		{"poll: unknown word", observed(soon, provider.Snapshot{State: provider.Unknown, Word: "PONDERING"})},
		{"poll: succeeded", observed(soon, provider.Snapshot{State: provider.Succeeded, Outputs: outputs})},
		{"poll: failed", observed(soon,
			provider.Snapshot{State: provider.Failed, Err: fault(events.KindModeration, "1027")})},
		{"poll: cancelled", observed(soon, provider.Snapshot{State: provider.Cancelled})},
		{"callback: succeeded", callback(soon, "r1", provider.Snapshot{State: provider.Succeeded, Outputs: outputs})},
		{"callback: failed", callback(soon, "r1",
			provider.Snapshot{State: provider.Failed, Err: fault(events.KindModeration, "1027")})},
		{
			"callback of another id: succeeded",
			callback(soon, "r2", provider.Snapshot{State: provider.Succeeded, Outputs: outputs}),
		},
		{
			"callback of another id: failed",
			callback(soon, "r2", provider.Snapshot{State: provider.Failed, Err: fault(events.KindModeration, "1027")}),
		},
		{"poll failed, 502", task.PollFailed{Meta: at(soon), Err: fault(events.KindRetry, "502")}},
		{"poll failed, not found", task.PollFailed{Meta: at(soon), Err: fault(events.KindNotFound, "404")}},
		{"cancel", task.Cancel{Meta: at(soon), Reason: "changed my mind"}},
		{"cancel answered: requested", task.CancelAnswered{Meta: at(soon), Outcome: provider.CancelRequested}},
		{"cancel answered: too late", task.CancelAnswered{Meta: at(soon), Outcome: provider.CancelTooLate}},
		{"cancel answered: unsupported", task.CancelAnswered{Meta: at(soon), Outcome: provider.CancelUnsupported}},
		{"cancel unanswered", task.CancelAnswered{Meta: at(soon), Err: fault(events.KindRetry, "502")}},
		{"resolve adopt", task.Resolve{Meta: at(soon), Action: events.ResolveAdopt, Ref: ref, ID: "r1"}},
		{"resolve resubmit", task.Resolve{Meta: at(soon), Action: events.ResolveResubmit}},
		{"resolve write off", task.Resolve{Meta: at(soon), Action: events.ResolveWriteOff}},
		{"searched, complete", task.Searched{Meta: at(soon), Attempt: 1, Complete: true, Note: "not in the list"}},
		{"heartbeat, in time", task.Heartbeat{Meta: at(soon), Horizon: horizon}},
		{"heartbeat, past the report", task.Heartbeat{Meta: at(3 * time.Minute), Horizon: horizon}},
		{"heartbeat, past the start deadline", task.Heartbeat{Meta: at(start + time.Second), Horizon: horizon}},
		{"heartbeat, past the deadline", task.Heartbeat{Meta: at(late), Horizon: horizon}},
		{"heartbeat, past the horizon", task.Heartbeat{Meta: at(2 * horizon), Horizon: horizon}},
		{"heartbeat, past the late watch", task.Heartbeat{Meta: at(total + time.Hour + task.LatePolling), Horizon: horizon}},
	}
}

// TestTable pins what every trigger does in every phase. A trigger that the golden file does not list for a phase
// changes nothing there.
func TestTable(t *testing.T) {
	var b strings.Builder
	b.WriteString("# phase | trigger | arrows | phase and status after | events of the step\n")
	all := phases(t)
	for _, phase := range []string{
		"waiting", "submitting", "in_doubt", "parked", "provider_queued", "running", "fetching", "cancelling",
		"done/completed", "done/failed", "done/cancelled", "done/late",
	} {
		before := all[phase]
		if name := string(before.Phase); !strings.HasPrefix(phase, name) {
			t.Fatalf("the record of %s is %s", phase, name)
		}
		for _, row := range triggers() {
			given := before
			c, err := task.Apply(&given, row.tr)
			if err != nil {
				if !errors.Is(err, task.ErrNotApplicable) {
					t.Fatalf("%s in %s: %v", row.name, phase, err)
				}
				continue // resolve, where nothing is in doubt
			}
			var arrows, published []string
			for _, tr := range c.Task.Transitions {
				if c.Written && tr.Version == c.Task.Version {
					arrows = append(arrows, tr.Name)
				}
			}
			for _, e := range c.Events {
				if e.Version == c.Task.Version || e.Type == events.EventRejected {
					published = append(published, string(e.Type))
				}
			}
			if !c.Written && !slices.Contains(published, string(events.EventRejected)) {
				continue
			}
			fmt.Fprintf(&b, "%s | %s | %s | %s %s | %s\n", phase, row.name, strings.Join(arrows, " "), c.Task.Phase,
				c.Task.Status, strings.Join(published, " "))
		}
	}
	golden(t, "table.golden", b.String())
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; run go test ./internal/task -update and read the difference", path)
		for i, line := range strings.Split(got, "\n") {
			if wants := strings.Split(string(want), "\n"); i >= len(wants) || wants[i] != line {
				t.Errorf("line %d: %s", i+1, line)
			}
		}
	}
}
