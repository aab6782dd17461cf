package dispatch

import "time"

// A Flow remembers minTurns starts and ends, or turnsEach for every place where that is more: places that were taken at the same time
// are left at about the same time. Then half of what is known is forgotten, so that the newest count most.
const minTurns, turnsEach = 128, 24

// A Flow measures for how long places are taken that are always in demand: by the time for which they were, and by how many starts and
// ends there were. So those count as well that have not ended, and what is measured is not misled by the short ones, which end first.
// The zero Flow knows nothing. It is not safe for concurrent use.
type Flow struct {
	taken time.Duration // of all places together, up to since
	since time.Time
	// turns counts starts and ends.
	turns int
	// places were taken before the last change.
	places int
}

// Pass takes in that so many places were taken from the last change on to this one, and that this one has so many starts and ends. A
// start that is taken back counts -1.
func (f *Flow) Pass(now time.Time, taken, turns int) {
	if d := now.Sub(f.since); !f.since.IsZero() && d > 0 {
		f.taken += time.Duration(taken) * d
	}
	f.since, f.places = now, taken
	if f.turns += turns; f.turns >= max(minTurns, turnsEach*taken) {
		f.taken, f.turns = f.taken/2, f.turns/2
	}
}

// Each returns for how long a place is taken on the mean; 0 while too few were left to tell: a handful, or a quarter of the places. Many
// that were taken at once are so for no time yet, and the first to be left are those of tasks that fail at once.
func (f *Flow) Each() time.Duration {
	const handful = 5
	// What there are more starts than ends is what is taken now.
	if ends := (f.turns - f.places) / 2; ends < max(handful, f.places/4) {
		return 0
	}
	return f.taken / time.Duration(f.turns) * 2
}
