package lease

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/internal/bus"
)

var (
	// ErrLost says that a lease has run out, or that somebody else has it.
	ErrLost = errors.New("the lease is lost")

	errHeld = errors.New("somebody else holds the lease")
)

// A Candidate is a process that dispatches lanes.
type Candidate struct {
	Bus *bus.Bus
	Log *slog.Logger
	// Name tells this process from all others, in each of its lives.
	Name string
	// TTL is in whole seconds, 3 at least; 0 is bucket.LeaseTTL.
	TTL time.Duration
}

// Lead waits for the lease of a lane, calls lead with it and gives it back when lead returns; it renews the lease all
// the while. The context of lead ends with ctx, or when the lease is lost. Then Lead begins anew, until ctx ends.
func (c Candidate) Lead(ctx context.Context, lane string, lead func(context.Context, *Lease)) {
	ttl := cmp.Or(c.TTL, bucket.LeaseTTL)
	var others sighting
	for {
		l := &Lease{
			leases: c.Bus.Bucket(bucket.Leases, "lease"), handOver: c.Bus.Bucket(bucket.Leases, "memory"),
			log: c.Log.With("lane", lane), lane: lane, ttl: ttl,
			holder: bucket.Holder{Name: c.Name, Since: time.Now().UTC(), TTL: events.Duration(ttl)},
		}
		switch err := l.acquire(ctx, &others); {
		case err == nil:
			l.log.Info("this process dispatches the lane", "holder", c.Name)
			l.keep(ctx, lead)
		case !errors.Is(err, errHeld) && ctx.Err() == nil:
			l.log.Warn("the lease of the lane could not be acquired", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(ttl / 6):
		}
	}
}

// A sighting is a lease that somebody else holds, and when it was first seen as it is.
type sighting struct {
	revision uint64
	since    time.Time
}

// outlived reports whether a lease has stood unchanged for longer than its lifetime, by the clock of this process.
func (s *sighting) outlived(revision uint64, ttl time.Duration) bool {
	if s.revision != revision {
		*s = sighting{revision, time.Now()}
	}
	return time.Since(s.since) > ttl
}

// A Lease is the right of one process to dispatch a lane, for a term.
type Lease struct {
	leases, handOver bus.Bucket
	log              *slog.Logger
	lane             string
	ttl              time.Duration
	holder           bucket.Holder

	mu       sync.Mutex
	revision uint64
	renewed  time.Time // when the last renewal that was acknowledged began
	lost     bool
}

// acquire makes this process the holder if nobody is. It fails with errHeld if somebody is.
func (l *Lease) acquire(ctx context.Context, others *sighting) error {
	ctx, cancel := context.WithTimeout(ctx, l.ttl/3)
	defer cancel()
	entry, err := l.leases.Get(ctx, l.lane)
	if err != nil {
		return err
	}
	if entry.Present {
		var h bucket.Holder
		unreadable := json.Unmarshal(entry.Value, &h)
		ttl := bucket.LeaseTTL
		if unreadable == nil && h.TTL > 0 {
			ttl = time.Duration(h.TTL)
		}
		switch {
		case unreadable == nil && h.Name == l.holder.Name:
			// This process's own, and the answer was lost. How long it still lives is not known.
			l.revision = entry.Revision
			return l.renew(ctx)
		case !others.outlived(entry.Revision, ttl):
			// Also where it cannot be read: whoever it was taken from trusts it until then.
			return fmt.Errorf("%w: %s", errHeld, h.Name)
		case unreadable != nil:
			l.log.Warn("the lease of the lane could not be read and counts as free", "error", unreadable)
		default:
			l.log.Warn("the lease of the lane has outlived its time and counts as free", "holder", h.Name)
		}
	}
	value, err := events.Marshal(l.holder)
	if err != nil {
		return err
	}
	l.renewed = time.Now()
	l.revision, err = l.leases.Update(ctx, l.lane, value, entry.Revision, l.ttl)
	if errors.Is(err, bus.ErrConflict) {
		return fmt.Errorf("%w: it was faster", errHeld)
	}
	return err
}

// keep renews the lease while lead runs, and gives it back.
func (l *Lease) keep(ctx context.Context, lead func(context.Context, *Lease)) {
	ctx, lose := context.WithCancelCause(ctx)
	defer lose(nil)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		lead(ctx, l)
	}()
	// Also while lead ends, for what it still waits for is covered by the lease.
	life := context.WithoutCancel(ctx)
	for wait := l.ttl / 3; l.Check() == nil; {
		select {
		case <-ended:
			l.release(life)
			return
		case <-time.After(wait):
		}
		attempt, cancel := context.WithTimeout(life, l.ttl/6)
		err := l.renew(attempt)
		cancel()
		if wait = l.ttl / 3; err != nil {
			wait = l.ttl / 24
			l.log.Warn("the lease of the lane could not be renewed", "error", err)
		}
	}
	l.log.Warn("the lease of the lane is lost; this process stops dispatching it")
	lose(ErrLost)
	<-ended
}

