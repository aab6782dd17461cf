package submitter_test

import (
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"reelay/events"
	"reelay/events/bucket"
)

// keys are those of the tasks that were asked for after the first n.
func (w *world) keys(project string, n int) (keys []events.Key) {
	for id := n + 1; id <= w.ids; id++ {
		keys = append(keys, events.Key{Project: project, ID: fmt.Sprintf("t%05d", id)})
	}
	return keys
}

// TestPredictedTurns: a task is sent when the dispatcher has predicted that the limits let it through.
func TestPredictedTurns(t *testing.T) {
	rows := []struct {
		name     string
		limits   events.ModelLimits
		shares   string
		rule     func(time.Time, []call) string
		delay    time.Duration
		projects []int // tasks of each
		off      float64
	}{
		{name: "requests", limits: events.ModelLimits{Requests: 20}, projects: []int{90}, off: 0.02},
		{
			name:   "requests in a short window",
			limits: events.ModelLimits{Requests: 3, Window: events.Duration(7 * time.Second)}, projects: []int{90}, off: 0.02,
		},
		{
			name: "spacing", limits: events.ModelLimits{Spacing: events.Duration(2 * time.Second)}, projects: []int{60},
			off: 0.02,
		},
		{
			name:   "requests and spacing",
			limits: events.ModelLimits{Requests: 20, Spacing: events.Duration(2900 * time.Millisecond)}, projects: []int{60},
			off: 0.05,
		},
		{
			name: "weights", limits: events.ModelLimits{Requests: 20}, shares: `"p1":{"weight":3}`, projects: []int{40, 40},
			off: 0.02,
		},
		{
			name: "requests of a project", shares: `"p0":{"requests":5},"p1":{"requests":10}`, projects: []int{30, 60},
			off: 0.02,
		},
		{name: "slow requests", delay: 2 * time.Second, projects: []int{240}, off: 0.25},
		{name: "a limit that was learned", rule: atMost(12), projects: []int{70}, off: 0.25},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			inWorld(t, map[string]events.ModelLimits{events.AnyModel: row.limits}, func(w *world) {
				w.set("acme.limits", `{"projects":{`+row.shares+`}}`)
				w.provider.delay = row.delay
				if row.rule != nil {
					w.provider.rule(row.rule)
				}
				var keys []events.Key
				for i, n := range row.projects {
					before := w.ids
					w.ask(fmt.Sprint("p", i), n, "")
					keys = append(keys, w.keys(fmt.Sprint("p", i), before)...)
				}
				w.start()
				time.Sleep(70 * time.Second)
				told, _ := w.positions(keys...)
				asked := time.Now()
				if len(told) < 10 {
					w.Fatalf("%d wait", len(told))
				}
				time.Sleep(time.Hour)
				for _, c := range w.provider.taken() {
					p, ok := told[c.task]
					if !ok {
						continue
					}
					if took := c.at.Sub(asked).Seconds(); math.Abs(took-p.WaitS) > max(1+2*row.delay.Seconds(), row.off*took) {
						w.Errorf("%s behind %d: sent after %.1f s, told %.1f", c.task, p.Ahead, took, p.WaitS)
					}
					delete(told, c.task)
				}
				if len(told) > 0 {
					w.Errorf("not sent: %v", told)
				}
			})
		})
	}
}

// TestBlocked: each reason why tasks are not sent is reported, with a time where one is known.
func TestBlocked(t *testing.T) {
	rows := []struct {
		name   string
		limits events.ModelLimits
		set    string // the limits as JSON
		pause  string
		away   bool
		code   string // what the provider refuses with
		want   events.BlockedReason
		says   string
		until  bool
		own    bool // of the task alone
	}{
		{
			name: "requests", limits: events.ModelLimits{Requests: 5}, want: events.BlockedRequests,
			says: "5 of 5 requests in 1m0s", until: true,
		},
		{
			name: "in flight", limits: events.ModelLimits{InFlight: 6}, want: events.BlockedInFlight,
			says: "6 of 6 tasks in flight",
		},
		{
			name: "requests of a project", set: `{"projects":{"demo":{"requests":3}}}`, want: events.BlockedRequests,
			says: "3 of its 3 requests", until: true,
		},
		{
			name: "in flight of a project", set: `{"projects":{"demo":{"in_flight":2}}}`, want: events.BlockedInFlight,
			says: "2 of its 2 tasks",
		},
		{
			name: "a person", pause: `{"paused":true,"reason":"the bill","by":"ann"}`, want: events.BlockedPaused,
			says: "the bill (by ann)",
		},
		{name: "limits nobody can read", set: `{"projects":3}`, want: events.BlockedPaused, says: "projects"},
		{name: "the account", code: "quota", want: events.BlockedAccount, says: "acme says quota", until: true},
		{name: "the breaker", code: "doubt", want: events.BlockedBreaker, says: "3 paid requests in a row", until: true},
		{
			name: "a provider that is away", away: true, want: events.BlockedUnreachable, says: "HTTPS_PROXY is set",
			until: true,
		},
		{name: "a provider that refuses", code: "rate", want: events.BlockedRateLimited, says: "fewer requests", until: true},
		{
			name: "a task that is tried again", code: "busy", want: events.BlockedRetry, says: "acme says busy", until: true,
			own: true,
		},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			inWorld(t, map[string]events.ModelLimits{events.AnyModel: row.limits}, func(w *world) {
				if row.set != "" {
					w.set("acme.limits", row.set)
				}
				if row.pause != "" {
					w.set("acme", row.pause)
				}
				w.provider.rule(func(time.Time, []call) string { return row.code })
				w.dial = func() (net.Conn, error) {
					if row.away {
						return nil, errors.New("no route to host")
					}
					return w.provider.dial()
				}
				w.ask("demo", 30, "")
				w.start()
				time.Sleep(23 * time.Second) // amid what is tried again after 10 and 20 s, and after 19 and 25
				told, lane := w.positions(w.keys("demo", 0)...)
				var p events.Position // of the last one in line: those of one moment are taken in in any order
				for _, other := range told {
					if other.Ahead >= p.Ahead {
						p = other
					}
				}
				switch {
				case p.Blocked == nil:
					w.Fatalf("not held: %+v", told)
				case p.Blocked.Reason != row.want || !strings.Contains(p.Blocked.Message, row.says) ||
					(p.Blocked.Until != nil) != row.until:
					w.Errorf("held by %+v, want %s and %q", *p.Blocked, row.want, row.says)
				case row.until && !p.Blocked.Until.After(time.Now()):
					w.Errorf("held until %v, which has passed", p.Blocked.Until)
				}
				if told := slices.ContainsFunc(lane,
					func(h events.Blocked) bool {
						return h.Reason == row.want && strings.Contains(h.Message, row.says)
					}); told == row.own {
					w.Errorf("the lane is kept by %+v", lane)
				}
			})
		})
	}
}

