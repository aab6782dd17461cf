package dispatch

import (
	"fmt"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"reelay/events"
)

var oneKey = events.Key{Project: "p", ID: "one"}

// seconds draws a time around noon, or none.
func seconds(t *rapid.T, name string) time.Time {
	if n := rapid.IntRange(-40, 60).Draw(t, name); n > -20 {
		return noon.Add(time.Duration(n) * time.Second)
	}
	return time.Time{}
}

// laneOfOne draws a lane with one waiting task, and with others that are at the provider, were sent of late, or are
// being sent.
func laneOfOne(t *rapid.T) (*Lane, Outside) {
	limits := events.ModelLimits{
		Requests: rapid.IntRange(0, 5).Draw(t, "requests"), InFlight: rapid.IntRange(0, 5).Draw(t, "in flight"),
		Spacing: events.Duration(time.Duration(rapid.IntRange(0, 5).Draw(t, "spacing")) * time.Second),
	}
	share := events.ProjectShare{
		Requests: rapid.IntRange(0, 3).Draw(t, "own requests"),
		InFlight: rapid.IntRange(0, 3).Draw(t, "own in flight"),
	}
	l := NewLane("", 2, nil, noon)
	l.SetLimits(events.LaneLimits{
		Models: map[string]events.ModelLimits{events.AnyModel: limits}, Projects: map[string]events.ProjectShare{"p": share},
	}, noon)
	for i := range rapid.IntRange(0, 8).Draw(t, "others") {
		sent := noon.Add(-time.Duration(rapid.IntRange(0, 90).Draw(t, "sent")) * time.Second)
		other := &events.Task{
			ID: fmt.Sprint("o", i), Project: rapid.SampledFrom([]string{"p", "q"}).Draw(t, "project"), Version: 1,
			CreatedAt: noon, Phase: rapid.SampledFrom([]events.Phase{events.PhaseRunning, events.PhaseDone}).Draw(t, "phase"),
			Attempts: []events.Attempt{{N: 1, Outcome: events.AttemptAccepted, NotAfter: sent}},
		}
		l.See(other.Key(), other, 0, noon)
	}
	one := &events.Task{
		ID: oneKey.ID, Project: oneKey.Project, Version: 1, Phase: events.PhaseWaiting,
		CreatedAt: noon.Add(-time.Minute),
	}
	if at := seconds(t, "not before"); !at.IsZero() {
		one.NotBefore = &at
		if rapid.Bool().Draw(t, "tried") {
			one.Attempts = []events.Attempt{{N: 1, Outcome: events.AttemptReleased}}
		}
		if rapid.Bool().Draw(t, "capped") {
			one.Transitions = []events.Transition{
				{
					Name: "cap_reached", Reason: events.BlockedCap, From: events.PhaseWaiting, At: noon.Add(-time.Minute),
					Note: "the cap is used up",
				},
			}
		}
	}
	l.See(oneKey, one, 0, noon)
	g := l.groups[events.AnyModel]
	g.backoff, g.projects["p"].backoff = seconds(t, "backoff"), seconds(t, "own backoff")
	l.Backoff(rapid.SampledFrom([]events.BlockedReason{
		events.BlockedAccount, events.BlockedBreaker, events.BlockedUnreachable,
	}).Draw(t, "lane reason"), "backoff", seconds(t, "lane backoff"))
	l.sending = rapid.IntRange(0, 1).Draw(t, "sending")
	g.rate.Limit, g.concurrency.Limit = rapid.IntRange(0, 5).Draw(t, "rate"), rapid.IntRange(0, 5).Draw(t, "concurrency")
	outside := Outside{Probe: rapid.Bool().Draw(t, "probe")}
	if rapid.Bool().Draw(t, "outside") {
		outside.Blocked = &events.Blocked{Reason: rapid.SampledFrom([]events.BlockedReason{
			events.BlockedSpendingStopped, events.BlockedPaused, events.BlockedAccount, events.BlockedBreaker,
		}).Draw(t, "reason"), Message: "outside"}
		if at := seconds(t, "outside until"); !outside.Probe && !at.IsZero() {
			outside.Blocked.Until = &at
		}
	}
	return l, outside
}

// lift takes a reason away.
func lift(l *Lane, outside *Outside, b *events.Blocked) {
	g := l.groups[events.AnyModel]
	share := g.shares["p"]
	switch {
	case b == outside.Blocked:
		*outside = Outside{}
	case b == l.backoff:
		l.Resume()
	case b.Reason == events.BlockedRateLimited:
		g.backoff = time.Time{}
	case b.Reason == events.BlockedRetry && b.Project != "":
		g.projects["p"].backoff = time.Time{}
	case b.Reason == events.BlockedRetry, b.Reason == events.BlockedCap, b.Reason == events.BlockedNotBefore:
		e := *l.entries[oneKey]
		e.notBefore, e.blocked = time.Time{}, nil
		l.replace(oneKey, l.entries[oneKey], &e, noon)
	case b.Reason == events.BlockedRequests && b.Project != "":
		share.Requests = 0
	case b.Reason == events.BlockedInFlight && b.Project != "":
		share.InFlight = 0
	case b.Reason == events.BlockedRequests:
		g.limits.Requests, g.limits.Spacing, g.rate.Limit = 0, 0, 0
	case b.Reason == events.BlockedInFlight:
		g.limits.InFlight, g.concurrency.Limit = 0, 0
	}
	g.shares = map[string]events.ProjectShare{"p": share}
}

