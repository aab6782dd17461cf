package spend_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"reelay/events/bucket"
	"reelay/internal/bus"
	"reelay/internal/failpoint"
	"reelay/internal/spend"
	"reelay/internal/test/long"
)

// ask is for money that project demo spends on lane fal.
func ask(usd float64) spend.Ask {
	return spend.Ask{Project: "demo", Lane: "fal", At: time.Now().UTC(), USD: &usd}
}

// count counts records into a cap's counter, as the status service does.
func (l *lab) count(b *bus.Bus, s bucket.Scope, c bucket.Cap, r *spend.Records) {
	l.Helper()
	_, err := spend.Count(l.Context(), b, s, c, time.Now().UTC(), r)
	l.OK(err)
}

// TestCapHolds: many submitters reserve at the same time, and a third of the writes of their counters are lost, or
// their answers. Together they are never granted more than any cap.
func TestCapHolds(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			bubble(t, func(l *lab) {
				var mu sync.Mutex
				dice := rand.New(rand.NewPCG(seed, 1))
				roll := func(n int) int { mu.Lock(); defer mu.Unlock(); return dice.IntN(n) }
				faults := func(point string) failpoint.Outcome {
					if point != "counter" || seed == 0 {
						return failpoint.Outcome{}
					}
					return failpoint.Outcome{Lose: roll(6) == 0, LoseAnswer: roll(6) == 0}
				}
				setup := l.Open(bus.Options{})
				limits := map[bucket.Scope]float64{bucket.ProjectScope("demo"): 7, bucket.LaneScope("fal"): 5, bucket.AllScope: 10}
				for s, usd := range limits {
					l.count(setup, s, l.cap(setup, s, usd), spend.NewRecords(time.Now()))
				}
				spent := map[bucket.Scope]float64{}
				var wg sync.WaitGroup
				for i := range 3 {
					k := l.budget(l.Open(bus.Options{Faults: faults}))
					for range 4 {
						wg.Go(func() {
							for range 15 {
								a := ask(float64(1+roll(60)) / 100)
								if i == 1 {
									a.Project = "other"
								}
								if i == 2 {
									a.Lane = "minimax"
								}
								h, err := k.Reserve(l.Context(), a)
								if err != nil {
									if !errors.Is(err, spend.ErrOver) && !errors.Is(err, failpoint.ErrLost) {
										l.Errorf("%v", err)
									}
									continue
								}
								if roll(4) == 0 {
									k.Return(l.Context(), h)
									continue
								}
								mu.Lock()
								for s := range limits {
									if s.Covers(a.Project, a.Lane) {
										spent[s] += *a.USD
									}
								}
								mu.Unlock()
							}
						})
					}
				}
				wg.Wait()
				for s, limit := range limits {
					taken := l.taken(setup, s)
					if taken > limit+1e-9 || spent[s] > taken+1e-9 {
						l.Errorf("%s: granted %.2f, taken %.2f of %.2f", s, spent[s], taken, limit)
					}
					if seed == 0 && spent[s] < taken-1e-9 {
						l.Errorf("%s: granted %.2f, but %.2f are taken and nothing was lost", s, spent[s], taken)
					}
				}
				if taken := l.taken(setup, bucket.LaneScope("fal")); taken < 4 {
					l.Errorf("only %.2f of 5.00 are used: the test shows nothing", taken)
				}
			})
		})
	}
}

// TestNoCap: without a cap that covers it, an attempt reads and writes nothing.
func TestNoCap(t *testing.T) {
	bubble(t, func(l *lab) {
		b := l.Open(bus.Options{})
		k := l.budget(b)
		l.cap(b, bucket.ProjectScope("other"), 1)
		for range 3 {
			h, err := k.Reserve(l.Context(), ask(100))
			l.OK(err)
			l.OK(h.Fresh())
			k.Return(l.Context(), h)
		}
		if n := l.writes(b, bucket.Spend); n != 0 {
			l.Errorf("%d writes", n)
		}
	})
}

