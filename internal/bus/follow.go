package bus

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// follow calls handle with every key of a bucket, then with nil, and then with every change, until ctx ends. It fails when the watch
// breaks.
func follow(ctx context.Context, kv jetstream.KeyValue, handle func(jetstream.KeyValueEntry)) error {
	w, err := kv.WatchAll(ctx)
	if err != nil {
		return fmt.Errorf("watch of %s: %w", kv.Bucket(), err)
	}
	defer func() { _ = w.Stop() }() // it ends with ctx anyway
	for {
		select {
		case <-ctx.Done():
			return nil
		case entry, ok := <-w.Updates():
			if !ok {
				return fmt.Errorf("watch of %s ended", kv.Bucket())
			}
			handle(entry)
		}
	}
}
