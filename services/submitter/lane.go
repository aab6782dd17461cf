package submitter

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/dispatch"
	"reelay/internal/provider"
)

// lane is one provider account: a cache of its records as far as they matter to what is sent next, rebuilt from KV at every start
// and kept by every submitter, so that whoever takes the lane over knows it.
type lane struct {
	provider.Lane
	breaker
	slots chan struct{}
	wake  chan struct{}
	// news says that something is to be remembered, or told by an event.
	news chan struct{}
	// running are the tasks that are being sent.
	running sync.WaitGroup

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
	// mute is until when no request names a callback URL.
	mute  time.Time
	swept time.Time
	// takes is how long a task takes that is sent, on the mean of late.
	takes time.Duration
}

func newLane(l provider.Lane, slots int, log *slog.Logger) *lane {
	n := &lane{
		Lane: l, slots: make(chan struct{}, slots), wake: make(chan struct{}, 1), news: make(chan struct{}, 1),
		tasks: map[events.Key]*standing{},
	}
	n.breaker = newBreaker(l.Name, log, func() { nudge(n.news) })
	n.limit(events.LaneLimits{}, time.Now())
	return n
}

// recentSends is about how many sends the mean time of one is of.
const recentSends = 16

// maxAwayWait bounds the time between two tries to reach a provider that is away.
const maxAwayWait = 30 * time.Second

// nudge makes sure that whoever waits on a channel looks again.
func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// limit puts limits in force, over the provider's own. What is known of the tasks stays; what was learned of the provider does where the
// limits are as they were: a person who changes one may know better.
func (l *lane) limit(set events.LaneLimits, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limits = set.Over(l.Limits)
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
	nudge(l.wake)
}

// family returns the family of a task. The lock is held.
func (l *lane) family(s *standing) *family { return l.families[l.limits.LimitGroup(s.model)] }

// see takes in a record, nil if it is gone. One that is older than what is known changes nothing. The generation is the watch that
// has shown it, 0 for none.
func (l *lane) see(k events.Key, t *events.Task, generation uint64, now time.Time) {
	s := newStanding(t) // it reads the input, for which nobody should wait
	l.mu.Lock()
	defer l.mu.Unlock()
	l.put(k, s, generation, now)
}

// put is see, of a record that was read. The lock is held.
func (l *lane) put(k events.Key, s *standing, generation uint64, now time.Time) {
	old := l.tasks[k]
	switch {
	case s != nil && old != nil && s.version < old.version:
		old.generation = max(old.generation, generation)
		return
	case s != nil:
		s.generation = generation
		if old != nil {
			s.reserved, s.turn = old.reserved, old.turn
			s.generation = max(generation, old.generation)
		}
	case old != nil && old.reserved: // what is being sent takes its place until it is done
		s = &standing{key: k, model: old.model, reserved: true, turn: old.turn}
	}
	l.replace(k, old, s, now)
}

// replace changes what is known of a task, and wakes whoever sends. The lock is held.
func (l *lane) replace(k events.Key, old, s *standing, now time.Time) {
	of := cmp.Or(s, old)
	if of == nil {
		return
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
	if s != nil || old.atProvider || old.reserved {
		nudge(l.wake)
	}
}

// sweep forgets the tasks of which nothing matters any more, and those that the watch of a generation has not shown.
func (l *lane) sweep(generation uint64, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.swept = now
	for k, s := range l.tasks {
		if s.forgettable(l.past(now)) || s.generation < generation && !s.reserved {
			l.replace(k, s, nil, now)
		}
	}
}

// past is the time before which no request is counted any more.
func (l *lane) past(now time.Time) time.Time {
	longest := time.Duration(0)
	for _, m := range l.limits.Models {
		longest = max(longest, m.EachWindow())
	}
	return now.Add(-longest - skew)
}

// hold keeps the lane from sending until then.
func (l *lane) hold(until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if until.After(l.held) {
		l.held = until
	}
}

// resume lets the lane send at once, whatever it waits for that is no limit: a person says so.
func (l *lane) resume() {
	l.breaker.close()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held, l.away = time.Time{}, 0
}

// reach takes in whether the provider could be reached by a request that was begun at a time. While it cannot be, requests are rare:
// each leaves its trace in a record, and none gets anywhere. It returns how many times in a row the provider could not be reached
// with this one, 0 if it could or this one tells nothing new.
func (l *lane) reach(reached bool, begun time.Time) (away int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case reached:
		l.away = 0
	case begun.After(l.missed): // else it was on its way already when another did not get through
		l.away, l.missed = l.away+1, time.Now()
		if until := l.missed.Add(min(time.Second<<min(l.away-1, 16), maxAwayWait)); until.After(l.held) {
			l.held = until
		}
		return l.away
	}
	return 0
}

// holdProject keeps the tasks of a project from being sent until then.
func (l *lane) holdProject(k events.Key, until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := l.of(k); f != nil {
		f.project(k.Project).held = until
	}
}

