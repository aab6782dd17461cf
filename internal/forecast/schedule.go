package forecast

import (
	"math"
	"time"

	"reelay/events"
)

const (
	// priorShare is the share of the prior in the curve that polls follow, so that the schedule notices a provider
	// that becomes faster.
	priorShare = 0.03
	// defaultCap and defaultSpacing are the most and least intervals between two polls, if Pacing does not say.
	defaultCap     = 9
	defaultSpacing = 0.5
	// callbackCap is how many caps may lie between two polls of a task whose callback is almost certain.
	callbackCap = 10
	// minMissRate is the least share of callbacks that is expected to go missing.
	minMissRate = 0.005
	// searchSteps is how finely a gap between polls is searched for.
	searchSteps = 24
	// maxPolls bounds the polls from which a mean lag is computed: an interval may be short and a task long.
	maxPolls = 500
	// minInterval is the shortest interval there is.
	minInterval = time.Millisecond
)

// Pacing is how often the tasks of a lane may and should be polled.
type Pacing struct {
	// Interval is the fixed interval whose mean detection lag, half of it, is to be kept.
	Interval time.Duration
	// Spacing and Cap are the least and greatest time between two polls; half and nine times the interval if 0.
	Spacing, Cap time.Duration
}

func (p Pacing) withDefaults() Pacing {
	p.Interval = max(p.Interval, minInterval)
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
	// From reliableShare of learning on, the run of a task is relied upon; shortRunShare is the share of tasks that
	// run shorter than the time relied upon.
	reliableShare = 0.7
	shortRunShare = 0.02
)

// Next returns the time from a poll that found t as it is, now, to the next poll. missRate is the share of ends that
// no callback reports: 1 where there are none. The next poll never comes after the next deadline if it can come
// before.
func (f *Forecast) Next(t events.Task, now time.Time, p Pacing, missRate float64) time.Duration {
	s, since, ok := f.stageOf(t)
	if !ok {
		return p.Interval
	}
	schedule := f.Schedule(s, p)
	gap := schedule.Gap(now.Sub(since), missRate)
	if run := f.stages[Run]; t.Phase == events.PhaseProviderQueued && run.learnedShare > reliableShare {
		// It has not begun: the gap lasts at least as long as nearly every run.
		gap = max(gap, min(run.posterior.Remaining(0, shortRunShare), toDuration(schedule.cap)))
	}
	if t.StartDeadline != nil && t.StartedAt == nil {
		gap = noLaterThan(gap, t.StartDeadline.Sub(now))
	}
	return noLaterThan(gap, t.Deadline.Sub(now))
}

// noLaterThan cuts a gap at a deadline; left is the time until then.
func noLaterThan(gap, left time.Duration) time.Duration {
	if left > 0 && left < gap {
		return left
	}
	return gap
}

// stageOf returns the stage that predicts the end of a task best, and when that stage began. ok is false for a task
// that is not at the provider.
func (f *Forecast) stageOf(t events.Task) (s Stage, since time.Time, ok bool) {
	switch {
	case t.SubmittedAt == nil:
		return 0, time.Time{}, false
	case t.Phase == events.PhaseProviderQueued:
		return Whole, *t.SubmittedAt, true
	case t.Phase != events.PhaseRunning && t.Phase != events.PhaseCancelling && t.Phase != events.PhaseFetching:
		return 0, time.Time{}, false
	case t.StartedAt != nil && f.stages[Run].learnedShare > 0 &&
		f.stages[Run].posterior.sigma < f.stages[Whole].posterior.sigma:
		return Run, *t.StartedAt, true
	}
	return Whole, *t.SubmittedAt, true
}

// DetectionLag returns the time for which the end of a task had probably gone unnoticed when a poll found it at the
// given time: half the gap before that poll.
func (f *Forecast) DetectionLag(t events.Task, at time.Time, p Pacing) time.Duration {
	if t.SubmittedAt == nil {
		return 0
	}
	schedule, whole := f.Schedule(Whole, p), at.Sub(*t.SubmittedAt)
	gap := schedule.Gap(whole, 1)
	for range 3 { // the gap before a poll, from the gaps that follow the times before it
		gap = schedule.Gap(max(0, whole-gap), 1)
	}
	return min(gap, whole) / 2
}

