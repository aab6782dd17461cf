package model

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/dependency"
	"reelay/internal/provider"
	"reelay/internal/task"
)

// A Chain is a world of tasks that wait for each other: every interleaving of their intakes by any number of
// submitters, of the reads and releases of two of them, of heartbeats, of their lives at the provider, with a death
// possible at every step. The records are changed by task.Apply alone, and read by package dependency.
//
// A task's life at the provider is an intent, an acceptance and an end: the rest is Explore's. A walk over records is
// one step: what it reads can only be waited for by fewer tasks later, never by more but for those that are created.
type Chain struct {
	// Waits are the numbers of the tasks that each waits for. One that is not there is never asked for.
	Waits [][]int
	// Ignore has every task ignore the failures of others. Plain leaves out the references in their inputs.
	Ignore, Plain bool
	// The parts of the protocol, which mutants replace.
	Apply func(*events.Task, task.Trigger) (task.Change, error)
	Read  func(context.Context, dependency.Records, events.Task, ...string) (dependency.State, error)
	Cycle func(context.Context, dependency.Records, events.Key, []string) (*events.Error, error)
	// Deciders is how many submitters and pollers can have read the records and not acted yet.
	Deciders int
	// MaxStates bounds the exploration; 0 for all.
	MaxStates int
}

// NewChain returns the protocol as it is, for tasks that wait for each other so.
func NewChain(waits ...[]int) Chain {
	return Chain{Waits: waits, Apply: task.Apply, Read: dependency.Read, Cycle: dependency.Cycle, Deciders: 2}
}

// How far the intake of a request has come.
const (
	asked    = iota // its message is in the stream
	checked         // no circle was found
	created         // its record is there, the search after it is not done
	taken           // its message is acknowledged
	rejected        // it was refused
)

// A chainState is one state of the world.
type chainState struct {
	records []*events.Task // by number; nil before their creation
	intakes []int
	pending []pendingStep
	late    bool // the first deadlines have passed
	// before is the state that this one follows, by the step.
	before *chainState
	step   chainStep
}

// A chainStep is what led to a state, written out only where it is shown.
type chainStep struct {
	format string
	args   []any
}

// trace tells how a state came about.
func (s *chainState) trace() string {
	if s.before == nil {
		return ""
	}
	return s.before.trace() + "\n    " + fmt.Sprintf(s.step.format, s.step.args...)
}

// A pendingStep is what somebody is about to do to task n; nobody where the trigger is nil.
type pendingStep struct {
	n  int
	tr task.Trigger
}

const (
	chainStart = 1_767_323_045 // Unix seconds
	chainLimit = 30 * time.Minute
)

func (s *chainState) meta() task.Meta {
	at := time.Unix(chainStart, 0).UTC().Add(time.Second)
	if s.late {
		at = at.Add(2 * chainLimit)
	}
	return task.Meta{At: at, By: "model"}
}

// Get lets package dependency read the records of a state.
func (s *chainState) Get(_ context.Context, k events.Key) (events.Task, error) {
	n := slices.IndexFunc(s.records, func(t *events.Task) bool { return t != nil && t.ID == k.ID })
	if n < 0 {
		return events.Task{}, bus.ErrNotFound
	}
	return *s.records[n], nil
}

// GetObject is never asked for: no result is large.
func (s *chainState) GetObject(context.Context, string) ([]byte, error) { return nil, bus.ErrNotFound }

// Link is never asked for: every output has a link of its own.
func (s *chainState) Link(context.Context, events.Key, int) (string, error) {
	return "", bus.ErrNotFound
}

func (s *chainState) clone(step string, args ...any) *chainState {
	c := *s
	c.records, c.intakes, c.pending = slices.Clone(s.records), slices.Clone(s.intakes), slices.Clone(s.pending)
	c.before, c.step = s, chainStep{step, args}
	return &c
}

// key is the class of a state: all that a later step can depend on.
func (s *chainState) key() string {
	var b strings.Builder
	fmt.Fprint(&b, s.late, s.intakes)
	for _, t := range s.records {
		if t == nil {
			b.WriteString("|-")
			continue
		}
		fmt.Fprintf(&b, "|%s %s %d %d %t %s", t.Phase, t.Status, len(t.WaitsFor), len(t.Attempts), t.TimeoutFrom != nil, t.Input)
	}
	for _, p := range s.pending {
		fmt.Fprintf(&b, "|%d %T", p.n, p.tr)
		if h, ok := p.tr.(task.Heartbeat); ok {
			b.WriteString(h.Missing)
		}
	}
	return b.String()
}

func chainID(n int) string { return fmt.Sprint("t", n) }

