package forecast

import (
	"math"
	"time"

	"reelay/events"
)

const (
	// guard is the share of the broad curve in the one that looks go by: a provider that becomes faster is not missed.
	guard = 0.03
	// defaultCap is how many intervals may lie between two looks, defaultSpacing how many have to, at least, if Pacing does not say.
	defaultCap     = 9
	defaultSpacing = 0.5
	// callbackCap is how many caps may lie between two looks at a task whose callback is as good as sure.
	callbackCap = 10
	// leastMissed is the share of callbacks that is taken to go missing, at least.
	leastMissed = 0.005
	// steps is how finely a gap between looks is searched for.
	steps = 24
	// maxLooks bounds the looks that a price is judged by: an interval may be short and a task long.
	maxLooks = 500
	// leastInterval is the shortest interval there is.
	leastInterval = time.Millisecond
)

// Pacing is how often a lane may and should be looked at.
type Pacing struct {
	// Interval is the fixed interval whose mean lag, half of it, is to be kept.
	Interval time.Duration
	// Spacing and Cap are the least and greatest time between two looks; half and nine times the interval if 0.
	Spacing, Cap time.Duration
}

func (p Pacing) withDefaults() Pacing {
	p.Interval = max(p.Interval, leastInterval)
	if p.Spacing <= 0 {
		p.Spacing = time.Duration(defaultSpacing * float64(p.Interval))
	}
	if p.Cap <= 0 {
		p.Cap = defaultCap * p.Interval
	}
	p.Cap = max(p.Cap, p.Spacing)
	return p
}

const (
	// trusted is from what share of learning on the run of a task is relied upon; shortRun is the share that runs shorter than
	// what is relied upon.
	trusted  = 0.7
	shortRun = 0.02
)

// Next returns the time from a look that has found t as it is, now, to the next look. missed is the share of ends that no callback
// tells: 1 where there are none. A look never comes after the next deadline if it can come before.
func (f *Forecast) Next(t events.Task, now time.Time, p Pacing, missed float64) time.Duration {
	s, since, ok := f.stageOf(t)
	if !ok {
		return p.Interval
	}
	schedule := f.Schedule(s, p)
	gap := schedule.Gap(now.Sub(since), missed)
	if run := f.stages[Run]; t.Phase == events.PhaseProviderQueued && run.known > trusted {
		// It has not begun: nearly none ends sooner than nearly all run.
		gap = max(gap, min(run.believed.Remaining(0, shortRun), span(schedule.cap)))
	}
	if t.StartDeadline != nil && t.StartedAt == nil {
		gap = before(gap, t.StartDeadline.Sub(now))
	}
	return before(gap, t.Deadline.Sub(now))
}

// before cuts a gap at a deadline, left from now.
func before(gap, left time.Duration) time.Duration {
	if left > 0 && left < gap {
		return left
	}
	return gap
}

// stageOf tells by which stage the end of a task is best foretold, and when that began. ok is false for a task that is not at the
// provider.
func (f *Forecast) stageOf(t events.Task) (s Stage, since time.Time, ok bool) {
	switch {
	case t.SubmittedAt == nil:
		return 0, time.Time{}, false
	case t.Phase == events.PhaseProviderQueued:
		return Whole, *t.SubmittedAt, true
	case t.Phase != events.PhaseRunning && t.Phase != events.PhaseCancelling && t.Phase != events.PhaseFetching:
		return 0, time.Time{}, false
	case t.StartedAt != nil && f.stages[Run].known > 0 && f.stages[Run].believed.spread < f.stages[Whole].believed.spread:
		return Run, *t.StartedAt, true
	}
	return Whole, *t.SubmittedAt, true
}

// Unseen returns the time for which the end of a task, noticed by a look at the given time, had likely gone unnoticed: half the
// gap before that look.
func (f *Forecast) Unseen(t events.Task, at time.Time, p Pacing) time.Duration {
	if t.SubmittedAt == nil {
		return 0
	}
	schedule, whole := f.Schedule(Whole, p), at.Sub(*t.SubmittedAt)
	gap := schedule.Gap(whole, 1)
	for range 3 { // the gap that leads to a time, from the one that leaves it
		gap = schedule.Gap(max(0, whole-gap), 1)
	}
	return min(gap, whole) / 2
}

type scheduleKey struct {
	Stage
	Pacing
}

// maxSchedules bounds the schedules kept of a class: there is one for each lane and stage.
const maxSchedules = 64

