package bus

import (
	"context"
	"log/slog"
	"time"
)

const (
	// watchWait and maxWatchWait bound the pause before a watch that broke is opened again.
	watchWait    = 100 * time.Millisecond
	maxWatchWait = 5 * time.Second
	// upAfter is how long a watch lasts that was certainly up: an attempt at a broker that does not answer ends sooner.
	upAfter = 2 * writeWait
)

// KeepWatching calls watch until ctx ends. watch lasts as long as it can, as the Watch methods do, and is called again
// when it breaks: after 100 ms, and after twice as long each time that it breaks at once, up to 5 s. interrupted is
// what the log then says.
func KeepWatching(ctx context.Context, log *slog.Logger, interrupted string, watch func(context.Context) error) {
	for wait := watchWait; ; wait = min(2*wait, maxWatchWait) {
		began := time.Now()
		err := watch(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) >= upAfter {
			wait = watchWait
		}
		log.Warn(interrupted, "error", err, "again_in", wait)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}
