package status

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unique"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/dispatch"
)

// An entry is what the index knows of a record. It is never changed, only replaced, so it may be used without the lock.
type entry struct {
	key      events.Key
	revision uint64
	// generation is the watch that has seen the record last.
	generation uint64

	lane, provider, model, scene string

	status   events.Status
	phase    events.Phase
	priority int
	// attempts counts the paid attempts that were ever opened.
	attempts int
	// created, submitted and completed are Unix times in nanoseconds, 0 of what has not happened.
	created, submitted, completed int64
	// batch is the task's batch, batchSize how many tasks its request said that has.
	batch     string
	batchSize int32
	// payments are the attempts that were charged or may have been.
	payments []payment
	// cancelAsked and hasRef say that the record has a cancel, and a provider's handle.
	cancelAsked, hasRef bool
}

func newEntry(t *events.Task, revision, generation uint64) *entry {
	e := &entry{
		key: events.Key{Project: shared(t.Project), ID: t.ID}, revision: revision, generation: generation,
		lane: shared(t.Lane), provider: shared(t.Provider), model: shared(t.Model), scene: shared(t.SceneID),
		status: shared(t.Status), phase: shared(t.Phase), priority: t.Priority, created: t.CreatedAt.UnixNano(),
		batch: shared(t.BatchID), batchSize: int32(min(t.BatchSize, events.MaxBatch)), payments: newPayments(t),
		cancelAsked: t.Cancel != nil, hasRef: len(t.ProviderRef) > 0,
	}
	if a := t.Attempt(); a != nil {
		e.attempts = a.N
	}
	if t.SubmittedAt != nil {
		e.submitted = t.SubmittedAt.UnixNano()
	}
	if t.CompletedAt != nil {
		e.completed = t.CompletedAt.UnixNano()
	}
	return e
}

// shared returns one copy of equal strings: thousands of entries have the same model.
func shared[S ~string](s S) S { return unique.Make(s).Value() }

// inDoubt reports whether the task needs somebody to find out what became of its paid request.
func (e *entry) inDoubt() bool {
	return e.phase == events.PhaseInDoubt || e.phase == events.PhaseParked
}

// inSendingOrder orders the waiting tasks of a lane as its dispatcher does within a project, next first.
func inSendingOrder(a, b *entry) int { return a.rank().Compare(b.rank()) }

func (e *entry) rank() dispatch.Rank {
	return dispatch.Rank{Key: e.key, Priority: e.priority, Since: time.Unix(0, e.created)}
}

// index holds an entry for every record.
type index struct {
	mu      sync.RWMutex
	entries map[events.Key]*entry
	// lines are the waiting tasks by lane, ordered by inSendingOrder.
	lines map[string][]*entry
	// recentSubmits are the submits of the last minute by lane.
	recentSubmits map[string]submitTimes
	// batches add up the tasks of each batch.
	batches batches
	// waiters hear, at most once at a time, that the entry of a key has changed.
	waiters map[events.Key]map[chan struct{}]struct{}
	// generation numbers the watches.
	generation uint64

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
		entries: map[events.Key]*entry{}, lines: map[string][]*entry{}, recentSubmits: map[string]submitTimes{},
		batches: newBatches(), rejectionsBuilt: make(chan struct{}),
		waiters: map[events.Key]map[chan struct{}]struct{}{}, built: make(chan struct{}),
	}
}

// follow keeps the index up to date until ctx ends. watch is bus.Follow; when it breaks, it is begun again.
func (x *index) follow(ctx context.Context, watch func(context.Context, func(bus.Update)) error, log *slog.Logger) {
	bus.KeepWatching(ctx, log, "watch of the task records interrupted", func(ctx context.Context) error {
		x.mu.Lock()
		x.generation++
		x.mu.Unlock()
		defer x.current.Store(false)
		return watch(ctx, x.apply)
	})
}

// apply takes one change of the watch.
func (x *index) apply(u bus.Update) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case u.Ready:
		for k, e := range x.entries {
			if e.generation != x.generation { // gone while nobody watched
				x.set(k, nil)
			}
		}
		x.current.Store(true)
		x.batches.wake()
		x.buildOnce.Do(func() { close(x.built) })
		return
	case u.Task == nil:
		x.set(u.Key, nil)
	default:
		x.set(u.Key, newEntry(u.Task, u.Revision, x.generation))
	}
	x.seen.Store(u.Revision)
}

// set replaces the entry of k; nil removes it. The lock is held.
func (x *index) set(k events.Key, e *entry) {
	if old := x.entries[k]; old != nil && old.phase == events.PhaseWaiting {
		line := x.lines[old.lane]
		if i, ok := slices.BinarySearchFunc(line, old, inSendingOrder); ok {
			x.lines[old.lane] = slices.Delete(line, i, i+1)
		}
		if len(x.lines[old.lane]) == 0 {
			delete(x.lines, old.lane)
		}
	}
	x.batches.replace(x.entries[k], e)
	if e == nil {
		delete(x.entries, k)
	} else {
		x.entries[k] = e
		if e.submitted > 0 {
			x.recentSubmits[e.lane] = x.recentSubmits[e.lane].with(e.submitted, time.Now())
		}
		if e.phase == events.PhaseWaiting {
			line := x.lines[e.lane]
			i, _ := slices.BinarySearchFunc(line, e, inSendingOrder)
			x.lines[e.lane] = slices.Insert(line, i, e)
		}
	}
	for waiter := range x.waiters[k] {
		select {
		case waiter <- struct{}{}:
		default: // it has yet to see an earlier change
		}
	}
}

// get returns the entry of k, or nil.
func (x *index) get(k events.Key) *entry {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.entries[k]
}

// revision returns the revision of the record of k as the index knows it; 0 if it does not.
func (x *index) revision(k events.Key) uint64 {
	if e := x.get(k); e != nil {
		return e.revision
	}
	return 0
}

func (x *index) size() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.entries)
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
