package bus

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// KeepFollowing watches until ctx ends: watch calls one of the Follow methods, and is called again, after 100 ms to 5 s, when that
// breaks; interrupted is what the log then says.
func KeepFollowing(ctx context.Context, log *slog.Logger, interrupted string, watch func(context.Context) error) {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := watch(ctx)
		if ctx.Err() != nil {
			return
		}
		log.Warn(interrupted, "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

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