// TestBehind: with as many in flight as may be, a task waits for as many ends as are ahead of it and its own.
func TestBehind(t *testing.T) {
	inWorld(t, map[string]events.ModelLimits{events.AnyModel: {InFlight: 5}}, func(w *world) {
		w.set("acme.limits", `{"projects":{"few":{"in_flight":2}}}`)
		w.ask("demo", 10, "")
		w.ask("few", 6, "")
		w.start()
		time.Sleep(minute)
		taken := w.provider.taken()
		w.end(events.Key{Project: map[bool]string{true: "few", false: "demo"}[taken[0].task > "t00010"], ID: taken[0].task})
		time.Sleep(time.Second)
		demo, _ := w.positions(w.keys("demo", 0)[:10]...)
		few, _ := w.positions(w.keys("few", 10)...)
		if len(demo)+len(few) != 10 || len(w.provider.taken()) != 6 {
			w.Fatalf("%d and %d wait, %d taken", len(demo), len(few), len(w.provider.taken()))
		}
		for id, p := range demo {
			if p.Behind != p.Ahead+1 || p.InFlight != 5 {
				w.Errorf("%s: %+v", id, p)
			}
		}
		for id, p := range few {
			if rounds := float64(p.Behind) / float64(p.InFlight); p.InFlight != 2 || rounds < float64(p.Ahead+1)/5 {
				w.Errorf("%s: %+v", id, p)
			}
		}
	})
}

// TestResumeByHand: a person who resumes a lane closes its breaker, and each stop and start is published once.
func TestResumeByHand(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.provider.rule(func(_ time.Time, taken []call) string { return "doubt" })
		w.ask("demo", 30, "")
		r := w.start()
		time.Sleep(30 * time.Second)
		w.wantEvents(events.EventPaused)
		w.provider.rule(func(time.Time, []call) string { return "" })
		w.set("acme", `{"paused":false,"by":"ann"}`)
		time.Sleep(5 * time.Second)
		if n := len(w.provider.taken()); n < 24 {
			w.Errorf("%d taken after the lane was resumed", n)
		}
		w.wantEvents(events.EventPaused, events.EventResumed)
		r.crash()
		r.restart() // what it now reads of the pause is no news
		w.provider.rule(func(time.Time, []call) string { return "doubt" })
		w.ask("demo", 10, "")
		time.Sleep(30 * time.Second)
		w.wantEvents(events.EventPaused, events.EventResumed, events.EventPaused)
	})
}

// TestCapRaised: a cap is not reported of tasks that wait for their turn alone since it was raised.
func TestCapRaised(t *testing.T) {
	inWorld(t, map[string]events.ModelLimits{events.AnyModel: {Requests: 3}}, func(w *world) {
		const day = 24 * time.Hour
		w.put(bucket.Caps, "project.demo", `{"daily_usd":0}`)
		time.Sleep(time.Until(time.Now().UTC().Truncate(day).Add(2*day - 10*minute))) // it counts from the start of a day
		w.ask("demo", 60, `,"estimated_cost_usd":1`)
		w.start()
		time.Sleep(minute)
		told, lane := w.positions(w.keys("demo", 0)...)
		if p := told["t00060"]; p.Blocked == nil || p.Blocked.Reason != events.BlockedCap || len(lane) != 1 {
			w.Errorf("without a budget: %+v, the lane is kept by %+v", p, lane)
		}
		w.put(bucket.Caps, "project.demo", `{"daily_usd":1000}`)
		time.Sleep(time.Until(time.Now().UTC().Truncate(day).Add(day + 4*minute))) // it counts from the start of the next day
		told, lane = w.positions(w.keys("demo", 0)...)
		if p, ok := told["t00060"]; !ok || p.Blocked == nil || p.Blocked.Reason != events.BlockedRequests || p.WaitS < 600 {
			w.Errorf("with a budget: %+v", p)
		}
		if len(lane) != 1 || lane[0].Reason != events.BlockedRequests {
			w.Errorf("with a budget the lane is kept by %+v", lane)
		}
		for id, story := range w.stories() {
			if e := story[len(story)-1]; id > "t00030" && (e.Type != events.EventProgress || e.QueuePosition == nil) {
				w.Errorf("%s was told last that %s", id, e.Message)
			}
		}
	})
}
