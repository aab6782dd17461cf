package dispatch

import (
	"math"
	"time"

	"reelay/events"
)

// An Estimator says of the waiting tasks of a lane how many go before each, when the checks let it through, and what
// stops it. It holds for the moment it was made, and is not safe for concurrent use.
type Estimator struct {
	lane    *Lane
	now     time.Time
	outside Outside
	// times are when windows admit further requests: to know takes time, and it is the same for all tasks of a group or
	// project.
	times map[*Window[attemptID]]AdmissionTimes
}

// Estimator returns that of the lane.
func (l *Lane) Estimator(now time.Time, outside Outside) *Estimator {
	return &Estimator{lane: l, now: now, outside: outside, times: map[*Window[attemptID]]AdmissionTimes{}}
}

// Position returns the queue position of a task; false if it does not wait.
func (m *Estimator) Position(k events.Key) (events.Position, bool) {
	l := m.lane
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[k]
	switch {
	case e == nil || !e.waiting:
		return events.Position{}, false
	case e.sending:
		return events.Position{}, true
	}
	g := l.group(e)
	ahead, ownAhead, ok := g.ahead(k)
	if !ok {
		return events.Position{}, false
	}
	checks := l.scopes(e, m.now, m.outside)
	p := events.Position{Ahead: ahead, Blocked: checks.verdict(m.now).blocked()}
	at, rounds := m.now, 0.0
	for i, n := range [...]int{ahead + 1, ahead + 1, ownAhead + 1, 1} {
		for _, c := range checks[i] {
			at = latest(at, m.admits(&c, n))
			if r := c.rounds(n); r > rounds {
				rounds, p.Behind, p.InFlight, p.EachS = r, c.behind(n), c.limit, g.inFlightTime.Mean().Seconds()
			}
		}
	}
	p.WaitS = math.Round(at.Sub(m.now).Seconds()*10) / 10
	return p, true
}

// Room reports whether a further task of a project would be sent at once: no other waits, and no check stops it.
func (l *Lane) Room(model, project string, now time.Time, outside Outside) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.groups[l.limits.LimitGroup(model)]
	v := admitted(now).and(l.checks(now, outside)...).and(g.checks(now)...).and(g.projectChecks(project, now)...)
	return v.ok && g.queue.Len() == 0
}

// admits returns when a check lets the n-th task from now through, from 1, if each is sent as soon as it may be; the
// zero time where nobody knows.
func (m *Estimator) admits(c *check, n int) time.Time {
	switch {
	case c.closed, c.full() && c.window == nil:
		return time.Time{}
	case c.window == nil:
		return latest(c.from, m.now).Add(Times(n-1, c.spacing))
	case c.limit == 0:
		return m.now
	}
	times, ok := m.times[c.window]
	if !ok {
		times = c.window.AdmissionTimes(m.now, c.limit, c.countedFor)
		m.times[c.window] = times
	}
	return times.At(n)
}

// behind returns how many tasks in flight must have ended before the n-th from now is sent, from 1.
func (c *check) behind(n int) int {
	if c.limit == 0 || c.window != nil {
		return 0
	}
	return max(0, c.used+n-c.limit)
}

// rounds is how often as many as may be in flight must end for that.
func (c *check) rounds(n int) float64 { return float64(c.behind(n)) / float64(max(c.limit, 1)) }

// latest returns the latest of some times.
func latest(times ...time.Time) (last time.Time) {
	for _, at := range times {
		if at.After(last) {
			last = at
		}
	}
	return last
}
