package status

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"reelay/events"
)

// TestDependents: a task that waits for others says for which of them, and has no place in line.
func TestDependents(t *testing.T) {
	inLab(t, Options{}, func(t *testing.T, l *lab) {
		one := waiting("demo", "one", 0)
		one.After, one.WaitsFor = []string{"first", "nobody"}, []string{"first", "nobody"}
		l.put(waiting("demo", "first", 1), one, waiting("demo", "other", 2))
		got := into[events.TaskReply](t, l.ask(nil, events.VerbGet, "demo", "one")).Task
		for _, task := range append(into[events.ListReply](t, l.ask(nil, events.VerbList, "demo")).Tasks, got) {
			switch b := task.Blocked; {
			case task.ID == "other" && *task.QueuePosition.Ours != 1:
				t.Errorf("other is at %d, want behind first alone", *task.QueuePosition.Ours)
			case task.ID == "one" && (b == nil || b.Reason != events.BlockedDependency ||
				b.Message != "waits for first (waiting), nobody (not asked for yet)" ||
				!slices.Equal(task.WaitsFor, one.After) || task.QueuePosition != nil):
				t.Errorf("blocked by %+v, waits for %v, at %+v", b, task.WaitsFor, task.QueuePosition)
			}
		}
	})
}

// TestEstimateOfDependents: a task that waits for others ends after the last of them, through chains, as long as such a
// task takes; of one that waits for what nobody knows the end of nothing is estimated.
func TestEstimateOfDependents(t *testing.T) {
	inLabAt(t, time.Now().Round(0), Options{}, func(t *testing.T, l *lab) {
		l.teach(40, 10*time.Minute)
		var blocked atomic.Pointer[events.Blocked]
		_, err := l.client.Subscribe(events.LanePositionsSubject("*"), func(m *nats.Msg) {
			reply := events.PositionsReply{Positions: map[string]events.Position{"demo.next": {}}}
			if b := blocked.Load(); b != nil {
				reply = events.PositionsReply{Blocked: []events.Blocked{*b}}
			}
			data, err := events.Marshal(reply)
			must(t, err)
			must(t, m.Respond(data))
		})
		must(t, err)
		after := func(id string, ids ...string) events.Task {
			task := waiting("demo", id, 0)
			task.WaitsFor = ids
			return task
		}
		running := func(id string, since time.Duration) events.Task {
			task, at := in(waiting("demo", id, 0), events.PhaseRunning, events.StatusInProgress), time.Now().Add(-since)
			task.SubmittedAt = &at
			return task
		}
		ended := in(waiting("demo", "ended", 0), events.PhaseDone, events.StatusCompleted)
		late := after("late", "ended")
		late.NotBefore = new(time.Now().Add(time.Hour))
		rows := []struct {
			task        events.Task
			least, most float64 // seconds to the end, without anything that blocks the lane; 0 for no estimate
		}{
			{ended, 0, 0},
			{running("begun", time.Second), 560, 640},
			{running("half", 5*time.Minute), 240, 340},
			{waiting("demo", "next", 0), 560, 640},
			{in(waiting("demo", "doubt", 0), events.PhaseInDoubt, events.StatusQueued), 0, 0},
			{after("stored", "ended"), 560, 640},
			{after("one", "half", "ended"), 840, 950},
			{after("both", "half", "begun"), 1150, 1300},
			{after("line", "next"), 1150, 1300},
			{after("third", "both", "one"), 1750, 1950},
			{after("lost", "half", "nobody"), 0, 0},
			{after("unknown", "doubt"), 0, 0},
			{after("deep", "unknown"), 0, 0},
			{late, 4150, 4250},
			{after("ring", "gnir"), 0, 0},
			{after("gnir", "ring"), 0, 0},
		}
		for _, row := range rows {
			l.write(row.task)
			l.until("it is seen", func() bool { return l.s.index.get(row.task.Key()) != nil })
		}
		check := func(from string, got events.Task, least, most float64) {
			wait := got.EstimatedWaitS
			if (wait == nil) != (most == 0) || (got.ETA == nil) != (wait == nil) || wait != nil && (*wait < least || *wait > most) {
				t.Errorf("%s by %s: %v s, want %.0f to %.0f", got.ID, from, wait, least, most)
			}
			if wait != nil && !got.ETAEarliest.Before(*got.ETALatest) {
				t.Errorf("%s by %s: between %v and %v", got.ID, from, got.ETAEarliest, got.ETALatest)
			}
		}
		listed := map[string]events.Task{}
		for _, task := range into[events.ListReply](t, l.ask(nil, events.VerbList, "demo")).Tasks {
			listed[task.ID] = task
		}
		for _, row := range rows {
			check("get", into[events.TaskReply](t, l.ask(nil, events.VerbGet, "demo", row.task.ID)).Task, row.least, row.most)
			check("list", listed[row.task.ID], row.least, row.most)
		}
		blocked.Store(&events.Blocked{Reason: events.BlockedPaused})
		for _, id := range []string{"one", "line", "third"} {
			check("get in a pause", into[events.TaskReply](t, l.ask(nil, events.VerbGet, "demo", id)).Task, 0, 0)
		}
	})
}

// TestLongChain: of a task that waits for more than a bounded number of others nothing is estimated.
func TestLongChain(t *testing.T) {
	inLabAt(t, time.Now().Round(0), Options{}, func(t *testing.T, l *lab) {
		const maxChain = 200
		_, err := l.client.Subscribe(events.LanePositionsSubject("*"), func(m *nats.Msg) { must(t, m.Respond([]byte(`{}`))) })
		must(t, err)
		at := time.Now()
		first := in(waiting("demo", "t0", 0), events.PhaseRunning, events.StatusInProgress)
		first.SubmittedAt = &at
		l.write(first)
		for i := range maxChain + 1 {
			task := waiting("demo", fmt.Sprintf("t%d", i+1), 0)
			task.WaitsFor = []string{fmt.Sprintf("t%d", i)}
			l.write(task)
			l.until("it is seen", func() bool { return l.s.index.get(task.Key()) != nil })
		}
		for i, known := range map[int]bool{maxChain: true, maxChain + 1: false} {
			got := into[events.TaskReply](t, l.ask(nil, events.VerbGet, "demo", fmt.Sprintf("t%d", i))).Task
			if (got.ETA != nil) != known {
				t.Errorf("the end of t%d: %v, want one: %t", i, got.ETA, known)
			}
		}
	})
}
