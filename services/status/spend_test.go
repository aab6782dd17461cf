package status

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/prometheus/client_golang/prometheus"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/internal/api"
	"reelay/internal/bus"
	"reelay/internal/spend"
)

// attempt is one that was accepted at a time and costs usd; a negative amount stands for a price that nobody knows.
func attempt(n int, at time.Time, usd float64) events.Attempt {
	a := events.Attempt{N: n, IntentAt: at, Outcome: events.AttemptAccepted, Charge: events.ChargeConfirmed, CostUSD: &usd}
	if usd < 0 {
		a.CostUSD = nil
	}
	return a
}

// paid returns t with attempts.
func paid(t events.Task, all ...events.Attempt) events.Task {
	t.Attempts = all
	return t
}

// doubtful returns an attempt of which nobody knows whether it was accepted.
func doubtful(a events.Attempt) events.Attempt {
	a.Outcome, a.Charge = events.AttemptInDoubt, events.ChargePossible
	return a
}

func free(a events.Attempt) events.Attempt {
	a.Outcome, a.Charge, a.CostUSD = events.AttemptRefused, events.ChargeNone, new(0.0)
	return a
}

// TestSpend adds up by every group, over days and projects.
func TestSpend(t *testing.T) {
	inLab(t, Options{}, func(t *testing.T, l *lab) {
		day := func(n int) time.Time { return epoch(0).AddDate(0, 0, n-1).Add(5 * time.Hour) }
		other := in(waiting("a", "dear", 1), events.PhaseDone, events.StatusCompleted)
		other.Model = "dear"
		l.put(
			paid(in(waiting("a", "done", 1), events.PhaseDone, events.StatusCompleted), attempt(1, day(1), 0.3)),
			paid(in(waiting("a", "twice", 1), events.PhaseDone, events.StatusFailed), doubtful(attempt(1, day(1), 0.1)),
				attempt(2, day(2), 0.1)),
			paid(other, attempt(1, day(2).Add(18*time.Hour+59*time.Minute), 7),
				attempt(2, day(2).Add(18*time.Hour+59*time.Minute), 0.2)),
			paid(in(waiting("a", "runs", 1), events.PhaseRunning, events.StatusInProgress), attempt(1, day(4), 0.4)),
			paid(waiting("a", "refused", 1), free(attempt(1, day(4), 0.4))),
			paid(in(waiting("b", "odd", 1), events.PhaseDone, events.StatusCompleted), attempt(1, day(3), -1)),
			waiting("a", "none", 1),
		)
		for _, row := range []struct {
			name, project, in string
			want              []string
		}{
			{"everything by everything", "", `{"until":"2000-01-04"}`, []string{
				`{"day":"2000-01-04","project":"a","provider":"fal","lane":"fal","model":"m","tasks":1,"attempts":1,` +
					`"spent_usd":0,"reserved_usd":0.4}`,
				`{"day":"2000-01-03","project":"b","provider":"fal","lane":"fal","model":"m","tasks":1,"attempts":1,"unpriced":1,` +
					`"spent_usd":0,"reserved_usd":0}`,
				`{"day":"2000-01-02","project":"a","provider":"fal","lane":"fal","model":"dear","tasks":1,"attempts":2,` +
					`"spent_usd":7.2,"reserved_usd":0}`,
				`{"day":"2000-01-02","project":"a","provider":"fal","lane":"fal","model":"m","tasks":1,"attempts":1,` +
					`"spent_usd":0.1,"reserved_usd":0}`,
				`{"day":"2000-01-01","project":"a","provider":"fal","lane":"fal","model":"m","tasks":2,"attempts":2,` +
					`"spent_usd":0.3,"reserved_usd":0.1}`,
				`{"tasks":5,"attempts":7,"unpriced":1,"spent_usd":7.6,"reserved_usd":0.5}`,
			}},
			{"a project by model", "a", `{"by":["model"],"until":"2000-01-31"}`, []string{
				`{"model":"dear","tasks":1,"attempts":2,"spent_usd":7.2,"reserved_usd":0}`,
				`{"model":"m","tasks":3,"attempts":4,"spent_usd":0.4,"reserved_usd":0.5}`,
				`{"tasks":4,"attempts":6,"spent_usd":7.6,"reserved_usd":0.5}`,
			}},
			{"some days", "a", `{"by":["day"],"since":"2000-01-01","until":"2000-01-01"}`, []string{
				`{"day":"2000-01-01","tasks":2,"attempts":2,"spent_usd":0.3,"reserved_usd":0.1}`,
				`{"tasks":2,"attempts":2,"spent_usd":0.3,"reserved_usd":0.1}`,
			}},
			{"nothing", "c", "", []string{`{"tasks":0,"attempts":0,"spent_usd":0,"reserved_usd":0}`}},
		} {
			var tokens []string
			if row.project != "" {
				tokens = []string{row.project}
			}
			r := into[struct {
				Rows  []json.RawMessage `json:"rows"`
				Total json.RawMessage   `json:"total"`
				Caps  []events.SpendCap `json:"caps"`
			}](t, l.ask(row.in, events.VerbSpend, tokens...))
			var got []string
			for _, raw := range append(r.Rows, r.Total) {
				got = append(got, string(raw))
			}
			if !slices.Equal(got, row.want) || r.Caps == nil {
				t.Errorf("%s:\ngot  %s\nwant %s", row.name, strings.Join(got, "\n     "), strings.Join(row.want, "\n     "))
			}
		}
		wantProblem(t, l.ask(`{"since":"today"}`, events.VerbSpend, "a"), "400 invalid_request since")
		wantProblem(t, l.ask(nil, events.VerbSpend, "ä"), "400 invalid_request project")
	})
}

