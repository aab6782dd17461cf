package bus

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reelay/events/bucket"
)

// A Bucket reads and writes one KV bucket of the contract. Reads are answered by the leader of its stream; writes are
// messages on the keys' subjects, since the client's own KV interface cannot give a key that is updated a lifetime. A
// read or write takes 15 s at most; after an error that is not ErrConflict a write may or may not have happened.
type Bucket struct {
	bus       *Bus
	name      string
	failpoint string
}

// Bucket returns a bucket of bucket.All. Simulations know its writes by the name of the failpoint.
func (b *Bus) Bucket(name, failpoint string) Bucket {
	return Bucket{bus: b, name: name, failpoint: failpoint}
}

// An Entry is the last message of a key.
type Entry struct {
	Key   string
	Value []byte
	// Revision is that of the value, or of the marker that a deletion or an expiry has left, over which Update creates; 0
	// where there is neither.
	Revision uint64
	// At is when it was stored, by the broker's clock.
	At time.Time
	// Present says that there is a value, if an empty one.
	Present bool
}

// Get reads a key. That it is absent is no error.
func (k Bucket) Get(ctx context.Context, key string) (Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	e, err := k.bus.key(ctx, k.name, key)
	if err != nil {
		return Entry{}, fmt.Errorf("%s in %s: %w", key, k.name, err)
	}
	return e, nil
}

// Update writes a value if the key still has a revision, that of an Entry, and returns the new one. Where the entry was
// absent it creates. The value ends after ttl, in whole seconds, or with those of the bucket if that is 0. It fails
// with ErrConflict if somebody else was faster.
func (k Bucket) Update(ctx context.Context, key string, value []byte, revision uint64,
	ttl time.Duration,
) (uint64, error) {
	opts := []jetstream.PublishOpt{jetstream.WithExpectLastSequencePerSubject(revision)}
	if ttl > 0 {
		opts = append(opts, jetstream.WithMsgTTL(ttl))
	}
	return k.write(ctx, key, &nats.Msg{Data: value}, opts...)
}

// Put writes a value in place of whatever is there.
func (k Bucket) Put(ctx context.Context, key string, value []byte) error {
	_, err := k.write(ctx, key, &nats.Msg{Data: value})
	return err
}

// Delete leaves a marker in place of the value of a key that still has a revision. It fails with ErrConflict if
// somebody else was faster.
func (k Bucket) Delete(ctx context.Context, key string, revision uint64) error {
	marker := &nats.Msg{Header: nats.Header{headerOperation: {operationDelete}}}
	_, err := k.write(ctx, key, marker, jetstream.WithExpectLastSequencePerSubject(revision))
	return err
}

func (k Bucket) write(ctx context.Context, key string, msg *nats.Msg, opts ...jetstream.PublishOpt) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	msg.Subject = k.bus.keySubject(bucket.KeySubject(k.name, key))
	var ack *jetstream.PubAck
	err := k.bus.faults.Do(ctx, k.failpoint, func() (err error) {
		ack, err = k.bus.js.PublishMsg(ctx, msg, opts...)
		return err
	})
	if isConflict(err) {
		return 0, fmt.Errorf("%w: %s in %s", ErrConflict, key, k.name)
	}
	if err != nil {
		return 0, fmt.Errorf("write of %s in %s: %w", key, k.name, err)
	}
	return ack.Sequence, nil
}

// Watch calls handle with the entry of every key, absent ones included, then with nil, and then with every change,
// until ctx ends. It fails when the watch breaks, or when the bucket is removed, made anew or put back from a copy. handle
// must be quick.
func (k Bucket) Watch(ctx context.Context, handle func(*Entry)) error {
	return k.watchKeys(ctx, jetstream.AllKeys, handle)
}

// watchKeys is Watch of the keys of a filter.
func (k Bucket) watchKeys(ctx context.Context, filter string, handle func(*Entry)) error {
	return k.bus.whileSame(ctx, bucket.Stream(k.name), func(ctx context.Context, seen func(uint64)) error {
		return k.watch(ctx, filter, func(e *Entry) {
			if e != nil {
				seen(e.Revision)
			}
			handle(e)
		})
	})
}

func (k Bucket) watch(ctx context.Context, filter string, handle func(*Entry)) error {
	w, err := k.bus.buckets[k.name].Watch(ctx, filter)
	if err != nil {
		return fmt.Errorf("watch of %s: %w", k.name, err)
	}
	defer func() { _ = w.Stop() }() // it ends with ctx anyway
	for {
		select {
		case <-ctx.Done():
			return nil
		case entry, ok := <-w.Updates():
			switch {
			case !ok:
				return fmt.Errorf("watch of %s ended", k.name)
			case entry == nil:
				handle(nil)
			default:
				handle(&Entry{
					Key: entry.Key(), Value: entry.Value(), Revision: entry.Revision(), At: entry.Created(),
					Present: entry.Operation() == jetstream.KeyValuePut,
				})
			}
		}
	}
}

// All returns the entry of every key that has a value.
func (k Bucket) All(ctx context.Context) ([]Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	var all []Entry
	complete := false
	err := k.Watch(ctx, func(e *Entry) {
		switch {
		case e == nil:
			complete = true
			cancel()
		case e.Present && !complete:
			all = append(all, *e)
		}
	})
	if !complete && err == nil {
		err = fmt.Errorf("%s: %w", k.name, context.Cause(ctx))
	}
	if !complete {
		return nil, err
	}
	return all, nil
}
