package dispatch

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"reelay/events"
)

const (
	// recentSends is about how many sends are averaged to know how long one takes.
	recentSends = 64
	// maxUnreachableBackoff bounds the time between two tries to reach a provider that is unreachable.
	maxUnreachableBackoff = 30 * time.Second
)

// A Lane is the tasks of one provider account as far as they matter to what is sent next: a cache of its records,
// rebuilt from KV at every start and kept by every submitter, so that whoever takes the lane over knows it. It is safe
// for concurrent use.
type Lane struct {
	name       string
	leastSlots int
	defaults   map[string]events.ModelLimits

	mu      sync.Mutex
	limits  events.LaneLimits // in force
	groups  map[string]*group
	order   []string // of groups, next first
	entries map[events.Key]*entry
	// scan are the tasks that are yet to be visited by Scan before all are again.
	scan []events.Key
	// slots is how many tasks may be sent at once.
	slots int
	// sending counts the tasks that are being sent. sendTime and sendSlots are moving averages over the sends so far: of
	// how long one occupies a slot, and of how many slots there were.
	sending   int
	sends     int
	sendTime  time.Duration
	sendSlots float64
	// backoff is why nothing of the lane is sent before its Until; nil for nothing.
	backoff *events.Blocked
	// failures counts the requests in a row that could not reach the provider, lastFailure is when the last of them
	// failed.
	failures    int
	lastFailure time.Time
}

// NewLane returns a lane without tasks that sends at most as many at once as it has slots, at least 1; see SetSlots. The
// defaults are the provider's own limits by limit group.
func NewLane(name string, slots int, defaults map[string]events.ModelLimits, now time.Time) *Lane {
	slots = max(slots, 1)
	l := &Lane{name: name, leastSlots: slots, slots: slots, defaults: defaults, entries: map[events.Key]*entry{}}
	l.SetLimits(events.LaneLimits{}, now)
	return l
}

// SetSlots says how many tasks may be sent at once by now; no fewer than at first.
func (l *Lane) SetSlots(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slots = max(n, l.leastSlots)
}

// SetLimits puts limits in force, over the provider's own. What is known of the tasks stays; what was learned of the
// provider does where the limits are as they were: a person who changes one may know better.
func (l *Lane) SetLimits(set events.LaneLimits, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limits = set.Over(l.defaults)
	old := l.groups
	l.groups = map[string]*group{}
	for name, limits := range l.limits.Models {
		g := newGroup(name, limits, l.limits.Projects)
		if was := old[name]; was != nil {
			g.lastSent, g.inFlightTime = was.lastSent, was.inFlightTime
			if limits == was.limits {
				g.rate, g.concurrency, g.backoff, g.refusedAt = was.rate, was.concurrency, was.backoff, was.refusedAt
			}
		}
		l.groups[name] = g
	}
	l.order = slices.Sorted(maps.Keys(l.groups))
	for _, e := range l.entries {
		l.group(e).add(e, now)
	}
}

// group returns the limit group of a task. The lock is held.
func (l *Lane) group(e *entry) *group { return l.groups[l.limits.LimitGroup(e.model)] }

// See takes in a record, nil if it is gone. One of another lane matters as long as this one may take its task. One that is
// older than what is known changes nothing. The generation is the watch that has shown it, 0 for none. It reports whether another task may be sent by that than before.
func (l *Lane) See(k events.Key, t *events.Task, generation uint64, now time.Time) (changed bool) {
	e := newEntry(t, l.name) // it reads the input, for which nobody should wait
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.put(k, e, generation, now)
}

// put is See, of a record that was read. The lock is held.
func (l *Lane) put(k events.Key, e *entry, generation uint64, now time.Time) (changed bool) {
	old := l.entries[k]
	switch {
	case e != nil && old != nil && e.version < old.version:
		old.generation = max(old.generation, generation)
		return false
	case e != nil:
		e.generation = generation
		if old != nil {
			e.sending, e.start = old.sending, old.start
			e.generation = max(generation, old.generation)
		}
	case old != nil && old.sending: // it counts until Finish
		e = &entry{key: k, model: old.model, sending: true, start: old.start}
	}
	return l.replace(k, old, e, now)
}