// TestSpendRowsBounded: an answer has so many rows and no more, and its total has all.
func TestSpendRowsBounded(t *testing.T) {
	x := newIndex()
	for i := range events.MaxSpendRows + 3 {
		task := paid(waiting("p", "t"+string(rune('a'+i%26))+strings.Repeat("x", i/26%60)+string(rune('a'+i/1560)), 1),
			attempt(1, epoch(i*daySeconds), 1))
		x.apply(bus.SummaryUpdate{Key: task.Key(), Summary: bus.Summarize(&task)})
	}
	s := &Service{index: x, capsCache: newCapsCache()}
	reply, err := s.spend(t.Context(), api.Call{Data: []byte(`{"since":"2000-01-01","until":"2030-01-01"}`)})
	r, ok := reply.(events.SpendReply)
	if err != nil || !ok || len(r.Rows) != events.MaxSpendRows || r.RowsLeftOut != 3 ||
		r.Total.ReservedUSD != events.MaxSpendRows+3 {
		t.Errorf("%v: %d rows, %d left out, %v in all", err, len(r.Rows), r.RowsLeftOut, r.Total.ReservedUSD)
	}
	if first, last := r.Rows[0].Day, r.Rows[len(r.Rows)-1].Day; first <= last {
		t.Errorf("from %s to %s: the newest come first", first, last)
	}
}

// setCap sets a cap as any client may.
func (l *lab) setCap(s bucket.Scope, value string) {
	l.t.Helper()
	kv, err := l.bus.JetStream().KeyValue(context.Background(), bucket.Caps)
	must(l.t, err)
	if value == "" {
		must(l.t, kv.Delete(context.Background(), string(s)))
	} else {
		_, err = kv.PutString(context.Background(), string(s), value)
		must(l.t, err)
	}
	synctest.Wait()
}

