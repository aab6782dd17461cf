package fal

import (
	"cmp"
	"container/heap"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"

	"reelay/internal/emulator"
)

// A schedule says when each job starts and ends, if only so many run at once: a job is ready when its time in the queue
// is over, and the ready ones start in the order in which they were accepted, as soon as there is room. It is played
// forward from event to event; what has happened never changes, so that the same ledger always gives the same times.
// Adding a job costs O(log n).
type schedule struct {
	limit         int       // 0 is none
	now           time.Time // all events up to here have happened
	runs          map[string]*run
	order         uint64
	waiting       []*run // ready and not started, in order
	running       int
	events        events
	changed       []string // have started since the last call of advanced
	recordChanges bool     // whether changed is kept
}

// A run is where a job is.
type run struct {
	id    string
	order uint64
	stage stage
	ready time.Time
	// length is how long it works; negative is for ever.
	length         time.Duration
	started, ended time.Time // forever as long as not known
	cancelled      bool
	late           bool // it did not start in the time that its client gave it
}

type stage int

const (
	pending stage = iota // its time in the queue is not over
	waiting              // there was no room yet
	running
	over
)

// An event is what will happen to a run unless something else comes first.
type event struct {
	at   time.Time
	what happening
	run  *run
}

// happening is what happens, in the order in which it does at one moment: who ends makes room, who is ready in the last
// moment is not too late.
type happening int

const (
	ends happening = iota
	becomesReady
	givesUp
)

// maxForgotten bounds how many jobs a schedule knows that the ledger has forgotten.
const maxForgotten = emulator.MaxJobs / 10

// newSchedule plays the ledger's jobs up to the last thing that is known to have happened.
func newSchedule(jobs []emulator.Job, limits []emulator.Concurrency,
	speed func(emulator.Job) emulator.Speed,
) *schedule {
	s := &schedule{runs: map[string]*run{}}
	type step struct {
		at time.Time
		do func(time.Time)
	}
	var steps []step
	for _, l := range limits {
		steps = append(steps, step{l.At, func(at time.Time) { s.setLimit(l.Limit, at) }})
	}
	for _, j := range jobs {
		steps = append(steps, step{j.At, func(time.Time) { s.add(j, speed(j)) }})
		if j.CancelledAt != nil {
			steps = append(steps, step{*j.CancelledAt, func(at time.Time) { s.cancel(j.ID, at) }})
		}
	}
	slices.SortStableFunc(steps, func(a, b step) int { return a.at.Compare(b.at) })
	for _, step := range steps {
		step.do(step.at)
	}
	return s
}

// advance lets happen all that is due at now.
func (s *schedule) advance(now time.Time) {
	for len(s.events) > 0 && !s.events[0].at.After(now) {
		e := heap.Pop(&s.events).(event)
		if e.at.After(s.now) {
			s.now = e.at
		}
		s.happen(e)
	}
	if now.After(s.now) {
		s.now = now
	}
}

func (s *schedule) happen(e event) {
	r := e.run
	switch {
	case e.what == ends && r.stage == running:
		s.end(r, e.at)
	case e.what == becomesReady && r.stage == pending:
		r.stage = waiting
		at, _ := slices.BinarySearchFunc(s.waiting, r, byOrder)
		s.waiting = slices.Insert(s.waiting, at, r)
	case e.what == givesUp && r.stage < running:
		r.late = true
		s.end(r, e.at)
	}
	s.start()
}

// start starts who waits, as long as there is room.
func (s *schedule) start() {
	for len(s.waiting) > 0 && (s.limit <= 0 || s.running < s.limit) {
		r := s.waiting[0]
		s.waiting = s.waiting[1:]
		s.running++
		r.stage, r.started = running, s.now
		if r.length >= 0 {
			r.ended = s.now.Add(r.length)
			s.expect(event{r.ended, ends, r})
		}
		if s.recordChanges {
			s.changed = append(s.changed, r.id)
		}
	}
}

// end ends a run wherever it is.
func (s *schedule) end(r *run, at time.Time) {
	switch r.stage {
	case running:
		s.running--
	case waiting:
		if i, ok := slices.BinarySearchFunc(s.waiting, r, byOrder); ok {
			s.waiting = slices.Delete(s.waiting, i, i+1)
		}
	}
	r.stage, r.ended = over, at
	if s.recordChanges && r.late {
		s.changed = append(s.changed, r.id)
	}
}

// add adds a new job with its speed, the script's wishes included.
func (s *schedule) add(j emulator.Job, p emulator.Speed) *run {
	s.advance(j.At)
	script := emulator.ReadScript(j.Input)
	s.order++
	r := &run{id: j.ID, order: s.order, ready: j.At.Add(p.Queue), length: p.Run, started: forever, ended: forever}
	if script.Stall == "running" {
		r.length = -1
	}
	s.runs[j.ID] = r
	if script.Stall != "queued" {
		s.expect(event{r.ready, becomesReady, r})
	}
	if patience, err := strconv.ParseFloat(j.Extra[extraStart], 64); err == nil {
		s.expect(event{j.At.Add(time.Duration(patience * float64(time.Second))), givesUp, r})
	}
	s.advance(j.At)
	return r
}

