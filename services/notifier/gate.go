package notifier

import (
	"context"
	"sync"
	"time"
)

const (
	// failuresToClose in a row close the gate of an endpoint.
	failuresToClose = 5
	// minClosed and maxClosed bound the wait before the next try of an endpoint whose gate is closed; it doubles.
	minClosed, maxClosed = 5 * time.Second, 5 * time.Minute
	// maxRetryAfter bounds what an endpoint may ask for.
	maxRetryAfter = time.Hour
)

// A gate keeps deliveries from an endpoint that takes none: after some failures in a row one is tried at a time, after
// growing waits. A wait that the endpoint has asked for closes it at once.
type gate struct {
	mu       sync.Mutex
	failures int
	// until is when a closed gate lets the next try through, rounds how many have failed before it.
	until  time.Time
	rounds int
	// probing says that a delivery is under way by which a closed gate is judged.
	probing bool
	changed chan struct{}
	// failure is what was wrong with the last one that failed.
	failure               string
	failedAt, deliveredAt time.Time
}

func newGate() *gate { return &gate{changed: make(chan struct{})} }

// enter reports whether a delivery has to wait, for how long, and what ends that sooner. Otherwise the caller may
// deliver, and calls leave or pass.
func (g *gate) enter() (wait time.Duration, changed <-chan struct{}, closed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if wait = time.Until(g.until); wait > 0 {
		return wait, g.changed, true
	}
	if g.failures >= failuresToClose {
		if g.probing {
			return maxClosed, g.changed, true
		}
		g.probing = true
	}
	return 0, nil, false
}

// await returns true when a delivery may begin; false when ctx ends or late becomes true while the gate is closed.
func (g *gate) await(ctx context.Context, late func() bool) bool {
	for {
		wait, changed, closed := g.enter()
		switch {
		case !closed:
			return true
		case late():
			return false
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-changed:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// leave tells how a delivery went; failure is empty if well.
func (g *gate) leave(failure string, retryAfter time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	g.probing = false
	if failure == "" {
		g.failures, g.rounds, g.until, g.deliveredAt = 0, 0, time.Time{}, now
	} else {
		shut := g.failures >= failuresToClose && now.Before(g.until) // this one was under way when others closed the gate
		g.failures++
		g.failure, g.failedAt = failure, now
		if g.failures >= failuresToClose && !shut {
			g.until = now.Add(min(minClosed<<min(g.rounds, 10), maxClosed))
			g.rounds++
		}
		if asked := now.Add(min(retryAfter, maxRetryAfter)); asked.After(g.until) && retryAfter > 0 {
			g.until = asked
		}
	}
	close(g.changed)
	g.changed = make(chan struct{})
}

// lastFailure is what was wrong with the last delivery that failed.
func (g *gate) lastFailure() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.failure
}

// reopen has deliveries tried at once: a person has changed the file, and maybe what was wrong.
func (g *gate) reopen() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.failures, g.rounds, g.until = 0, 0, time.Time{}
	close(g.changed)
	g.changed = make(chan struct{})
}

// pass tells that a delivery did not come about, for a reason that is not the endpoint's.
func (g *gate) pass() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.probing = false
	close(g.changed)
	g.changed = make(chan struct{})
}
