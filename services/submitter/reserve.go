package submitter

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/spend"
	"reelay/internal/task"
)

const (
	// capWait is how soon a task is tried again that a cap keeps from being paid; about, so that they do not come all at
	// once.
	capWait = 45 * time.Second
	// uncountedWait is how soon while a new cap is being counted, or a counter could not be read or written.
	uncountedWait = 3 * time.Second
)

// reserve sets the money for the attempt aside, where a cap covers it.
func (a *attempt) reserve(ctx context.Context) bool {
	a.at = time.Now().UTC()
	var err error
	a.reservation, err = a.spend.Reserve(ctx,
		spend.Ask{Project: a.key.Project, Lane: a.lane.Name, At: a.at, USD: expected(a.task)})
	var over *spend.OverError
	switch {
	case err == nil:
		return true
	case errors.As(err, &over):
		a.overCap(ctx, over)
	default:
		a.log.WarnContext(ctx, "no money could be set aside; the project waits", "error", err)
		a.notBefore = a.at.Add(uncountedWait)
		a.lane.queue.BackoffProject(a.key, a.notBefore) // it is the same for all of them
	}
	return false
}

// overCap records that a cap on spending blocks the task.
func (a *attempt) overCap(ctx context.Context, over *spend.OverError) {
	a.notBefore = a.at.Add(capWait + rand.N(capWait))
	if a.notBefore.After(over.Until) {
		a.notBefore = over.Until.Add(rand.N(time.Second))
	}
	a.log.WarnContext(ctx, "the cap on spending is used up; the task waits", "scope", over.Scope.String(), "cap_usd",
		over.Cap.DailyUSD, "taken_usd", over.TakenUSD, "wanted_usd", over.WantedUSD, "until", a.notBefore)
	c, err := a.store.Apply(ctx, a.key, task.CapReached{
		Meta: a.meta(), Until: a.notBefore, Cap: events.CapReached{Scope: string(over.Scope), DailyUSD: over.Cap.DailyUSD},
		Note: fmt.Sprintf("the budget of %s is used up: %.6g US dollars on %s; it goes on when the cap is raised or the "+
			"next day begins (UTC)",
			over.Scope, over.Cap.DailyUSD, a.at.Format(time.DateOnly)),
	})
	switch {
	case err == nil:
		a.record = &c.Task
	case !errors.Is(err, bus.ErrNotFound):
		a.log.WarnContext(ctx, "it could not be recorded that a cap blocks the task", "error", err)
	}
}

// expected is what one attempt of t may cost; nil if nobody knows.
func expected(t events.Task) *float64 {
	if t.Cost == nil {
		return nil
	}
	return t.Cost.EstimatedUSD
}