// TestCapLivesLong goes through the life of a cap: set in the middle of a day, used up, raised, on the next day, taken
// away.
func TestCapLivesLong(t *testing.T) {
	long.Only(t)
	bubble(t, func(l *lab) {
		b := l.Open(bus.Options{})
		k := l.budget(b)
		want := func(what string, usd float64, target error) {
			l.Helper()
			if _, err := k.Reserve(l.Context(), ask(usd)); !errors.Is(err, target) {
				l.Errorf("%s: got %v, want %v", what, err, target)
			}
		}
		time.Sleep(time.Until(time.Now().UTC().Truncate(24 * time.Hour).Add(36 * time.Hour))) // noon
		s := bucket.ProjectScope("demo")
		want("no cap", 50, nil)
		c := l.cap(b, s, 5)
		want("a cap that is not counted", 1, spend.ErrUncounted)
		r := spend.NewRecords(time.Now())
		r.Add(time.Now().Add(-time.Hour), 2)
		r.Add(time.Now(), 1)
		l.count(b, s, c, r)
		want("what was spent before the cap counts", 2.01, spend.ErrOver)
		want("the rest", 2, nil)
		want("not a millionth more", 0.000001, spend.ErrOver)

		_, err := k.Reserve(l.Context(), ask(1))
		var over *spend.OverError
		if !errors.As(err, &over) || over.Scope != s || over.TakenUSD != 5 || over.WantedUSD != 1 || over.Cap.DailyUSD != 5 ||
			time.Until(over.Until) != 12*time.Hour || !strings.Contains(err.Error(), "project demo") {
			l.Errorf("got %v: %+v", err, over)
		}
		c = l.cap(b, s, 8)
		want("a raised cap that is not counted", 1, spend.ErrUncounted)
		r = spend.NewRecords(time.Now())
		r.Add(time.Now().Add(-time.Hour), 2) // and the other 3 are reserved
		l.count(b, s, c, r)
		want("a raised cap", 3, nil)
		want("used up again", 1, spend.ErrOver)

		time.Sleep(12 * time.Hour)
		want("the next day", 8, nil)
		want("used up on the next day", 1, spend.ErrOver)
		l.cap(b, s, -1)
		want("no cap any more", 1000, nil)
	})
}

// TestUnknownPrice: an attempt of which nobody knows the price counts for what the cap says.
func TestUnknownPrice(t *testing.T) {
	bubble(t, func(l *lab) {
		b := l.Open(bus.Options{})
		k := l.budget(b)
		c := l.cap(b, bucket.AllScope, 2.5)
		l.count(b, bucket.AllScope, c, spend.NewRecords(time.Now()))
		a := ask(0)
		a.USD = nil
		for i, target := range []error{nil, nil, spend.ErrOver} {
			if _, err := k.Reserve(l.Context(), a); !errors.Is(err, target) {
				l.Errorf("attempt %d: got %v, want %v", i+1, err, target)
			}
		}
		if got := l.taken(b, bucket.AllScope); got != 2*bucket.DefaultUnknownUSD {
			l.Errorf("%v are taken", got)
		}
	})
}

// TestRepeatedWrite: a write that the client library repeats, since it has not heard the first answer, changes a counter
// once. Money that is given back twice would be spent by somebody else.
func TestRepeatedWrite(t *testing.T) {
	bubble(t, func(l *lab) {
		b := l.Open(bus.Options{})
		twice := l.Open(bus.Options{Faults: func(string) failpoint.Outcome { return failpoint.Outcome{Twice: true} }})
		k := l.budget(twice)
		l.count(b, bucket.AllScope, l.cap(b, bucket.AllScope, 5), spend.NewRecords(time.Now()))
		synctest.Wait()
		first, err := k.Reserve(l.Context(), ask(2))
		l.OK(err)
		_, err = k.Reserve(l.Context(), ask(2))
		l.OK(err)
		if got := l.taken(b, bucket.AllScope); got != 4 {
			l.Errorf("%v are taken, 4 were reserved", got)
		}
		k.Return(l.Context(), first)
		if got := l.taken(b, bucket.AllScope); got != 2 {
			l.Errorf("%v are taken, of 4 were 2 given back", got)
		}
	})
}

// TestFresh: a process that stood still may not spend what it has reserved.
func TestFresh(t *testing.T) {
	bubble(t, func(l *lab) {
		b := l.Open(bus.Options{})
		k := l.budget(b)
		l.count(b, bucket.AllScope, l.cap(b, bucket.AllScope, 5), spend.NewRecords(time.Now()))
		h, err := k.Reserve(l.Context(), ask(1))
		l.OK(err)
		time.Sleep(spend.Horizon / 2)
		l.OK(h.Fresh())
		time.Sleep(time.Second)
		if err := h.Fresh(); !errors.Is(err, spend.ErrStale) {
			l.Errorf("got %v, want ErrStale", err)
		}
	})
}

