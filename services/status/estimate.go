package status

import (
	"context"
	"time"

	"reelay/events"
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

// indexed are the records for a chain, with their phases from the index.
type indexed struct{ *Service }

func (s indexed) Get(ctx context.Context, k events.Key) (events.Task, error) {
	t, _, err := s.read(ctx, k)
	return t, err
}

func (s indexed) Phase(k events.Key) events.Phase { return s.index.phaseOf(k) }
