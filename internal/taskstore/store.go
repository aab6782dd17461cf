// Package taskstore changes task records, in the one order that is safe: load, Apply, compare-and-set, publish the
// events, make sure of the effects. Whoever calls it acknowledges its own trigger after that. A crash anywhere repeats
// the trigger, and the repetition stores what is missing. What is too large for a record is stored before it (Fit).
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

var (
	// ErrNotGranted says that an intent found the task in a state in which nothing may be sent.
	ErrNotGranted = errors.New("the task is not waiting to be sent")
	// ErrIDUsed says that a task of this id has been before: its record was deleted, and its events are still stored. They
	// are published once, so a second task of the id would never announce its end, and may be paid for a second time.
	ErrIDUsed = errors.New("a task of this id has been before, and its events are still kept")
)

// A Store changes task records.
type Store struct {
	bus         *bus.Bus
	log         *slog.Logger
	transitions *prometheus.CounterVec
	conflicts   prometheus.Counter
	ends        *ends
	carried     carried
}

// New returns a Store whose metrics are registered with reg.
func New(b *bus.Bus, log *slog.Logger, reg prometheus.Registerer) *Store {
	s := &Store{
		bus: b, log: log, ends: newEnds(reg), carried: carried{all: map[events.Key]version{}, most: defaultCarried},
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

// redeliverAfter is the time until a message is redelivered whose step could not be recorded.
const redeliverAfter = 2 * time.Second

// Redeliver logs why the step of a message could not be recorded, and has the message delivered again.
func (s *Store) Redeliver(ctx context.Context, key events.Key, err error) bus.Outcome {
	s.log.WarnContext(ctx, "step could not be recorded yet; its message is redelivered", "task", key, "error", err)
	return bus.RetryAfter(redeliverAfter)
}

// Get reads a record. It fails with bus.ErrNotFound.
func (s *Store) Get(ctx context.Context, key events.Key) (events.Task, error) {
	t, _, err := s.get(ctx, key, s.bus.Get)
	return t, err
}

// GetFromLeader is Get where a decision about money follows, and no write that would show an old record. It returns the
// revision as well.
func (s *Store) GetFromLeader(ctx context.Context, key events.Key) (events.Task, uint64, error) {
	return s.get(ctx, key, s.bus.GetFromLeader)
}

// Current returns a record as this process has read or written it last, or reads it. A step that is decided on it is
// decided again on the newest by Apply and Intend: they are what it is for.
func (s *Store) Current(ctx context.Context, key events.Key) (events.Task, error) {
	if v, ok := s.carried.peek(key); ok {
		return *v.task, nil
	}
	return s.Get(ctx, key)
}

// CarryMost says how many records are carried at most, some kilobytes each; 2,048 unless it is called, before any other
// method.
func (s *Store) CarryMost(n int) { s.carried.most = n }

// Carry takes in the record that a message has brought, as of its revision, and the version up to which its events are
// stored. One that this process knows to be newer stays.
func (s *Store) Carry(t events.Task, revision, stored uint64) {
	s.carried.bring(t.Key(), version{task: &t, revision: revision, stored: stored})
}

func (s *Store) get(ctx context.Context, key events.Key,
	read func(context.Context, events.Key) (events.Task, uint64, error),
) (events.Task, uint64, error) {
	t, revision, err := read(ctx, key)
	if err == nil {
		s.carried.keep(key, version{task: &t, revision: revision})
	}
	return t, revision, err
}

// Apply takes one step of a task. On a task that does not exist every trigger but Accept does nothing and returns
// bus.ErrNotFound; Accept fails with ErrIDUsed where the events of a former task are kept. Any other error means that
// the step may not have been taken: repeat the trigger later.
func (s *Store) Apply(ctx context.Context, key events.Key, tr task.Trigger) (task.Change, error) {
	v, carried := s.assume(key, tr)
	for n := range maxAttempts {
		c, err := s.attempt(ctx, key, v, carried, tr)
		switch {
		case errors.Is(err, bus.ErrConflict):
			s.conflicts.Inc()
			if !carried {
				pause(ctx, n)
			}
		case !errors.Is(err, errUndecided):
			return c, err
		}
		carried = false
	}
	return task.Change{}, fmt.Errorf("%w: %d times in a row", bus.ErrConflict, maxAttempts)
}

// Intend records the intent to send one paid request and returns the permit for it. Without a positive acknowledgement
// of that write there is none, and the intent may stand in the record all the same: release it on every error. (A
// conflict is no proof of the contrary: it can be the answer to a write that the client library has repeated.)
func (s *Store) Intend(ctx context.Context, key events.Key, intent task.Intent) (*paid.Permit, events.Task, error) {
	var c task.Change
	permit, err := paid.Grant(ctx, func(ctx context.Context) (err error) {
		v, carried := s.assume(key, intent)
		if c, err = s.attempt(ctx, key, v, carried, intent); errors.Is(err, errUndecided) {
			c, err = s.attempt(ctx, key, v, false, intent)
		}
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

// assume returns the version of a record on which a step is decided without a read; false for none. A request is taken
// to be new.
func (s *Store) assume(key events.Key, tr task.Trigger) (version, bool) {
	v, ok := s.carried.take(key)
	_, accept := tr.(task.Accept)
	return v, ok || accept
}

// errUndecided says that a record which is carried does not decide a step: it has to be read.
var errUndecided = errors.New("the record that is carried leaves nothing to do")

// attempt takes a step on v if that is carried, and on the record as it is read otherwise. It fails with
// bus.ErrConflict if that was not the newest.
func (s *Store) attempt(ctx context.Context, key events.Key, v version, carried bool, tr task.Trigger,
) (c task.Change, err error) {
	if !carried {
		if v, err = s.read(ctx, key, tr); err != nil {
			return c, err
		}
	}
	if c, err = task.Apply(v.task, tr); carried && (err != nil || !decides(c, tr)) {
		return c, errUndecided
	}
	if err != nil {
		return c, err
	}
	if c.Announced { // the record says next that these are stored
		if err := s.bus.Publish(ctx, c.Events...); err != nil {
			return task.Change{}, err
		}
	}
	w := written{revision: v.revision}
	if c.Written {
		if w, err = s.write(ctx, c, v.revision); err != nil {
			return task.Change{}, err
		}
	}
	if err := s.applyEffects(ctx, v, c, w, tr); err != nil {
		return c, err
	}
	if c.Written || v.task != nil {
		s.carried.keep(key, v.after(c, w.revision))
	}
	return c, nil
}

// read reads the record for a step; it is nil where an Accept finds none.
func (s *Store) read(ctx context.Context, key events.Key, tr task.Trigger) (version, error) {
	t, revision, err := s.bus.Get(ctx, key)
	if _, accept := tr.(task.Accept); accept && errors.Is(err, bus.ErrNotFound) {
		return version{revision: revision}, s.checkUnused(ctx, key, revision)
	}
	return version{task: &t, revision: revision}, err
}

// decides reports whether a step may be taken on a record that is carried: its write says whether that was the newest.
// That there is nothing to do, an old record cannot say; but what a poll or a heartbeat brings comes again by itself.
func decides(c task.Change, tr task.Trigger) bool {
	switch tr.(type) {
	case task.PollResult, task.PollFailed, task.Heartbeat:
		return !c.Announced
	}
	return c.Written && !c.Announced
}

// checkUnused refuses an id whose record has left a marker, and whose events are still kept.
func (s *Store) checkUnused(ctx context.Context, key events.Key, marker uint64) error {
	if marker == 0 {
		return nil
	}
	used, err := s.bus.Stored(ctx, events.Event{Type: events.EventQueued, Project: key.Project, TaskID: key.ID, Once: true})
	if err == nil && used {
		err = fmt.Errorf("%w: %s", ErrIDUsed, key)
	}
	return err
}

// written is the record of a change as it is stored; a change that wrote nothing has no value.
type written struct {
	revision uint64
	value    []byte
}

// write stores the record of a change over a revision.
func (s *Store) write(ctx context.Context, c task.Change, revision uint64) (w written, err error) {
	if w.value, err = events.Marshal(c.Task); err != nil {
		return w, fmt.Errorf("record %s: %w", c.Task.Key(), err)
	}
	p := bus.Put{Task: c.Task, Value: w.value, Revision: revision, Heartbeat: task.HeartbeatInterval(c.Task)}
	if c.Task.Phase == events.PhaseDone && p.Heartbeat == 0 {
		p.TTL = task.RecordTTL(c.Task)
	}
	if w.revision, err = s.bus.Put(ctx, p); err != nil {
		return w, err
	}
	for _, tr := range c.Task.Transitions {
		if tr.Version != c.Task.Version {
			continue
		}
		s.transitions.WithLabelValues(tr.Name).Inc()
		if tr.To == events.PhaseDone && tr.From != events.PhaseDone {
			s.ends.count(c.Task)
		}
		if tr.Name == task.DoubleAccept {
			s.log.ErrorContext(ctx, "a task was accepted twice by its provider, and may have been paid for twice", "task", c.Task.Key(),
				"note", tr.Note)
		}
		s.log.DebugContext(ctx, "step", "task", c.Task.Key(), "arrow", tr.Name, "from", tr.From, "to", tr.To, "note", tr.Note)
	}
	return w, nil
}

// applyEffects publishes the events of a change and makes sure of its effects: after a write what is new, and whatever
// a crash may have left out when a message is redelivered.
func (s *Store) applyEffects(ctx context.Context, v version, c task.Change, w written, tr task.Trigger) error {
	again := isRedelivery(c, tr)
	if (c.Written || again) && !c.Announced {
		if err := s.bus.Publish(ctx, v.missing(c.Events)...); err != nil {
			return err
		}
	}
	var had task.Effects
	if v.task != nil {
		had = task.Needs(*v.task)
	}
	if c.Effects.PollTicket && (!had.PollTicket || again) {
		ticket := bus.PollTicket{
			Lane: c.Task.Lane, Key: c.Task.Key(), Record: w.value, Revision: w.revision, Stored: v.after(c, w.revision).stored,
		}
		if err := s.bus.EnsurePollTicket(ctx, ticket); err != nil {
			return err
		}
	}
	if c.Effects.Artifact && (!had.Artifact || again) {
		return s.bus.EnsureArtifact(ctx, c.Task.Key())
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
	return c.Task.Phase == events.PhaseDone || c.Task.Phase == events.PhaseStoring
}

// pause waits a little longer each time, at random, before the record is read again.
func pause(ctx context.Context, n int) {
	d := time.Duration(rand.Int64N(int64(5*time.Millisecond) << min(n, 6)))
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
