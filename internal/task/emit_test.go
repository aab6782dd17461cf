package task_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/provider"
	"reelay/internal/task"
)

// TestEventsCarryWhatChanged: every event names its task, its step and where the task then is; the record comes with
// those that end it and a late result, and with no other.
func TestEventsCarryWhatChanged(t *testing.T) {
	for phase, before := range phases(t) {
		before.Input = json.RawMessage(`{"prompt":"a heron"}`)
		for _, row := range triggers() {
			c, err := task.Apply(&before, row.tr)
			if err != nil {
				continue // TestTable says which
			}
			for _, e := range c.Events {
				if e.Type == events.EventRejected {
					continue
				}
				what := phase + ", " + row.name + ": " + string(e.Type)
				step := e.Transition
				if step == nil || step.Event != e.Type || step.To != e.Phase || step.Version != e.Version || step.Note != "" {
					t.Fatalf("%s: the step %+v", what, step)
				}
				if e.TaskID != before.ID || e.Model != before.Model || e.Lane != before.Lane || e.Provider != before.Provider ||
					e.TaskType != before.TaskType {
					t.Errorf("%s does not say of what: %+v", what, e)
				}
				if e.Type.Terminal() != e.Status.Terminal() && e.Type != events.EventLateResult ||
					e.Type.Terminal() && string(e.Type) != string(e.Status) {
					t.Errorf("%s: status %s", what, e.Status)
				}
				raw, err := events.Marshal(e)
				if err != nil {
					t.Fatal(err)
				}
				if whole := bytes.Contains(raw, []byte(`"prompt"`)); whole != e.Type.WithTask() || whole != (e.Task != nil) {
					t.Errorf("%s: with its input: %t", what, whole)
				}
			}
		}
	}
}

// TestRepairedEvents: an event that is published after a later step tells its own step, and nothing of the moment.
func TestRepairedEvents(t *testing.T) {
	now := story(t, request(), intent, accepted, estimated(running(3*time.Second), events.PaceNormal),
		observed(4*time.Second, provider.Snapshot{State: provider.Running, Progress: ptr(40.0)}))
	c, err := task.Apply(&now, accepted)
	if err != nil || c.Written || len(c.Events) != 2 {
		t.Fatalf("%v, written %t, %d events", err, c.Written, len(c.Events))
	}
	for i, want := range []struct {
		of    events.EventType
		phase events.Phase
	}{{events.EventQueued, events.PhaseWaiting}, {events.EventSubmitted, events.PhaseProviderQueued}} {
		e := c.Events[i]
		if e.Type != want.of || e.Phase != want.phase || e.Status != events.StatusQueued || e.Version == now.Version {
			t.Errorf("%s, %s %s, version %d", e.Type, e.Phase, e.Status, e.Version)
		}
		if e.ProgressPercentage != nil || e.ETA != nil || e.QueuePosition != nil || e.Pace != "" {
			t.Errorf("%s tells of a later moment: %+v", e.Type, e)
		}
	}
}

// TestEventErrors: why an attempt is in doubt or was refused is in the event, and in none of a later attempt.
func TestEventErrors(t *testing.T) {
	refused := task.Refused{
		Meta: at(2 * time.Second), Owner: "me", Err: fault(events.KindQuota, "1008"),
		Wait: time.Minute,
	}
	for name, row := range map[string]struct {
		before []task.Trigger
		tr     task.Trigger
		code   string
	}{
		"in doubt": {[]task.Trigger{intent}, doubt, "timeout"},
		"refused":  {[]task.Trigger{intent}, refused, "1008"},
		"held back": {
			[]task.Trigger{intent, refused},
			task.CapReached{Meta: at(2 * time.Minute), Until: t0.Add(time.Hour)},
			"",
		},
		"failed": {
			[]task.Trigger{intent, accepted},
			observed(3*time.Second, provider.Snapshot{State: provider.Failed, Err: fault(events.KindModeration, "1027")}),
			"1027",
		},
		"running well": {[]task.Trigger{intent, accepted}, running(3 * time.Second), ""},
	} {
		now := story(t, request(), row.before...)
		c, err := task.Apply(&now, row.tr)
		if err != nil || !c.Written {
			t.Fatalf("%s: %v, written %t", name, err, c.Written)
		}
		code := ""
		if e := c.Events[len(c.Events)-1]; e.Error != nil {
			code = e.Error.Code
		}
		if code != row.code {
			t.Errorf("%s: error %q, want %q", name, code, row.code)
		}
	}
}
