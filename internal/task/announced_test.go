package task_test

import (
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/task"
)

// TestPlaced: a waiting task is told its place when a person would notice that it has moved.
func TestPlaced(t *testing.T) {
	now := story(t, request())
	for _, row := range []struct {
		name    string
		tr      task.Positioned
		note    string // of the step; empty if there is none
		ours    int    // as the record has it
		left    time.Duration
		unknown bool // the end is
	}{
		{"nowhere", place(1*time.Second, -1, 6*time.Minute), "", -1, 0, true},
		{"first", place(2*time.Second, 40), "40 tasks go before it", 40, 0, true},
		{"the end is known now", place(3*time.Second, 40, 6*time.Minute), "", 40, 0, true},
		{"a little further", place(4*time.Second, 21, 6*time.Minute), "", 40, 0, true},
		{"half", place(5*time.Second, 20, 6*time.Minute), "20 tasks go before it, about 6m left", 20, 6 * time.Minute, false},
		{"twice as many", place(6*time.Second, 40, 6*time.Minute), "", 20, 6 * time.Minute, false},
		{"the end, a bit later", place(7*time.Second, 20, 8*time.Minute), "", 20, 6 * time.Minute, false},
		{
			"the end, far later", place(8*time.Second, 20, 10*time.Minute), "20 tasks go before it, about 10m left", 20,
			10 * time.Minute, false,
		},
		{
			"the end, half of that later", place(9*time.Second, 20, 14*time.Minute+50*time.Second), "", 20, 10 * time.Minute,
			false,
		},
		{"the end, as estimated", place(4*time.Minute, 19, 6*time.Minute+8*time.Second), "", 20, 10 * time.Minute, false},
		{
			"the end, far sooner", place(4*time.Minute+time.Second, 19, 10*time.Second), "19 tasks go before it, about 10s left",
			19, 10 * time.Second, false,
		},
		{
			"the end, sooner than that was", place(4*time.Minute+2*time.Second, 19, 2*time.Minute), "", 19, 10 * time.Second,
			false,
		},
		{"let in before", place(4*time.Minute+3*time.Second, 39), "39 tasks go before it", 39, 0, true},
		{
			"more of them", place(4*time.Minute+4*time.Second, 79, 90*time.Minute), "79 tasks go before it, about 1h30m left",
			79, 90 * time.Minute, false,
		},
		{"the end is unknown now", place(4*time.Minute+5*time.Second, 79), "", 79, 90 * time.Minute, false},
		{"and it is near", place(4*time.Minute+5*time.Second, 1), "1 task goes before it", 1, 0, true},
		{
			"next", place(4*time.Minute+6*time.Second, 0, time.Hour), "no task goes before it, about 1h left", 0, time.Hour,
			false,
		},
		{"still next", place(4*time.Minute+7*time.Second, 0, time.Hour), "", 0, time.Hour, false},
		{
			"another", place(4*time.Minute+8*time.Second, 1, 125*time.Minute), "1 task goes before it, about 2h5m left", 1,
			125 * time.Minute, false,
		},
		{"hours later", place(3*time.Hour, 0, time.Minute), "no task goes before it, about 60s left", 0, time.Minute, false},
		{"no end, after hours", place(4*time.Hour, 0, time.Minute), "", 0, time.Minute, false},
		{
			"no end, after hours more", place(7*time.Hour, 0, time.Minute), "no task goes before it, about 60s left", 0,
			time.Minute, false,
		},
	} {
		c, err := task.Apply(&now, row.tr)
		if err != nil {
			t.Fatal(err)
		}
		if c.Written != (row.note != "") {
			t.Fatalf("%s: written %t", row.name, c.Written)
		}
		if c.Written {
			last := c.Task.Transitions[len(c.Task.Transitions)-1]
			e := c.Events[len(c.Events)-1]
			if last.Note != row.note || e.Type != events.EventProgress || e.Message != row.note || e.Version != c.Task.Version ||
				e.QueuePosition == nil {
				t.Errorf("%s: told %s %q; want %q", row.name, e.Type, e.Message, row.note)
			}
			if len(c.Task.Transitions) != 2 {
				t.Errorf("%s: %d steps are kept", row.name, len(c.Task.Transitions))
			}
		}
		if p := c.Task.QueuePosition; row.ours >= 0 &&
			(p == nil || *p.Ours != row.ours || *p.Total != row.ours || p.Provider != nil) || row.ours < 0 && p != nil {
			t.Errorf("%s: place %+v, want %d", row.name, p, row.ours)
		}
		known := c.Task.ETA != nil && c.Task.EstimatedWaitS != nil && c.Task.ETAEarliest != nil && c.Task.ETALatest != nil
		if known == row.unknown || known && *c.Task.EstimatedWaitS != row.left.Seconds() {
			t.Errorf("%s: its end is known: %t, in %v", row.name, known, c.Task.EstimatedWaitS)
		}
		now = c.Task
	}
}

