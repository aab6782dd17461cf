package task

import (
	"bytes"
	"math"
	"time"

	"reelay/events"
	"reelay/internal/provider"
)

// What an attempt costs
//
// An attempt begins with its reservation: what it was expected to cost, or what was set aside for it. It keeps it as
// long as it may be charged, for good if nobody ever finds out. It costs nothing once that is proven. What the
// provider's last word on it comes to, by the rates that the record was accepted with, is its price.

// Affordable reports whether t may open another paid attempt that is expected to cost reservedUSD: with everything that
// may have been charged before, it must stay within the request's max_cost_usd.
func Affordable(t events.Task, reservedUSD float64) bool {
	if t.Cost == nil || t.Cost.MaxUSD == nil {
		return true
	}
	sum := reservedUSD
	for _, a := range t.Attempts {
		if a.Charge != events.ChargeNone && a.CostUSD != nil {
			sum += *a.CostUSD
		}
	}
	return cents(sum) <= cents(*t.Cost.MaxUSD)
}

// isFree reports whether t is never charged for: that was fixed when it was accepted.
func isFree(t events.Task) bool {
	c := t.Cost
	return c != nil && c.FixedUSD != nil && *c.FixedUSD == 0 && c.UnitUSD == nil
}

// expected is what another attempt of t would cost, as far as its record tells.
func expected(t events.Task) float64 {
	if t.Cost == nil || t.Cost.EstimatedUSD == nil {
		return 0
	}
	return *t.Cost.EstimatedUSD
}

// cents rounds to a millionth of a dollar, so that sums of amounts compare as they are written.
func cents(usd float64) float64 { return math.Round(usd*1e6) / 1e6 }

// charge writes down what is known of the charge of an attempt, and reserves or frees its money.
func (s *step) charge(a *events.Attempt, c events.Charge) {
	switch {
	case c == events.ChargeNone:
		a.CostUSD = new(0.0)
	case a.CostUSD == nil || a.Charge == events.ChargeNone: // proven wrong, or of a record that had forgotten it
		a.CostUSD = nil
		if s.t.Cost != nil {
			a.CostUSD = s.t.Cost.EstimatedUSD
		}
	}
	a.Charge = c
	if c != events.ChargeNone && s.t.Cost != nil && s.t.Cost.ActualUSD != nil {
		cost := *s.t.Cost
		cost.ActualUSD = nil
		s.t.Cost = &cost
	}
}

// billCancelled settles a task that the provider has cancelled. None charges for the time in its queue.
func (s *step) billCancelled() {
	switch {
	case s.counted() != nil:
		s.bill(events.ChargeConfirmed)
	case s.t.StartedAt == nil:
		s.bill(events.ChargeNone)
	default:
		s.bill(events.ChargePossible)
	}
}

// billLate settles a task that ended without a result after it had been given up.
func (s *step) billLate(snap provider.Snapshot) {
	switch {
	case snap.State == provider.Cancelled:
		s.billCancelled()
	case snap.Err != nil && snap.Err.Charge != "":
		s.bill(snap.Err.Charge)
	}
}

// bill settles what the attempt that the task lives by costs, now that the provider has said its last word: c is what
// that says about the charge. What cannot be known from it stays as it was estimated.
func (s *step) bill(c events.Charge) {
	known := true
	for i := range s.t.Attempts {
		a := &s.t.Attempts[i]
		switch {
		case a.Charge == events.ChargeNone:
		case !bytes.Equal(a.Ref, s.t.ProviderRef):
			known = false // it may be charged as well
		case c == events.ChargeNone:
			a.CostUSD = new(0.0)
		case c == events.ChargePossible && s.counted() == nil:
			known = false
		default:
			usd := s.price()
			if usd == nil {
				known = false
				break
			}
			a.CostUSD = usd
		}
	}
	if known {
		s.total()
	}
}

// price is what the provider's figures come to; nil if that is not known.
func (s *step) price() *float64 {
	c := s.t.Cost
	switch {
	case c == nil || c.FixedUSD == nil:
		return nil
	case c.UnitUSD == nil:
		return new(*c.FixedUSD)
	case c.Units == nil:
		return nil
	}
	return new(cents(*c.FixedUSD + *c.Units**c.UnitUSD))
}

// counted is what the provider said it billed; nil if it did not.
func (s *step) counted() *float64 {
	if s.t.Cost == nil {
		return nil
	}
	return s.t.Cost.Units
}

// total writes down what all attempts cost together. It is called when that is known of each.
func (s *step) total() {
	sum := 0.0
	for _, a := range s.t.Attempts {
		if a.CostUSD != nil {
			sum += *a.CostUSD
		}
	}
	c := events.Cost{}
	if s.t.Cost != nil {
		c = *s.t.Cost
	}
	sum = cents(sum)
	c.ActualUSD = &sum
	s.t.Cost = &c
}

// capReached delays a waiting task that may not be paid for now. Repeating the cap on the same day writes nothing.
func (s *step) capReached(tr CapReached) {
	if s.t.Phase != events.PhaseWaiting {
		return
	}
	last := s.t.Transitions[len(s.t.Transitions)-1]
	if last.Cap != nil && *last.Cap == tr.Cap && day(last.At).Equal(day(s.m.At)) {
		return
	}
	until := tr.Until
	s.t.NotBefore = &until
	s.noEstimate()
	s.move(arrowCapReached, tr.Note)
	s.because(events.BlockedCap, &tr.Cap)
}

// day is when the day of at began (UTC): the caps count by it.
func day(at time.Time) time.Time { return at.UTC().Truncate(24 * time.Hour) }

// LastCapReached returns the last step that says which cap delays a waiting task; false if no step has since the task
// came to wait.
func LastCapReached(t *events.Task) (reached events.Transition, ok bool) {
	for i := len(t.Transitions) - 1; i >= 0 && t.Phase == events.PhaseWaiting; i-- {
		switch step := t.Transitions[i]; {
		case step.Reason == events.BlockedCap:
			return step, true
		case step.From != events.PhaseWaiting:
			return reached, false
		}
	}
	return reached, false
}
