package dispatch

import (
	"slices"
	"time"

	"reelay/events"
	"reelay/internal/forecast"
	"reelay/internal/task"
)

const (
	// leastPlace is how near the head tasks are not told any more, and neither are those nearer than two sends of each slot of the
	// lane. They go soon; and a write then could take the compare-and-set from an intent, which would hold the task back.
	leastPlace = 8
	// maxLooks bounds how many tasks Some looks at, so that the lane is never locked for long.
	maxLooks = 40
)

// A Waiting is a task that may be told its place.
type Waiting struct {
	Key events.Key
	// Told is what it was told last, Class by what its end is foretold.
	Told  task.Told
	Class forecast.Class
}

// LeastTold is the place nearest to the head that is told.
func (l *Lane) LeastTold() int { return max(leastPlace, 2*l.slots) }

// Some looks at the next maxLooks tasks at most of the families in which there are places to tell, and returns those of which no project
// is held back.
func (l *Lane) Some(now time.Time) (some []Waiting) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.round) == 0 {
		for _, f := range l.families {
			if f.queue.Len() > l.LeastTold() {
				l.round = slices.AppendSeq(l.round, f.queue.Keys())
			}
		}
	}
	n := min(maxLooks, len(l.round))
	for _, k := range l.round[:n] {
		s := l.tasks[k]
		if s == nil || !s.waiting || s.reserved { // it has gone since
			continue
		}
		if p := l.family(s).projects[k.Project]; !p.held.After(now) {
			some = append(some, Waiting{s.key, s.told, s.class})
		}
	}
	l.round = l.round[n:]
	return some
}
