package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// watchWait and maxWatchWait bound the pause before a watch that broke is opened again.
	watchWait    = 100 * time.Millisecond
	maxWatchWait = 5 * time.Second
	// upAfter is how long a watch lasts that was certainly up: an attempt at a broker that does not answer ends sooner.
	upAfter = 2 * writeWait
)

// sameEvery is how often a watch makes sure that it is still of the same stream.
const sameEvery = 20 * time.Second

// errAnotherStream says that a stream was removed, made anew or put back from a copy. What is stored there now has
// sequences behind which a watch has got long since, and would never be heard of.
var errAnotherStream = errors.New("the stream is not the one that was watched")

// whileSame calls watch with a context that ends, and fails with errAnotherStream, when a stream is no longer the one that
// it was at the start, or ends before a sequence that watch has seen.
func (b *Bus) whileSame(ctx context.Context, stream string, watch func(ctx context.Context, seen func(uint64)) error) error {
	first, err := b.js.Stream(ctx, stream)
	if err != nil {
		return fmt.Errorf("stream %s: %w", stream, err)
	}
	ctx, end := context.WithCancelCause(ctx)
	var last atomic.Uint64
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(sameEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			seen := last.Load()
			attempt, cancel := context.WithTimeout(ctx, answerWait)
			now, err := b.js.Stream(attempt, stream)
			cancel()
			if errors.Is(err, jetstream.ErrStreamNotFound) || err == nil &&
				(!now.CachedInfo().Created.Equal(first.CachedInfo().Created) || now.CachedInfo().State.LastSeq < seen) {
				end(fmt.Errorf("%w: %s", errAnotherStream, stream))
			}
		}
	}()
	err = watch(ctx, last.Store)
	if cause := context.Cause(ctx); errors.Is(cause, errAnotherStream) {
		err = cause
	}
	end(nil)
	<-done
	return err
}

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
