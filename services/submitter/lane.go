package submitter

import (
	"container/heap"
	"context"
	"log/slog"
	"sync"
	"time"

	"reelay/events"
	"reelay/internal/bus"
)

// lane is the queue of one provider account: a cache of its waiting records, rebuilt from KV at every start.
type lane struct {
	Lane
	breaker
	slots chan struct{}
	wake  chan struct{}

	mu    sync.Mutex
	ready line      // may be sent: highest priority, then oldest
	later line      // held back after a refusal: soonest first
	held  time.Time // nothing at all is sent before: the account was refused
}

func newLane(l Lane, log *slog.Logger) *lane {
	return &lane{
		Lane: l, breaker: newBreaker(l.Name, log), slots: make(chan struct{}, l.InFlight), wake: make(chan struct{}, 1),
		ready: line{before: (*place).outranks, at: map[events.Key]*place{}},
		later: line{before: (*place).comesBefore, at: map[events.Key]*place{}},
	}
}

// set puts a task in line, moves it or takes it out.
func (l *lane) set(k events.Key, t *events.Task) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ready.remove(k)
	l.later.remove(k)
	if t == nil || t.Phase != events.PhaseWaiting {
		return
	}
	p := &place{key: k, priority: t.Priority, createdAt: t.CreatedAt}
	if t.NotBefore != nil {
		p.notBefore = *t.NotBefore
	}
	heap.Push(&l.later, p)
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// hold keeps the lane from sending until then.
func (l *lane) hold(until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if until.After(l.held) {
		l.held = until
	}
}

// next takes the task out of line whose turn it is. Without one it says when to look again; 0 for not before the next change.
func (l *lane) next(now time.Time) (k events.Key, ok bool, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if d := l.held.Sub(now); d > 0 {
		return k, false, d
	}
	for l.later.Len() > 0 {
		if wait = l.later.places[0].notBefore.Sub(now); wait > 0 {
			break
		}
		heap.Push(&l.ready, heap.Pop(&l.later))
	}
	if l.ready.Len() == 0 {
		return k, false, max(wait, 0)
	}
	return heap.Pop(&l.ready).(*place).key, true, 0
}

// A place is one waiting task.
type place struct {
	key       events.Key
	priority  int
	createdAt time.Time
	notBefore time.Time
	index     int
}

// outranks orders by priority, then age.
func (p *place) outranks(q *place) bool {
	if p.priority != q.priority {
		return p.priority > q.priority
	}
	if !p.createdAt.Equal(q.createdAt) {
		return p.createdAt.Before(q.createdAt)
	}
	return p.key.String() < q.key.String()
}

// comesBefore orders by the time a task is held back to.
func (p *place) comesBefore(q *place) bool { return p.notBefore.Before(q.notBefore) }

// line is a heap of places that finds them by key.
type line struct {
	before func(p, q *place) bool
	places []*place
	at     map[events.Key]*place
}

// Len is for package heap, as are the next four.
func (q *line) Len() int { return len(q.places) }

func (q *line) Less(i, j int) bool { return q.before(q.places[i], q.places[j]) }

func (q *line) Swap(i, j int) {
	q.places[i], q.places[j] = q.places[j], q.places[i]
	q.places[i].index, q.places[j].index = i, j
}

func (q *line) Push(x any) {
	p := x.(*place)
	p.index = len(q.places)
	q.places = append(q.places, p)
	q.at[p.key] = p
}

func (q *line) Pop() any {
	p := q.places[len(q.places)-1]
	q.places = q.places[:len(q.places)-1]
	delete(q.at, p.key)
	return p
}

func (q *line) remove(k events.Key) {
	if p, ok := q.at[k]; ok {
		heap.Remove(q, p.index)
	}
}

// follow keeps the lanes' queues as the records are.
func (s *Service) follow(ctx context.Context) error {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := s.o.Bus.Follow(ctx, func(u bus.Update) {
			if u.Ready {
				s.ready.Store(true)
				return
			}
			for _, l := range s.lanes {
				if u.Task == nil || u.Task.Account == l.Name {
					l.set(u.Key, u.Task)
				}
			}
		})
		if ctx.Err() != nil {
			return nil
		}
		s.log.Warn("record watch interrupted", "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}
