package dispatch

import (
	"fmt"
	"testing"
	"time"

	"reelay/events"
)

// busyLane is a lane with as many waiting tasks of as many projects, and as many more that may not be sent yet; sent
// requests are counted against its limit.
func busyLane(waiting, projects, later, sent int) *Lane {
	l := emptyLane()
	l.SetLimits(events.LaneLimits{Models: map[string]events.ModelLimits{events.AnyModel: {Requests: 1_000_000}}}, noon)
	for i := range waiting + later {
		t := &events.Task{
			ID: fmt.Sprintf("t%06d", i), Project: fmt.Sprintf("p%d", i%projects), Version: 1, Phase: events.PhaseWaiting,
			CreatedAt: noon.Add(time.Duration(i) * time.Millisecond),
		}
		if i >= waiting {
			until := noon.Add(time.Hour + time.Duration(i)*time.Millisecond)
			t.NotBefore = &until
		}
		l.See(t.Key(), t, 0, noon)
	}
	for i := range sent {
		t := &events.Task{
			ID: fmt.Sprintf("s%06d", i), Project: fmt.Sprintf("p%d", i%projects), Version: 1, Phase: events.PhaseRunning,
			CreatedAt: noon, Attempts: []events.Attempt{{N: 1, Outcome: events.AttemptAccepted, NotAfter: noon}},
		}
		l.See(t.Key(), t, 0, noon)
	}
	return l
}

// keys are so many of the lane's waiting tasks: those that wait for their turn, or those that may not be sent yet.
func (l *Lane) keys(n int, delayed bool) (keys []events.Key) {
	for k, e := range l.entries {
		if len(keys) < n && e.waiting && e.notBefore.IsZero() != delayed {
			keys = append(keys, k)
		}
	}
	return keys
}

// BenchmarkPositions is one question for a thousand positions, of which each locks the lane.
func BenchmarkPositions(b *testing.B) {
	for _, row := range []struct{ waiting, projects, later, sent int }{
		{100_000, 1, 0, 0},
		{100_000, 1_000, 0, 0},
		{100_000, 10_000, 0, 0},
		{100_000, 10, 0, 20_000},
		{1, 10, 10_000, 0},
		{1, 10, 100_000, 0},
	} {
		b.Run(fmt.Sprintf("waiting=%d/projects=%d/later=%d/sent=%d", row.waiting, row.projects, row.later, row.sent),
			func(b *testing.B) {
				l := busyLane(row.waiting, row.projects, row.later, row.sent)
				keys := l.keys(events.MaxPositions, row.later > 0)
				longest := time.Duration(0)
				for b.Loop() {
					o := l.Estimator(noon, Outside{})
					for _, k := range keys {
						begun := time.Now()
						if _, ok := o.Position(k); !ok {
							b.Fatal(k)
						}
						longest = max(longest, time.Since(begun))
					}
				}
				b.ReportMetric(longest.Seconds()*1e3, "longest-ms")
			})
	}
}

// BenchmarkBlocked is why a lane does not send where each project has a cap that is used up.
func BenchmarkBlocked(b *testing.B) {
	for _, projects := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("projects=%d", projects), func(b *testing.B) {
			l := emptyLane()
			for i := range projects {
				until := noon.Add(time.Hour)
				t := &events.Task{
					ID: "t", Project: fmt.Sprintf("p%d", i), Version: 2, Phase: events.PhaseWaiting, CreatedAt: noon,
					NotBefore: &until, Transitions: []events.Transition{
						{
							Name: "cap_reached", Reason: events.BlockedCap, From: events.PhaseWaiting, At: noon,
							Note: "the budget is used up",
						},
					},
				}
				l.See(t.Key(), t, 0, noon)
			}
			for b.Loop() {
				if n := len(l.Blocked(noon, Outside{})); n != maxBlocked {
					b.Fatal(n)
				}
			}
		})
	}
}

// BenchmarkScan is one pass over tasks whose positions may be published.
func BenchmarkScan(b *testing.B) {
	l := busyLane(100_000, 1_000, 0, 0)
	for b.Loop() {
		if n := len(l.Scan(noon)); n != maxScan {
			b.Fatal(n)
		}
	}
}
