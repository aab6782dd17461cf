// Package broker runs the real broker in synctest bubbles: hours of its time in milliseconds. It is for tests only.
package broker

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server/ats"
)

// Main is the body of TestMain of a package that uses bubbles: the broker's own ticker must be started outside of them.
func Main(m *testing.M) {
	ats.Register()
	code := m.Run()
	ats.Unregister()
	os.Exit(code)
}

// Bubble runs f in a synctest bubble. Bubbles must not run in parallel: see ForgetTimers.
//
// A bubble begins in the year 2000, and the broker takes the age of messages from a clock outside of it: to that clock
// every message would be decades old and expired. So the bubble's time is brought forward to today first.
func Bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	ForgetTimers()
	today := time.Now().Round(0) // without the monotonic reading, which means nothing inside
	defer func() {
		if p := recover(); p != nil && !(strings.Contains(fmt.Sprint(p), "blocked goroutines remain") && onlyForgotten()) {
			panic(p)
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(today))
		f(t)
	})
}

// Begin begins what runs until its context ends, in a bubble, and returns when that waits for something to do. stop
// ends it and returns its error; the end of the test ends it in any case.
func Begin(t testing.TB, run func(context.Context) error) (stop func() error) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	synctest.Wait()
	return func() error { cancel(); return <-done }
}

// ForgetTimers empties the pool of used timers that nats.go keeps for the whole process: a timer of another bubble, or
// of none, is fatal. The second collection is the one that empties a sync.Pool.
func ForgetTimers() {
	runtime.GC()
	runtime.GC()
}

// onlyForgotten reports whether all that is left in bubbles are goroutines that nats.go 1.55 forgets where something is
// published for the first time over a connection that is just being closed: they listen for the end of it after the
// end.
func onlyForgotten() bool {
	buf := make([]byte, 1<<20)
	n := runtime.Stack(buf, true)
	if n == len(buf) {
		return false
	}
	for g := range strings.SplitSeq(string(buf[:n]), "\n\n") {
		head, _, _ := strings.Cut(g, "\n")
		if strings.Contains(head, "synctest bubble") && !strings.Contains(g, ".resetPendingAcksOnReconnect(") {
			return false
		}
	}
	return true
}