// TestCapsAreCounted: what the records say of today comes into the counters of the caps: at once when a cap is set, and
// again when the records change; nothing is written without a cap, nor when nothing has changed.
func TestCapsAreCounted(t *testing.T) {
	inLab(t, Options{}, func(t *testing.T, l *lab) {
		time.Sleep(6 * time.Hour) // a bubble begins at midnight
		now := time.Now()
		runs := func(id string, all ...events.Attempt) events.Task {
			return paid(in(waiting("a", id, 1), events.PhaseRunning, events.StatusInProgress), all...)
		}
		l.put(
			runs("early", attempt(1, now.Add(-5*time.Hour), 2)), runs("now", attempt(1, now, 0.25), free(attempt(2, now, 9))),
			runs("odd", attempt(1, now.Add(-2*time.Hour), -1)), runs("yesterday", attempt(1, now.Add(-7*time.Hour), 50)),
		)
		taken := func(s bucket.Scope) float64 {
			t.Helper()
			for _, c := range into[events.SpendReply](t, l.ask(nil, events.VerbSpend)).Caps {
				if c.Scope == string(s) {
					return c.ReservedUSD
				}
			}
			return -1
		}
		writes := func() uint64 {
			s, err := l.bus.JetStream().Stream(context.Background(), "KV_"+bucket.Spend)
			must(t, err)
			return s.CachedInfo().State.LastSeq
		}
		time.Sleep(time.Minute)
		if n := writes(); n != 0 {
			t.Errorf("%d writes without a cap", n)
		}
		l.setCap(bucket.ProjectScope("a"), `{"daily_usd":10,"unknown_usd":0.5,"by":"ann"}`)
		l.setCap(bucket.LaneScope("fal"), `{"daily_usd":10}`)
		l.setCap(bucket.AllScope, `nonsense`)
		l.setCap(bucket.ProjectScope("b"), `{"daily_usd":1}`)
		for s, want := range map[bucket.Scope]float64{
			bucket.ProjectScope("a"): 2.75, bucket.LaneScope("fal"): 3.25, bucket.AllScope: 3.25, bucket.ProjectScope("b"): 0,
			bucket.LaneScope("none"): -1,
		} {
			if got := taken(s); got != want {
				t.Errorf("%s: %v are taken, want %v", s, got, want)
			}
		}
		before := writes()
		time.Sleep(2 * countEvery)
		if n := writes(); n != before {
			t.Errorf("%d writes although nothing has changed", n-before)
		}
		l.put(runs("new", attempt(1, time.Now(), 1)), runs("odd", free(attempt(1, now.Add(-2*time.Hour), 0))))
		time.Sleep(countEvery + time.Second)
		if got := taken(bucket.ProjectScope("a")); got != 3.25 {
			t.Errorf("%v are taken after the records changed", got)
		}
		// What was reserved and never recorded is forgotten, but not too soon.
		k := spend.New(l.bus, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- k.Watch(ctx) }()
		_, err := k.Reserve(ctx, spend.Ask{Project: "b", Lane: "minimax", At: time.Now(), USD: new(0.5)})
		if !errors.Is(err, spend.ErrOver) {
			t.Errorf("a cap that cannot be read allows: %v", err)
		}
		l.setCap(bucket.AllScope, "")
		_, err = k.Reserve(ctx, spend.Ask{Project: "b", Lane: "minimax", At: time.Now(), USD: new(0.5)})
		must(t, err)
		for _, step := range []struct {
			wait time.Duration
			want float64
		}{{spend.Horizon - time.Minute, 0.5}, {3 * time.Minute, 0}} {
			time.Sleep(step.wait)
			if got := taken(bucket.ProjectScope("b")); got != step.want {
				t.Errorf("%v are taken after %v more, want %v", got, step.wait, step.want)
			}
		}
		cancel()
		must(t, <-done)
	})
}

// TestEntrySize: a hundred thousand records are kept in memory, so an entry stays small.
func TestEntrySize(t *testing.T) {
	if size := unsafe.Sizeof(entry{}) + unsafe.Sizeof(bus.Payment{}); size > 112 {
		t.Errorf("an entry with one payment has %d bytes", size)
	}
}

// TestCountsWhatWasRecorded: an index that lags behind the records, as after a standstill of its process, counts
// nothing until it has caught up: what it does not know yet would be taken for money that nobody has spent.
func TestCountsWhatWasRecorded(t *testing.T) {
	inLab(t, Options{}, func(t *testing.T, l *lab) {
		time.Sleep(6 * time.Hour)
		late := paid(in(waiting("a", "late", 1), events.PhaseRunning, events.StatusInProgress),
			attempt(1, time.Now().Add(-time.Hour), 5))
		l.put(late)
		l.stop()
		err := <-l.done
		l.done <- err
		l.setCap(bucket.AllScope, `{"daily_usd":10}`)
		s, err := New(Options{Bus: l.bus, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
		must(t, err)
		s.index.apply(bus.SummaryUpdate{Ready: true})
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		defer all.Wait()
		defer cancel()
		all.Go(func() { s.followCaps(ctx) })
		all.Go(func() { s.countSpending(ctx) })
		counter := func() bucket.SpendCounter {
			c, err := spend.Taken(ctx, l.bus, bucket.AllScope, time.Now().UTC().Format(time.DateOnly))
			must(t, err)
			return c
		}
		time.Sleep(4 * countEvery)
		if c := counter(); c.To != 0 {
			t.Errorf("counted without the newest record: %+v", c)
		}
		s.index.apply(bus.SummaryUpdate{Key: late.Key(), Revision: l.revision(late.Key()), Summary: bus.Summarize(&late)})
		time.Sleep(2 * countEvery)
		if c := counter(); c.Total().USD() != 5 {
			t.Errorf("counted: %+v", c)
		}
	})
}
