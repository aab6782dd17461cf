package submitter

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

// breaker keeps a lane from sending while the outcomes of its paid requests are unknown.
type breaker struct {
	row, while circuitbreaker.CircuitBreaker[any]
}

// newBreaker returns a closed breaker. It calls changed whenever it opens or closes.
func newBreaker(lane string, log *slog.Logger, changed func()) breaker {
	build := func(b circuitbreaker.Builder[any], why string) circuitbreaker.CircuitBreaker[any] {
		return b.WithDelay(breakerWait).WithSuccessThreshold(1).OnStateChanged(func(e circuitbreaker.StateChangedEvent) {
			log.Warn("the breaker of a lane changed its state", "lane", lane, "why", why, "from", e.OldState.String(), "to",
				e.NewState.String())
			changed()
		}).Build()
	}
	return breaker{
		row: build(circuitbreaker.NewBuilder[any]().WithFailureThreshold(doubtsInARow), "submits in doubt in a row"),
		while: build(circuitbreaker.NewBuilder[any]().WithFailureThresholdPeriod(doubtsInAWhile, doubtWindow),
			"submits in doubt in ten minutes"),
	}
}

// allow reserves the right to send one task; 0 says that it may be sent, another result how long to wait. It must be
// followed by record or release.
func (b breaker) allow() time.Duration {
	if !b.row.TryAcquirePermit() {
		return max(b.row.RemainingDelay(), time.Second)
	}
	if !b.while.TryAcquirePermit() {
		if b.row.IsHalfOpen() {
			b.row.RecordFailure() // gives back what it has allowed
		}
		return max(b.while.RemainingDelay(), time.Second)
	}
	return 0
}

// isOpen reports whether nothing may be sent, also of what is under way.
func (b breaker) isOpen() bool { return b.row.IsOpen() || b.while.IsOpen() }

// reason says why only one task a minute is sent, and until when none; empty while the breaker is closed.
func (b breaker) reason(now time.Time) (why string, until time.Time) {
	switch {
	case !b.row.IsClosed():
		why = fmt.Sprintf("the outcomes of %d paid requests in a row are unknown", doubtsInARow)
	case !b.while.IsClosed():
		why = fmt.Sprintf("the outcomes of %d paid requests in %v are unknown", doubtsInAWhile, doubtWindow)
	default:
		return "", until
	}
	if b.isOpen() {
		until = now.Add(max(b.row.RemainingDelay(), b.while.RemainingDelay()))
	}
	return why + "; one a minute is tried", until
}

// close makes the lane send again as if nothing had been.
func (b breaker) close() {
	b.row.Close()
	b.while.Close()
}

// record takes in the outcome of a request that was sent.
func (b breaker) record(o provider.Outcome) {
	for _, c := range []circuitbreaker.CircuitBreaker[any]{b.row, b.while} {
		if o == provider.InDoubt {
			c.RecordFailure()
		} else {
			c.RecordSuccess()
		}
	}
}

// release takes in that nothing was sent, which teaches nothing: a half-open breaker goes on waiting.
func (b breaker) release() {
	for _, c := range []circuitbreaker.CircuitBreaker[any]{b.row, b.while} {
		if c.IsHalfOpen() {
			c.RecordFailure()
		}
	}
}
