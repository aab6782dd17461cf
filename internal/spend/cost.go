package spend

import "reelay/events"

// CheckCost fails with a FieldError if a task would cost more than it may, or nobody knows.
func CheckCost(model string, c *events.Cost) error {
	switch {
	case c.MaxUSD == nil:
		return nil
	case c.EstimatedUSD == nil:
		return events.NewFieldError("max_cost_usd", "nobody knows what model %q costs: tell it in estimated_cost_usd",
			model)
	case *c.EstimatedUSD > *c.MaxUSD:
		return events.NewFieldError("max_cost_usd", "%.6g US dollars are less than the expected cost of %.6g: %s", *c.MaxUSD,
			*c.EstimatedUSD, c.Basis)
	}
	return nil
}

// Positive returns an amount, nil for none.
func Positive(usd float64) *float64 {
	if usd <= 0 {
		return nil
	}
	return &usd
}
