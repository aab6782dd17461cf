package poller

import (
	"math"
	"time"

	"reelay/events"
)

const (
	// endDecay is the factor by which each end reduces the weight of those before it: about the last four count.
	endDecay = 0.75
	// halfLife is the time in which an observation loses half its weight. A provider that was silent yesterday gets
	// another chance.
	halfLife = time.Hour
	// priorRate is the arrival rate assumed before any end was seen, priorWeight the number of ends that it counts
	// for.
	priorRate   = 0.7
	priorWeight = 1
	// Below an arrival rate of distrustBelow polls are as frequent as without callbacks, from trustFrom on as rare as
	// they get.
	distrustBelow = 0.5
	trustFrom     = 0.9
)

// reliability is how reliably the callbacks of a lane arrive, learned from the ends of tasks that had asked for one.
// It is a plain value and has no clock.
type reliability struct {
	// arrived and missed are the weights of the ends that a callback reported, and of those that a poll had to find,
	// as of updatedAt.
	arrived, missed float64
	updatedAt       time.Time
	// lag is the decayed mean delay of callbacks, in seconds; lagWeight is its weight.
	lag, lagWeight float64
	// ends counts all ends seen.
	ends int
}

// afterArrival adds an end that a callback reported, with the time from its receipt to the record.
func (r reliability) afterArrival(now time.Time, lag time.Duration) reliability {
	r = r.decayed(now)
	r.arrived++
	r.ends++
	return r.withLag(lag)
}

// afterMiss adds an end that a poll found although a callback was requested.
func (r reliability) afterMiss(now time.Time) reliability {
	r = r.decayed(now)
	r.missed++
	r.ends++
	return r
}

// afterLate adds the callback of an end that a poll had found before. If it is no later than grace, the miss is taken
// back: the poll was only faster.
func (r reliability) afterLate(now time.Time, lag, grace time.Duration) reliability {
	if lag <= grace {
		back := min(r.missed, 1)
		r.missed -= back
		r.arrived += back
	}
	return r.withLag(lag)
}

// decayed reduces the weights by one more end and the time since the last.
func (r reliability) decayed(now time.Time) reliability {
	left := endDecay * r.decay(now)
	r.arrived, r.missed, r.updatedAt = left*r.arrived, left*r.missed, now
	return r
}

// decay is the share of the weights that is left at now.
func (r reliability) decay(now time.Time) float64 {
	return math.Exp2(-max(0, now.Sub(r.updatedAt).Seconds()) / halfLife.Seconds())
}

func (r reliability) withLag(lag time.Duration) reliability {
	r.lagWeight = endDecay*r.lagWeight + 1
	r.lag += (max(0, lag.Seconds()) - r.lag) / r.lagWeight
	return r
}

// arrivalRate is the share of callbacks that are expected to arrive, 0 to 1.
func (r reliability) arrivalRate(now time.Time) float64 {
	left := r.decay(now)
	return (left*r.arrived + priorRate*priorWeight) / (left*(r.arrived+r.missed) + priorWeight)
}

// assumedMissRate is the share of ends that polls have to find, 0 to 1.
func (r reliability) assumedMissRate(now time.Time) float64 {
	return 1 - min(max((r.arrivalRate(now)-distrustBelow)/(trustFrom-distrustBelow), 0), 1)
}

// missRate is the share of callbacks that did not arrive, 0 to 1; 0 before any end was seen.
func (r reliability) missRate() float64 {
	if r.missed == 0 {
		return 0
	}
	return r.missed / (r.arrived + r.missed)
}

// figures returns r as it is published.
func (r reliability) figures() events.CallbackHealth {
	return events.CallbackHealth{MissRate: r.missRate(), LagS: r.lag, Seen: r.ends}
}
