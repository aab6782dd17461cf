package task_test

import (
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/task"
)

// TestGroup: another lane of its group may send a task while nothing was sent that can have had an effect, and no other
// task ever changes its lane; what turns out to be accepted brings back the lane that has sent it.
func TestGroup(t *testing.T) {
	grouped := request(func(t *events.Task) { t.Group = "all" })
	by := func(d time.Duration, owner, lane string) task.Intent {
		return task.Intent{
			Meta: at(d), Owner: owner, Lane: lane, Note: "it has room", BodySHA256: "sha", NotAfter: t0.Add(d + 2*time.Minute),
		}
	}
	taken := story(t, grouped, by(time.Second, "me", "fal-team2"))
	if a := taken.Attempt(); taken.Lane != "fal-team2" || a == nil || a.Lane != "fal-team2" ||
		taken.Transitions[1].Note != "it has room" {
		t.Errorf("taken by another lane: lane %s, %+v", taken.Lane, a)
	}
	if got := story(t, request(), by(time.Second, "me", "fal-team2")); got.Phase != events.PhaseWaiting || got.Lane != "fal" {
		t.Errorf("without a group: %s on %s", got.Phase, got.Lane)
	}
	release := task.Release{Meta: at(2 * time.Second), Owner: "me", Reason: "refused connection"}
	back := story(t, grouped, by(time.Second, "me", "fal-team2"), release, by(3*time.Second, "you", "fal"))
	if back.Lane != "fal" || back.Attempt().Lane != "fal" || back.Attempts[0].Lane != "fal-team2" {
		t.Errorf("after a release: lane %s, %+v", back.Lane, back.Attempts)
	}
	late := story(t, grouped, by(time.Second, "me", "fal-team2"), release, by(3*time.Second, "you", "fal"),
		task.Refused{Meta: at(4 * time.Second), Owner: "you", Err: fault(events.KindRetry, "busy")}, accepted)
	if late.Lane != "fal-team2" || late.ProviderID != "r1" {
		t.Errorf("accepted after all: lane %s, id %s", late.Lane, late.ProviderID)
	}
	again := request(func(t *events.Task) {
		t.Group, t.OnInDoubt, t.MaxPaidAttempts = "all", events.InDoubtResubmit, 2
	})
	lost := story(t, again, by(time.Second, "me", "fal"), doubt, task.Heartbeat{Meta: at(2 * time.Hour), Horizon: horizon})
	if lost.Phase != events.PhaseWaiting || task.MayMove(lost) {
		t.Errorf("a task in doubt is %s again, and may move: %v", lost.Phase, task.MayMove(lost))
	}
	c, err := task.Apply(&lost, by(2*time.Hour+time.Second, "you", "fal-team2"))
	if err != nil || c.Written {
		t.Errorf("one that may have been sent is sent by another lane: %+v, %v", c.Task.Attempts, err)
	}
}
