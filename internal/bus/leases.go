package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
)

var (
	// ErrLeaseHeld says that somebody else holds the lease.
	ErrLeaseHeld = errors.New("somebody else holds the lease")
	// ErrLeaseLost says that the lease has run out, or was taken by somebody else.
	ErrLeaseLost = errors.New("the lease is lost")
)

// A Lease is the right of one process to dispatch a lane. The broker ends it when it is not renewed for its TTL; the holder counts
// itself out after two thirds of that, so that the two never overlap, however long the holder or its messages stood still.
//
// Nothing that was paid for rests on a lease: the record's compare-and-set decides who sends. A lease makes it one process that
// knows what was sent.
type Lease struct {
	bus    *Bus
	lane   string
	ttl    time.Duration
	holder events.Holder

	mu       sync.Mutex
	revision uint64
	renewed  time.Time // when the last renewal that was acknowledged began
	lost     bool
}

// Lead waits for the lease of a lane, calls lead with it and gives it back when lead returns; it renews the lease all the while.
// The context of lead ends with ctx, or when the lease is lost. Then Lead begins anew, until ctx ends. ttl is in whole seconds, 3
// at least; 0 is events.LeaseTTL.
func (b *Bus) Lead(ctx context.Context, lane, holder string, ttl time.Duration, lead func(context.Context, *Lease)) {
	if ttl == 0 {
		ttl = events.LeaseTTL
	}
	for {
		l, err := b.acquire(ctx, lane, holder, ttl)
		switch {
		case err == nil:
			b.log.Info("dispatches the lane", "lane", lane, "holder", holder)
			l.keep(ctx, lead)
		case errors.Is(err, ErrLeaseHeld):
		case ctx.Err() == nil:
			b.log.Warn("lease", "lane", lane, "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(ttl / 6):
		}
	}
}

// acquire takes the lease if nobody holds it.
func (b *Bus) acquire(ctx context.Context, lane, holder string, ttl time.Duration) (*Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, ttl/3)
	defer cancel()
	l := &Lease{bus: b, lane: lane, ttl: ttl, holder: events.Holder{Name: holder, Since: time.Now().UTC()}}
	entry, err := b.key(ctx, events.LeaseBucket, lane)
	switch {
	case err == nil:
		var h events.Holder
		if err := json.Unmarshal(entry.Value(), &h); err != nil {
			return nil, fmt.Errorf("%w: lease of %s, which nobody can take before it is deleted: %w", ErrUnreadable, lane, err)
		}
		if h.Name != holder {
			return nil, fmt.Errorf("%w: %s", ErrLeaseHeld, h.Name)
		}
		// Taken by this process, and the answer was lost. How long it still lives is not known.
		l.revision = entry.Revision()
		return l, l.renew(ctx)
	case !errors.Is(err, jetstream.ErrKeyNotFound):
		return nil, fmt.Errorf("lease of %s: %w", lane, err)
	}
	value, err := events.Marshal(l.holder)
	if err != nil {
		return nil, fmt.Errorf("lease of %s: %w", lane, err)
	}
	l.renewed = time.Now()
	err = b.faults.Do(ctx, "lease", func() (err error) {
		l.revision, err = b.leases.Create(ctx, lane, value, jetstream.KeyTTL(ttl))
		return err
	})
	if errors.Is(err, jetstream.ErrKeyExists) {
		return nil, fmt.Errorf("%w: it was faster", ErrLeaseHeld)
	}
	if err != nil {
		return nil, fmt.Errorf("lease of %s: %w", lane, err)
	}
	return l, nil
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
			l.bus.log.Warn("renewal of a lease", "lane", l.lane, "error", err)
		}
	}
	l.bus.log.Warn("lost the lease of the lane", "lane", l.lane)
	lose(ErrLeaseLost)
	<-ended
}

// Check returns ErrLeaseLost if the lease may have ended.
func (l *Lease) Check() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	// By both clocks: the monotonic one stands still while a machine sleeps, and the other can be set.
	age := max(time.Since(l.renewed), time.Now().Round(0).Sub(l.renewed.Round(0)))
	if l.lost || age >= l.ttl*2/3 {
		l.lost = true
		return fmt.Errorf("%w: %s", ErrLeaseLost, l.lane)
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
	var ack *jetstream.PubAck
	err = l.bus.faults.Do(ctx, "lease", func() (err error) {
		// Not by the KV interface: its Update takes the lifetime away.
		ack, err = l.bus.js.PublishMsg(ctx, &nats.Msg{Subject: events.KeySubject(events.LeaseBucket, l.lane), Data: value},
			jetstream.WithExpectLastSequencePerSubject(revision), jetstream.WithMsgTTL(l.ttl))
		return err
	})
	if isConflict(err) {
		// Somebody else's, or our own whose answer was lost.
		entry, getErr := l.bus.key(ctx, events.LeaseBucket, l.lane)
		var h events.Holder
		if getErr == nil && json.Unmarshal(entry.Value(), &h) == nil && h == l.holder && entry.Revision() > revision {
			l.mu.Lock()
			l.revision = entry.Revision()
			l.mu.Unlock()
			return fmt.Errorf("an answer was lost: %w", err)
		}
		// If it is the one that we know, a renewal of ours is on its way through the cluster.
		if getErr == nil && entry.Revision() != revision || errors.Is(getErr, jetstream.ErrKeyNotFound) {
			l.mu.Lock()
			l.lost = true
			l.mu.Unlock()
		}
	}
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.revision, l.renewed = ack.Sequence, began
	return nil
}

// release gives the lease back, so that another need not wait for its end.
func (l *Lease) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, l.ttl/3)
	defer cancel()
	l.mu.Lock()
	l.lost = true
	revision := l.revision
	l.mu.Unlock()
	err := l.bus.faults.Do(ctx, "lease", func() error {
		return l.bus.leases.Delete(ctx, l.lane, jetstream.LastRevision(revision))
	})
	if err != nil {
		l.bus.log.Warn("lease is not given back; it ends by itself", "lane", l.lane, "error", err)
	}
}

// LaneHolder returns who holds the lease of a lane; the zero events.Holder if nobody does.
func (b *Bus) LaneHolder(ctx context.Context, lane string) (events.Holder, error) {
	var h events.Holder
	return h, b.readLease(ctx, lane, &h)
}

// Recall reads what the holder of a lane has remembered for the next one into v. What was never remembered changes nothing. It
// fails with ErrUnreadable, or with an error of the broker.
func (b *Bus) Recall(ctx context.Context, lane string, v any) error {
	return b.readLease(ctx, events.HandOverKey(lane), v)
}

// Remember stores what the next holder of a lane should know. Only the holder may.
func (l *Lease) Remember(ctx context.Context, v any) error {
	value, err := events.Marshal(v)
	if err != nil {
		return fmt.Errorf("memory of %s: %w", l.lane, err)
	}
	if err := l.Check(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	err = l.bus.faults.Do(ctx, "memory", func() error {
		_, err := l.bus.leases.Put(ctx, events.HandOverKey(l.lane), value)
		return err
	})
	if err != nil {
		return fmt.Errorf("memory of %s: %w", l.lane, err)
	}
	return nil
}

func (b *Bus) readLease(ctx context.Context, key string, v any) error {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	entry, err := b.key(ctx, events.LeaseBucket, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s in %s: %w", key, events.LeaseBucket, err)
	}
	if err := json.Unmarshal(entry.Value(), v); err != nil {
		return fmt.Errorf("%w: %s in %s: %w", ErrUnreadable, key, events.LeaseBucket, err)
	}
	return nil
}