// replace changes what is known of a task, and reports what See does. The lock is held.
func (l *Lane) replace(k events.Key, old, e *entry, now time.Time) (changed bool) {
	of := cmp.Or(e, old)
	if of == nil {
		return false
	}
	g := l.group(of)
	occupied, was := len(g.inFlight), g.inFlight[k]
	if old != nil {
		g.drop(old)
		delete(l.entries, k)
	}
	if e != nil && !e.forgettable(l.countedSince(now)) {
		l.entries[k] = e
		g.add(e, now)
	}
	turnovers := 0
	switch is := g.inFlight[k]; {
	case is && !was && old != nil: // else nobody knows when it was started
		turnovers = 1
	case was && !is && e != nil && e.waiting: // it was not sent
		turnovers = -1
	case was && !is:
		turnovers = 1
	}
	g.inFlightTime.Observe(now, occupied, turnovers)
	return e != nil || old.atProvider || old.sending
}

// Sweep forgets the tasks of which nothing matters any more, and those that the watch of a generation has not shown. It
// reports what See does.
func (l *Lane) Sweep(generation uint64, now time.Time) (changed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, e := range l.entries {
		if e.forgettable(l.countedSince(now)) || e.generation < generation && !e.sending {
			changed = l.replace(k, e, nil, now) || changed
		}
	}
	return changed
}

// countedSince is the time before which no request is counted any more.
func (l *Lane) countedSince(now time.Time) time.Time {
	longest := time.Duration(0)
	for _, m := range l.limits.Models {
		longest = max(longest, m.EachWindow())
	}
	return now.Add(-longest - clockSkew)
}

// Next takes out the task that is sent next: it counts as being sent until Finish. Without one it says how soon to ask
// again; 0 for not before the next change. The limit groups take turns.
func (l *Lane) Next(now time.Time, outside Outside) (k events.Key, ok bool, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lane := admitted(now).and(l.checks(now, outside)...)
	if !lane.ok {
		return k, false, lane.wait()
	}
	for i, name := range l.order {
		g := l.groups[name]
		before := g.lastSent
		k, ok, d := g.next(lane)
		if !ok {
			wait = sooner(wait, d)
			continue
		}
		e := l.entries[k]
		g.inFlightTime.Observe(now, len(g.inFlight), 1)
		g.drop(e)
		e.sending, e.start = true, sendStart{at: now, before: before}
		g.add(e, now)
		l.sending++
		l.order = append(slices.Delete(l.order, i, i+1), name)
		return k, true, 0
	}
	return k, false, wait
}

// Finish ends the sending of a task. t is its record as far as it is known now, nil if it is not. One that still waits
// goes back into the queue, not to be sent before notBefore. It reports what See does.
func (l *Lane) Finish(k events.Key, t *events.Task, notBefore, now time.Time) (changed bool) {
	fresh := newEntry(t, l.name)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sending--
	if fresh != nil {
		changed = l.put(k, fresh, 0, now)
	}
	old := l.entries[k]
	if old == nil {
		return changed
	}
	slotFree := now
	if !old.start.left.IsZero() {
		slotFree = old.start.left
	}
	l.sends = min(l.sends+1, recentSends)
	l.sendTime += (slotFree.Sub(old.start.at) - l.sendTime) / time.Duration(l.sends)
	l.sendSlots += (float64(l.slots) - l.sendSlots) / float64(l.sends)
	e := *old
	e.sending = false
	if e.version == 0 || t != nil && fresh == nil { // its record is gone, or another lane has it
		return l.replace(k, old, nil, now) || changed
	}
	if notBefore.After(e.notBefore) {
		e.notBefore = notBefore
		if e.blocked == nil {
			e.blocked = &events.Blocked{Reason: events.BlockedRetry, Message: "it could not be sent", Until: &notBefore}
		}
		if _, ok := e.cap(); ok { // reached again; the record tells of the first time only
			e.cappedAt = now
		}
	}
	return l.replace(k, old, &e, now) || changed
}

