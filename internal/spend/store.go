package spend

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"

	"reelay/events/bucket"
	"reelay/internal/bus"
)

// WatchCaps calls handle with every cap there is, then with an empty scope, and then with every change, until ctx ends;
// a nil cap is one that was taken away. handle must be quick. A key that is no scope is logged and left out. It fails
// when the watch breaks.
func WatchCaps(ctx context.Context, b *bus.Bus, log *slog.Logger, handle func(bucket.Scope, *bucket.Cap)) error {
	return b.Bucket(bucket.Caps, "").Watch(ctx, func(entry *bus.Entry) {
		switch {
		case entry == nil:
			handle("", nil)
		case !bucket.Scope(entry.Key).Valid():
			log.Error("a key of the bucket of caps is no scope and is left out", "key", entry.Key)
		case entry.Present:
			c := bucket.DecodeCap(entry.Value)
			c.Revision, c.SetAt = entry.Revision, entry.At
			handle(bucket.Scope(entry.Key), &c)
		default:
			handle(bucket.Scope(entry.Key), nil)
		}
	})
}

// Taken reads what is taken of a cap on a day such as 2006-01-02; the zero counter where nothing is. It fails with
// bus.ErrUnreadable, or with an error of the broker.
func Taken(ctx context.Context, b *bus.Bus, s bucket.Scope, day string) (bucket.SpendCounter, error) {
	c, _, err := readCounter(ctx, b, s, day)
	return c, err
}

// readCounter returns as well the revision over which a counter is to be written, also of one that cannot be read or is
// absent.
func readCounter(ctx context.Context, b *bus.Bus, s bucket.Scope,
	day string,
) (c bucket.SpendCounter, revision uint64, err error) {
	entry, err := b.Bucket(bucket.Spend, "counter").Get(ctx, bucket.CounterKey(s, day))
	if err != nil || !entry.Present {
		return c, entry.Revision, err
	}
	if err := json.Unmarshal(entry.Value, &c); err != nil {
		return bucket.SpendCounter{}, entry.Revision,
			fmt.Errorf("%w: counter of %s on %s: %w", bus.ErrUnreadable, s, day, err)
	}
	return c, entry.Revision, nil
}

// writeCounter writes a counter if it still has the revision that was read. It fails with bus.ErrConflict if not.
func writeCounter(ctx context.Context, b *bus.Bus, s bucket.Scope, day string, c bucket.SpendCounter,
	revision uint64,
) error {
	value, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("counter of %s on %s: %w", s, day, err)
	}
	_, err = b.Bucket(bucket.Spend, "counter").Update(ctx, bucket.CounterKey(s, day), value, revision, 0)
	return err
}
