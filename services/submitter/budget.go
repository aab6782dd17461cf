package submitter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/journal"
	"reelay/internal/provider"
	"reelay/internal/spend"
	"reelay/internal/spend/price"
	"reelay/internal/task"
)

const (
	// budgetWait is how soon a task is tried again that a cap keeps from being paid; about, so that they do not come all at once.
	budgetWait = 45 * time.Second
	// uncountedWait is how soon while a new cap is being counted, or a counter could not be read or written.
	uncountedWait = 3 * time.Second
)

// A Pricer says what a paid request costs. It does no I/O.
type Pricer interface {
	Quote(provider, model string, input json.RawMessage) price.Quote
}

// price writes down what a task may cost. The request's own estimate counts where the table knows none, and where it is the
// larger: a user who knows of something dear is believed, and nobody can make a task look cheaper than its price. Its error is a
// FieldError: the task would cost more than it may, or nobody knows.
func (s *Service) price(t *events.Task, r events.Request) error {
	q := price.Quote{}
	if s.o.Prices != nil {
		q = s.o.Prices.Quote(t.Provider, t.Model, r.Input)
	}
	if !q.Known && r.EstimatedUSD <= 0 && r.MaxCostUSD <= 0 {
		return nil
	}
	c := &events.Cost{EstimatedUSD: positive(r.EstimatedUSD), MaxUSD: positive(r.MaxCostUSD)}
	if c.EstimatedUSD != nil {
		c.Basis = "the request's own estimate"
	}
	if q.Known {
		c.FixedUSD = &q.FixedUSD
		if q.ByUnits {
			c.UnitUSD = &q.UnitUSD
		}
		if q.USD >= r.EstimatedUSD {
			c.EstimatedUSD, c.Basis = &q.USD, q.Basis
		}
	}
	t.Cost = c
	switch {
	case c.MaxUSD == nil:
		return nil
	case c.EstimatedUSD == nil:
		return events.NewFieldError("max_cost_usd", "nobody knows what model %q costs: tell it in estimated_cost_usd", t.Model)
	case *c.EstimatedUSD > *c.MaxUSD:
		return events.NewFieldError("max_cost_usd", "%.6g US dollars are less than the expected cost of %.6g: %s", *c.MaxUSD, *c.EstimatedUSD, c.Basis)
	}
	return nil
}

// accepted reports whether a request has become a task before: a price that has changed since does not take it back.
func (s *Service) accepted(ctx context.Context, k events.Key, digest string) bool {
	t, err := s.book.Get(ctx, k)
	return err == nil && t.RequestDigest == digest
}

// reserve sets the money for the next attempt of t aside, where a cap covers it. Without leave to spend it, t is as its record then
// is and not to be tried again before the time returned, which is else zero.
func (s *Service) reserve(ctx context.Context, l *lane, t *events.Task, at time.Time) (*spend.Reservation, time.Time) {
	h, err := s.budget.Reserve(ctx, spend.Ask{Project: t.Project, Lane: l.Name, At: at, USD: expected(*t)})
	if err == nil {
		return h, time.Time{}
	}
	l.unsent()
	key := t.Key()
	l.queue.Unsent(key)
	var over *spend.OverError
	if !errors.As(err, &over) {
		s.log.Warn("no money could be set aside", "task", key, "lane", l.Name, "error", err)
		l.queue.BackoffProject(key, at.Add(uncountedWait)) // it is the same for all of them
		return nil, at.Add(uncountedWait)
	}
	until := at.Add(budgetWait + rand.N(budgetWait))
	if until.After(over.Until) {
		until = over.Until.Add(rand.N(time.Second))
	}
	s.log.Warn("the budget is used up; the task waits", "task", key, "lane", l.Name, "scope", over.Scope.String(),
		"cap_usd", over.Cap.DailyUSD, "taken_usd", over.TakenUSD, "wanted_usd", over.WantedUSD, "until", until)
	c, err := s.book.Apply(ctx, key, task.Held{
		Meta: s.meta(), Until: until, Cap: events.CapReached{Scope: string(over.Scope), DailyUSD: over.Cap.DailyUSD},
		Note: fmt.Sprintf("the budget of %s is used up: %.6g US dollars on %s; it goes on when the cap is raised or the next day begins (UTC)",
			over.Scope, over.Cap.DailyUSD, at.UTC().Format(time.DateOnly)),
	})
	if err == nil {
		*t = c.Task
	} else if !errors.Is(err, bus.ErrNotFound) {
		s.log.Warn("step is not stored yet", "task", key, "error", err)
	}
	return nil, until
}

// expected is what one attempt of t may cost; nil if nobody knows.
func expected(t events.Task) *float64 {
	if t.Cost == nil {
		return nil
	}
	return t.Cost.EstimatedUSD
}

// settleHold gives the money of an attempt back that provably cost nothing. Of any other it stays taken: its record holds it.
func (s *Service) settleHold(ctx context.Context, h *spend.Reservation, a journal.Answer) {
	if a.Outcome == journal.NotSent || a.Outcome == string(provider.Refused) {
		s.budget.Return(context.WithoutCancel(ctx), h)
	}
}