// request is what is asked for as task n: its input refers to the first of those that it waits for.
func (c Chain) request(n int) events.Task {
	at := time.Unix(chainStart, 0).UTC()
	t := events.Task{
		Schema: events.TaskSchema, ID: chainID(n), Project: "p", TaskType: events.Video, Provider: "fal", Lane: "fal", Model: "m",
		RequestDigest: chainID(n), CreatedAt: at, Deadline: at.Add(chainLimit), OnInDoubt: events.InDoubtHold,
		MaxPaidAttempts: 1, OnDependency: events.DependencyFail, Input: json.RawMessage(`{}`),
	}
	if c.Ignore {
		t.OnDependency = events.DependencyIgnore
	}
	if !c.Plain && len(c.Waits[n]) > 0 {
		t.Input = fmt.Appendf(nil, `{"image":{"$from":%q}}`, chainID(c.Waits[n][0]))
	}
	for _, on := range c.Waits[n] {
		t.After = append(t.After, chainID(on))
	}
	t.WaitsFor = t.After
	return t
}

// apply is one compare-and-set of task n.
func (c Chain) apply(s *chainState, n int, tr task.Trigger) bool {
	change, err := c.Apply(s.records[n], tr)
	if err != nil || !change.Written {
		return false
	}
	s.records[n] = &change.Task
	return true
}

// cycle searches for a circle through task n.
func (c Chain) cycle(s *chainState, n int) *events.Error {
	t := c.request(n)
	e, _ := c.Cycle(context.Background(), s, t.Key(), t.WaitsFor)
	return e
}

// intake takes the intake of a request one step further; false where it is done.
func (c Chain) intake(s *chainState, n int) (*chainState, bool) {
	next := s.clone("intake of %d goes on from %d", n, s.intakes[n])
	switch s.intakes[n] {
	case asked:
		next.intakes[n] = checked
		if s.records[n] == nil && c.cycle(s, n) != nil {
			next.intakes[n] = rejected
		}
	case checked:
		c.apply(next, n, task.Accept{Meta: task.Meta{At: time.Unix(chainStart, 0).UTC(), By: "model"}, Task: c.request(n)})
		next.intakes[n] = created
	case created:
		if e := c.cycle(s, n); e != nil {
			c.apply(next, n, task.DependencyFailed{Meta: s.meta(), Err: e})
		}
		next.intakes[n] = taken
	default:
		return nil, false
	}
	return next, true
}

// decide returns what a submitter does about a waiting task by the records as they are, nil for nothing.
func (c Chain) decide(s *chainState, n int) task.Trigger {
	t := *s.records[n]
	if t.Phase != events.PhaseWaiting || len(t.WaitsFor) == 0 {
		return nil
	}
	state, _ := c.Read(context.Background(), s, t)
	switch {
	case state.Failed != nil:
		return task.DependencyFailed{Meta: s.meta(), Err: state.Failed}
	case len(state.Open) > 0:
		return nil
	}
	input, err := dependency.Resolve(context.Background(), s, t.Input, state.Ended, false)
	var refused *events.Error
	if errors.As(err, &refused) {
		return task.DependencyFailed{Meta: s.meta(), Err: refused}
	}
	return task.DependenciesEnded{Meta: s.meta(), Input: &task.ResolvedInput{Input: input, Digest: "d"}}
}

// heartbeat returns what a poller does on the heartbeat of a task by the records as they are.
func (c Chain) heartbeat(s *chainState, n int) task.Trigger {
	t := *s.records[n]
	h := task.Heartbeat{Meta: s.meta()}
	switch {
	case t.Phase != events.PhaseWaiting || !task.Overdue(t, h.At):
		return nil // what a heartbeat does then is Explore's
	case len(t.WaitsFor) == 0:
		return h
	}
	if e := c.cycle(s, n); e != nil {
		return task.DependencyFailed{Meta: s.meta(), Err: e}
	}
	state, _ := c.Read(context.Background(), s, t)
	h.Missing = state.Missing
	return h
}

// lives returns the triggers of a task's life at the provider, the first of which leads to a result.
func lives(s *chainState, n int) []task.Trigger {
	t, m := s.records[n], s.meta()
	switch t.Phase {
	case events.PhaseWaiting:
		return []task.Trigger{task.Intent{Meta: m, Owner: "me", NotAfter: m.At.Add(time.Minute)}, task.Cancel{Meta: m}}
	case events.PhaseSubmitting:
		return []task.Trigger{
			task.Accepted{Meta: m, Attempt: 1, Owner: "me", Ref: json.RawMessage(`"r"`), ID: "r", Source: events.SourceReply},
			task.Refused{Meta: m, Owner: "me", Err: &provider.Error{Kind: events.KindInvalid, Code: "422", Message: "no"}},
		}
	case events.PhaseProviderQueued:
		return []task.Trigger{
			task.PollResult{Meta: m, Snapshot: provider.Snapshot{
				State: provider.Succeeded, Outputs: []events.Output{{URL: "https://media.test/" + t.ID}},
			}},
			task.PollResult{Meta: m, Snapshot: provider.Snapshot{
				State: provider.Failed, Err: &provider.Error{Kind: events.KindModeration, Code: "m", Message: "no"},
			}},
		}
	}
	return nil
}

