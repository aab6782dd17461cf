package submitter

import (
	"log/slog"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"

	"reelay/internal/provider"
)

const (
	// A lane stops sending after doubtsInARow submits in doubt in a row, or doubtsInAWhile of them within doubtWindow. After
	// breakerWait it sends one task; its outcome decides whether the lane opens again. A storm of 502s must not buy anything.
	doubtsInARow   = 3
	doubtsInAWhile = 5
	doubtWindow    = 10 * time.Minute
	breakerWait    = time.Minute
)

// breaker keeps a lane from sending while the outcomes of its paid requests are unknown.
type breaker struct {
	row, while circuitbreaker.CircuitBreaker[any]
}

func newBreaker(lane string, log *slog.Logger) breaker {
	build := func(b circuitbreaker.Builder[any], why string) circuitbreaker.CircuitBreaker[any] {
		return b.WithDelay(breakerWait).WithSuccessThreshold(1).OnStateChanged(func(e circuitbreaker.StateChangedEvent) {
			log.Warn("breaker of the submits", "lane", lane, "why", why, "from", e.OldState.String(), "to", e.NewState.String())
		}).Build()
	}
	return breaker{
		row:   build(circuitbreaker.NewBuilder[any]().WithFailureThreshold(doubtsInARow), "submits in doubt in a row"),
		while: build(circuitbreaker.NewBuilder[any]().WithFailureThresholdPeriod(doubtsInAWhile, doubtWindow), "submits in doubt in ten minutes"),
	}
}

// brake asks for leave to send one task. Without it, it says how long to wait. Leave must be followed by learn or unsent.
func (b breaker) brake() time.Duration {
	if !b.row.TryAcquirePermit() {
		return max(b.row.RemainingDelay(), time.Second)
	}
	if !b.while.TryAcquirePermit() {
		if b.row.IsHalfOpen() {
			b.row.RecordFailure() // gives its leave back
		}
		return max(b.while.RemainingDelay(), time.Second)
	}
	return 0
}

// tripped reports whether sending must stop, also for what is under way.
func (b breaker) tripped() bool { return b.row.IsOpen() || b.while.IsOpen() }

// learn takes in the outcome of a request that was sent.
func (b breaker) learn(o provider.Outcome) {
	for _, c := range []circuitbreaker.CircuitBreaker[any]{b.row, b.while} {
		if o == provider.InDoubt {
			c.RecordFailure()
		} else {
			c.RecordSuccess()
		}
	}
}

// unsent takes in that nothing was sent, which teaches nothing: a half-open breaker goes on waiting.
func (b breaker) unsent() {
	for _, c := range []circuitbreaker.CircuitBreaker[any]{b.row, b.while} {
		if c.IsHalfOpen() {
			c.RecordFailure()
		}
	}
}
