package status

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"reelay/events"
	"reelay/internal/almanac"
	"reelay/internal/forecast"
)

// teach lets another process learn that n tasks took so long.
func (l *lab) teach(n int, takes time.Duration) {
	l.t.Helper()
	other := almanac.New(almanac.Options{Store: l.bus, Log: slog.New(slog.DiscardHandler)})
	go func() { _ = other.Run(l.t.Context()) }()
	for range n {
		t := waiting("demo", "any", 0)
		other.Learn(forecast.Sample{Class: forecast.ClassOf(t), At: time.Now(), Wait: takes / 10, Run: takes * 9 / 10, Whole: takes})
	}
	time.Sleep(10 * time.Second)
	synctest.Wait()
}

func TestForetell(t *testing.T) {
	inLabAt(t, time.Now().Round(0), Options{Lanes: []LaneInfo{{"fal", "fal"}}}, func(t *testing.T, l *lab) {
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
			l.s.foretell(&task, time.Now())
			switch {
			case row.least == 0:
				if task.ETA != nil || task.EstimatedWaitS != nil {
					t.Errorf("%s: %v is foretold", row.id, task.ETA)
				}
			case task.EstimatedWaitS == nil || *task.EstimatedWaitS < row.least || *task.EstimatedWaitS > row.most || task.Pace != row.pace ||
				!task.ETAEarliest.Before(*task.ETALatest):
				t.Errorf("%s: until %v, %s; want %v to %v s, %s", row.id, task.ETA, task.Pace, row.least, row.most, row.pace)
			}
		}
		q := l.s.index.queue("", l.s.o.Lanes, time.Now())
		l.s.typical(q.Lanes)
		got := q.Lanes[0].Typical[events.Video]
		if got.Samples != 40 || got.WholeS < 570 || got.WholeS > 630 || got.RunS < 500 || got.RunS > 580 || got.WaitS < 55 || got.WaitS > 65 || got.LateS <= got.WholeS {
			t.Errorf("typical: %+v", got)
		}
		if n := len(q.Lanes[0].Typical); n != 1 {
			t.Errorf("%d types are typical, want one", n)
		}
	})
}

// TestForetellLine: who waits behind others waits as long as the lane takes to send them.
func TestForetellLine(t *testing.T) {
	inLabAt(t, time.Now().Round(0), Options{}, func(t *testing.T, l *lab) {
		l.teach(40, 10*time.Minute)
		for i, id := range []string{"s1", "s2", "s3", "s4"} { // one every 30 s, the last one now
			task := in(waiting("demo", id, i), events.PhaseProviderQueued, events.StatusQueued)
			at := time.Now().Add(time.Duration(i-3) * 30 * time.Second)
			task.SubmittedAt = &at
			l.write(task)
		}
		for i, id := range []string{"w1", "w2", "w3", "w4", "w5", "w6"} {
			l.write(waiting("demo", id, 10+i))
		}
		last := waiting("demo", "w6", 15)
		l.until("they are seen", func() bool { n, ok := l.s.index.position(last.Key()); return ok && n == 5 })
		placed(&last, l.s.places(t.Context(), []*entry{l.s.index.get(last.Key())}))
		l.s.foretell(&last, time.Now())
		// Four were sent in 90 s, so six take 135.
		if got := *last.EstimatedWaitS; got < 690 || got > 780 {
			t.Errorf("%.0f s, want about 735", got)
		}
		if q := l.s.index.queue("", nil, time.Now()); q.Lanes[0].SentPerMinute != 2.7 {
			t.Errorf("%v a minute, want 2.7", q.Lanes[0].SentPerMinute)
		}
	})
}

func TestSends(t *testing.T) {
	now := epoch(10_000)
	var s sends
	if got := s.with(now.UnixNano()).perSecond(now); got != 0 {
		t.Errorf("one send: %v", got)
	}
	for _, ago := range []int{0, 20, 10, 20, 30, 5_000} { // out of order, one twice, one long ago
		s = s.with(now.Add(-time.Duration(ago) * time.Second).UnixNano())
	}
	if got := s.perSecond(now); got != 4.0/30 {
		t.Errorf("%v a second, want four in 30 s", got)
	}
	if got := s.perSecond(now.Add(20 * time.Minute)); got != 0 {
		t.Errorf("%v a second, long after", got)
	}
	for i := range 100 {
		s = s.with(int64(i))
	}
	if len(s) != maxSends {
		t.Errorf("%d sends are kept, want %d", len(s), maxSends)
	}
}
