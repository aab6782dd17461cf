package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
)

// FollowCaps calls handle with every cap there is, then with an empty scope, and then with every change, until ctx ends; a nil
// cap is one that was taken away. handle must be quick. A key that is no scope is logged and left out.
func (b *Bus) FollowCaps(ctx context.Context, handle func(events.Scope, *events.Cap)) error {
	return follow(ctx, b.caps, func(entry jetstream.KeyValueEntry) {
		switch {
		case entry == nil:
			handle("", nil)
		case !events.Scope(entry.Key()).Valid():
			b.log.Error("foreign key in the bucket of caps", "key", entry.Key())
		case entry.Operation() == jetstream.KeyValuePut:
			c := events.DecodeCap(entry.Value())
			c.Revision, c.SetAt = entry.Revision(), entry.Created()
			handle(events.Scope(entry.Key()), &c)
		default:
			handle(events.Scope(entry.Key()), nil)
		}
	})
}

// Counter reads the counter of a scope and day (2006-01-02) into value, as JSON, and returns its revision; 0 where there is none.
// One that cannot be read fails with ErrUnreadable, and has its revision all the same.
func (b *Bus) Counter(ctx context.Context, s events.Scope, day string, value any) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	entry, err := b.key(ctx, events.SpendBucket, events.CounterKey(s, day))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("counter of %s on %s: %w", s, day, err)
	}
	if err := json.Unmarshal(entry.Value(), value); err != nil {
		return entry.Revision(), fmt.Errorf("%w: counter of %s on %s: %w", ErrUnreadable, s, day, err)
	}
	return entry.Revision(), nil
}

// PutCounter writes a counter if it has not changed since it was read; revision 0 creates it. ErrConflict means that nothing was
// written; after any other error the write may or may not have happened.
func (b *Bus) PutCounter(ctx context.Context, s events.Scope, day string, value any, revision uint64) error {
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("counter of %s on %s: %w", s, day, err)
	}
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	err = b.faults.Do(ctx, "counter", func() error {
		_, err := b.spend.Update(ctx, events.CounterKey(s, day), data, revision)
		return err
	})
	if isConflict(err) {
		return fmt.Errorf("%w: counter of %s on %s", ErrConflict, s, day)
	}
	if err != nil {
		return fmt.Errorf("counter of %s on %s: %w", s, day, err)
	}
	return nil
}