// Check returns ErrLost if the lease may have ended.
func (l *Lease) Check() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	// By both clocks: the monotonic one stands still while a machine sleeps, and the other can be set.
	age := max(time.Since(l.renewed), time.Now().Round(0).Sub(l.renewed.Round(0)))
	if l.lost || age >= l.ttl*2/3 {
		l.lost = true
		return fmt.Errorf("%w: %s", ErrLost, l.lane)
	}
	return nil
}

// renew makes the lease live its whole time from now on. A lease that was lost stays so.
func (l *Lease) renew(ctx context.Context) error {
	began := time.Now()
	value, err := events.Marshal(l.holder)
	if err != nil {
		return err
	}
	l.mu.Lock()
	revision := l.revision
	l.mu.Unlock()
	next, err := l.leases.Update(ctx, l.lane, value, revision, l.ttl)
	if errors.Is(err, bus.ErrConflict) {
		return l.conflict(ctx, revision, err)
	}
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.revision, l.renewed = next, began
	return nil
}

// conflict finds out what a renewal has met, and returns its error.
func (l *Lease) conflict(ctx context.Context, revision uint64, conflict error) error {
	entry, err := l.leases.Get(ctx, l.lane)
	if err != nil {
		return conflict
	}
	var h bucket.Holder
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case entry.Revision == revision: // a renewal of this process is on its way through the cluster
	case entry.Present && json.Unmarshal(entry.Value, &h) == nil && h == l.holder && entry.Revision > revision:
		l.revision = entry.Revision
		return fmt.Errorf("the answer to a renewal was lost: %w", conflict)
	default:
		l.lost = true
	}
	return conflict
}

// release gives the lease back, so that another need not wait for its end.
func (l *Lease) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, l.ttl/3)
	defer cancel()
	l.mu.Lock()
	l.lost = true
	revision := l.revision
	l.mu.Unlock()
	if err := l.leases.Delete(ctx, l.lane, revision); err != nil {
		l.log.Warn("the lease of the lane could not be given back; it ends by itself", "error", err)
	}
}

// HandOver stores what the next holder of the lane should know. It fails with ErrLost once this process may not be the
// holder.
func (l *Lease) HandOver(ctx context.Context, h bucket.HandOver) error {
	value, err := events.Marshal(h)
	if err != nil {
		return fmt.Errorf("hand-over of %s: %w", l.lane, err)
	}
	if err := l.Check(); err != nil {
		return err
	}
	return l.handOver.Put(ctx, bucket.HandOverKey(l.lane), value)
}

// Holder returns who holds the lease of a lane; the zero Holder if nobody does.
func Holder(ctx context.Context, b *bus.Bus, lane string) (bucket.Holder, error) {
	var h bucket.Holder
	err := read(ctx, b, lane, &h)
	return h, err
}

// HandOver returns what the holder of a lane has stored for the next one; the zero HandOver if none has. It fails with
// bus.ErrUnreadable, or with an error of the broker.
func HandOver(ctx context.Context, b *bus.Bus, lane string) (bucket.HandOver, error) {
	var h bucket.HandOver
	err := read(ctx, b, bucket.HandOverKey(lane), &h)
	return h, err
}

func read(ctx context.Context, b *bus.Bus, key string, v any) error {
	entry, err := b.Bucket(bucket.Leases, "lease").Get(ctx, key)
	if err != nil || !entry.Present {
		return err
	}
	if err := json.Unmarshal(entry.Value, v); err != nil {
		return fmt.Errorf("%w: %s in %s: %w", bus.ErrUnreadable, key, bucket.Leases, err)
	}
	return nil
}
