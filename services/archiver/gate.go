package archiver

import (
	"container/heap"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"reelay/events"
	"reelay/internal/trace"
)

// A gate lets a number of tasks work at once. Of those that wait, the one whose link dies first is first.
type gate struct {
	mu      sync.Mutex
	free    int
	waiting waiters
}

// A waiter waits for a slot.
type waiter struct {
	death time.Time // zero for a link that does not die
	since time.Time
	enter chan struct{}
	index int
}

func newGate(slots int) *gate { return &gate{free: slots} }

// enter waits for a slot, which leave gives back. It fails when ctx ends.
func (g *gate) enter(ctx context.Context, death time.Time) (leave func(), err error) {
	g.mu.Lock()
	if g.free > 0 {
		g.free--
		g.mu.Unlock()
		return g.leave, nil
	}
	w := &waiter{death: death, since: time.Now(), enter: make(chan struct{})}
	heap.Push(&g.waiting, w)
	g.mu.Unlock()
	select {
	case <-w.enter:
		return g.leave, nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-w.enter: // it was let in at the same moment
		g.next()
	default:
		heap.Remove(&g.waiting, w.index)
	}
	return nil, ctx.Err()
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.next()
}

// next gives a slot on; the caller holds the lock.
func (g *gate) next() {
	if len(g.waiting) == 0 {
		g.free++
		return
	}
	close(heap.Pop(&g.waiting).(*waiter).enter)
}

// waiters is a heap by the death of links.
type waiters []*waiter

func (w waiters) Len() int { return len(w) }

func (w waiters) Less(i, j int) bool {
	a, b := w[i], w[j]
	if a.death.Equal(b.death) {
		return a.since.Before(b.since)
	}
	return !a.death.IsZero() && (b.death.IsZero() || a.death.Before(b.death))
}

func (w waiters) Swap(i, j int) {
	w[i], w[j] = w[j], w[i]
	w[i].index, w[j].index = i, j
}

// Push implements heap.Interface.
func (w *waiters) Push(x any) {
	one := x.(*waiter)
	one.index = len(*w)
	*w = append(*w, one)
}

// Pop implements heap.Interface.
func (w *waiters) Pop() any {
	last := len(*w) - 1
	one := (*w)[last]
	(*w)[last] = nil
	*w = (*w)[:last]
	return one
}

const (
	// expiryTick is how often the expiries are compared with the clock.
	expiryTick = 5 * time.Second
	// alarmShare is the share of a link's life that is left when the alarm is raised.
	alarmShare = 0.25
)

// expiries raise an alarm for each task whose first link is about to die before its outputs are stored.
type expiries struct {
	log   *slog.Logger
	gauge prometheus.Gauge

	mu    sync.Mutex
	tasks map[events.Key]*expiry
}

type expiry struct {
	alarm, death time.Time
	raised       bool
	traceparent  string
}

func newExpiries(log *slog.Logger, gauge prometheus.Gauge) *expiries {
	return &expiries{log: log, gauge: gauge, tasks: map[events.Key]*expiry{}}
}

// follow begins with a task; death is zero for none.
func (e *expiries) follow(k events.Key, known, death time.Time, traceparent string) {
	if death.IsZero() {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.tasks[k] == nil {
		left := time.Duration(alarmShare * float64(max(0, death.Sub(known))))
		e.tasks[k] = &expiry{alarm: death.Add(-left), death: death, traceparent: traceparent}
	}
}

func (e *expiries) forget(k events.Key) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.tasks, k)
}

// watch raises the alarms until ctx ends.
func (e *expiries) watch(ctx context.Context) error {
	tick := time.NewTicker(expiryTick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			e.raise(ctx, time.Now())
		}
	}
}

func (e *expiries) raise(ctx context.Context, at time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for k, x := range e.tasks {
		if at.Before(x.alarm) {
			continue
		}
		n++
		if !x.raised {
			x.raised = true
			e.log.ErrorContext(trace.With(ctx, x.traceparent), "the link of an output that is not stored yet is about to die",
				"task", k, "expires_at", x.death)
		}
	}
	e.gauge.Set(float64(n))
}
