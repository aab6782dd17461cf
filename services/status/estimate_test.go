package status

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"reelay/events"
	"reelay/internal/forecast"
	"reelay/internal/forecast/learner"
	"reelay/internal/provider"
)

// teach lets another process learn that n tasks took so long.
func (l *lab) teach(n int, takes time.Duration) {
	l.t.Helper()
	other := learner.New(learner.Options{Bus: l.bus, Log: slog.New(slog.DiscardHandler)})
	go func() { _ = other.Run(l.t.Context()) }()
	for range n {
		t := waiting("demo", "any", 0)
		other.Learn(forecast.Sample{
			Class: forecast.ClassOf(t), At: time.Now(), Wait: takes / 10, Run: takes * 9 / 10,
			Whole: takes,
		})
	}
	time.Sleep(10 * time.Second)
	synctest.Wait()
}

func TestEstimate(t *testing.T) {
	inLabAt(t, time.Now().Round(0), Options{Lanes: []provider.Lane{{Name: "fal", Provider: "fal"}}},
		func(t *testing.T, l *lab) {
			l.teach(40, 10*time.Minute)
			ago := func(d time.Duration) *time.Time { at := time.Now().Add(-d); return &at }
			rows := []struct {
				id        string
				phase     events.Phase
				submitted time.Duration
				least     float64 // seconds to the end; 0 for no estimate
				most      float64
				pace      events.Pace
			}{
				{"queued", events.PhaseProviderQueued, time.Second, 560, 640, events.PaceNormal},
				{"running", events.PhaseRunning, 5 * time.Minute, 240, 340, events.PaceNormal},
				{"slow", events.PhaseRunning, time.Hour, 1, 1e5, events.PaceStuck},
				{"doubt", events.PhaseInDoubt, time.Minute, 0, 0, ""},
			}
			for _, row := range rows {
				task := in(waiting("demo", row.id, 0), row.phase, events.StatusQueued)
				task.SubmittedAt, task.Deadline = ago(row.submitted), time.Now().Add(24*time.Hour)
				if row.phase == events.PhaseRunning {
					task.StartedAt = ago(row.submitted - row.submitted/10)
				}
				l.write(task)
				l.until("it is seen", func() bool { return l.s.index.get(task.Key()) != nil })
				l.s.fillEstimate(&task, queuePosition{}, time.Now())
				switch {
				case row.least == 0:
					if task.ETA != nil || task.EstimatedWaitS != nil {
						t.Errorf("%s: %v is estimated", row.id, task.ETA)
					}
				case task.EstimatedWaitS == nil || *task.EstimatedWaitS < row.least || *task.EstimatedWaitS > row.most ||
					task.Pace != row.pace ||
					!task.ETAEarliest.Before(*task.ETALatest):
					t.Errorf("%s: until %v, %s; want %v to %v s, %s", row.id, task.ETA, task.Pace, row.least, row.most, row.pace)
				}
			}
			q := l.s.index.queue("", l.s.o.Lanes, time.Now())
			l.s.o.Catalog.FillTypical(q.Lanes)
			got := q.Lanes[0].Typical[events.Video]
			if got.Samples != 40 || got.WholeS < 570 || got.WholeS > 630 || got.RunS < 500 || got.RunS > 580 || got.WaitS < 55 ||
				got.WaitS > 65 || got.LateS <= got.WholeS {
				t.Errorf("typical: %+v", got)
			}
			if n := len(q.Lanes[0].Typical); n != 1 {
				t.Errorf("%d types are typical, want one", n)
			}
		})
}

