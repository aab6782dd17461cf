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
