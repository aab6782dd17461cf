package submitter

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"reelay/events"
	"reelay/internal/breaker"
	"reelay/internal/bus"
	"reelay/internal/dispatch"
	"reelay/internal/provider"
	"reelay/internal/ramp"
)

// lane is one provider account as this process sends for it.
type lane struct {
	provider.Lane
	breaker breaker.Breaker
	queue   *dispatch.Lane
	// ramp bounds the sends under way.
	ramp *ramp.Ramp
	ids  dispatch.IDs
	// siblings are the other lanes of its groups.
	siblings []*lane
	// wake wakes whoever waits for a task to send.
	wake chan struct{}
	// changed says that something is to be handed over to the next dispatcher, or to be published by an event of the lane.
	changed chan struct{}
	// running are the tasks that are being sent, posting is the number of paid requests under way.
	running sync.WaitGroup
	posting atomic.Int32
	swept   time.Time

	mu sync.Mutex
	// callbacksDisabledUntil: no request names a callback URL before.
	callbacksDisabledUntil time.Time
}

func newLane(l provider.Lane, maxSends int, log *slog.Logger) *lane {
	n := &lane{
		Lane: l, queue: dispatch.NewLane(l.Name, ramp.Least, l.Limits, time.Now()), ramp: ramp.New(maxSends),
		wake: make(chan struct{}, 1), changed: make(chan struct{}, 1),
	}
	n.breaker = breaker.New(l.Name, log, func() { nudge(n.changed) })
	return n
}

// nudge makes sure that whoever waits on a channel wakes once more.
func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// setLimits puts limits in force, over the provider's own.
func (l *lane) setLimits(set events.LaneLimits, now time.Time) {
	l.queue.SetLimits(set, now)
	nudge(l.wake)
}

// see takes in a record, as dispatch.Lane does.
func (l *lane) see(k events.Key, t *events.Task, generation uint64, now time.Time) {
	if l.queue.See(k, t, generation, now) {
		nudge(l.wake)
	}
}

// sweep forgets what matters no more, as dispatch.Lane does.
func (l *lane) sweep(generation uint64, now time.Time) {
	l.swept = now
	if l.queue.Sweep(generation, now) {
		nudge(l.wake)
	}
}

// finish ends the sending of a task, as dispatch.Lane does.
func (l *lane) finish(k events.Key, t *events.Task, notBefore, now time.Time) {
	if l.queue.Finish(k, t, notBefore, now) {
		nudge(l.wake)
	}
}

// resume lets the lane send at once, whatever stops it that is no limit: a person says so.
func (l *lane) resume() {
	l.breaker.Close()
	l.queue.Resume()
}

// rateLimited takes in a refusal, as dispatch.Lane does.
func (l *lane) rateLimited(t events.Task, begun time.Time, concurrency bool,
	retryAfter time.Duration,
) (pause, own time.Duration) {
	defer nudge(l.changed)
	return l.queue.RateLimited(t, begun, concurrency, retryAfter, time.Now())
}

// accepted takes in that the provider has accepted a request.
func (l *lane) accepted(k events.Key) {
	if l.queue.Accepted(k, time.Now()) {
		nudge(l.changed)
	}
}

// follow keeps what the lanes know as the records are.
func (s *Service) follow(ctx context.Context) error {
	select {
	case <-s.pausesKnown: // the limits say for how long a request matters
	case <-ctx.Done():
		return nil
	}
	generation := uint64(0)
	bus.KeepWatching(ctx, s.log, "the watch of the task records was interrupted", func(ctx context.Context) error {
		generation++
		s.quota.Forget()
		return s.o.Bus.WatchTasks(ctx, func(u bus.Update) { s.see(u, generation) })
	})
	return nil
}

// sweepEvery is how often a lane forgets what matters no more.
const sweepEvery = 10 * time.Minute

func (s *Service) see(u bus.Update, generation uint64) {
	now := time.Now()
	if u.Key != (events.Key{}) {
		s.quota.See(u.Key, u.Task != nil && u.Task.Phase == events.PhaseWaiting)
		s.dependents.See(u.Key, u.Task, u.Task != nil && s.lanes[u.Task.Lane] != nil)
	}
	for _, l := range s.lanes {
		switch {
		case u.Ready:
			l.sweep(generation, now)
		case u.Key == (events.Key{}):
		case u.Task == nil || s.mayTake(l, u.Task):
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
