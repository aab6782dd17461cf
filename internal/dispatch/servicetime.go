package dispatch

import "time"

// A ServiceTime remembers minTurnovers starts and ends, or turnoversPerSlot for every occupied slot where that is more:
// slots that were occupied at the same time are left at about the same time. Then half of what is known is forgotten,
// so that the newest count most.
const minTurnovers, turnoversPerSlot = 128, 24

// A ServiceTime estimates for how long a slot is occupied on the mean, where slots are always in demand: as occupied
// time divided by starts and ends (Little's law). Unfinished work counts, so that short tasks, which end first, do not
// bias it. The zero ServiceTime knows nothing. It is not safe for concurrent use.
type ServiceTime struct {
	total time.Duration // of all slots together, up to since
	since time.Time
	// turnovers counts starts and ends.
	turnovers int
	// occupied is how many slots were before the last change.
	occupied int
}

// Observe takes in that so many slots were occupied from the last change on to this one, and that this one has so many
// starts and ends. A start that is taken back counts -1.
func (s *ServiceTime) Observe(now time.Time, occupied, turnovers int) {
	if d := now.Sub(s.since); !s.since.IsZero() && d > 0 {
		s.total += time.Duration(occupied) * d
	}
	s.since, s.occupied = now, occupied
	if s.turnovers += turnovers; s.turnovers >= max(minTurnovers, turnoversPerSlot*occupied) {
		s.total, s.turnovers = s.total/2, s.turnovers/2
	}
}

// Mean returns for how long a slot is occupied; 0 while too few have ended to tell: a handful, or a quarter of the
// slots. Many that were occupied at once are so for no time yet, and the first to end are those of tasks that fail at
// once.
func (s *ServiceTime) Mean() time.Duration {
	const handful = 5
	// By as many as there are more starts than ends, slots are occupied now.
	if ends := (s.turnovers - s.occupied) / 2; ends < max(handful, s.occupied/4) {
		return 0
	}
	return s.total / time.Duration(s.turnovers) * 2
}
