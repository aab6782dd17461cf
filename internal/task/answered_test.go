package task_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/provider"
	"reelay/internal/task"
)

// answered says that an attempt was answered with its result.
func answered(d time.Duration, attempt int, owner string, snap provider.Snapshot) task.Accepted {
	id := "trace-" + owner
	ref, _ := json.Marshal(id)
	return task.Accepted{
		Meta: at(d), Attempt: attempt, Owner: owner, Ref: ref, ID: id, Source: events.SourceReply, Result: &snap,
	}
}

func song() provider.Snapshot {
	return provider.Snapshot{
		State: provider.Succeeded, Outputs: []events.Output{{URL: "https://x.test/song.mp3"}},
		Values: map[string]string{events.ValueVoiceID: "v1"}, Units: new(2.0), Unit: "song",
	}
}

func moderated(c events.Charge) provider.Snapshot {
	return provider.Snapshot{State: provider.Failed, Err: &provider.Error{
		Kind: events.KindModeration, Code: "1027", Message: "the output was refused", Charge: c,
	}}
}

// perSong prices a task by what the provider counts.
func perSong(t *events.Task) {
	t.StartDeadline = nil
	t.Cost = &events.Cost{EstimatedUSD: new(0.15), FixedUSD: new(0.0), UnitUSD: new(0.1)}
}

// An answer that is the result ends the task in one step, whatever was asked for meanwhile.
func TestAnsweredWithTheResult(t *testing.T) {
	for name, row := range map[string]struct {
		before []task.Trigger
		snap   provider.Snapshot
		status events.Status
		events []events.EventType
		actual string
	}{
		"made": {nil, song(), events.StatusCompleted, []events.EventType{"queued", "submitted", "completed"}, "0.2"},
		"cancelled meanwhile": {
			[]task.Trigger{task.Cancel{Meta: at(time.Second)}},
			song(), events.StatusCompleted,
			[]events.EventType{"queued", "submitted", "completed"},
			"0.2",
		},
		"late": {
			[]task.Trigger{due(3 * time.Minute)},
			song(), events.StatusCompleted,
			[]events.EventType{"queued", "in_doubt", "submitted", "completed"},
			"0.2",
		},
		"failed for free": {
			nil, moderated(events.ChargeNone), events.StatusFailed, []events.EventType{"queued", "submitted", "failed"}, "0",
		},
		"failed, perhaps charged": {
			nil, moderated(""), events.StatusFailed, []events.EventType{"queued", "submitted", "failed"}, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := after(t, story(t, request(perSong), intentAt(0, "o1")), row.before...)
			c := apply(t, before, answered(4*time.Minute, 1, "o1", row.snap))
			wantPhase(t, c.Task, events.PhaseDone, row.status)
			var once []events.EventType
			for _, e := range c.Events {
				if e.Once {
					once = append(once, e.Type)
				}
			}
			if !slices.Equal(once, row.events) || c.Effects.PollTicket || !c.Task.Unannounced {
				t.Errorf("events %v, want %v; effects %+v, unannounced %v", once, row.events, c.Effects, c.Task.Unannounced)
			}
			if got := amount(c.Task.Cost.ActualUSD); got != row.actual && !(row.actual == "" && c.Task.Cost.ActualUSD == nil) {
				t.Errorf("it cost %s, want %s", got, row.actual)
			}
			if a := c.Task.Attempts[0]; a.Result != nil || a.Outcome != events.AttemptAccepted {
				t.Errorf("attempt %+v", a)
			}
			if row.status == events.StatusCompleted &&
				(len(c.Task.Result.Outputs) != 1 || c.Task.Result.Values[events.ValueVoiceID] != "v1") {
				t.Errorf("result %+v", c.Task.Result)
			}
			if again := apply(t, c.Task, answered(5*time.Minute, 1, "o1", row.snap)); again.Written {
				t.Errorf("the same answer again has written %+v", again.Task.Transitions)
			}
		})
	}
}

// An answer that comes after the policy has given the task up is kept, or tells that it was free.
func TestAnsweredLate(t *testing.T) {
	given := story(t, request(perSong, withPolicy(events.InDoubtFail, 1)), intentAt(0, "o1"), due(3*time.Minute), due(2*time.Hour))
	wantPhase(t, given, events.PhaseDone, events.StatusFailed)
	c := apply(t, given, answered(3*time.Hour, 1, "o1", song()))
	if r := c.Task.Result; r == nil || !r.Late || len(r.Outputs) != 1 || c.Task.LateUntil != nil ||
		c.Task.Error.Charge != events.ChargeConfirmed || !slices.Contains(types(c.Events), events.EventLateResult) {
		t.Errorf("result %+v, error %+v, events %v", r, c.Task.Error, types(c.Events))
	}
	c = apply(t, given, answered(3*time.Hour, 1, "o1", moderated(events.ChargeNone)))
	if c.Task.Result != nil || c.Task.LateUntil != nil || *c.Task.Cost.ActualUSD != 0 {
		t.Errorf("result %+v, cost %+v", c.Task.Result, c.Task.Cost)
	}
}

// An earlier attempt that was answered while a later one is out keeps its result until the later one has come to
// nothing, and for good if that has a result as well: both were paid for.
func TestAnsweredTwice(t *testing.T) {
	out := story(t, request(perSong, withPolicy(events.InDoubtResubmit, 2)),
		intentAt(0, "o1"), due(3*time.Minute), due(2*time.Hour), intentAt(2*time.Hour, "o2"),
		answered(2*time.Hour+time.Second, 1, "o1", song()))
	wantPhase(t, out, events.PhaseSubmitting, events.StatusQueued)
	if out.Attempts[0].Result == nil {
		t.Fatalf("the first attempt has lost its result: %+v", out.Attempts[0])
	}
	refused := task.Refused{Meta: at(3 * time.Hour), Owner: "o2", Err: fault(events.KindInvalid, "2013")}
	end := after(t, out, refused)
	wantPhase(t, end, events.PhaseDone, events.StatusCompleted)
	if end.Result == nil || len(end.Result.Outputs) != 1 || end.ProviderID != "trace-o1" {
		t.Errorf("result %+v of %s", end.Result, end.ProviderID)
	}
	both := after(t, out, answered(3*time.Hour, 2, "o2", song()))
	wantPhase(t, both, events.PhaseDone, events.StatusCompleted)
	if both.ProviderID != "trace-o2" || both.Attempts[0].Result == nil || both.Attempts[0].Charge != events.ChargeConfirmed {
		t.Errorf("ended by %s, attempts %+v", both.ProviderID, both.Attempts)
	}
}
