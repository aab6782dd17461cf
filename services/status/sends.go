package status

import (
	"slices"
	"time"
)

const (
	// maxSends and sendWindow bound the submits by which the speed of a lane is judged.
	maxSends   = 32
	sendWindow = 15 * time.Minute
)

// sends are the Unix times, in nanoseconds, of the newest submits of a lane, oldest first.
type sends []int64

// with adds a submit; order does not matter.
func (s sends) with(at int64) sends {
	i, known := slices.BinarySearch(s, at)
	if known {
		return s
	}
	s = slices.Insert(s, i, at)
	return s[max(0, len(s)-maxSends):]
}

// perSecond is how many submits a second there were of late; 0 if fewer than two.
func (s sends) perSecond(now time.Time) float64 {
	first, _ := slices.BinarySearch(s, now.Add(-sendWindow).UnixNano())
	late := s[first:]
	if len(late) < 2 {
		return 0
	}
	return float64(len(late)) / max(now.Sub(time.Unix(0, late[0])).Seconds(), 1e-3)
}

// sendRate is how many tasks a second have left the line of a lane of late; 0 if that is not known.
func (x *index) sendRate(lane string, now time.Time) float64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.sends[lane].perSecond(now)
}
