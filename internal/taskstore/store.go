// Package taskstore changes task records, in the one order that is safe: load, Apply, compare-and-set, publish the
// events, make sure of the effects. Whoever calls it acknowledges its own trigger after that. A crash anywhere repeats
// the trigger, and the repetition stores what is missing.
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

// maxAttempts bounds the reads and writes of one change against other writers that change the same record.
const maxAttempts = 10

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
	s := &Store{
		bus: b, log: log,
		transitions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reelay_transitions_total", Help: "Steps of task records, by arrow of the state machine.",
		}, []string{"arrow"}),
		conflicts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "reelay_record_conflicts_total",
			Help: "Writes of task records that lost against another writer and were tried again.",
		}),
	}
	reg.MustRegister(s.transitions, s.conflicts)
	return s
}

// Get reads a record. It fails with bus.ErrNotFound.
func (s *Store) Get(ctx context.Context, key events.Key) (events.Task, error) {
	t, _, err := s.bus.Get(ctx, key)
	return t, err
}

// Apply takes one step of a task. On a task that does not exist every trigger but Accept does nothing and returns
// bus.ErrNotFound. Any other error means that the step may not have been taken: repeat the trigger later.
func (s *Store) Apply(ctx context.Context, key events.Key, tr task.Trigger) (task.Change, error) {
	for n := range maxAttempts {
		c, err := s.attempt(ctx, key, tr)
		if !errors.Is(err, bus.ErrConflict) {
			return c, err
		}
		s.conflicts.Inc()
		pause(ctx, n)
	}
	return task.Change{}, fmt.Errorf("%w: %d times in a row", bus.ErrConflict, maxAttempts)
}

// Intend records the intent to send one paid request and returns the permit for it. Without a positive acknowledgement
// of that write there is none, and the intent may stand in the record all the same: release it on every error. (A
// conflict is no proof of the contrary: it can be the answer to a write that the client library has repeated.)
func (s *Store) Intend(ctx context.Context, key events.Key, intent task.Intent) (*paid.Permit, events.Task, error) {
	var c task.Change
	permit, err := paid.Grant(ctx, func(ctx context.Context) (err error) {
		c, err = s.attempt(ctx, key, intent)
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

func (s *Store) attempt(ctx context.Context, key events.Key, tr task.Trigger) (task.Change, error) {
	current, revision, err := s.bus.Get(ctx, key)
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
		if err := s.bus.Publish(ctx, c.Events...); err != nil {
			return task.Change{}, err
		}
	}
	if c.Written {
		if err := s.write(ctx, c, revision); err != nil {
			return task.Change{}, err
		}
	}
	return c, s.applyEffects(ctx, before, c, tr)
}

func (s *Store) write(ctx context.Context, c task.Change, revision uint64) error {
	p := bus.Put{Task: c.Task, Revision: revision, Heartbeat: task.HeartbeatInterval(c.Task)}
	if c.Task.Phase == events.PhaseDone && p.Heartbeat == 0 {
		p.TTL = events.RecordAge
	}
	if _, err := s.bus.Put(ctx, p); err != nil {
		return err
	}
	for _, tr := range c.Task.Transitions {
		if tr.Version != c.Task.Version {
			continue
		}
		s.transitions.WithLabelValues(tr.Name).Inc()
		if tr.Name == task.DoubleAccept {
			s.log.Error("a task was accepted twice by its provider, and may have been paid for twice", "task", c.Task.Key(),
				"note", tr.Note)
		}
		s.log.Debug("step", "task", c.Task.Key(), "arrow", tr.Name, "from", tr.From, "to", tr.To, "note", tr.Note)
	}
	return nil
}

// applyEffects publishes the events of a change and makes sure of its effects: after a write what is new, and whatever
// a crash may have left out when a message is redelivered.
func (s *Store) applyEffects(ctx context.Context, before *events.Task, c task.Change, tr task.Trigger) error {
	again := isRedelivery(c, tr)
	if (c.Written || again) && !c.Announced {
		if err := s.bus.Publish(ctx, c.Events...); err != nil {
			return err
		}
	}
	had := before != nil && task.Needs(*before).PollTicket
	if c.Effects.PollTicket && (!had || again) {
		return s.bus.EnsurePollTicket(ctx, c.Task.Lane, c.Task.Key())
	}
	return nil
}

// isRedelivery reports whether a trigger that changed nothing may be the repetition of one that did and was cut off: a
// heartbeat, a request or command delivered again, the outcome of a submit reported again, anything on a task that has
// ended.
func isRedelivery(c task.Change, tr task.Trigger) bool {
	switch tr.(type) {
	case task.Accept, task.Cancel, task.Resolve, task.Heartbeat, task.Accepted, task.Refused, task.Doubt:
		return true
	}
	return c.Task.Phase == events.PhaseDone
}

// pause waits a little longer each time, at random, before the record is read again.
func pause(ctx context.Context, n int) {
	d := time.Duration(rand.Int64N(int64(5*time.Millisecond) << min(n, 6)))
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
