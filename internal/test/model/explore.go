package model

import (
	"fmt"
	"hash/maphash"
	"slices"
	"time"

	"reelay/events"
	"reelay/internal/task"
)

// Options bound a world.
type Options struct {
	// Policy and Budget are the request's on_in_doubt and max_paid_attempts; hold and 1 if empty.
	Policy events.InDoubtPolicy
	Budget int
	// Attempts is how many intents there may be in all, at most 4; Budget+1 if 0.
	Attempts int
	// Decisions is how many resolve commands a person may send, Cancels how many cancel commands the client sends (at most
	// 1).
	Decisions, Cancels int
	// Publishers is how many pollers may be between their write and their acknowledgement at once, at most 2, beside the
	// two submitters; 1 if 0.
	Publishers int
	// Listings is how many complete listings the horizon needs; 0 for a provider without a list.
	Listings int
	// StartDeadline gives the task a start deadline. OddPolls adds polls that fail or are odd: "no such task", transient
	// errors, a result that cannot be read yet, a provider that forgets the task or fails it for free.
	StartDeadline, OddPolls bool
	// Synchronous has the provider answer a request with its result in place of an id: there are no polls, callbacks and
	// listings, and a lost answer stays lost.
	Synchronous bool
	// Journal lets a submitter that died come back with what it had written to its own disk; without it the disk is lost.
	Journal bool
	// Unheard has a submitter's report stored without an acknowledgement that it hears, so that it reports again. Behind
	// lets heartbeats and intents come from a service whose clock has not passed the last deadline yet.
	Unheard, Behind bool
	// Repeats takes in the earlier events that a step without an event of its own repeats while they are young. Their age
	// is not part of a class, so with it the abstraction is not exact; without it they are left to the heartbeat.
	Repeats bool
	// MaxStates ends the exploration early; 0 for no limit. A cut exploration checks no liveness.
	MaxStates int

	// Apply, Heartbeat and Needs are the machine; package task's own if nil. A mutant wraps one of them.
	Apply     func(*events.Task, task.Trigger) (task.Change, error)
	Heartbeat func(events.Task) time.Duration
	Needs     func(events.Task) task.Effects

	// mutation changes what the services and the event store do.
	mutation mutation
}

func (o *Options) fill() {
	if o.Policy == "" {
		o.Policy = events.InDoubtHold
	}
	o.Budget = max(o.Budget, 1)
	if o.Attempts == 0 {
		o.Attempts = o.Budget + 1
	}
	o.Attempts = min(o.Attempts, maxAttempts)
	o.Publishers = min(max(o.Publishers, 1), 2)
	o.Cancels = min(o.Cancels, 1)
	if o.Apply == nil {
		o.Apply = task.Apply
	}
	if o.Heartbeat == nil {
		o.Heartbeat = task.HeartbeatInterval
	}
	if o.Needs == nil {
		o.Needs = task.Needs
	}
}

// A Violation is a property that does not hold.
type Violation struct {
	// Property is one of the properties of the package documentation.
	Property string
	Detail   string
	// Trace is the shortest path to the state, one step a line.
	Trace []string
}

// A Result says what an exploration has seen.
type Result struct {
	States, Edges int
	// Classes is the number of different records, Applies how often the machine was called.
	Classes, Applies int
	Took             time.Duration
	// Cut: MaxStates ended the exploration before it was complete.
	Cut bool
	// Violation is nil if every property holds.
	Violation *Violation
}

// Explore visits every state of the world that o allows, breadth first, and stops at the first that violates a
// property.
func Explore(o Options) Result {
	o.fill()
	begin := time.Now()
	e := &explorer{o: o, b: newClassTable(&o), seed: maphash.MakeSeed(), slots: make([]uint32, 1<<16)}
	r := e.run()
	r.States, r.Edges, r.Classes, r.Applies, r.Took = e.count, e.edges, len(e.b.classes), e.b.applies, time.Since(begin)
	return r
}

// explorer is a breadth-first search with its own hash set: the states themselves lie in the order of discovery.
type explorer struct {
	o      Options
	b      *classTable
	seed   maphash.Seed
	chunks [][]state // never copied: most of the memory is here
	count  int
	parent []uint32
	slots  []uint32 // number of a state + 1, open addressing
	edges  int
	// sure holds, for each state, the successors that need no luck; from is where those of a state begin.
	sure []uint32
	from []uint32
	bad  *Violation
	// at is the state whose successors are being made.
	at uint32
}