// Schedule returns when to look at tasks of the class, by the time since a stage began.
func (f *Forecast) Schedule(s Stage, p Pacing) *Schedule {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := scheduleKey{s, p}
	if found := f.schedules[key]; found != nil {
		return found
	}
	if f.schedules == nil || len(f.schedules) >= maxSchedules {
		f.schedules = map[scheduleKey]*Schedule{}
	}
	o := f.stages[s]
	made := newSchedule(o.believed, f.broad[s], p, o.known)
	f.schedules[key] = made
	return made
}

// A Schedule says when to look next at a task of one class.
type Schedule struct {
	curve        *Curve // mixed with the broad one
	spacing, cap float64
	// price is that of one look in seconds of lag.
	price float64
}

// newSchedule finds the price at which the ends of believed are noticed as late as by the fixed interval. known, from 0 to 1, is
// how much of it was learned: without that no gap is longer than the interval.
func newSchedule(believed, broad *Curve, p Pacing, known float64) *Schedule {
	p = p.withDefaults()
	interval := p.Interval.Seconds()
	s := &Schedule{
		curve:   mix([]*Curve{believed, broad}, []float64{1 - guard, guard}),
		spacing: p.Spacing.Seconds(), cap: interval + (p.Cap.Seconds()-interval)*known,
	}
	s.cap = max(s.cap, s.spacing)
	want := interval / 2
	s.price = want / 10
	for range 8 { // in between the bounds the lag goes with the root of the price
		lag := s.lag(believed)
		if math.Abs(lag-want) < want/100 {
			break
		}
		s.price *= min(max(want*want/(lag*lag), 0.1), 10)
	}
	return s
}

// lag returns the mean time, in seconds, between the end of a task of truth and the look that notices it.
func (s *Schedule) lag(truth *Curve) float64 {
	sum, from := 0.0, 0.0
	left := 1.0
	for n := 0; n < maxLooks && left > 0.005; n++ {
		next := from + s.gap(from, 1)
		// The lag of those that end in between is the mean over the gap; a few points are enough.
		const points = 8
		at := left
		for i := range points {
			mid := from + (next-from)*float64(i+1)/points
			upto := math.Exp(truth.logLonger(mid))
			sum += (at - upto) * (next - from) * (1 - (float64(i)+0.5)/points)
			at = upto
		}
		from, left = next, at
	}
	if left == 1 { // nothing ends for so long that its lag does not matter
		return 0
	}
	return sum / (1 - left)
}

// Gap returns the time from a look that found a task not ended, elapsed after it began, to the next. missed is the share of ends
// that no callback tells: 1 where there are none. The same elapsed time gives the same gap; spreading it is the caller's.
func (s *Schedule) Gap(elapsed time.Duration, missed float64) time.Duration {
	return span(s.gap(elapsed.Seconds(), missed))
}

// gap searches for the time at which the end is likely to have gone unnoticed for as long as a look is worth.
func (s *Schedule) gap(from, missed float64) float64 {
	missed = min(max(missed, leastMissed), 1)
	longest := s.cap
	if missed < 1 {
		longest *= 1 + (callbackCap-1)*(1-missed)
	}
	began := s.curve.logLonger(from)
	unseen := func(t float64) float64 { // the share that has ended by t, of those from which nothing was heard
		ended := -math.Expm1(s.curve.logLonger(t)-began) * missed
		return ended / (ended + math.Exp(s.curve.logLonger(t)-began))
	}
	// The rarer a callback goes missing, the longer such an end may go unnoticed.
	price := s.price / math.Sqrt(missed)
	waste, before := 0.0, 0.0
	// The step grows with the gap, so that a short gap is found as exactly as a long one.
	at, step := 0.0, s.spacing/4
	for at < longest {
		step = min(max(step, at/steps*2), longest-at)
		if step <= 1e-9*longest {
			break
		}
		share := unseen(from + at + step)
		more := (before + share) / 2 * step
		if waste+more >= price {
			at += step * (price - waste) / more
			break
		}
		waste += more
		before = share
		at += step
	}
	return min(max(at, s.spacing), longest)
}

// Stretch returns by how much all gaps of a lane have to be stretched, at least 1, so that inFlight tasks with a mean gap are looked at
// no more than budget times a second. 0 for no budget.
func Stretch(inFlight int, mean time.Duration, budget float64) float64 {
	if budget <= 0 || mean <= 0 {
		return 1
	}
	return max(1, float64(inFlight)/mean.Seconds()/budget)
}