// TestReportedIsWhatStops: what is reported as the reason is what stops a task. Without it the task is sent, or another
// reason is reported; and a task is sent just if no reason stops it.
func TestReportedIsWhatStops(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l, outside := laneOfOne(t)
		seen := map[string]bool{}
		for {
			v := l.admit(l.entries[oneKey], noon, outside)
			b := v.blocked()
			p, ok := l.Estimator(noon, outside).Position(oneKey)
			if !ok || (p.Blocked == nil) != (b == nil) ||
				b != nil && (p.Blocked.Reason != b.Reason || p.Blocked.Message != b.Message) {
				t.Fatalf("its position reports %+v, the checks %+v", p.Blocked, b)
			}
			k, sent, wait := l.Next(noon, outside)
			late := !sent && !v.unknown && (wait == 0 || wait > v.wait()) // it is asked for again when it may be sent, or before
			if sent != v.ok || sent && k != oneKey || late {
				t.Fatalf("admitted %v, wait %v, but sent %v, wait %v; reported %+v", v.ok, v.wait(), sent, wait, b)
			}
			if sent {
				return
			}
			if b == nil {
				t.Fatal("it is not sent, and nothing is reported")
			}
			scope := fmt.Sprint(b.Reason, b.Model, b.Project, b == outside.Blocked)
			if seen[scope] {
				t.Fatalf("reported once more: %+v", *b)
			}
			seen[scope] = true
			lift(l, &outside, b)
		}
	})
}

// TestUntil: if nothing else changes, a task that is next is admitted when that was predicted, and not before.
func TestUntil(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l, outside := laneOfOne(t)
		e := l.entries[oneKey]
		v := l.admit(e, noon, outside)
		if v.ok || v.unknown {
			return
		}
		p, _ := l.Estimator(noon, outside).Position(oneKey)
		if want := v.until.Sub(noon).Seconds(); math.Abs(p.WaitS-want) > 0.06 {
			t.Fatalf("its position says %.2f s, the checks %.2f", p.WaitS, want)
		}
		if l.admit(e, v.until.Add(-1), outside).ok {
			t.Fatalf("sent before %v", v.until)
		}
		if at := l.admit(e, v.until, outside); !at.ok {
			t.Fatalf("not sent at %v: %+v", v.until, at.blocked())
		}
	})
}

// TestPredictedTurns: every waiting task is sent when that was predicted, if each is sent as soon as it may be and one
// limit alone makes them wait.
func TestPredictedTurns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits := events.ModelLimits{Requests: rapid.IntRange(1, 7).Draw(t, "requests")}
		if rapid.Bool().Draw(t, "spaced") {
			limits = events.ModelLimits{
				Spacing: events.Duration(time.Duration(rapid.IntRange(1, 9).Draw(t, "spacing")) * time.Second),
			}
		}
		l := NewLane("", 1, map[string]events.ModelLimits{events.AnyModel: limits}, noon)
		tasks := map[events.Key]*events.Task{}
		for i := range rapid.IntRange(1, 30).Draw(t, "tasks") {
			task := &events.Task{
				ID: fmt.Sprint("t", i), Project: rapid.SampledFrom([]string{"p", "q", "r"}).Draw(t, "project"), Version: 1,
				Phase: events.PhaseWaiting, CreatedAt: noon.Add(-time.Duration(rapid.IntRange(0, 99).Draw(t, "age")) * time.Second),
				Priority: rapid.IntRange(-2, 2).Draw(t, "priority"),
			}
			tasks[task.Key()] = task
			l.See(task.Key(), task, 0, noon)
		}
		predicted := map[events.Key]events.Position{}
		m := l.Estimator(noon, Outside{})
		for k := range tasks {
			predicted[k], _ = m.Position(k)
		}
		now := noon
		for sent := 0; sent < len(tasks); {
			k, ok, wait := l.Next(now, Outside{})
			if !ok {
				now = now.Add(wait)
				continue
			}
			if p := predicted[k]; p.Ahead != sent || math.Abs(p.WaitS-now.Sub(noon).Seconds()) > 0.06 {
				t.Fatalf("%s is number %d, sent after %v; predicted was %+v", k, sent, now.Sub(noon), p)
			}
			sent++
			done := *tasks[k]
			done.Version, done.Phase, done.Attempts = 2, events.PhaseRunning,
				[]events.Attempt{{N: 1, Outcome: events.AttemptAccepted, NotAfter: now}}
			l.Finish(k, &done, time.Time{}, now)
		}
	})
}

// admit is the verdict of all checks of a waiting task.
func (l *Lane) admit(e *entry, now time.Time, outside Outside) verdict {
	return l.scopes(e, now, outside).verdict(now)
}
