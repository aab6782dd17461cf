package forecast

import (
	"cmp"
	"math"
	"slices"
	"time"

	"reelay/events"
)

// Estimate tells when t will end, as seen now; place is where it stands in our own line, if it waits there. ok is false where
// nothing can be said: for a task that has ended, is in doubt or whose cancel is under way, and for one that is kept from being sent
// by what nobody knows the end of.
func (f *Forecast) Estimate(t events.Task, now time.Time, place events.Position) (e events.Estimate, ok bool) {
	var left quantiles
	switch t.Phase {
	case events.PhaseWaiting:
		if place.Blocked != nil && !place.Blocked.Reason.Ends() {
			return e, false
		}
		left = f.fresh()
		left = left.plus(inLine(place, cmp.Or(place.EachS, left.mean())))
	case events.PhaseSubmitting:
		left = f.fresh()
	case events.PhaseProviderQueued, events.PhaseRunning, events.PhaseFetching:
		stage, since, known := f.stageOf(t)
		if !known {
			return e, false
		}
		left = of(f.stages[stage].believed, now.Sub(since))
		if t.Phase == events.PhaseProviderQueued && f.stages[Run].known > trusted {
			left = of(f.stages[Wait].believed, now.Sub(since)).plus(of(f.stages[Run].believed, 0))
		}
		e.Pace = f.Pace(now.Sub(*t.SubmittedAt), *t.SubmittedAt)
	default:
		return e, false
	}
	e.Earliest, e.Left, e.Latest = left.at(earlyShare), left.at(0.5), left.at(lateShare)
	return e, true
}

const (
	earlyShare = 0.1
	lateShare  = 0.9

	// slowShare and stuckShare are the shares of tasks that take longer than one that is slow, or stuck; congestedShare is how much of
	// what is usual the last ones exceed when all are slow.
	slowShare      = 0.1
	stuckShare     = 0.01
	congestedShare = 0.85
)

// Pace compares the time since a submit with what is usual. Others that take longer as well make it congested. Stuck is only a
// task after whose submit others have ended.
func (f *Forecast) Pace(elapsed time.Duration, submitted time.Time) events.Pace {
	whole := f.stages[Whole]
	curve := whole.usual
	if whole.known < trusted {
		curve = whole.believed
	}
	longer := curve.Longer(elapsed)
	switch {
	case longer > slowShare:
		return events.PaceNormal
	case whole.lately > congestedShare:
		return events.PaceCongested
	case longer < stuckShare && f.updated.After(submitted):
		return events.PaceStuck
	}
	return events.PaceSlow
}

// fresh is the time that a task will take that is submitted now.
func (f *Forecast) fresh() quantiles { return of(f.stages[Whole].believed, 0) }

// points is how many quantiles stand for a distribution.
const points = 20

// quantiles are seconds, each as likely as the others, in order.
type quantiles [points]float64

// of returns what remains of a curve after a time.
func of(c *Curve, elapsed time.Duration) quantiles {
	var q quantiles
	for i := range q {
		q[i] = c.remaining(elapsed.Seconds(), (float64(i)+0.5)/points)
	}
	return q
}

// turnSpread is how much the wait for a turn varies, as a share of it: limits are learned, others go before, and requests are refused.
const turnSpread = 0.08

// inLine is the wait in our own line: what the limits on requests make of it, or longer until so many tasks have ended at the provider
// as must, each of which takes so many seconds. Those end about as regularly as their number's root.
func inLine(p events.Position, takes float64) quantiles {
	var q quantiles
	n := float64(p.Behind)
	for i := range q {
		z := math.Sqrt2 * math.Erfinv(2*(float64(i)+0.5)/points-1)
		q[i] = p.WaitS * (1 + z*turnSpread)
		if n > 0 {
			q[i] = max(q[i], (n+z*math.Sqrt(n))*takes/float64(max(p.InFlight, 1)))
		}
	}
	return q
}

// mean of the quantiles.
func (q quantiles) mean() float64 {
	sum := 0.0
	for _, seconds := range q {
		sum += seconds
	}
	return sum / points
}

// plus returns the quantiles of the sum of two times that have nothing to do with each other.
func (q quantiles) plus(other quantiles) quantiles {
	sums := make([]float64, 0, points*points)
	for _, a := range q {
		for _, b := range other {
			sums = append(sums, a+b)
		}
	}
	slices.Sort(sums)
	for i := range q {
		q[i] = (sums[i*points+points/2-1] + sums[i*points+points/2]) / 2
	}
	return q
}

// at returns the time that is not exceeded with probability p.
func (q quantiles) at(p float64) time.Duration {
	x := p*points - 0.5
	i := min(max(int(x), 0), points-2)
	return span(q[i] + (x-float64(i))*(q[i+1]-q[i]))
}
