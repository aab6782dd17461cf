package status

import (
	"cmp"
	"context"
	"iter"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/dispatch"
	"reelay/internal/ordered"
)

// A kind is what many tasks have in common, and most filters ask for.
type kind struct {
	project, lane, provider, model string

	status events.Status
	phase  events.Phase
	// inLine says that the tasks wait for their turn: one that depends on others has no place in line.
	inLine bool
	// verbatim says that answers show the records as they are stored.
	verbatim bool
}

// A shelf holds the entries of one kind in the order of list.
type shelf struct {
	kind
	entries *ordered.Tree[*entry]
	// ended are those that have ended within rateWindow, by the time of that.
	ended *ordered.Tree[*entry]
}

// A scene holds the entries of one scene in the order of list.
type scene struct {
	name    string
	entries *ordered.Tree[*entry]
}

// An entry is what the index knows of a record. It is never changed, only replaced, so it may be used without the lock,
// but for the trees that it names.
type entry struct {
	*shelf
	// batch and scene are nil of a task without.
	batch *tally
	scene *scene

	id       string
	revision uint64
	// created and completed are Unix times in nanoseconds, 0 of what has not happened.
	created, completed int64
	// payments are the attempts that were charged or may have been.
	payments []bus.Payment
	// generation is the watch that has seen the record last.
	generation uint32
	priority   int8
	// attempts counts the paid attempts that were ever opened.
	attempts uint8
	// cancelAsked and hasRef are as in the summary.
	cancelAsked, hasRef bool
}

// newEntry returns what the index shall know of a record. It is in no tree yet.
func newEntry(k events.Key, s *bus.Summary, revision uint64, generation uint32) *entry {
	e := &entry{
		shelf: &shelf{kind: kind{
			project: k.Project, lane: s.Lane, provider: s.Provider, model: s.Model, status: s.Status, phase: s.Phase,
			inLine: s.InLine, verbatim: s.Verbatim,
		}},
		id: strings.Clone(k.ID), revision: revision, generation: generation, created: s.Created, completed: s.Completed,
		payments: slices.Clip(s.Payments), priority: int8(max(math.MinInt8, min(s.Priority, math.MaxInt8))),
		attempts: uint8(min(s.Attempts, math.MaxUint8)), cancelAsked: s.CancelAsked, hasRef: s.HasRef,
	}
	if s.BatchID != "" {
		e.batch = &tally{key: events.Key{Project: k.Project, ID: s.BatchID}, announced: min(s.BatchSize, events.MaxBatch)}
		if s.Notify != "" {
			e.batch.notify = []string{s.Notify}
		}
	}
	if s.SceneID != "" {
		e.scene = &scene{name: s.SceneID}
	}
	return e
}

// entryOf is newEntry of a record that was read.
func entryOf(t *events.Task, revision uint64) *entry {
	return newEntry(t.Key(), bus.Summarize(t), revision, 0)
}

func (e *entry) key() events.Key { return events.Key{Project: e.project, ID: e.id} }

// inDoubt reports whether the task needs somebody to find out what became of its paid request.
func (e *entry) inDoubt() bool {
	return e.phase == events.PhaseInDoubt || e.phase == events.PhaseParked
}

// inSendingOrder orders the waiting tasks of a lane as its dispatcher does within a project, next first.
func inSendingOrder(a, b *entry) int { return a.rank().Compare(b.rank()) }

func (e *entry) rank() dispatch.Rank {
	return dispatch.Rank{Key: e.key(), Priority: int(e.priority), Since: time.Unix(0, e.created)}
}

// inListOrder orders entries as list does.
func inListOrder(a, b *entry) int {
	return cmp.Or(cmp.Compare(b.created, a.created), strings.Compare(a.project, b.project), strings.Compare(a.id, b.id))
}

// byEnd orders the entries of a shelf by when they ended.
func byEnd(a, b *entry) int {
	return cmp.Or(cmp.Compare(a.completed, b.completed), strings.Compare(a.id, b.id))
}

// A projectIndex holds the entries of a project.
type projectIndex struct {
	tasks   map[string]*entry
	shelves map[kind]*shelf
	scenes  map[string]*scene
}

