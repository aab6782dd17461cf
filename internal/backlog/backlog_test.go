package backlog

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"reelay/events"
)

type source func() (int, error)

func (s source) Backlog(context.Context, events.Consumer) (int, error) { return s() }

// TestCounter: the last count holds until there is a new one.
func TestCounter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var counted atomic.Int64 // below zero for no answer
		counted.Store(7)
		c := New(source(func() (int, error) {
			if n := counted.Load(); n >= 0 {
				return int(n), nil
			}
			return 0, errors.New("no answer")
		}), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		check := func(want float64) {
			t.Helper()
			synctest.Wait()
			if got := testutil.ToFloat64(c.gauge); got != want {
				t.Errorf("%v wait, want %v", got, want)
			}
		}
		check(7)
		counted.Store(-1)
		time.Sleep(countEvery)
		check(7)
		counted.Store(0)
		time.Sleep(countEvery)
		check(0)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
