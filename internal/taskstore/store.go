// Package taskstore changes task records, in the one order that is safe: load, Apply, compare-and-set, publish the events, make
// sure of the effects. Whoever calls it acknowledges its own trigger after that. A crash anywhere repeats the trigger, and
// the repetition stores what is missing.
package taskstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/paid"
	"reelay/internal/task"
)

// maxTries bounds the reads and writes of one change against others who change the same record.
const maxTries = 10

// ErrNotGranted says that an intent found the task in a state in which nothing may be sent.
var ErrNotGranted = errors.New("the task is not waiting to be sent")

// A Store changes task records.
type Store struct {
	bus         *bus.Bus
	log         *slog.Logger
	transitions *prometheus.CounterVec
	conflicts   prometheus.Counter
}

// New returns a Store whose metrics are registered with reg.
func New(b *bus.Bus, log *slog.Logger, reg prometheus.Registerer) *Store {
	k := &Store{
		bus: b, log: log,
		transitions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reelay_transitions_total", Help: "Steps of task records, by arrow of the state machine.",
		}, []string{"arrow"}),
		conflicts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "reelay_record_conflicts_total", Help: "Writes of task records that lost against another writer and were tried again.",
		}),
	}
	reg.MustRegister(k.transitions, k.conflicts)
	return k
}

// Get reads a record. It fails with bus.ErrNotFound.
func (k *Store) Get(ctx context.Context, key events.Key) (events.Task, error) {
	t, _, err := k.bus.Get(ctx, key)
	return t, err
}

// Apply takes one step of a task. On a task that does not exist every trigger but Accept does nothing and returns
// bus.ErrNotFound. Any other error means that the step may not have been taken: repeat the trigger later.
func (k *Store) Apply(ctx context.Context, key events.Key, tr task.Trigger) (task.Change, error) {
	for try := range maxTries {
		c, err := k.try(ctx, key, tr)
		if !errors.Is(err, bus.ErrConflict) {
			return c, err
		}
		k.conflicts.Inc()
		pause(ctx, try)
	}
	return task.Change{}, fmt.Errorf("%w: %d times in a row", bus.ErrConflict, maxTries)
}

// Intend records the intent to send one paid request and returns the permit for it. Without a positive acknowledgement of
// that write there is none, and the intent may stand in the record all the same: release it on every error. (A conflict is no
// proof of the contrary: it can be the answer to a write that the client library has repeated.)
func (k *Store) Intend(ctx context.Context, key events.Key, intent task.Intent) (*paid.Permit, events.Task, error) {
	var c task.Change
	permit, err := paid.Grant(ctx, func(ctx context.Context) (err error) {
		c, err = k.try(ctx, key, intent)
		if err != nil {
			return err
		}
		if a := c.Task.Attempt(); !c.Written || c.Task.Phase != events.PhaseSubmitting || a.Owner != intent.Owner {
			return ErrNotGranted
		}
		return nil
	})
	return permit, c.Task, err
}

func (k *Store) try(ctx context.Context, key events.Key, tr task.Trigger) (task.Change, error) {
	current, revision, err := k.bus.Get(ctx, key)
	before := &current
	if errors.Is(err, bus.ErrNotFound) {
		before = nil
		if _, ok := tr.(task.Accept); !ok {
			return task.Change{}, err
		}
	} else if err != nil {
		return task.Change{}, err
	}
	c, err := task.Apply(before, tr)
	if err != nil {
		return c, err
	}
	if c.Announced { // the record says next that these are stored
		if err := k.bus.Publish(ctx, c.Events...); err != nil {
			return task.Change{}, err
		}
	}
	if c.Written {
		if err := k.write(ctx, c, revision); err != nil {
			return task.Change{}, err
		}
	}
	return c, k.follow(ctx, before, c, tr)
}

func (k *Store) write(ctx context.Context, c task.Change, revision uint64) error {
	p := bus.Put{Task: c.Task, Revision: revision, Heartbeat: task.Heartbeat(c.Task)}
	if c.Task.Phase == events.PhaseDone && p.Heartbeat == 0 {
		p.TTL = events.RecordAge
	}
	if _, err := k.bus.Put(ctx, p); err != nil {
		return err
	}
	for _, tr := range c.Task.Transitions {
		if tr.Version != c.Task.Version {
			continue
		}
		k.transitions.WithLabelValues(tr.Name).Inc()
		if tr.Name == task.DoubleAccept {
			k.log.Error("a task was accepted twice by its provider, and may have been paid for twice", "task", c.Task.Key(), "note", tr.Note)
		}
		k.log.Debug("step", "task", c.Task.Key(), "arrow", tr.Name, "from", tr.From, "to", tr.To, "note", tr.Note)
	}
	return nil
}

// follow does what a record wants done outside of it: after a write what is new, and whatever a crash may have left out when
// a message is repeated.
func (k *Store) follow(ctx context.Context, before *events.Task, c task.Change, tr task.Trigger) error {
	repair := repairs(c, tr)
	if (c.Written || repair) && !c.Announced {
		if err := k.bus.Publish(ctx, c.Events...); err != nil {
			return err
		}
	}
	had := before != nil && task.Wants(*before).Watch
	if c.Effects.Watch && (!had || repair) {
		return k.bus.EnsurePollTicket(ctx, c.Task.Lane, c.Task.Key())
	}
	return nil
}

// repairs says whether a trigger that changed nothing may be the repetition of one that did and was cut off: a heartbeat, a
// request or command delivered again, the outcome of a submit reported again, anything on a task that has ended.
func repairs(c task.Change, tr task.Trigger) bool {
	switch tr.(type) {
	case task.Accept, task.Cancel, task.Resolve, task.Due, task.Accepted, task.Refused, task.Doubt:
		return true
	}
	return c.Task.Phase == events.PhaseDone
}

// pause waits a little longer each time, at random, before the record is read again.
func pause(ctx context.Context, try int) {
	d := time.Duration(rand.Int64N(int64(5*time.Millisecond) << min(try, 6)))
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
