package status

import (
	"slices"
	"time"
)

const (
	// sendWindow is the time for which submits are counted, maxSends how many at most.
	sendWindow = time.Minute
	maxSends   = 10_000
)

// sends are the Unix times, in nanoseconds, of the submits of a lane of late, oldest first.
type sends []int64

// with adds a submit; order does not matter.
func (s sends) with(at int64, now time.Time) sends {
	s = s.since(now)
	i, known := slices.BinarySearch(s, at)
	if known || at < now.Add(-sendWindow).UnixNano() {
		return s
	}
	s = slices.Insert(s, i, at)
	return s[max(0, len(s)-maxSends):]
}

// since drops the submits that count no more.
func (s sends) since(now time.Time) sends {
	first, _ := slices.BinarySearch(s, now.Add(-sendWindow).UnixNano())
	return s[first:]
}
