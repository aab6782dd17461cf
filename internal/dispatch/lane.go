package dispatch

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"reelay/events"
)

// A Lane is the tasks of one provider account as far as they matter to what is sent next: a cache of its records, rebuilt from KV
// at every start and kept by every submitter, so that whoever takes the lane over knows it. It is safe for concurrent use.
type Lane struct {
	name     string
	slots    int
	defaults map[string]events.ModelLimits

	mu       sync.Mutex
	limits   events.LaneLimits // in force
	families map[string]*family
	order    []string // of families, those first whose turn it is
	tasks    map[events.Key]*standing
	// round are the tasks that are yet to be looked at, before all are again, for whether they should be told their place.
	round   []events.Key
	sending int
	held    time.Time // nothing at all is sent before: the breaker is open, or the provider is away
	// away counts the times in a row that the provider could not be reached, missed is when it was the last time.
	away   int
	missed time.Time
	// takes is how long a task takes that is sent, on the mean of late.
	takes time.Duration
}

// NewLane returns a lane without tasks that sends so many at once, at least 1. The defaults are the provider's own limits by limit
// group, for AnyModel at least none.
func NewLane(name string, slots int, defaults map[string]events.ModelLimits, now time.Time) *Lane {
	l := &Lane{name: name, slots: slots, defaults: defaults, tasks: map[events.Key]*standing{}}
	l.SetLimits(events.LaneLimits{}, now)
	return l
}

// recentSends is about how many sends the mean time of one is of.
const recentSends = 16

// maxAwayWait bounds the time between two tries to reach a provider that is away.
const maxAwayWait = 30 * time.Second

// SetLimits puts limits in force, over the provider's own. What is known of the tasks stays; what was learned of the provider does where the
// limits are as they were: a person who changes one may know better.
func (l *Lane) SetLimits(set events.LaneLimits, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limits = set.Over(l.defaults)
	old := l.families
	l.families = map[string]*family{}
	for name, limits := range l.limits.Models {
		f := newFamily(limits, l.limits.Projects)
		if was := old[name]; was != nil {
			f.sent, f.flow = was.sent, was.flow
			if limits == was.limits {
				f.rate, f.crowd, f.held, f.refused = was.rate, was.crowd, was.held, was.refused
			}
		}
		l.families[name] = f
	}
	l.order = slices.Sorted(maps.Keys(l.families))
	for _, s := range l.tasks {
		l.family(s).add(s, now)
	}
}

// family returns the family of a task. The lock is held.
func (l *Lane) family(s *standing) *family { return l.families[l.limits.LimitGroup(s.model)] }

// See takes in a record, nil if it is gone. One that is older than what is known changes nothing. The generation is the watch that
// has shown it, 0 for none. It reports whether a task may be sent now that could not be before.
func (l *Lane) See(k events.Key, t *events.Task, generation uint64, now time.Time) (news bool) {
	s := newStanding(t) // it reads the input, for which nobody should wait
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.put(k, s, generation, now)
}

// put is See, of a record that was read. The lock is held.
func (l *Lane) put(k events.Key, s *standing, generation uint64, now time.Time) (news bool) {
	old := l.tasks[k]
	switch {
	case s != nil && old != nil && s.version < old.version:
		old.generation = max(old.generation, generation)
		return false
	case s != nil:
		s.generation = generation
		if old != nil {
			s.reserved, s.turn = old.reserved, old.turn
			s.generation = max(generation, old.generation)
		}
	case old != nil && old.reserved: // what is being sent takes its place until it is done
		s = &standing{key: k, model: old.model, reserved: true, turn: old.turn}
	}
	return l.replace(k, old, s, now)
}

// replace changes what is known of a task. The lock is held.
func (l *Lane) replace(k events.Key, old, s *standing, now time.Time) (news bool) {
	of := cmp.Or(s, old)
	if of == nil {
		return false
	}
	f := l.family(of)
	taken, took := len(f.inFlight), f.inFlight[k]
	if old != nil {
		f.drop(old)
		delete(l.tasks, k)
	}
	if s != nil && !s.forgettable(l.past(now)) {
		l.tasks[k] = s
		f.add(s, now)
	}
	turns := 0
	switch takes := f.inFlight[k]; {
	case takes && !took && old != nil: // else nobody knows when it was started
		turns = 1
	case took && !takes && s != nil && s.waiting: // it was not sent
		turns = -1
	case took && !takes:
		turns = 1
	}
	f.flow.Pass(now, taken, turns)
	return s != nil || old.atProvider || old.reserved
}

// Sweep forgets the tasks of which nothing matters any more, and those that the watch of a generation has not shown. It reports what
// See does.
func (l *Lane) Sweep(generation uint64, now time.Time) (news bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, s := range l.tasks {
		if s.forgettable(l.past(now)) || s.generation < generation && !s.reserved {
			news = l.replace(k, s, nil, now) || news
		}
	}
	return news
}

// past is the time before which no request is counted any more.
func (l *Lane) past(now time.Time) time.Time {
	longest := time.Duration(0)
	for _, m := range l.limits.Models {
		longest = max(longest, m.EachWindow())
	}
	return now.Add(-longest - skew)
}

// Backoff keeps the lane from sending until then.
func (l *Lane) Backoff(until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if until.After(l.held) {
		l.held = until
	}
}