// next returns every state that can follow.
func (c Chain) next(s *chainState) (all []*chainState) {
	for n := range c.Waits {
		if next, ok := c.intake(s, n); ok {
			all = append(all, next)
		}
		if s.intakes[n] == checked || s.intakes[n] == created {
			dead := s.clone("whoever takes %d in dies", n)
			dead.intakes[n] = asked
			all = append(all, dead)
		}
		if s.records[n] == nil {
			continue
		}
		for _, tr := range lives(s, n) {
			if next := s.clone("%T of %d", tr, n); c.apply(next, n, tr) {
				all = append(all, next)
			}
		}
		for _, tr := range []task.Trigger{c.decide(s, n), c.heartbeat(s, n)} {
			free := slices.IndexFunc(s.pending, func(p pendingStep) bool { return p.tr == nil })
			if tr == nil || free < 0 {
				continue
			}
			next := s.clone("somebody reads what %d waits for: %T", n, tr)
			next.pending[free] = pendingStep{n, tr}
			all = append(all, next)
		}
	}
	for i, p := range s.pending {
		if p.tr == nil {
			continue
		}
		dead := s.clone("who has read for %d dies", p.n)
		dead.pending[i] = pendingStep{}
		acts := dead.clone("or acts: %T", p.tr)
		c.apply(acts, p.n, p.tr)
		all = append(all, dead, acts)
	}
	if !s.late {
		late := s.clone("the deadlines pass")
		late.late = true
		all = append(all, late)
	}
	return all
}

// broken returns what does not hold in a state; empty if all does.
func (c Chain) broken(s *chainState) string {
	for n, t := range s.records {
		if t == nil || len(t.Attempts) == 0 {
			continue
		}
		for _, on := range c.Waits[n] {
			switch {
			case on >= len(c.Waits) || s.records[on] == nil:
				return fmt.Sprintf("%d was sent, and waits for %d, which nobody has asked for", n, on)
			case s.records[on].Phase != events.PhaseDone:
				return fmt.Sprintf("%d was sent while %d was %s", n, on, s.records[on].Phase)
			case !c.Ignore && !dependency.HasResult(*s.records[on]):
				return fmt.Sprintf("%d was sent although %d is %s", n, on, s.records[on].Status)
			}
		}
		if strings.Contains(string(t.Input), "$from") {
			return fmt.Sprintf("%d was sent with a reference: %s", n, t.Input)
		}
		if t.Error != nil && t.Error.Kind == events.KindDependency {
			return fmt.Sprintf("%d was sent, and failed for what it depends on", n)
		}
	}
	return ""
}

// stuck returns a task that does not end although nobody dies any more and every provider delivers; empty for none.
// Those who have read and not acted die first, so that states which differ in them alone are asked about once.
func (c Chain) stuck(s *chainState, closed map[string]bool) string {
	s = s.clone("from here on nobody dies")
	s.pending = nil
	k := s.key()
	if closed[k] {
		return ""
	}
	closed[k] = true
	for moved := true; moved; {
		moved = false
		for n := range c.Waits {
			for next, ok := c.intake(s, n); ok; next, ok = c.intake(s, n) {
				s, moved = next, true
			}
			if s.records[n] == nil {
				continue
			}
			if tr := c.decide(s, n); tr != nil {
				moved = c.apply(s, n, tr) || moved
			}
			if all := lives(s, n); len(all) > 0 {
				moved = c.apply(s, n, all[0]) || moved
			}
			if tr := c.heartbeat(s, n); tr != nil {
				moved = c.apply(s, n, tr) || moved
			}
		}
		if !moved && !s.late {
			s.late, moved = true, true
		}
	}
	for n, t := range s.records {
		if t != nil && t.Phase != events.PhaseDone {
			return fmt.Sprintf("%d stays %s and waits for %v", n, t.Phase, t.WaitsFor)
		}
	}
	return ""
}

// Explore visits every state of the chain. It returns how many there are, and how one came about in which something
// does not hold, with what; empty if all holds everywhere.
func (c Chain) Explore() (states int, violation string) {
	first := &chainState{records: make([]*events.Task, len(c.Waits)), intakes: make([]int, len(c.Waits)), pending: make([]pendingStep, c.Deciders)}
	seen, closed := map[string]bool{first.key(): true}, map[string]bool{}
	for queue := []*chainState{first}; len(queue) > 0; queue = queue[1:] {
		s := queue[0]
		queue[0] = nil
		if wrong := c.broken(s); wrong != "" {
			return len(seen), wrong + s.trace()
		}
		if wrong := c.stuck(s, closed); wrong != "" {
			return len(seen), wrong + s.trace()
		}
		for _, next := range c.next(s) {
			if k := next.key(); !seen[k] && (c.MaxStates == 0 || len(seen) < c.MaxStates) {
				seen[k] = true
				queue = append(queue, next)
			}
		}
	}
	return len(seen), ""
}
