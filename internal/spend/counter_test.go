package spend

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// attempt is one paid attempt of the property test.
type attempt struct {
	at     time.Time
	amount float64
	landed bool
	costs  float64
}

// TestCounterNeverLow: whatever happens between a reservation and its record, and whenever the records are counted, a
// counter is never below what is or may yet be spent; and when all is quiet for Horizon, it says what the records say.
func TestCounterNeverLow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		var c counter
		var all []*attempt
		var stale []attempt // what the index of the records shows, which may be behind
		cents := func(name string) float64 { return float64(rapid.IntRange(1, 500).Draw(t, name)) / 100 }
		count := func(records []attempt) {
			r := NewRecords(now)
			for _, a := range records {
				r.Add(a.at, a.costs)
			}
			c.count(1, r)
		}
		records := func() []attempt {
			var landed []attempt
			for _, a := range all {
				if a.landed {
					landed = append(landed, *a)
				}
			}
			return landed
		}
		pick := func(which func(*attempt) bool) *attempt {
			var some []*attempt
			for _, a := range all {
				if which(a) {
					some = append(some, a)
				}
			}
			if len(some) == 0 {
				t.Skip("none")
			}
			return rapid.SampledFrom(some).Draw(t, "attempt")
		}
		pending := func(a *attempt) bool { return !a.landed && now.Sub(a.at) <= freshFor }
		t.Repeat(map[string]func(*rapid.T){
			"reserve": func(*rapid.T) {
				a := &attempt{at: now, amount: cents("amount")}
				a.costs = a.amount
				all = append(all, a)
				c.add(a.at, toMicros(a.amount))
			},
			"the intent is recorded":     func(*rapid.T) { pick(pending).landed = true },
			"the process dies before it": func(*rapid.T) { a := pick(pending); a.at = a.at.Add(-2 * Horizon); a.costs = 0 },
			"refused": func(*rapid.T) {
				a := pick(func(a *attempt) bool { return a.landed && a.costs == a.amount && now.Sub(a.at) <= freshFor })
				c.add(a.at, -toMicros(a.amount))
				a.costs = 0
			},
			"refused, and dies": func(*rapid.T) { pick(func(a *attempt) bool { return a.landed }).costs = 0 },
			"costs less": func(*rapid.T) {
				a := pick(func(a *attempt) bool { return a.landed })
				a.costs = min(a.costs, cents("costs"))
			},
			"count":                    func(*rapid.T) { stale = records(); count(stale) },
			"count from a view behind": func(*rapid.T) { count(stale) },
			"time passes": func(*rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(1, 240).Draw(t, "seconds")) * time.Second)
				if len(stale) < len(records()) {
					stale = records() // a view is never minutes behind
				}
			},
			"": func(*rapid.T) {
				var owed micros
				for _, a := range all {
					if a.landed || pending(a) {
						owed += toMicros(a.costs)
					}
				}
				if c.Total() < owed {
					t.Fatalf("the counter says %v, and %v is or may be spent: %+v", c.Total().USD(), owed.USD(), c)
				}
			},
		})
		now = now.Add(Horizon + time.Minute)
		count(records())
		var sum micros
		for _, a := range records() {
			sum += toMicros(a.costs)
		}
		if c.Total() != sum {
			t.Fatalf("after a quiet time the counter says %v, the records %v: %+v", c.Total().USD(), sum.USD(), c)
		}
	})
}

// TestCounterClocks: clocks that differ cost money that is set aside, never the cap.
func TestCounterClocks(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var c counter
	r := NewRecords(now)
	r.Add(now.Add(-time.Hour), 3)
	if !c.count(7, r) || c.Total().USD() != 3 || c.Cap != 7 {
		t.Fatalf("%+v", c)
	}
	behind := now.Add(-2 * Horizon) // by its own clock
	c.add(behind, toMicros(2))
	if c.Total().USD() != 5 {
		t.Errorf("reserved by a clock that is behind: %+v", c)
	}
	c.add(behind, -toMicros(2))
	if c.Total().USD() != 5 {
		t.Errorf("what may be counted in the records was taken off: %+v", c)
	}
	if c.count(7, NewRecords(now.Add(-Horizon))) || c.Total().USD() != 5 {
		t.Errorf("counted by a clock that is behind: %+v", c)
	}
	same := NewRecords(now)
	same.Add(now.Add(-time.Hour), 3)
	if c.count(7, same) {
		t.Error("no news were written")
	}
}