// TestEstimateOfWaiting: who waits behind others waits as long as the dispatcher of the lane tells, and of who is kept
// by what nobody knows the end of nothing is estimated.
func TestEstimateOfWaiting(t *testing.T) {
	inLabAt(t, time.Now().Round(0), Options{}, func(t *testing.T, l *lab) {
		l.teach(40, 10*time.Minute)
		stored := waiting("demo", "w", 0)
		eta := time.Now().Add(time.Minute)
		stored.ETA = &eta // as it was told when it was written
		l.write(stored)
		l.until("it is seen", func() bool { return l.s.index.get(stored.Key()) != nil })
		var told atomic.Pointer[events.PositionsReply]
		sub, err := l.client.Subscribe(events.LanePositionsSubject("fal"), func(m *nats.Msg) {
			reply := told.Load()
			if reply == nil {
				return
			}
			data, err := json.Marshal(reply)
			must(t, err)
			must(t, m.Respond(data))
		})
		must(t, err)
		at := func(p events.Position) *events.PositionsReply {
			return &events.PositionsReply{Positions: map[string]events.Position{"demo.w": p}}
		}
		paused := events.Blocked{Reason: events.BlockedPaused, Message: "by a person"}
		rows := []struct {
			name        string
			reply       *events.PositionsReply
			least, most float64
			hold        events.BlockedReason
		}{
			{"next", at(events.Position{}), 560, 640, ""},
			{"as the limits go", at(events.Position{
				Ahead: 6, WaitS: 135, Blocked: &events.Blocked{Reason: events.BlockedRequests},
			}), 690, 780, events.BlockedRequests},
			{"behind 60 of 30", at(events.Position{Ahead: 60, Behind: 60, InFlight: 30}), 1700, 1900, ""},
			{"paused", at(events.Position{Blocked: &paused}), 0, 0, events.BlockedPaused},
			{"not known there, paused", &events.PositionsReply{Blocked: []events.Blocked{paused}}, 0, 0, events.BlockedPaused},
			{
				"not known there", &events.PositionsReply{Blocked: []events.Blocked{{Reason: events.BlockedRequests, Model: "x"}}},
				0, 0, "",
			},
			{"silent", nil, 0, 0, ""},
			{"gone", nil, 0, 0, events.BlockedNoDispatcher},
		}
		for _, row := range rows {
			told.Store(row.reply)
			if row.name == "gone" {
				must(t, sub.Unsubscribe())
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			must(t, l.client.FlushWithContext(ctx))
			cancel()
			task := into[events.TaskReply](t, l.ask(nil, events.VerbGet, "demo", "w")).Task
			switch got := task.EstimatedWaitS; {
			case (task.Blocked == nil) != (row.hold == "") || task.Blocked != nil && task.Blocked.Reason != row.hold:
				t.Errorf("%s: held by %+v, want %q", row.name, task.Blocked, row.hold)
			case (got == nil) != (row.most == 0) || (got == nil) != (task.ETA == nil):
				t.Errorf("%s: estimated %v, %v", row.name, got, task.ETA)
			case got != nil && (*got < row.least || *got > row.most):
				t.Errorf("%s: %.0f s, want %.0f to %.0f", row.name, *got, row.least, row.most)
			}
			var holds []events.Blocked
			switch {
			case row.name == "gone":
				holds = []events.Blocked{*task.Blocked}
			case row.reply != nil:
				holds = row.reply.Blocked
			}
			if lanes := into[events.QueueReply](t, l.ask(nil, events.VerbQueue)).Lanes; len(lanes) != 1 ||
				!slices.Equal(lanes[0].Blocked, holds) {
				t.Errorf("%s: the lanes are %+v, want the holds %+v", row.name, lanes, holds)
			}
		}
	})
}

func TestSubmitTimes(t *testing.T) {
	now := epoch(10_000)
	var s submitTimes
	for _, ago := range []int{0, 20, 10, 20, 30, 5_000} { // out of order, one twice, one long ago
		s = s.with(now.Add(-time.Duration(ago)*time.Second).UnixNano(), now)
	}
	if len(s) != 4 {
		t.Errorf("%d sends in a minute, want 4", len(s))
	}
	if got := len(s.since(now.Add(45 * time.Second))); got != 2 {
		t.Errorf("%d sends in the minute before 45 s later, want 2", got)
	}
	for i := range maxSubmits + 100 {
		s = s.with(now.Add(-time.Duration(i)*time.Microsecond).UnixNano(), now)
	}
	if len(s) != maxSubmits {
		t.Errorf("%d sends are kept, want %d", len(s), maxSubmits)
	}
}