// giveBack gives back the turn of a task of which nothing was sent, so that the next need not keep its distance to it.
func (l *lane) giveBack(k events.Key) {
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

// next reserves the task whose turn it is: what it takes is taken until finish. Without one it says when to look again; 0 for not
// before the next change. The families of models take turns.
func (l *lane) next(now time.Time) (k events.Key, ok bool, wait time.Duration) {
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

// finish ends the reservation of a task. t is its record as far as it is known now, nil if it is not. One that still waits goes back
// in line, held back to notBefore.
func (l *lane) finish(k events.Key, t *events.Task, notBefore, now time.Time) {
	fresh := newStanding(t)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sending--
	if fresh != nil {
		l.put(k, fresh, 0, now)
	}
	old := l.tasks[k]
	if old == nil {
		return
	}
	l.takes += (now.Sub(old.turn.at) - l.takes) / recentSends
	s := *old
	s.reserved = false
	if s.version == 0 { // its record is gone
		l.replace(k, old, nil, now)
		return
	}
	if notBefore.After(s.notBefore) {
		s.notBefore = notBefore
		if s.hold == nil {
			s.hold = &events.Blocked{Reason: events.BlockedRetry, Message: "it could not be sent", Until: &notBefore}
		}
	}
	l.replace(k, old, &s, now)
}

// busy reports whether a task is being sent.
func (l *lane) busy() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sending > 0
}

// of returns the family of a task that is being sent. The lock is held.
func (l *lane) of(k events.Key) *family {
	if s := l.tasks[k]; s != nil {
		return l.family(s)
	}
	return nil
}

// refuse takes in a refusal for the rate of requests or, if crowded, for the tasks in flight, and returns how long none of the family
// is sent.
func (l *lane) refuse(k events.Key, begun time.Time, crowded bool, retryAfter time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.of(k)
	if f == nil {
		return refusedPause
	}
	defer nudge(l.news)
	return f.refuse(time.Now(), begun, crowded, retryAfter)
}

// accept takes in that the provider has taken a request.
func (l *lane) accept(k events.Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.of(k)
	if f == nil {
		return
	}
	rate, crowd := f.rate, f.crowd
	f.accept(time.Now())
	if rate.Limit != f.rate.Limit || crowd.Limit != f.crowd.Limit {
		nudge(l.news)
	}
}

// A memory is what the next dispatcher of a lane should know and no record tells.
type memory struct {
	Models map[string]learned `json:"models,omitempty"`
	// Paused is the state that was told last by an event, Version the revision that had made it so.
	Paused  bool   `json:"paused,omitempty"`
	Version uint64 `json:"version,omitempty"`
}

// learned is what was learned of the provider for one family.
type learned struct {
	Rate  dispatch.Learned `json:"rate,omitzero"`
	Crowd dispatch.Learned `json:"crowd,omitzero"`
	// Held: nothing is sent before.
	Held time.Time `json:"held,omitzero"`
}

// recall takes in what the dispatcher before has learned.
func (l *lane) recall(models map[string]learned, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, f := range l.families {
		m := models[name]
		if !m.Rate.Valid() || !m.Crowd.Valid() {
			m = learned{}
		}
		if latest := now.Add(maxRetryAfter); m.Held.After(latest) { // by a clock that was ahead
			m.Held = latest
		}
		f.rate, f.crowd, f.held = m.Rate, m.Crowd, m.Held
	}
}

// learnt returns what was learned, by family.
func (l *lane) learnt() map[string]learned {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := map[string]learned{}
	for name, f := range l.families {
		if m := (learned{f.rate, f.crowd, f.held}); m != (learned{}) {
			all[name] = m
		}
	}
	return all
}

// follow keeps what the lanes know as the records are.
func (s *Service) follow(ctx context.Context) error {
	select {
	case <-s.switches.known: // the limits say for how long a request matters
	case <-ctx.Done():
		return nil
	}
	generation := uint64(0)
	bus.KeepFollowing(ctx, s.log, "record watch interrupted", func(ctx context.Context) error {
		generation++
		return s.o.Bus.Follow(ctx, func(u bus.Update) { s.see(u, generation) })
	})
	return nil
}

// sweepEvery is how often a lane forgets what matters no more.
const sweepEvery = 10 * time.Minute

func (s *Service) see(u bus.Update, generation uint64) {
	now := time.Now()
	for _, l := range s.lanes {
		switch {
		case u.Ready:
			l.sweep(generation, now)
		case u.Key == (events.Key{}):
		case u.Task == nil || u.Task.Lane == l.Name:
			l.see(u.Key, u.Task, generation, now)
		}
		if now.Sub(l.swept) > sweepEvery {
			l.sweep(0, now)
		}
	}
	if u.Ready {
		s.ready.Store(true)
		return
	}
	s.followed.Store(u.Revision)
}
