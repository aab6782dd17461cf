package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
)

// healthWait bounds one reading of all figures.
const healthWait = 2 * time.Second

// PutCallbackHealth stores the figures of one poller, named by a NATS token, in place of its former ones.
func (b *Bus) PutCallbackHealth(ctx context.Context, lane, replica string, h events.CallbackHealth) error {
	value, err := events.Marshal(h)
	if err != nil {
		return fmt.Errorf("health of %s: %w", lane, err)
	}
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	err = b.faults.Do(ctx, "health", func() error {
		_, err := b.health.Put(ctx, events.HealthKey(lane, replica), value)
		return err
	})
	if err != nil {
		return fmt.Errorf("health of %s: %w", lane, err)
	}
	return nil
}

// CallbackHealth returns the figures of all pollers by lane. What cannot be read is left out.
func (b *Bus) CallbackHealth(ctx context.Context) (map[string][]events.CallbackHealth, error) {
	ctx, cancel := context.WithTimeout(ctx, healthWait)
	defer cancel()
	w, err := b.health.WatchAll(ctx, jetstream.IgnoreDeletes())
	if err != nil {
		return nil, fmt.Errorf("watch of %s: %w", events.HealthBucket, err)
	}
	defer func() { _ = w.Stop() }() // it ends with ctx anyway
	all := map[string][]events.CallbackHealth{}
	for {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%s: %w", events.HealthBucket, context.Cause(ctx))
		case entry, ok := <-w.Updates():
			if !ok {
				return nil, fmt.Errorf("watch of %s ended", events.HealthBucket)
			}
			if entry == nil {
				return all, nil
			}
			lane := events.LaneOfHealth(entry.Key())
			var h events.CallbackHealth
			if json.Unmarshal(entry.Value(), &h) == nil {
				all[lane] = append(all[lane], h)
			}
		}
	}
}