// Resume lets the lane send at once, whatever it waits for that is no limit.
func (l *Lane) Resume() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held, l.away = time.Time{}, 0
}

// Reached takes in whether the provider could be reached by a request that was begun at a time. While it cannot be, requests are rare:
// each leaves its trace in a record, and none gets anywhere. It returns how many times in a row the provider could not be reached
// with this one, 0 if it could or this one tells nothing new.
func (l *Lane) Reached(reached bool, begun, now time.Time) (away int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case reached:
		l.away = 0
	case begun.After(l.missed): // else it was on its way already when another did not get through
		l.away, l.missed = l.away+1, now
		if until := l.missed.Add(min(time.Second<<min(l.away-1, 16), maxAwayWait)); until.After(l.held) {
			l.held = until
		}
		return l.away
	}
	return 0
}

// BackoffProject keeps the tasks of a project from being sent until then.
func (l *Lane) BackoffProject(k events.Key, until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := l.of(k); f != nil {
		f.project(k.Project).held = until
	}
}

// GiveBack gives back the turn of a task of which nothing was sent, so that the next need not keep its distance to it.
func (l *Lane) GiveBack(k events.Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.of(k)
	if f == nil {
		return
	}
	if s := l.tasks[k]; f.sent.Equal(s.turn.at) {
		f.sent = s.turn.before
	}
}

// Next reserves the task whose turn it is: what it takes is taken until Finish. Without one it says when to look again; 0 for not
// before the next change. The families of models take turns.
func (l *Lane) Next(now time.Time) (k events.Key, ok bool, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if d := l.held.Sub(now); d > 0 {
		return k, false, d
	}
	for i, name := range l.order {
		f := l.families[name]
		before := f.sent
		k, ok, d := f.next(now)
		if !ok {
			wait = sooner(wait, d)
			continue
		}
		s := l.tasks[k]
		f.flow.Pass(now, len(f.inFlight), 1)
		f.drop(s)
		s.reserved, s.turn = true, turn{now, before}
		f.add(s, now)
		l.sending++
		l.order = append(slices.Delete(l.order, i, i+1), name)
		return k, true, 0
	}
	return k, false, wait
}

// Finish ends the reservation of a task. t is its record as far as it is known now, nil if it is not. One that still waits goes back
// in line, held back to notBefore. It reports what See does.
func (l *Lane) Finish(k events.Key, t *events.Task, notBefore, now time.Time) (news bool) {
	fresh := newStanding(t)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sending--
	if fresh != nil {
		news = l.put(k, fresh, 0, now)
	}
	old := l.tasks[k]
	if old == nil {
		return news
	}
	l.takes += (now.Sub(old.turn.at) - l.takes) / recentSends
	s := *old
	s.reserved = false
	if s.version == 0 { // its record is gone
		return l.replace(k, old, nil, now) || news
	}
	if notBefore.After(s.notBefore) {
		s.notBefore = notBefore
		if s.hold == nil {
			s.hold = &events.Blocked{Reason: events.BlockedRetry, Message: "it could not be sent", Until: &notBefore}
		}
	}
	return l.replace(k, old, &s, now) || news
}

// Busy reports whether a task is being sent.
func (l *Lane) Busy() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sending > 0
}

// of returns the family of a task that is being sent. The lock is held.
func (l *Lane) of(k events.Key) *family {
	if s := l.tasks[k]; s != nil {
		return l.family(s)
	}
	return nil
}

// Refused takes in a refusal for the rate of requests or, if crowded, for the tasks in flight, and returns how long none of the family
// is sent.
func (l *Lane) Refused(k events.Key, begun time.Time, crowded bool, retryAfter time.Duration, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.of(k)
	if f == nil {
		return refusedPause
	}
	return f.refuse(now, begun, crowded, retryAfter)
}

// Accepted takes in that the provider has taken a request, and reports whether a limit has changed by that.
func (l *Lane) Accepted(k events.Key, now time.Time) (changed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.of(k)
	if f == nil {
		return false
	}
	rate, crowd := f.rate, f.crowd
	f.accept(now)
	return rate.Limit != f.rate.Limit || crowd.Limit != f.crowd.Limit
}

// Grants are what was learned of the provider for one family.
type Grants struct {
	Rate  Learned `json:"rate,omitzero"`
	Crowd Learned `json:"crowd,omitzero"`
	// Held: nothing is sent before.
	Held time.Time `json:"held,omitzero"`
}

// Restore takes in what the dispatcher before has learned.
func (l *Lane) Restore(models map[string]Grants, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, f := range l.families {
		m := models[name]
		if !m.Rate.Valid() || !m.Crowd.Valid() {
			m = Grants{}
		}
		if latest := now.Add(maxRetryAfter); m.Held.After(latest) { // by a clock that was ahead
			m.Held = latest
		}
		f.rate, f.crowd, f.held = m.Rate, m.Crowd, m.Held
	}
}

// Grants returns what was learned, by family.
func (l *Lane) Grants() map[string]Grants {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := map[string]Grants{}
	for name, f := range l.families {
		if m := (Grants{f.rate, f.crowd, f.held}); m != (Grants{}) {
			all[name] = m
		}
	}
	return all
}
