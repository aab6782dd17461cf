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

// TestGroupForgotten: that the list of one account does not show what a restored record may have forgotten does not prove
// that it was never sent: another lane of the group may have sent it.
func TestGroupForgotten(t *testing.T) {
	long := t0.Add(-time.Hour)
	i := intentAt(time.Minute, "a")
	i.SentAfter, i.BodySHA256 = &long, ""
	now := story(t, request(func(t *events.Task) { t.Group = "all" }), i,
		task.Doubt{Meta: at(time.Minute), Owner: "a", Err: fault(events.KindAmbiguous, "restored")})
	for n := range 4 {
		now = after(t, now, task.Searched{Meta: at(time.Duration(n+2) * time.Minute), Attempt: 1, Complete: true, Listings: 3})
	}
	if now.Phase != events.PhaseInDoubt || now.Attempt().Charge != events.ChargePossible {
		t.Errorf("after the lists of one lane it is %s: %+v", now.Phase, now.Attempt())
	}
}

// TestGroupForgottenAccepted: an acceptance that its owner brings for an attempt of that number names the lane that knows it.
func TestGroupForgottenAccepted(t *testing.T) {
	i := intentAt(time.Second, "you")
	i.Lane = "fal-team2"
	now := story(t, request(func(t *events.Task) { t.Group = "all" }), i, task.Accepted{
		Meta: at(2 * time.Second), Attempt: 1, Owner: "me", Lane: "fal", Ref: accepted.Ref, ID: "r1", Source: events.SourceReply,
	})
	if now.Lane != "fal" || now.ProviderID != "r1" {
		t.Errorf("it is asked for as %s on lane %s", now.ProviderID, now.Lane)
	}
}