// index holds an entry for every record.
type index struct {
	mu       sync.RWMutex
	projects map[string]*projectIndex
	// all are the entries of all projects in the order of list.
	all *ordered.Tree[*entry]
	// lines are the waiting tasks by lane, ordered by inSendingOrder.
	lines map[string]*ordered.Tree[*entry]
	// recentSubmits are the submits of the last minute by lane.
	recentSubmits map[string]submitTimes
	// batches add up the tasks of each batch.
	batches batches
	// retryOf is which task each retry repeats.
	retryOf map[events.Key]string
	// waiters hear, at most once at a time, that the entry of a key has changed.
	waiters map[events.Key]map[chan struct{}]struct{}
	// generation numbers the watches.
	generation uint32

	// current: the watch is up and has delivered all that existed when it began. built closes when that is so the first
	// time.
	current atomic.Bool
	// seen is the revision of the newest change that was taken in.
	seen      atomic.Uint64
	built     chan struct{}
	buildOnce sync.Once
	// rejectionsCurrent and rejectionsBuilt are the same of the rejections.
	rejectionsCurrent atomic.Bool
	rejectionsBuilt   chan struct{}
	rejectionsOnce    sync.Once
}

func newIndex() *index {
	return &index{
		projects: map[string]*projectIndex{}, all: ordered.New(inListOrder), lines: map[string]*ordered.Tree[*entry]{},
		recentSubmits: map[string]submitTimes{}, retryOf: map[events.Key]string{},
		batches: newBatches(), rejectionsBuilt: make(chan struct{}),
		waiters: map[events.Key]map[chan struct{}]struct{}{}, built: make(chan struct{}),
	}
}

// follow keeps the index up to date until ctx ends. watch is bus.FollowTasks; when it breaks, it is begun again.
func (x *index) follow(ctx context.Context, watch func(context.Context, func(bus.SummaryUpdate)) error, log *slog.Logger) {
	bus.KeepWatching(ctx, log, "watch of the task records interrupted", func(ctx context.Context) error {
		x.mu.Lock()
		x.generation++
		x.mu.Unlock()
		defer x.current.Store(false)
		return watch(ctx, x.apply)
	})
}

// apply takes one change of the watch.
func (x *index) apply(u bus.SummaryUpdate) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case u.Ready:
		x.dropUnseen()
		x.current.Store(true)
		x.batches.wake()
		x.buildOnce.Do(func() { close(x.built) })
		return
	case u.Summary == nil:
		x.set(u.Key, nil)
		delete(x.retryOf, u.Key)
	default:
		if u.Summary.RetryOf != "" {
			x.retryOf[u.Key] = strings.Clone(u.Summary.RetryOf)
		}
		x.set(u.Key, newEntry(u.Key, u.Summary, u.Revision, x.generation))
		if u.Summary.Submitted > 0 {
			x.recentSubmits[u.Summary.Lane] = x.recentSubmits[u.Summary.Lane].with(u.Summary.Submitted, time.Now())
		}
	}
	x.seen.Store(u.Revision)
}

// dropUnseen removes the entries of records that have gone while nobody watched. The lock is held.
func (x *index) dropUnseen() {
	for _, p := range x.projects {
		for _, e := range p.tasks {
			if e.generation != x.generation {
				x.set(e.key(), nil)
			}
		}
	}
}

// entry returns the entry of k, or nil. The lock is held.
func (x *index) entry(k events.Key) *entry {
	if p := x.projects[k.Project]; p != nil {
		return p.tasks[k.ID]
	}
	return nil
}

// set replaces the entry of k; nil removes it. The lock is held.
func (x *index) set(k events.Key, e *entry) {
	old := x.entry(k)
	if old != nil && !old.samePlace(e) {
		x.remove(old)
	}
	if e != nil {
		x.insert(e)
	}
	x.batches.replace(old, e)
	for waiter := range x.waiters[k] {
		select {
		case waiter <- struct{}{}:
		default: // it has yet to see an earlier change
		}
	}
}

// samePlace reports whether a newer entry of the task takes the place of e in every tree.
func (e *entry) samePlace(newer *entry) bool {
	return newer != nil && e.kind == newer.kind && e.created == newer.created && e.completed == newer.completed &&
		e.priority == newer.priority && (e.scene == nil) == (newer.scene == nil) &&
		(e.scene == nil || e.scene.name == newer.scene.name)
}

