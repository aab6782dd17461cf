package forecast

import (
	"sync"
	"time"

	"reelay/events"
)

// fewSamples is at how many samples a level is known by half.
const fewSamples = 3

// A Forecast is what is known about a class. It is safe for concurrent use and not changed once made.
type Forecast struct {
	broad  [stages]*Curve
	stages [stages]outlook
	// samples counts those ever learned on this level, updated is the end of the last.
	samples int
	updated time.Time

	mu        sync.Mutex
	schedules map[scheduleKey]*Schedule
}

// An outlook is what is known about one stage.
type outlook struct {
	believed *Curve
	// usual is what the long memory holds, whatever has happened of late.
	usual *Curve
	// lately is the share of usual that the middle one of the last samples exceeds.
	lately float64
	// known is the share of believed that was learned, from 0 to 1.
	known float64
}

type scheduleKey struct {
	Stage
	Pacing
}

// unknown is the forecast of a task type.
func unknown(t events.TaskType) *Forecast {
	f := &Forecast{broad: priorOf(t).curves()}
	for i, c := range f.broad {
		f.stages[i] = outlook{believed: c, usual: c, lately: 0.5}
	}
	return f
}

func derive(l *level, over *Forecast) *Forecast {
	f := &Forecast{broad: over.broad, samples: l.Samples, updated: l.Updated}
	for i := range l.Stages {
		h, o := &l.Stages[i], over.stages[i]
		if n := h.Long.weight(); n > 0 {
			own := 1 - h.Odds[levelAbove]
			o = outlook{
				believed: h.believed(o.believed), usual: h.Long.curve(), known: own*n/(n+fewSamples) + h.Odds[levelAbove]*o.known, lately: 0.5,
			}
			if last, err := h.Short.sketch.GetValueAtQuantile(0.5); err == nil {
				o.lately = 1 - o.usual.Longer(span(last))
			}
		}
		f.stages[i] = o
	}
	return f
}

func (f *Forecast) curves() [stages]*Curve {
	var c [stages]*Curve
	for i := range f.stages {
		c[i] = f.stages[i].believed
	}
	return c
}

// Curve returns what is believed about a stage.
func (f *Forecast) Curve(s Stage) *Curve { return f.stages[s].believed }

// Learned reports whether anything was learned about a stage.
func (f *Forecast) Learned(s Stage) bool { return f.stages[s].known > 0 }

// Samples returns how many tasks this level has learned from; 0 if the forecast is but that of the task type.
func (f *Forecast) Samples() int { return f.samples }

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

// maxSchedules bounds the schedules kept of a class: there is one for each lane and stage.
const maxSchedules = 64

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

const (
	// trusted is from what share of learning on the run of a task is relied upon; shortRun is the share that runs shorter than
	// what is relied upon.
	trusted  = 0.7
	shortRun = 0.02
)

// before cuts a gap at a deadline, left from now.
func before(gap, left time.Duration) time.Duration {
	if left > 0 && left < gap {
		return left
	}
	return gap
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
