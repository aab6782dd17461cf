package status

import (
	"slices"
	"time"
)

const (
	// submitWindow is the time for which submits are counted, maxSubmits how many at most.
	submitWindow = time.Minute
	maxSubmits   = 10_000
)

// submitTimes are the Unix times, in nanoseconds, of the submits of a lane of late, oldest first.
type submitTimes []int64

// with adds a submit; order does not matter.
func (s submitTimes) with(at int64, now time.Time) submitTimes {
	s = s.since(now)
	i, known := slices.BinarySearch(s, at)
	if known || at < now.Add(-submitWindow).UnixNano() {
		return s
	}
	s = slices.Insert(s, i, at)
	return s[max(0, len(s)-maxSubmits):]
}

// since drops the submits that count no more.
func (s submitTimes) since(now time.Time) submitTimes {
	first, _ := slices.BinarySearch(s, now.Add(-submitWindow).UnixNano())
	return s[first:]
}
