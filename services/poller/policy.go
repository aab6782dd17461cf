package poller

import (
	"net/http"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"github.com/failsafe-go/failsafe-go/timeout"

	"reelay/events"
	"reelay/internal/provider"
)

const (
	// A poll is retried after 1, 2 and 4 seconds.
	firstRetry = time.Second
	lastRetry  = 4 * time.Second
	retries    = 3
	// pollTimeout bounds one try: two calls, the first byte of either of which may take half a minute.
	pollTimeout = 45 * time.Second
	// A lane whose polls fail this often in a row is not polled for breakerWait, then by a single poll.
	breakerFailures = 20
	breakerWait     = 15 * time.Second
)

// policies wraps a poll from the outside in: breaker, then retries, then the timeout of one try.
func (s *Service) policies(lane string) failsafe.Executor[provider.Snapshot] {
	transient := func(_ provider.Snapshot, err error) bool {
		if err == nil {
			return false
		}
		e := provider.AsError(err)
		if e.HTTPStatus >= 400 && e.HTTPStatus < 500 {
			return e.HTTPStatus == http.StatusRequestTimeout || e.HTTPStatus == http.StatusTooEarly
		}
		return e.Kind == events.KindRetry || e.Kind == events.KindInternal
	}
	retry := retrypolicy.NewBuilder[provider.Snapshot]().
		HandleIf(transient).
		WithBackoff(firstRetry, lastRetry).
		WithMaxRetries(retries).
		ReturnLastFailure().
		OnRetry(func(failsafe.ExecutionEvent[provider.Snapshot]) { s.metrics.retries.WithLabelValues(lane).Inc() }).
		Build()
	breaker := circuitbreaker.NewBuilder[provider.Snapshot]().
		HandleIf(transient).
		WithFailureThreshold(breakerFailures).
		WithDelay(breakerWait).
		OnStateChanged(func(e circuitbreaker.StateChangedEvent) {
			s.log.Warn("poll breaker of the lane changed its state", "lane", lane, "from", e.OldState.String(), "to",
				e.NewState.String())
		}).
		Build()
	return failsafe.With[provider.Snapshot](breaker, retry, timeout.New[provider.Snapshot](pollTimeout))
}
