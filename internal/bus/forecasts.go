package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// forecastTries is how often a change is tried that others are faster with.
const forecastTries = 10

// ChangeForecast replaces the value of a key of events.ForecastBucket by compare-and-set: change is given the stored value, nil if there
// is none, and is called again when somebody else was faster. It fails with ErrConflict when that goes on, with the error of
// change, or with one of the broker, after which the value may have been written or not.
func (b *Bus) ChangeForecast(ctx context.Context, key string, change func(stored []byte) ([]byte, error)) error {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	for range forecastTries {
		var stored []byte
		revision := uint64(0) // of a key that does not exist
		entry, err := b.forecasts.Get(ctx, key)
		switch {
		case err == nil:
			stored, revision = entry.Value(), entry.Revision()
		case !errors.Is(err, jetstream.ErrKeyNotFound):
			return fmt.Errorf("forecast %s: %w", key, err)
		}
		value, err := change(stored)
		if err != nil {
			return err
		}
		err = b.faults.Do(ctx, "forecast", func() error {
			if revision == 0 {
				_, err = b.forecasts.Create(ctx, key, value)
			} else {
				_, err = b.forecasts.Update(ctx, key, value, revision)
			}
			return err
		})
		if err == nil {
			return nil
		}
		if !isConflict(err) && !errors.Is(err, jetstream.ErrKeyExists) {
			return fmt.Errorf("forecast %s: %w", key, err)
		}
	}
	return fmt.Errorf("forecast %s: %w", key, ErrConflict)
}

// FollowForecasts calls handle with every forecast there is and then with every change, until ctx ends. A nil value is a key that was
// deleted. handle must be quick.
func (b *Bus) FollowForecasts(ctx context.Context, handle func(key string, value []byte)) error {
	return follow(ctx, b.forecasts, func(entry jetstream.KeyValueEntry) {
		switch {
		case entry == nil: // that was all there is
		case entry.Operation() == jetstream.KeyValuePut:
			handle(entry.Key(), entry.Value())
		default:
			handle(entry.Key(), nil)
		}
	})
}