// Left takes in that the request of a task that is being sent has left, and that its slot is given to another before its
// answer comes.
func (l *Lane) Left(k events.Key, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.entries[k]; e != nil {
		e.start.left = now
	}
}

// Unsent takes in that nothing was sent of a task that is being sent, so that the next need not keep its distance to
// it.
func (l *Lane) Unsent(k events.Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.entries[k]; e != nil {
		if g := l.group(e); g.lastSent.Equal(e.start.at) {
			g.lastSent = e.start.before
		}
	}
}

// Accepted takes in that the provider has taken a request, and reports whether a limit has changed by that.
func (l *Lane) Accepted(k events.Key, now time.Time) (changed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[k]
	if e == nil {
		return false
	}
	g := l.group(e)
	rate, concurrency := g.rate.Limit, g.concurrency.Limit
	g.accept(now)
	return rate != g.rate.Limit || concurrency != g.concurrency.Limit
}

// RateLimited takes in that the provider has refused a request, begun at a time, for the rate of requests or for the
// tasks in flight: a 429 or its like. It pauses the limit group, and returns for how long, and how long the task t
// itself is to wait; 0 for no longer than the others.
func (l *Lane) RateLimited(t events.Task, begun time.Time, concurrency bool, retryAfter time.Duration,
	now time.Time,
) (pause, own time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[t.Key()]
	if e == nil {
		return rateBackoff, retryDelay(t, rateBackoff)
	}
	g := l.group(e)
	pause = g.refuse(t.Key(), now, begun, concurrency, retryAfter)
	if g.refusesAll(now) {
		return pause, 0
	}
	return pause, retryDelay(t, pause)
}

// Reached takes in whether a request that was begun at a time has reached the provider. While the provider is
// unreachable, requests are rare: each leaves its trace in a record, and none gets anywhere. It returns how many in a
// row have failed, those that were on their way together counted as one, and whether this is the first of those. A note
// is added to the reason.
func (l *Lane) Reached(reached bool, begun, now time.Time, note string) (failures int, first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case reached:
		l.failures = 0
	case begun.After(l.lastFailure): // else it was on its way already when another failed
		l.failures, l.lastFailure = l.failures+1, now
		until := now.Add(min(time.Second<<min(l.failures-1, 16), maxUnreachableBackoff))
		why := fmt.Sprintf("the provider could not be reached, %d times in a row", l.failures)
		if note != "" {
			why += "; " + note
		}
		l.backOff(events.BlockedUnreachable, why, until)
		return l.failures, true
	}
	return l.failures, false
}

// Backoff keeps the lane from sending until then, and says why. A shorter one does not end a longer one.
func (l *Lane) Backoff(reason events.BlockedReason, message string, until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.backOff(reason, message, until)
}

// backOff is Backoff. The lock is held.
func (l *Lane) backOff(reason events.BlockedReason, message string, until time.Time) {
	if l.backoff == nil || until.After(*l.backoff.Until) {
		l.backoff = &events.Blocked{Reason: reason, Message: message, Until: &until}
	}
}

// BackoffProject keeps the other tasks of the project of one that is being sent from being sent until then.
func (l *Lane) BackoffProject(k events.Key, until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.entries[k]; e != nil {
		l.group(e).project(k.Project).backoff = until
	}
}

// Resume ends whatever backoff the lane itself has; limits, and the backoff of its groups, stay.
func (l *Lane) Resume() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.backoff, l.failures = nil, 0
}
