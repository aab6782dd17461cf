package dispatch

import (
	"slices"
	"time"

	"reelay/events"
	"reelay/internal/forecast"
	"reelay/internal/task"
)

const (
	// minAnnounced is the position nearest to the head that is published, unless two sends of each slot of the lane are
	// more. Tasks before that go soon; and a write then could take the compare-and-set from an intent, which would keep
	// the task from being sent.
	minAnnounced = 8
	// maxScan bounds how many tasks Scan visits, so that the lane is never locked for long.
	maxScan = 40
)

// A Waiting is a task whose position may be worth to be published.
type Waiting struct {
	Key events.Key
	// Announced is what was last published of its position, Class what its end is predicted by.
	Announced task.AnnouncedPosition
	Class     forecast.Class
}

// MinAnnounced returns the position nearest to the head that is published.
func (l *Lane) MinAnnounced() int { return max(minAnnounced, 2*l.leastSlots) }

// Scan visits the next waiting tasks, one after the other and then all again, of the limit groups in which there are
// positions to publish. It returns those of which nothing stops the project for a while.
func (l *Lane) Scan(now time.Time) (found []Waiting) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.scan) == 0 {
		for _, g := range l.groups {
			if g.queue.Len() > l.MinAnnounced() {
				l.scan = slices.AppendSeq(l.scan, g.queue.Keys())
			}
		}
	}
	n := min(maxScan, len(l.scan))
	for _, k := range l.scan[:n] {
		e := l.entries[k]
		if e == nil || !e.waiting || e.sending || e.away { // it has gone since, or its own lane publishes it
			continue
		}
		if p := l.group(e).projects[k.Project]; !p.backoff.After(now) {
			found = append(found, Waiting{k, e.announced, e.class})
		}
	}
	l.scan = l.scan[n:]
	return found
}