func (e *explorer) run() (r Result) {
	first, err := e.first()
	if err != nil {
		r.Violation = &Violation{Property: propMachine, Detail: err.Error()}
		return r
	}
	e.intern(&first)
	for e.at = 0; int(e.at) < e.count; e.at++ {
		if e.o.MaxStates > 0 && e.count >= e.o.MaxStates {
			r.Cut = true
			break
		}
		e.from = append(e.from, uint32(len(e.sure)))
		s := *e.state(e.at)
		if p, detail := e.check(&s); p != "" {
			e.bad = &Violation{Property: p, Detail: detail, Trace: e.trace(e.at)}
			break
		}
		e.next(&s, e.edge)
		if e.bad != nil {
			break
		}
	}
	switch {
	case e.bad != nil || r.Cut:
	default:
		e.from = append(e.from, uint32(len(e.sure)))
		e.bad = e.liveness()
		if wrong := ""; e.bad == nil {
			if wrong = e.b.verify(); wrong != "" {
				e.bad = &Violation{Property: propAbstraction, Detail: wrong}
			}
		}
	}
	r.Violation = e.bad
	return r
}

// edge takes in one successor. broken is the property that the step itself violates.
func (e *explorer) edge(s *state, sure bool, label, broken string) {
	e.edges++
	if broken != "" && e.bad == nil {
		e.bad = &Violation{Property: broken, Detail: "by the last step", Trace: append(e.trace(e.at), e.line(s, label))}
		return
	}
	id := e.intern(s)
	if sure && id != e.at {
		e.sure = append(e.sure, id)
	}
}

func (e *explorer) intern(s *state) uint32 {
	s.normalise()
	mask := uint64(len(e.slots) - 1)
	for i := maphash.Comparable(e.seed, *s) & mask; ; i = (i + 1) & mask {
		at := e.slots[i]
		if at == 0 {
			if e.count%chunkLen == 0 {
				e.chunks = append(e.chunks, make([]state, 0, chunkLen))
			}
			last := &e.chunks[len(e.chunks)-1]
			*last = append(*last, *s)
			e.count++
			e.parent = append(e.parent, e.at)
			e.slots[i] = uint32(e.count)
			if e.count*10 > len(e.slots)*6 {
				e.grow()
			}
			return uint32(e.count - 1)
		}
		if *e.state(at - 1) == *s {
			return at - 1
		}
	}
}

const chunkLen = 1 << 16

func (e *explorer) state(id uint32) *state { return &e.chunks[id/chunkLen][id%chunkLen] }

func (e *explorer) grow() {
	e.slots = make([]uint32, 2*len(e.slots))
	mask := uint64(len(e.slots) - 1)
	for n := range e.count {
		i := maphash.Comparable(e.seed, *e.state(uint32(n))) & mask
		for e.slots[i] != 0 {
			i = (i + 1) & mask
		}
		e.slots[i] = uint32(n + 1)
	}
}

// trace tells how a state was reached.
func (e *explorer) trace(id uint32) []string {
	var path []uint32
	for ; id != 0; id = e.parent[id] {
		path = append(path, id)
	}
	slices.Reverse(path)
	lines := []string{e.line(e.state(0), "the request is accepted")}
	from := uint32(0)
	for _, to := range path {
		label := "?"
		s := *e.state(from)
		e.next(&s, func(next *state, _ bool, l, _ string) {
			next.normalise()
			if *next == *e.state(to) {
				label = l
			}
		})
		lines = append(lines, e.line(e.state(to), label))
		from = to
	}
	return lines
}

func (e *explorer) line(s *state, label string) string {
	c := &e.b.classes[s.rec]
	return fmt.Sprintf("%-52s %s/%s fates=%v stored=%x clock=%d", label, c.phase, c.status, s.fate[:e.o.Attempts],
		uint32(s.stored), s.clock)
}

// liveness checks that a goal can be reached from every state by sure steps alone.
func (e *explorer) liveness() *Violation {
	n := e.count
	start := make([]uint32, n+2)
	for _, to := range e.sure {
		start[to+2]++
	}
	for i := 2; i < len(start); i++ {
		start[i] += start[i-1]
	}
	back := make([]uint32, len(e.sure))
	for s := range n {
		for _, to := range e.sure[e.from[s]:e.from[s+1]] {
			back[start[to+1]] = uint32(s)
			start[to+1]++
		}
	}
	for _, g := range e.goals() {
		ok := make([]bool, n)
		var stack []uint32
		for i := range n {
			if g.reached(e.state(uint32(i))) {
				ok[i] = true
				stack = append(stack, uint32(i))
			}
		}
		for len(stack) > 0 {
			x := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			for _, y := range back[start[x]:start[x+1]] {
				if !ok[y] {
					ok[y] = true
					stack = append(stack, y)
				}
			}
		}
		for i := range ok {
			if !ok[i] && g.owed(e.state(uint32(i))) {
				return &Violation{Property: g.property, Detail: "from the last state on", Trace: e.trace(uint32(i))}
			}
		}
	}
	return nil
}
