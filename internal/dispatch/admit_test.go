package dispatch

import (
	"testing"
	"time"

	"reelay/events"
)

// TestCapLifted: a cap is reported until the task is tried again, and further until there was money for another of its
// project.
func TestCapLifted(t *testing.T) {
	minutes := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Minute) }
	rows := []struct {
		name string
		sent int // when another was, in minutes after noon; 0 for never
		of   string
		now  time.Time
		own  bool
		lane bool
	}{
		{"not before a time", 0, "p", minutes(1), true, true},
		{"it is tried again", 0, "p", minutes(3), true, true},
		{"another was sent before", -1, "p", minutes(3), true, true},
		{"another was sent since", 3, "p", minutes(4), false, false},
		{"another was sent since, while it may not be sent", 1, "p", minutes(1), true, false},
		{"one of another project was sent", 3, "q", minutes(4), true, true},
		{"the day is over", 0, "p", minutes(12 * 60), false, false},
	}
	for _, row := range rows {
		l := emptyLane()
		until := minutes(2)
		held := &events.Task{
			ID: "held", Project: "p", Version: 2, Phase: events.PhaseWaiting, CreatedAt: noon, NotBefore: &until,
			Transitions: []events.Transition{
				{
					Name: "cap_reached", Reason: events.BlockedCap, From: events.PhaseWaiting, At: noon,
					Note: "the budget is used up",
				},
			},
		}
		l.See(held.Key(), held, 0, row.now)
		if row.sent != 0 {
			at := minutes(row.sent)
			other := &events.Task{
				ID: "other", Project: row.of, Version: 3, Phase: events.PhaseRunning, CreatedAt: noon,
				Attempts: []events.Attempt{{N: 1, Outcome: events.AttemptAccepted, NotAfter: at.Add(time.Hour), OutcomeAt: &at}},
			}
			l.See(other.Key(), other, 0, row.now)
		}
		p, ok := l.Estimator(row.now, Outside{}).Position(held.Key())
		if own := p.Blocked != nil && p.Blocked.Reason == events.BlockedCap; !ok || own != row.own {
			t.Errorf("%s: %+v, blocked by %+v", row.name, p, p.Blocked)
		}
		if all := l.Blocked(row.now, Outside{}); (len(all) == 1) != row.lane {
			t.Errorf("%s: the lane is blocked by %+v", row.name, all)
		}
	}
}