// insert puts an entry into every tree that it belongs to, in place of that of the same place.
func (x *index) insert(e *entry) {
	p := x.projects[e.project]
	if p == nil {
		p = &projectIndex{tasks: map[string]*entry{}, shelves: map[kind]*shelf{}, scenes: map[string]*scene{}}
		x.projects[e.project] = p
	}
	if known := p.shelves[e.kind]; known != nil {
		e.shelf = known
	} else {
		e.shelf.entries, e.shelf.ended = ordered.New(inListOrder), ordered.New(byEnd)
		p.shelves[e.kind] = e.shelf
	}
	if e.scene != nil {
		if known := p.scenes[e.scene.name]; known != nil {
			e.scene = known
		} else {
			e.scene.entries = ordered.New(inListOrder)
			p.scenes[e.scene.name] = e.scene
		}
		e.scene.entries.Set(e)
	}
	p.tasks[e.id] = e
	x.all.Set(e)
	e.shelf.entries.Set(e)
	if e.phase == events.PhaseDone {
		e.ended.Set(e)
		e.forgetEnds(time.Now())
	}
	if e.inLine {
		if x.lines[e.lane] == nil {
			x.lines[e.lane] = ordered.New(inSendingOrder)
		}
		x.lines[e.lane].Set(e)
	}
}

// forgetEnds takes out what has ended too long ago to be counted.
func (s *shelf) forgetEnds(now time.Time) {
	before := now.Add(-rateWindow).UnixNano()
	for {
		first, ok := s.ended.Min()
		if !ok || first.completed >= before {
			return
		}
		s.ended.PopMin()
	}
}

// remove takes an entry out of every tree.
func (x *index) remove(e *entry) {
	p := x.projects[e.project]
	x.all.Delete(e)
	e.ended.Delete(e)
	if e.entries.Delete(e); e.entries.Len() == 0 {
		delete(p.shelves, e.kind)
	}
	if e.scene != nil {
		if e.scene.entries.Delete(e); e.scene.entries.Len() == 0 {
			delete(p.scenes, e.scene.name)
		}
	}
	if e.inLine {
		if x.lines[e.lane].Delete(e); x.lines[e.lane].Len() == 0 {
			delete(x.lines, e.lane)
		}
	}
	if delete(p.tasks, e.id); len(p.tasks) == 0 {
		delete(x.projects, e.project)
	}
}

// get returns the entry of k, or nil.
func (x *index) get(k events.Key) *entry {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.entry(k)
}

// covered returns a project, if it is known, or all. The lock is held.
func (x *index) covered(project string) map[string]*projectIndex {
	if project == "" {
		return x.projects
	}
	if p := x.projects[project]; p != nil {
		return map[string]*projectIndex{project: p}
	}
	return nil
}

// entries goes through the entries of a project, or of all. The lock is held.
func (x *index) entries(project string) iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for _, p := range x.covered(project) {
			for _, e := range p.tasks {
				if !yield(e) {
					return
				}
			}
		}
	}
}

// phaseOf returns the phase of the task of k, empty if there is none.
func (x *index) phaseOf(k events.Key) events.Phase {
	if e := x.get(k); e != nil {
		return e.phase
	}
	return ""
}

// revision returns the revision of the record of k as the index knows it; 0 if it does not.
func (x *index) revision(k events.Key) uint64 {
	if e := x.get(k); e != nil {
		return e.revision
	}
	return 0
}

// retriesOf returns the ids of the tasks that repeat that of k, in order.
func (x *index) retriesOf(k events.Key) (ids []string) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for by, of := range x.retryOf {
		if by.Project == k.Project && of == k.ID && x.entry(by) != nil {
			ids = append(ids, by.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

func (x *index) size() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.all.Len()
}

// await returns the entry of k as soon as it is one that done accepts, or nil when ctx ends before.
func (x *index) await(ctx context.Context, k events.Key, done func(*entry) bool) *entry {
	changed := make(chan struct{}, 1)
	x.mu.Lock()
	if x.waiters[k] == nil {
		x.waiters[k] = map[chan struct{}]struct{}{}
	}
	x.waiters[k][changed] = struct{}{}
	x.mu.Unlock()
	defer func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		if delete(x.waiters[k], changed); len(x.waiters[k]) == 0 {
			delete(x.waiters, k)
		}
	}()
	for {
		if e := x.get(k); e != nil && done(e) {
			return e
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}
