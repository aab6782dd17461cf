package spend

import (
	"math"
	"time"

	"reelay/events/bucket"
)

// Horizon is how long a reservation counts before the records alone do.
const Horizon = 10 * time.Minute

// micros is an amount in millionths of a US dollar.
type micros = bucket.Micros

func toMicros(usd float64) micros { return micros(math.Round(usd * 1e6)) }

// A counter adds up the reservations and the records of one cap on one day.
type counter struct{ bucket.SpendCounter }

const (
	// maxMicros bounds an amount, as bucket.MaxCapUSD does a cap, and maxMinutes how many are told apart, so that no sum
	// overflows.
	maxMicros  = micros(bucket.MaxCapUSD * 1e6)
	maxMinutes = 2 * 24 * 60
)

// valid reports whether the counter can be what reservations and records make.
func (c counter) valid() bool {
	ok := c.CountedMicros >= 0 && c.CountedMicros <= maxMicros && len(c.ReservedMicros) <= maxMinutes
	for _, m := range c.ReservedMicros {
		ok = ok && m >= 0 && m <= maxMicros
	}
	return ok
}

func minute(at time.Time) int64 { return at.Unix() / 60 }

// add changes what is reserved for a minute. One that is counted already, by a clock that is ahead of at, is taken to
// be the first that is not; nothing is taken from it.
func (c *counter) add(at time.Time, m micros) {
	when := minute(at)
	if when < c.To {
		if m < 0 {
			return // the records have it
		}
		when = c.To
	}
	reserved := make(map[int64]micros, len(c.ReservedMicros)+1)
	for k, v := range c.ReservedMicros {
		reserved[k] = v
	}
	reserved[when] = max(0, reserved[when]+m)
	if reserved[when] == 0 {
		delete(reserved, when)
	}
	c.ReservedMicros = reserved
}

// Records is what the records say of one scope and day.
type Records struct {
	// To is the time before which attempts are in Counted; those since are in Recent by the Unix minute of their intent.
	to      int64
	counted micros
	recent  map[int64]micros
}

// NewRecords returns an empty sum as of now.
func NewRecords(now time.Time) *Records {
	return &Records{to: minute(now.Add(-Horizon)), recent: map[int64]micros{}}
}

// Add adds an attempt with its intent at a time and what it costs, or may cost, in US dollars.
func (r *Records) Add(at time.Time, usd float64) {
	if when := minute(at); when < r.to {
		r.counted += toMicros(usd)
	} else {
		r.recent[when] += toMicros(usd)
	}
}

// count takes over what the records say, and reports whether that is news.
func (c *counter) count(cap uint64, r *Records) bool {
	next := bucket.SpendCounter{
		Cap: cap, To: max(c.To, r.to), CountedMicros: r.counted,
		ReservedMicros: map[int64]micros{},
	}
	if next.To > r.to {
		return false // another's clock is ahead of ours: it will count again
	}
	for when, m := range c.ReservedMicros {
		if when >= next.To {
			next.ReservedMicros[when] = m
		}
	}
	for when, m := range r.recent {
		// An attempt may be reserved and not in a record yet, or in a record and never reserved: before there was a cap.
		next.ReservedMicros[when] = max(m, next.ReservedMicros[when])
	}
	same := next.Cap == c.Cap && next.CountedMicros == c.CountedMicros && len(next.ReservedMicros) == len(c.ReservedMicros)
	for when, m := range next.ReservedMicros {
		same = same && c.ReservedMicros[when] == m
	}
	if same {
		return false
	}
	c.SpendCounter = next
	return true
}