// TestPlacedIsForgotten: what a task was told while it waited is not told of it any more once that has changed.
func TestPlacedIsForgotten(t *testing.T) {
	told := []task.Trigger{place(time.Second, 12, 10*time.Minute)}
	capped := task.CapReached{Meta: at(2 * time.Second), Note: "no money", Until: t0.Add(time.Minute)}
	began := intentAt(2*time.Second, "me")
	estimated := task.Accepted{
		Meta: at(3 * time.Second), Attempt: 1, Ref: ref, ID: "r1", Source: "reply",
		Estimate: &events.Estimate{
			Left: 4 * time.Minute, Earliest: time.Minute, Latest: 9 * time.Minute,
			Pace: events.PaceNormal,
		},
	}
	unheard := estimated
	unheard.Estimate = nil
	cancel := task.Cancel{Meta: at(2500 * time.Millisecond)}
	for _, row := range []struct {
		name         string
		then         []task.Trigger
		phase        events.Phase
		placed, left bool
	}{
		{"told", nil, events.PhaseWaiting, true, true},
		{"cap reached", []task.Trigger{capped}, events.PhaseWaiting, true, false},
		{
			"cap reached, and a position",
			[]task.Trigger{capped, place(3*time.Second, 2, time.Minute)},
			events.PhaseWaiting,
			true, false,
		},
		{
			"cap reached, and a position in time",
			[]task.Trigger{capped, place(time.Minute, 2, time.Minute)},
			events.PhaseWaiting, true, true,
		},
		{
			"cap reached again",
			[]task.Trigger{capped, place(time.Minute, 2, time.Minute), capped},
			events.PhaseWaiting, true,
			false,
		},
		{"being sent", []task.Trigger{began}, events.PhaseSubmitting, false, false},
		{
			"not sent",
			[]task.Trigger{began, task.Release{Meta: at(3 * time.Second), Owner: "me"}},
			events.PhaseWaiting, false,
			false,
		},
		{"refused", []task.Trigger{
			began, task.Refused{Meta: at(3 * time.Second), Owner: "me", Err: fault(events.KindQuota, "1008")},
		}, events.PhaseWaiting, false, false},
		{"in doubt", []task.Trigger{began, doubt}, events.PhaseInDoubt, false, false},
		{"accepted", []task.Trigger{began, estimated}, events.PhaseProviderQueued, false, true},
		{"accepted, nothing known", []task.Trigger{began, unheard}, events.PhaseProviderQueued, false, false},
		{"accepted and cancelled", []task.Trigger{began, cancel, estimated}, events.PhaseCancelling, false, false},
		{"cancelled", []task.Trigger{cancel}, events.PhaseDone, false, false},
		{"too late", []task.Trigger{due(total + time.Second)}, events.PhaseDone, false, false},
	} {
		got := story(t, request(), append(told, row.then...)...)
		placed := got.QueuePosition != nil
		left := got.ETA != nil || got.EstimatedWaitS != nil || got.ETAEarliest != nil || got.ETALatest != nil
		if got.Phase != row.phase || placed != row.placed || left != row.left {
			t.Errorf("%s: %s, positioned %t, estimated %t; want %s, %t, %t", row.name, got.Phase, placed, left, row.phase,
				row.placed, row.left)
		}
	}
	// Evidence of an earlier attempt reaches a task that waits again.
	got := story(t, request(), began, task.Release{Meta: at(3 * time.Second), Owner: "me"},
		place(4*time.Second, 12, time.Minute), unheard)
	if got.Phase != events.PhaseProviderQueued || got.QueuePosition != nil || got.ETA != nil {
		t.Errorf("accepted while it waits: %s, place %v, end %v", got.Phase, got.QueuePosition, got.ETA)
	}
}

// TestSubmittedHasEstimate: the event of a submit has the end as it is expected then.
func TestSubmittedHasEstimate(t *testing.T) {
	tr := accepted
	tr.Estimate = &events.Estimate{Left: 4 * time.Minute, Earliest: time.Minute, Latest: 9 * time.Minute}
	c := apply(t, story(t, request(), intent), tr)
	e := c.Events[len(c.Events)-1]
	if e.Type != events.EventSubmitted || e.ETA == nil || !e.ETA.Equal(tr.At.Add(4*time.Minute)) ||
		*e.EstimatedWaitS != 240 {
		t.Errorf("%s, %+v", e.Type, e.ETA)
	}
	want := events.Forecast{
		Earliest: tr.At.Add(time.Minute), ETA: tr.At.Add(4 * time.Minute), Latest: tr.At.Add(9 * time.Minute),
	}
	if f := c.Task.Forecast; f == nil || !f.Earliest.Equal(want.Earliest) || !f.ETA.Equal(want.ETA) ||
		!f.Latest.Equal(want.Latest) {
		t.Errorf("the record has the forecast %+v, want %+v", f, want)
	}
}

// TestPlacesGoFirst: where a record runs out of room for its steps, the places that were told go before anything that
// was decided.
func TestPlacesGoFirst(t *testing.T) {
	now := story(t, request())
	count := func() (placed, decided int) {
		for _, tr := range now.Transitions {
			if tr.Name == "positioned" {
				placed++
			} else {
				decided++
			}
		}
		return placed, decided
	}
	for n := range events.MaxTransitions - 1 {
		d := time.Duration(n) * time.Minute
		now = after(t, now, place(d, 1+n%2*9),
			task.CapReached{
				Meta: at(d + time.Second), Cap: events.CapReached{DailyUSD: float64(n)},
				Until: t0.Add(d + 2*time.Second),
			})
		if placed, decided := count(); decided != n+2 || placed > events.MaxTransitions-decided {
			t.Fatalf("after %d steps and as many places %d steps and %d places are kept", n+1, decided, placed)
		}
	}
	if placed, decided := count(); placed != 0 || decided != events.MaxTransitions {
		t.Errorf("%d steps and %d places are kept", decided, placed)
	}
	c := apply(t, now, place(24*time.Hour, 0))
	if e := c.Events[len(c.Events)-1]; e.Type != events.EventProgress || e.Version != c.Task.Version {
		t.Errorf("a place told where there is no room comes as %s of version %d", e.Type, e.Version)
	}
}
