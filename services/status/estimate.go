package status

import (
	"math"
	"time"

	"reelay/events"
	"reelay/internal/forecast"
)

// foretell fills in when a task will end, as seen now, and how it gets on. Where nothing can be said nothing is: what was told of a
// waiting task earlier does not hold.
func (s *Service) foretell(t *events.Task, at stand, now time.Time) {
	if t.Phase == events.PhaseWaiting {
		t.EstimatedWaitS, t.ETA, t.ETAEarliest, t.ETALatest = nil, nil, nil, nil
		if !at.told {
			return
		}
	}
	if e, ok := s.almanac.Forecast(*t).Estimate(*t, now, at.Position); ok {
		e.Fill(t, now)
		t.Pace = e.Pace
	}
}

// typical fills in how long the providers take.
func (s *Service) typical(lanes []events.LaneQueue) {
	for i := range lanes {
		l := &lanes[i]
		for _, of := range events.TaskTypes() {
			f := s.almanac.Forecast(events.Task{Provider: l.Provider, TaskType: of})
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
