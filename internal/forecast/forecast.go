package forecast

import (
	"sync"
	"time"

	"reelay/events"
)

// halfLearnedSamples is the number of samples at which half of a level's forecast counts as learned.
const halfLearnedSamples = 3

// A Forecast is what is known about a class. It is safe for concurrent use and not changed once made.
type Forecast struct {
	prior  [stages]*Curve
	stages [stages]stageForecast
	// samples counts all that this level ever learned, updated is the end of the last one.
	samples int
	updated time.Time

	mu        sync.Mutex
	schedules map[scheduleKey]*Schedule
}

// A stageForecast is what is known about the duration of one stage.
type stageForecast struct {
	posterior *Curve
	// longTerm is the curve of the long-term predictor alone, whatever happened lately.
	longTerm *Curve
	// recentQuantile is the share of longTerm that the middle one of the last samples exceeds.
	recentQuantile float64
	// learnedShare is the share of posterior that was learned, from 0 to 1.
	learnedShare float64
}

// unknown is the forecast of a task type nothing was learned about: its prior.
func unknown(t events.TaskType) *Forecast {
	f := &Forecast{prior: priorOf(t).curves()}
	for i, c := range f.prior {
		f.stages[i] = stageForecast{posterior: c, longTerm: c, recentQuantile: 0.5}
	}
	return f
}

func derive(l *level, parent *Forecast) *Forecast {
	f := &Forecast{prior: parent.prior, samples: l.Samples, updated: l.Updated}
	for i := range l.Stages {
		m, o := &l.Stages[i], parent.stages[i]
		if n := m.Long.weight(); n > 0 {
			own := 1 - m.Odds[parentLevel]
			o = stageForecast{
				posterior: m.posterior(o.posterior), longTerm: m.Long.curve(), recentQuantile: 0.5,
				learnedShare: own*n/(n+halfLearnedSamples) + m.Odds[parentLevel]*o.learnedShare,
			}
			if last, err := m.Short.dd.GetValueAtQuantile(0.5); err == nil {
				o.recentQuantile = 1 - o.longTerm.Longer(toDuration(last))
			}
		}
		f.stages[i] = o
	}
	return f
}

func (f *Forecast) curves() [stages]*Curve {
	var c [stages]*Curve
	for i := range f.stages {
		c[i] = f.stages[i].posterior
	}
	return c
}

// Curve returns the posterior of a stage.
func (f *Forecast) Curve(s Stage) *Curve { return f.stages[s].posterior }

// Learned reports whether anything was learned about a stage.
func (f *Forecast) Learned(s Stage) bool { return f.stages[s].learnedShare > 0 }

// Samples returns how many tasks this level has learned from; 0 if the forecast is only the prior of the task type.
func (f *Forecast) Samples() int { return f.samples }
