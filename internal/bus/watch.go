package bus

import (
	"context"
	"log/slog"
	"time"
)

const (
	// followWait and maxFollowWait bound the pause before a watch is made again after it broke.
	followWait    = 100 * time.Millisecond
	maxFollowWait = 5 * time.Second
	// upAfter is how long a watch has stood that was up for certain: a broker that does not answer is given up sooner.
	upAfter = 2 * writeWait
)

// KeepWatching watches until ctx ends: watch calls one of the Follow methods, or takes messages, and is called again when that
// breaks, after 100 ms, and after twice as long each time that it breaks at once, up to 5 s. interrupted is what the log then says.
func KeepWatching(ctx context.Context, log *slog.Logger, interrupted string, watch func(context.Context) error) {
	for wait := followWait; ; wait = min(2*wait, maxFollowWait) {
		begun := time.Now()
		err := watch(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(begun) >= upAfter {
			wait = followWait
		}
		log.Warn(interrupted, "error", err, "again_in", wait)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}
