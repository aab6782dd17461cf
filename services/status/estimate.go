package status

import (
	"math"
	"time"

	"reelay/events"
	"reelay/internal/forecast"
)

// fillEstimate fills in when a task will end, as of now, and its pace. Where nothing can be estimated nothing is: an
// earlier estimate for a waiting task, which its record has, does not hold.
func (s *Service) fillEstimate(t *events.Task, at queuePosition, now time.Time) {
	if t.Phase == events.PhaseWaiting {
		t.EstimatedWaitS, t.ETA, t.ETAEarliest, t.ETALatest = nil, nil, nil, nil
		if !at.fromDispatcher {
			return
		}
	}
	if e, ok := s.learner.Forecast(*t).Estimate(*t, now, at.Position); ok {
		e.Fill(t, now)
		t.Pace = e.Pace
	}
}

// fillTypical fills in how long the providers take.
func (s *Service) fillTypical(lanes []events.LaneQueue) {
	for i := range lanes {
		l := &lanes[i]
		for _, of := range events.TaskTypes() {
			f := s.learner.Forecast(events.Task{Provider: l.Provider, TaskType: of})
			if f.Samples() == 0 {
				continue
			}
			seconds := func(stage forecast.Stage, share float64) float64 {
				if !f.Learned(stage) {
					return 0
				}
				return math.Round(f.Curve(stage).Remaining(0, share).Seconds()*10) / 10
			}
			if l.Typical == nil {
				l.Typical = map[events.TaskType]events.Typical{}
			}
			l.Typical[of] = events.Typical{
				Samples: f.Samples(), WaitS: seconds(forecast.Wait, 0.5), RunS: seconds(forecast.Run, 0.5),
				WholeS: seconds(forecast.Whole, 0.5), LateS: seconds(forecast.Whole, 0.9),
			}
		}
	}
}
