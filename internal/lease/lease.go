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
	// errResigned says that the holder itself has ended its term.
	errResigned = errors.New("the lease is given up")
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
	trip := time.Duration(0)
	var silent, told time.Time
	for {
		l := &Lease{
			trip: trip, resigned: make(chan struct{}),
			leases: c.Bus.Bucket(bucket.Leases, "lease"), handOver: c.Bus.Bucket(bucket.Leases, "memory"),
			log: c.Log.With("lane", lane), lane: lane, ttl: ttl,
			holder: bucket.Holder{Name: c.Name, Since: time.Now().UTC(), TTL: events.Duration(ttl)},
		}
		switch err := l.acquire(ctx, &others); {
		case err == nil:
			l.log.Info("this process dispatches the lane", "holder", c.Name)
			l.keep(ctx, lead)
			if l.Resigned() {
				silent = time.Now().Add(l.pause() * restsOfSilence)
			}
		case errors.Is(err, errHeld):
			if now := time.Now(); now.After(silent) && now.Sub(told) >= ttl/3 {
				told = now
				l.announce(ctx)
			}
		case ctx.Err() == nil:
			l.log.Warn("the lease of the lane could not be acquired", "error", err)
		}
		trip = l.trip
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(ttl/6, l.pause())):
		}
	}
}

// restsOfSilence is for how many times its rest whoever has resigned does not ask another holder to: where no process
// reaches the provider, the lane would go round.
const restsOfSilence = 10

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
	// trip is how long the last write took that was answered, or was waited for in vain.
	trip time.Duration
	// resigned is closed by Resign.
	resigned chan struct{}

	mu sync.Mutex
	// rest is for how long this process does not ask for the lease again once it has resigned.
	rest     time.Duration
	revision uint64
	renewed  time.Time // when the last renewal that was acknowledged began
	lost     bool
}

// acquire makes this process the holder if nobody is. It fails with errHeld if somebody is.
func (l *Lease) acquire(ctx context.Context, others *sighting) error {
	wait := max(l.ttl/3, min(2*trips*l.trip, l.ttl))
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	defer l.timed(time.Now(), wait)
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
	resigned := l.resigned
	for wait := l.nextRenewal(); l.Check() == nil; {
		select {
		case <-ended:
			l.release(life)
			return
		case <-resigned:
			resigned = nil
			lose(errResigned)
			continue
		case <-time.After(wait):
		}
		err := l.renewInTime(life)
		if wait = l.nextRenewal(); err != nil {
			wait = l.ttl / 24
			l.log.Warn("the lease of the lane could not be renewed", "error", err)
		}
	}
	l.log.Warn("the lease of the lane is lost; this process stops dispatching it")
	lose(ErrLost)
	<-ended
}

// nextRenewal is how soon the lease is to be renewed: a third of its life after the last time, the way there counted.
func (l *Lease) nextRenewal() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(l.ttl/24, l.ttl/3-time.Since(l.renewed))
}

// trips is how many round trips of the last write the next may take.
const trips = 3

// renewInTime renews the lease within a few round trips, but not beyond the time for which it is trusted: what takes
// longer is tried again, as the message may be lost.
func (l *Lease) renewInTime(ctx context.Context) error {
	l.mu.Lock()
	trusted := l.ttl*2/3 - time.Since(l.renewed)
	l.mu.Unlock()
	wait := min(max(l.ttl/6, trips*l.trip), trusted)
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	defer l.timed(time.Now(), wait)
	return l.renew(ctx)
}

// timed notes how long a write took that was begun at a time and waited for so long.
func (l *Lease) timed(began time.Time, waited time.Duration) {
	l.trip = min(time.Since(began), waited)
}

// Resign ends the term, and has this process not ask for the lease again for a while, so that another one can have it.
// A lease that is lost is none to resign.
func (l *Lease) Resign(rest time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.lost && !l.Resigned() {
		l.rest = rest
		close(l.resigned)
	}
}

// pause is for how long this process does not ask for the lease again.
func (l *Lease) pause() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rest
}

// announce says that this process waits for the lease. If that fails it is said again soon.
func (l *Lease) announce(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, l.ttl/3)
	defer cancel()
	key := bucket.CandidateKey(l.lane)
	entry, err := l.handOver.Get(ctx, key)
	if err == nil {
		var value []byte
		if value, err = events.Marshal(l.holder); err == nil {
			_, err = l.handOver.Update(ctx, key, value, entry.Revision, l.ttl)
		}
	}
	if err != nil && ctx.Err() == nil && !errors.Is(err, bus.ErrConflict) {
		l.log.Warn("that this process waits for the lease of the lane could not be told", "error", err)
	}
}

// Wanted reports whether another process waits for the lease; false where that cannot be known.
func (l *Lease) Wanted(ctx context.Context) bool {
	var h bucket.Holder
	return read(ctx, l.handOver, bucket.CandidateKey(l.lane), &h) == nil && h.Name != "" && h.Name != l.holder.Name
}

// Resigned reports whether Resign was called.
func (l *Lease) Resigned() bool {
	select {
	case <-l.resigned:
		return true
	default:
		return false
	}
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
	err := read(ctx, b.Bucket(bucket.Leases, "lease"), lane, &h)
	return h, err
}

// HandOver returns what the holder of a lane has stored for the next one; the zero HandOver if none has. It fails with
// bus.ErrUnreadable, or with an error of the broker.
func HandOver(ctx context.Context, b *bus.Bus, lane string) (bucket.HandOver, error) {
	var h bucket.HandOver
	err := read(ctx, b.Bucket(bucket.Leases, "memory"), bucket.HandOverKey(lane), &h)
	return h, err
}

func read(ctx context.Context, leases bus.Bucket, key string, v any) error {
	entry, err := leases.Get(ctx, key)
	if err != nil || !entry.Present {
		return err
	}
	if err := json.Unmarshal(entry.Value, v); err != nil {
		return fmt.Errorf("%w: %s in %s: %w", bus.ErrUnreadable, key, bucket.Leases, err)
	}
	return nil
}