type scheduleKey struct {
	Stage
	Pacing
}

// maxSchedules bounds the schedules kept for a class: there is one for each lane and stage.
const maxSchedules = 64

// Schedule returns the poll schedule of the class for a stage.
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
	made := newSchedule(o.posterior, f.prior[s], p, o.learnedShare)
	f.schedules[key] = made
	return made
}

// A Schedule computes the gaps between the polls of tasks of one class.
type Schedule struct {
	curve        *Curve // mixed with the prior
	spacing, cap float64
	// pollCost is the cost of one poll in seconds of detection lag.
	pollCost float64
}

// newSchedule finds the poll cost at which the mean detection lag under the posterior is that of the fixed interval.
// learnedShare, from 0 to 1, is how much of the posterior was learned; without learning no gap is longer than the
// interval.
func newSchedule(posterior, prior *Curve, p Pacing, learnedShare float64) *Schedule {
	p = p.withDefaults()
	interval := p.Interval.Seconds()
	s := &Schedule{
		curve:   mix([]*Curve{posterior, prior}, []float64{1 - priorShare, priorShare}),
		spacing: p.Spacing.Seconds(), cap: interval + (p.Cap.Seconds()-interval)*learnedShare,
	}
	s.cap = max(s.cap, s.spacing)
	want := interval / 2
	s.pollCost = want / 10
	for range 8 { // between the bounds the lag is proportional to the root of the cost
		lag := s.meanLag(posterior)
		if math.Abs(lag-want) < want/100 {
			break
		}
		s.pollCost *= min(max(want*want/(lag*lag), 0.1), 10)
	}
	return s
}

// meanLag returns the mean time, in seconds, between an end, distributed as truth, and the poll that detects it.
func (s *Schedule) meanLag(truth *Curve) float64 {
	sum, from := 0.0, 0.0
	left := 1.0
	for n := 0; n < maxPolls && left > 0.005; n++ {
		next := from + s.gap(from, 1)
		// The lag of tasks that end in between is the mean over the gap; a few points are enough.
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

// Gap returns the time from a poll that found a task still at work, elapsed after the stage began, to the next.
// missRate is the share of ends that no callback reports: 1 where there are none. Gap is deterministic; jitter is the
// caller's.
func (s *Schedule) Gap(elapsed time.Duration, missRate float64) time.Duration {
	return toDuration(s.gap(elapsed.Seconds(), missRate))
}

// gap searches for the time at which the expected unnoticed time after an end adds up to the cost of a poll.
func (s *Schedule) gap(from, missRate float64) float64 {
	missRate = min(max(missRate, minMissRate), 1)
	longest := s.cap
	if missRate < 1 {
		longest *= 1 + (callbackCap-1)*(1-missRate)
	}
	began := s.curve.logLonger(from)
	unnoticed := func(t float64) float64 { // the share that has ended by t, of the tasks without a callback so far
		ended := -math.Expm1(s.curve.logLonger(t)-began) * missRate
		return ended / (ended + math.Exp(s.curve.logLonger(t)-began))
	}
	// The rarer a callback goes missing, the longer such an end may go unnoticed.
	pollCost := s.pollCost / math.Sqrt(missRate)
	waste, before := 0.0, 0.0
	// The step grows with the gap, so that a short gap is found as exactly as a long one.
	at, step := 0.0, s.spacing/4
	for at < longest {
		step = min(max(step, at/searchSteps*2), longest-at)
		if step <= 1e-9*longest {
			break
		}
		share := unnoticed(from + at + step)
		more := (before + share) / 2 * step
		if waste+more >= pollCost {
			at += step * (pollCost - waste) / more
			break
		}
		waste += more
		before = share
		at += step
	}
	return min(max(at, s.spacing), longest)
}

// Stretch returns the factor, at least 1, by which all gaps of a lane have to grow so that inFlight tasks with a mean
// gap are polled no more than budget times a second. A budget of 0 is unlimited.
func Stretch(inFlight int, mean time.Duration, budget float64) float64 {
	if budget <= 0 || mean <= 0 {
		return 1
	}
	return max(1, float64(inFlight)/mean.Seconds()/budget)
}
