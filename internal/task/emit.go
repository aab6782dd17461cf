package task

import (
	"slices"

	"reelay/events"
)

// emit derives the events of a change: the new ones, and before them those of earlier steps that happen once, so that
// the next publisher fills any gap left by one that stalled or crashed. Those of earlier steps are marked as Repair.
func (s *step) emit(c Change) []events.Event {
	if s.reject != nil {
		return []events.Event{*s.reject}
	}
	if c.Task.ErasedAt != nil { // its events are gone, and stay so
		return nil
	}
	var once, repeated []events.Event
	var latest *events.Event // the newest of this change: it brings the log lines
	doubt := c.Task.Phase == events.PhaseInDoubt || c.Task.Phase == events.PhaseParked
	whole := !s.written || c.Task.Phase == events.PhaseDone
	seen := map[events.EventType]bool{}
	for _, tr := range c.Task.Transitions {
		if tr.Event == "" {
			continue
		}
		isNew := s.written && tr.Version == c.Task.Version
		e := eventOf(&c.Task, tr)
		e.Once, e.Repair = tr.Event != events.EventProgress && !seen[tr.Event], !isNew
		seen[tr.Event] = true
		switch {
		case e.Once:
			once = append(once, e)
			whole = whole || isNew
			if isNew {
				latest = &once[len(once)-1]
			}
		case isNew, doubt && tr.Event == events.EventInDoubt:
			// One write, one of them: the last step has everything. That a person has to decide is announced until somebody
			// does.
			repeated = []events.Event{e}
			if isNew {
				latest = &repeated[0]
			}
		}
	}
	if latest == nil && !whole {
		return nil
	}
	if latest != nil {
		latest.Logs = s.newLogs
	}
	return append(once, repeated...)
}

// eventOf returns the event of a step of t. What t holds of the moment after its last step is left out of the events of
// other steps.
func eventOf(t *events.Task, tr events.Transition) events.Event {
	after := *t
	after.Phase = tr.To
	e := events.Event{
		Type: tr.Event, Project: t.Project, TaskID: t.ID, SceneID: t.SceneID, BatchID: t.BatchID, TaskType: t.TaskType,
		Provider: t.Provider, Lane: t.Lane, Model: t.Model, ProviderID: t.ProviderID,
		Status: statusOf(after, tr.Name), Phase: tr.To, Version: tr.Version, Time: tr.At, Message: tr.Note, Cost: t.Cost,
		Traceparent: t.Traceparent, Notify: notify(t),
	}
	switch {
	case tr.Event == events.EventFailed:
		e.Error = t.Error
	case tr.Event == events.EventInDoubt, tr.Reason == events.BlockedRetry:
		e.Error = errorOf(t, tr.Attempt)
	}
	if tr.Version == t.Version && tr.To == t.Phase { // one step may take two arrows
		e.QueuePosition, e.EstimatedWaitS, e.ETA, e.ETAEarliest, e.ETALatest = t.QueuePosition, t.EstimatedWaitS, t.ETA,
			t.ETAEarliest, t.ETALatest
		e.Pace, e.ProgressPercentage, e.WaitsFor = t.Pace, t.ProgressPercentage, t.WaitsFor
	}
	if tr.Event.WithTask() {
		e.Task = t
	}
	tr.Note = "" // it is the message
	e.Transition = &tr
	return e
}

// notify returns the endpoint that is sent the events of t; none if its request has named none.
func notify(t *events.Task) []string {
	if t.Notify == "" {
		return nil
	}
	return []string{t.Notify}
}

// errorOf returns what went wrong with attempt n; nil if nothing is known to have.
func errorOf(t *events.Task, n int) *events.Error {
	for _, a := range t.Attempts {
		if a.N == n {
			return a.Error
		}
	}
	return nil
}

// trim bounds what a record keeps, the oldest going first: announced positions, then steps that no event derives from,
// then progress.
func trim(t *events.Task) {
	for len(t.Transitions) > events.MaxTransitions {
		last := len(t.Transitions) - 1
		i := slices.IndexFunc(t.Transitions[:last], func(tr events.Transition) bool { return tr.Name == arrowPositioned })
		if i < 0 {
			i = slices.IndexFunc(t.Transitions, func(tr events.Transition) bool { return tr.Event == "" })
			if i >= len(t.Transitions)-events.MaxTransitions/2 {
				i = -1
			}
		}
		if i < 0 {
			i = slices.IndexFunc(t.Transitions, func(tr events.Transition) bool { return tr.Event == events.EventProgress })
		}
		if i < 0 {
			i = 0
		}
		t.Transitions = slices.Delete(t.Transitions, i, i+1)
	}
	for len(t.Attempts) > maxAttemptsKept {
		i := slices.IndexFunc(t.Attempts, func(a events.Attempt) bool { return a.Charge == events.ChargeNone })
		if i < 0 {
			return
		}
		t.Attempts = slices.Delete(t.Attempts, i, i+1)
	}
}

// clone copies what Apply may change in place.
func clone(t events.Task) events.Task {
	t.Attempts = slices.Clone(t.Attempts)
	t.Transitions = slices.Clone(t.Transitions)
	t.Logs = slices.Clone(t.Logs)
	return t
}
