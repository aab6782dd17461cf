package bus_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"reelay/internal/bus"
)

// TestKeepWatching: a watch that breaks at once is made again ever later, also when the broker took its time to say no,
// and soon after one that was up.
func TestKeepWatching(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const (
			ms     = time.Millisecond
			silent = 15 * time.Second
			up     = time.Hour
		)
		rows := []struct{ stands, pause time.Duration }{
			{0, 100 * ms},
			{0, 200 * ms},
			{0, 400 * ms},
			{silent, 800 * ms},
			{0, 1600 * ms},
			{0, 3200 * ms},
			{silent, 5000 * ms},
			{0, 5000 * ms},
			{up, 100 * ms},
			{0, 200 * ms},
			{0, 400 * ms},
			{up, 100 * ms},
			{up, 100 * ms},
			{0, 200 * ms},
		}
		ctx, cancel := context.WithCancel(t.Context())
		broke := time.Now()
		calls := 0
		bus.KeepWatching(ctx, slog.New(slog.DiscardHandler), "interrupted", func(context.Context) error {
			if calls > 0 {
				if row := rows[calls-1]; time.Since(broke) != row.pause {
					t.Errorf("watch %d stood for %v, and was made again after %v, want %v", calls, row.stands, time.Since(broke),
						row.pause)
				}
			}
			if calls == len(rows) {
				cancel()
				return nil
			}
			time.Sleep(rows[calls].stands)
			calls++
			broke = time.Now()
			return errors.New("broken by the test")
		})
		if calls != len(rows) {
			t.Errorf("%d watches of %d", calls, len(rows))
		}
	})
}
