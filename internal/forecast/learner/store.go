package learner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"reelay/events/bucket"
	"reelay/internal/bus"
)

const (
	// changeTries is how often a change is tried that others are faster with.
	changeTries = 10
	// changeWait bounds one change.
	changeWait = 15 * time.Second
)

func forecasts(b *bus.Bus) bus.Bucket { return b.Bucket(bucket.Forecasts, "forecast") }

// change replaces the value of a key by compare-and-set: edit is given the stored value, nil if there is none, and is
// called again when somebody else was faster. It fails with bus.ErrConflict when that goes on, with the error of edit,
// or with one of the broker, after which the value may have been written or not.
func change(ctx context.Context, b *bus.Bus, key string, edit func(stored []byte) ([]byte, error)) error {
	ctx, cancel := context.WithTimeout(ctx, changeWait)
	defer cancel()
	for range changeTries {
		entry, err := forecasts(b).Get(ctx, key)
		if err != nil {
			return err
		}
		if !entry.Present {
			entry.Value = nil
		}
		value, err := edit(entry.Value)
		if err != nil {
			return err
		}
		_, err = forecasts(b).Update(ctx, key, value, entry.Revision, 0)
		if !errors.Is(err, bus.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("%w: %s, %d times in a row", bus.ErrConflict, key, changeTries)
}

// watch calls handle with the value of every key and then with every change, until ctx ends; nil is a key that is gone.
// It fails when the watch breaks. handle must be quick.
func watch(ctx context.Context, b *bus.Bus, handle func(key string, value []byte)) error {
	return forecasts(b).Watch(ctx, func(entry *bus.Entry) {
		switch {
		case entry == nil: // that was all there is
		case entry.Present:
			handle(entry.Key, entry.Value)
		default:
			handle(entry.Key, nil)
		}
	})
}