// cancel ends a job at that moment, if it has not ended.
func (s *schedule) cancel(id string, at time.Time) {
	s.advance(at)
	if r := s.runs[id]; r != nil && r.stage != over {
		r.cancelled = true
		s.end(r, s.now)
		s.start()
	}
}

// setLimit changes how many run at once; those that run go on.
func (s *schedule) setLimit(n int, at time.Time) {
	s.advance(at)
	s.limit = n
	s.start()
}

// ahead is how many wait before a run.
func (s *schedule) ahead(r *run) int {
	at, _ := slices.BinarySearchFunc(s.waiting, r, byOrder)
	return at
}

// forget drops what has ended and is not known any more.
func (s *schedule) forget(known func(id string) bool) {
	for id, r := range s.runs {
		if r.stage == over && !known(id) {
			delete(s.runs, id)
		}
	}
}

func (s *schedule) expect(e event) { heap.Push(&s.events, e) }

func byOrder(a, b *run) int { return cmp.Compare(a.order, b.order) }

// events is a heap, the earliest first.
type events []event

func (e events) Len() int { return len(e) }

func (e events) Less(i, j int) bool {
	return cmp.Or(e[i].at.Compare(e[j].at), cmp.Compare(e[i].what, e[j].what), byOrder(e[i].run, e[j].run)) < 0
}

func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }

func (e *events) Pop() any {
	old := *e
	last := old[len(old)-1]
	*e = old[:len(old)-1]
	return last
}

var errTooMany = errors.New("too many requests in a minute")

// A plan is a schedule over a ledger, safe for concurrent use. It is locked while a change of a job is written to the
// ledger, so that the order of the ledger is that of the schedule.
type plan struct {
	mu     sync.Mutex
	s      *schedule
	ledger *emulator.Ledger
	speed  func(emulator.Job) emulator.Speed
}

// newPlan continues a ledger; limit holds from now on.
func newPlan(l *emulator.Ledger, speed func(emulator.Job) emulator.Speed, limit int,
	recordChanges bool,
) (*plan, error) {
	p := &plan{ledger: l, speed: speed, s: newSchedule(l.Jobs(), l.Concurrencies(), speed)}
	p.s.recordChanges = recordChanges
	if p.s.limit == limit {
		return p, nil
	}
	return p, p.setLimit(limit)
}

func (p *plan) setLimit(n int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.s.setLimit(n, now)
	return p.ledger.SetConcurrency(emulator.Concurrency{At: now, Limit: n})
}

// accept stamps a job with the time and puts it into the ledger, unless it may not be taken at that time: errTooMany.
func (p *plan) accept(j emulator.Job, mayTake func(time.Time) bool) (emulator.Job, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	j.At = time.Now()
	if !mayTake(j.At) {
		return j, errTooMany
	}
	j, err := p.ledger.Accept(j)
	if err != nil {
		return j, err
	}
	p.s.add(j, p.speed(j))
	if len(p.s.runs) > emulator.MaxJobs+maxForgotten {
		p.s.forget(func(id string) bool { _, ok := p.ledger.Job(id); return ok })
	}
	return j, nil
}

// cancel reports whether there was something to cancel at that moment. A job that does not heed it goes on.
func (p *plan) cancel(j emulator.Job, heeded bool) (ok bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	r := p.run(j, now)
	if r.stage == over {
		return false, nil
	}
	if !heeded {
		return true, nil
	}
	p.s.cancel(j.ID, now)
	return true, p.ledger.Update(j.ID, func(j *emulator.Job) { j.CancelledAt = &now })
}

// run returns the run of a job of the ledger; the caller holds the lock.
func (p *plan) run(j emulator.Job, now time.Time) *run {
	p.s.advance(now)
	r, ok := p.s.runs[j.ID]
	if !ok { // another process has put it into the ledger
		r = p.s.add(j, p.speed(j))
	}
	return r
}

// stateOf returns the run of a job at a moment, and how many wait before it.
func (p *plan) stateOf(j emulator.Job, now time.Time) (run, int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.run(j, now)
	return *r, p.s.ahead(r)
}

// advanced returns which jobs have started, or missed their start, since it was last called, and when the next thing
// will happen.
func (p *plan) advanced(now time.Time) (changed []string, next time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.s.advance(now)
	changed, p.s.changed = p.s.changed, nil
	if len(p.s.events) > 0 {
		next = p.s.events[0].at
	}
	return changed, next
}