// TestNobodyKnows: a budget that has not read the caps grants nothing, and waits no longer than it says.
func TestNobodyKnows(t *testing.T) {
	bubble(t, func(l *lab) {
		b := l.Open(bus.Options{})
		b.Conn().Close()
		k := l.budget(b)
		begin := time.Now()
		if _, err := k.Reserve(l.Context(), ask(1)); !errors.Is(err, spend.ErrUnknown) || time.Since(begin) > 10*time.Second {
			l.Errorf("got %v after %v", err, time.Since(begin))
		}
		synctest.Wait()
	})
}

// TestUnreadableCounter: nothing is paid by a counter that cannot be read, and it heals as soon as the records are
// counted.
func TestUnreadableCounter(t *testing.T) {
	bubble(t, func(l *lab) {
		b := l.Open(bus.Options{})
		k := l.budget(b)
		c := l.cap(b, bucket.AllScope, 10)
		now := time.Now()
		kv, err := b.JetStream().KeyValue(l.Context(), bucket.Spend)
		l.OK(err)
		_, err = kv.PutString(l.Context(), now.UTC().Format(time.DateOnly)+".all", `{"counted_micros":"none"}`)
		l.OK(err)
		ask := spend.Ask{Project: "demo", Lane: "fal", At: now, USD: new(4.0)}
		if _, err := k.Reserve(l.Context(), ask); !errors.Is(err, spend.ErrUncounted) {
			l.Errorf("by a counter that cannot be read: %v", err)
		}
		r := spend.NewRecords(now)
		r.Add(now, 5)
		_, err = spend.Count(l.Context(), b, bucket.AllScope, c, now, r)
		l.OK(err)
		_, err = k.Reserve(l.Context(), ask)
		l.OK(err)
		if _, err := k.Reserve(l.Context(), ask); !errors.Is(err, spend.ErrOver) {
			l.Errorf("9 of 10 and 4 more: %v", err)
		}
	})
}

// TestDeletedCounterLong: a counter that a person deletes is not that of a day on which nothing was spent, also under a cap
// of an earlier day; and it can be written again.
func TestDeletedCounterLong(t *testing.T) {
	long.Only(t)
	bubble(t, func(l *lab) {
		b := l.Open(bus.Options{})
		k := l.budget(b)
		c := l.cap(b, bucket.AllScope, 10)
		time.Sleep(25 * time.Hour)
		_, err := k.Reserve(l.Context(), ask(5))
		l.OK(err)
		kv, err := b.JetStream().KeyValue(l.Context(), bucket.Spend)
		l.OK(err)
		l.OK(kv.Delete(l.Context(), bucket.CounterKey(bucket.AllScope, time.Now().UTC().Format(time.DateOnly))))
		if _, err := k.Reserve(l.Context(), ask(6)); !errors.Is(err, spend.ErrUncounted) {
			l.Errorf("by a counter that was deleted: %v", err)
		}
		r := spend.NewRecords(time.Now())
		r.Add(time.Now(), 5)
		l.count(b, bucket.AllScope, c, r)
		if _, err := k.Reserve(l.Context(), ask(6)); !errors.Is(err, spend.ErrOver) {
			l.Errorf("5 of 10 and 6 more: %v", err)
		}
		_, err = k.Reserve(l.Context(), ask(4))
		l.OK(err)
	})
}

// TestImpossibleCounter: amounts that no reservation makes count as one that cannot be read; above all they open no
// cap.
func TestImpossibleCounter(t *testing.T) {
	for _, counter := range []string{
		`{"cap":1,"counted_micros":9223372036854775807,"reserved_micros":{"99999999999":9}}`,
		`{"cap":1,"counted_micros":-50000000}`, `{"cap":1,"reserved_micros":{"99999999999":-50000000}}`,
	} {
		bubble(t, func(l *lab) {
			b := l.Open(bus.Options{})
			k := l.budget(b)
			l.cap(b, bucket.AllScope, 10)
			now := time.Now()
			kv, err := b.JetStream().KeyValue(l.Context(), bucket.Spend)
			l.OK(err)
			_, err = kv.PutString(l.Context(), now.UTC().Format(time.DateOnly)+".all", counter)
			l.OK(err)
			_, err = k.Reserve(l.Context(), spend.Ask{Project: "demo", Lane: "fal", At: now, USD: new(11.0)})
			if !errors.Is(err, spend.ErrUncounted) {
				l.Errorf("%s: 11 of 10: %v", counter, err)
			}
		})
	}
}
