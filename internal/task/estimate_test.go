package task_test

import (
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/provider"
	"reelay/internal/task"
)

// TestEstimate: an estimate is stored with what is stored anyway; alone it is not, save that a task has become slower
// than others.
func TestEstimate(t *testing.T) {
	running := provider.Snapshot{State: provider.Running, Progress: ptr(40.0)}
	further := provider.Snapshot{State: provider.Running, Progress: ptr(50.0)}
	most := provider.Snapshot{State: provider.Running, Progress: new(60.0)}
	now := story(t, request(), intent, accepted)
	for i, row := range []struct {
		name    string
		snap    provider.Snapshot
		told    events.Pace // by the estimate; empty for none
		written bool
		note    string
		pace    events.Pace
		left    float64
	}{
		{"it runs", running, events.PaceNormal, true, "40 %", events.PaceNormal, 60},
		{"nothing new but time", running, events.PaceNormal, false, "", events.PaceNormal, 60},
		{"slow", running, events.PaceSlow, true, "40 %, slower than most others", events.PaceSlow, 60},
		{"still slow", running, events.PaceSlow, false, "", events.PaceSlow, 60},
		{"about normal again", running, events.PaceNormal, false, "", events.PaceSlow, 60},
		{"a percent more", further, events.PaceNormal, true, "50 %", events.PaceSlow, 60},
		{"slow again", further, events.PaceSlow, false, "", events.PaceSlow, 60},
		{
			"others too", further, events.PaceCongested, true, "50 %, slower than usual, as others of late",
			events.PaceCongested, 60,
		},
		{"others no more", further, events.PaceSlow, false, "", events.PaceCongested, 60},
		{"stuck", further, events.PaceStuck, true, "50 %, far slower than others, which end", events.PaceStuck, 60},
		{"nothing estimated, and a percent more", most, "", true, "60 %", events.PaceStuck, 6.7},
		{
			"the end",
			provider.Snapshot{State: provider.Succeeded, Outputs: outputs},
			events.PaceStuck, true,
			"the provider has finished", "", -1,
		},
	} {
		tr := observed(time.Duration(10+i)*time.Second, row.snap)
		if row.told != "" {
			tr = estimated(tr, row.told)
		}
		c, err := task.Apply(&now, tr)
		if err != nil {
			t.Fatal(err)
		}
		last := c.Task.Transitions[len(c.Task.Transitions)-1]
		if c.Written != row.written || c.Task.Pace != row.pace || row.written && last.Note != row.note {
			t.Errorf("%s: written %t, %q, pace %q; want %t, %q, %q", row.name, c.Written, last.Note, c.Task.Pace, row.written,
				row.note, row.pace)
		}
		switch ranged := c.Task.ETAEarliest != nil && c.Task.ETALatest != nil; {
		case row.left < 0:
			if c.Task.ETA != nil || c.Task.EstimatedWaitS != nil || ranged {
				t.Errorf("%s: it ended, and ends at %v", row.name, c.Task.ETA)
			}
		case c.Task.ETA == nil || c.Task.EstimatedWaitS == nil || *c.Task.EstimatedWaitS != row.left ||
			ranged != (row.told != ""):
			t.Errorf("%s: %v s left, range %t; want %v", row.name, *c.Task.EstimatedWaitS, ranged, row.left)
		}
		now = c.Task
	}
}
