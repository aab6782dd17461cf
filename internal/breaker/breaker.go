// Package breaker keeps a lane from sending while the outcomes of its paid requests are unknown.
package breaker

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"

	"reelay/internal/provider"
)

const (
	// A lane stops sending after doubtsInARow submits in doubt in a row, or doubtsInAWhile of them within doubtWindow.
	// After breakerWait it sends one task; its outcome decides whether the lane opens again. A storm of 502s must not buy
	// anything.
	doubtsInARow   = 3
	doubtsInAWhile = 5
	doubtWindow    = 10 * time.Minute
	breakerWait    = time.Minute
)

// A Breaker is that of one lane. It is safe for concurrent use.
type Breaker struct {
	row, while circuitbreaker.CircuitBreaker[any]
}

// New returns a closed breaker. It calls changed whenever it opens or closes.
func New(lane string, log *slog.Logger, changed func()) Breaker {
	build := func(b circuitbreaker.Builder[any], why string) circuitbreaker.CircuitBreaker[any] {
		return b.WithDelay(breakerWait).WithSuccessThreshold(1).OnStateChanged(func(e circuitbreaker.StateChangedEvent) {
			log.Warn("the breaker of a lane changed its state", "lane", lane, "why", why, "from", e.OldState.String(), "to",
				e.NewState.String())
			changed()
		}).Build()
	}
	return Breaker{
		row: build(circuitbreaker.NewBuilder[any]().WithFailureThreshold(doubtsInARow), "submits in doubt in a row"),
		while: build(circuitbreaker.NewBuilder[any]().WithFailureThresholdPeriod(doubtsInAWhile, doubtWindow),
			"submits in doubt in ten minutes"),
	}
}

// A Pass is the right to send one task. It says of each of the two breakers whether it was half open, so that the task
// is the one by which it is tried.
type Pass struct{ probesRow, probesWhile bool }

// Allow gives the right to send one task; 0 says that it may be sent, another result how long to wait. A Pass must be
// handed to Record or Release.
func (b Breaker) Allow() (p Pass, wait time.Duration) {
	if !b.row.TryAcquirePermit() {
		return Pass{}, max(b.row.RemainingDelay(), time.Second)
	}
	p.probesRow = b.row.IsHalfOpen()
	if !b.while.TryAcquirePermit() {
		b.Release(p)
		return Pass{}, max(b.while.RemainingDelay(), time.Second)
	}
	p.probesWhile = b.while.IsHalfOpen()
	return p, 0
}

// IsOpen reports whether nothing may be sent.
func (b Breaker) IsOpen() bool { return b.row.IsOpen() || b.while.IsOpen() }

// Vetoes reports whether a task that has a Pass may not be sent any more: a breaker has opened, or is being tried by
// another task.
func (b Breaker) Vetoes(p Pass) bool {
	return b.IsOpen() || b.row.IsHalfOpen() && !p.probesRow || b.while.IsHalfOpen() && !p.probesWhile
}

// Reason says why only one task a minute is sent, and until when none; empty while the breaker is closed.
func (b Breaker) Reason(now time.Time) (why string, until time.Time) {
	switch {
	case !b.row.IsClosed():
		why = fmt.Sprintf("the outcomes of %d paid requests in a row are unknown", doubtsInARow)
	case !b.while.IsClosed():
		why = fmt.Sprintf("the outcomes of %d paid requests in %v are unknown", doubtsInAWhile, doubtWindow)
	default:
		return "", until
	}
	if b.IsOpen() {
		until = now.Add(max(b.row.RemainingDelay(), b.while.RemainingDelay()))
	}
	return why + "; one a minute is tried", until
}

// Close makes the lane send again as if nothing had been.
func (b Breaker) Close() {
	b.row.Close()
	b.while.Close()
}

// Record takes in the outcome of a request that was sent. Of a breaker that is half open only the probe decides: the
// others were sent before it opened.
func (b Breaker) Record(p Pass, o provider.Outcome) {
	take := func(c circuitbreaker.CircuitBreaker[any], probe bool) {
		switch {
		case c.IsHalfOpen() && !probe:
		case o == provider.InDoubt:
			c.RecordFailure()
		default:
			c.RecordSuccess()
		}
	}
	take(b.row, p.probesRow)
	take(b.while, p.probesWhile)
}

// Release takes in that nothing was sent, which teaches nothing: a breaker that was to be tried goes on waiting.
func (b Breaker) Release(p Pass) {
	if p.probesRow && b.row.IsHalfOpen() {
		b.row.RecordFailure()
	}
	if p.probesWhile && b.while.IsHalfOpen() {
		b.while.RecordFailure()
	}
}
