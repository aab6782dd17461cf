package forecast

import (
	"cmp"
	"math"
	"slices"
	"time"

	"reelay/events"
)

// A Remaining is how long a task may still take, as of some time. The zero value is that of one that has ended.
type Remaining struct{ left quantiles }

// After returns what remains of a task that is submitted at once when the last of some others has ended, and not before
// delay has passed; f is the forecast of that task.
func (f *Forecast) After(delay time.Duration, others ...Remaining) Remaining {
	start := quantiles{}
	for i := range start {
		start[i] = max(0, delay.Seconds())
	}
	for _, o := range others {
		start = start.latest(o.left)
	}
	return Remaining{start.plus(f.fromSubmit())}
}

// Estimate says it as three times.
func (r Remaining) Estimate() events.Estimate {
	return events.Estimate{
		Earliest: r.left.quantile(earlyShare), Left: r.left.quantile(0.5), Latest: r.left.quantile(lateShare),
	}
}

// Estimate predicts when t will end, as of now; position is where it stands in our own queue, if it waits there. ok
// is false where nothing can be predicted: for a task that has ended, is in doubt or is being cancelled, and for one
// that is blocked for a reason whose end nobody knows.
func (f *Forecast) Estimate(t events.Task, now time.Time, position events.Position) (e events.Estimate, ok bool) {
	r, ok := f.Remaining(t, now, position)
	if !ok {
		return e, false
	}
	e = r.Estimate()
	switch t.Phase {
	case events.PhaseProviderQueued, events.PhaseRunning, events.PhaseFetching:
		e.Pace = f.Pace(now.Sub(*t.SubmittedAt), *t.SubmittedAt)
	}
	return e, true
}

// Remaining predicts as Estimate does.
func (f *Forecast) Remaining(t events.Task, now time.Time, position events.Position) (r Remaining, ok bool) {
	switch t.Phase {
	case events.PhaseWaiting:
		if position.Blocked != nil && !position.Blocked.Reason.Ends() {
			return r, false
		}
		left := f.fromSubmit()
		return Remaining{left.plus(queueWait(position, cmp.Or(position.EachS, left.mean())))}, true
	case events.PhaseSubmitting:
		return Remaining{f.fromSubmit()}, true
	case events.PhaseProviderQueued, events.PhaseRunning, events.PhaseFetching:
		stage, since, known := f.stageOf(t)
		if !known {
			return r, false
		}
		if t.Phase == events.PhaseProviderQueued && f.stages[Run].learnedShare > reliableShare {
			return Remaining{remainingOf(f.stages[Wait].posterior, now.Sub(since)).plus(remainingOf(f.stages[Run].posterior, 0))}, true
		}
		return Remaining{remainingOf(f.stages[stage].posterior, now.Sub(since))}, true
	}
	return r, false
}

const (
	earlyShare = 0.1
	lateShare  = 0.9

	// slowShare and stuckShare are the shares of tasks that take longer than one that is slow, or stuck. All are slow
	// when the middle one of the last tasks took longer than congestedShare of the usual ones.
	slowShare      = 0.1
	stuckShare     = 0.01
	congestedShare = 0.85
)

// Pace compares the time since a submit with the usual time. It is congested where other tasks take longer as well.
// It is stuck only where others have ended after its submit.
func (f *Forecast) Pace(elapsed time.Duration, submitted time.Time) events.Pace {
	whole := f.stages[Whole]
	curve := whole.longTerm
	if whole.learnedShare < reliableShare {
		curve = whole.posterior
	}
	longer := curve.Longer(elapsed)
	switch {
	case longer > slowShare:
		return events.PaceNormal
	case whole.recentQuantile > congestedShare:
		return events.PaceCongested
	case longer < stuckShare && f.updated.After(submitted):
		return events.PaceStuck
	}
	return events.PaceSlow
}

// fromSubmit returns the time that a task will take if it is submitted now.
func (f *Forecast) fromSubmit() quantiles { return remainingOf(f.stages[Whole].posterior, 0) }

// points is the number of quantiles that represent a distribution.
const points = 20

// quantiles are seconds in ascending order, each equally likely.
type quantiles [points]float64

// remainingOf returns the time that remains after elapsed, by a curve.
func remainingOf(c *Curve, elapsed time.Duration) quantiles {
	var q quantiles
	for i := range q {
		q[i] = c.remaining(elapsed.Seconds(), (float64(i)+0.5)/points)
	}
	return q
}

// queueWaitSigma is the standard deviation of the wait in our queue, as a share of it: limits are learned, other
// tasks go first, and requests are refused.
const queueWaitSigma = 0.08

// queueWait is the larger of the rate-limit wait and the time until enough in-flight tasks finish, each of which
// takes taskS seconds; the latter varies with the square root of their number (Poisson).
func queueWait(p events.Position, taskS float64) quantiles {
	var q quantiles
	n := float64(p.Behind)
	for i := range q {
		z := math.Sqrt2 * math.Erfinv(2*(float64(i)+0.5)/points-1)
		q[i] = p.WaitS * (1 + z*queueWaitSigma)
		if n > 0 {
			q[i] = max(q[i], (n+z*math.Sqrt(n))*taskS/float64(max(p.InFlight, 1)))
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

// plus returns the quantiles of the sum of two independent times.
func (q quantiles) plus(other quantiles) quantiles {
	return q.with(other, func(a, b float64) float64 { return a + b })
}

// latest returns the quantiles of the later of two independent times.
func (q quantiles) latest(other quantiles) quantiles {
	return q.with(other, func(a, b float64) float64 { return max(a, b) })
}

// with returns the quantiles of a function of two independent times.
func (q quantiles) with(other quantiles, of func(a, b float64) float64) quantiles {
	all := make([]float64, 0, points*points)
	for _, a := range q {
		for _, b := range other {
			all = append(all, of(a, b))
		}
	}
	slices.Sort(all)
	for i := range q {
		q[i] = (all[i*points+points/2-1] + all[i*points+points/2]) / 2
	}
	return q
}

// quantile returns the time that is not exceeded with probability p.
func (q quantiles) quantile(p float64) time.Duration {
	x := p*points - 0.5
	i := min(max(int(x), 0), points-2)
	return toDuration(q[i] + (x-float64(i))*(q[i+1]-q[i]))
}
