package task

import (
	"slices"

	"reelay/events"
)

// publish derives the events of a change: the new ones, and before them those of earlier steps that happen once, so that
// the next publisher fills any gap left by one that stalled or crashed. Those of earlier steps are marked as Repair.
func (s *step) publish(c Change) []events.Event {
	if s.reject != nil {
		return []events.Event{*s.reject}
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
		e := events.Event{
			Type: tr.Event, Project: c.Task.Project, TaskID: c.Task.ID, Version: tr.Version, Time: tr.At, Message: tr.Note,
			Task: &c.Task, Traceparent: c.Task.Traceparent, Once: tr.Event != events.EventProgress && !seen[tr.Event], Repair: !isNew,
		}
		seen[tr.Event] = true
		if tr.Event == events.EventFailed {
			e.Error = c.Task.Error
		}
		switch {
		case e.Once:
			once = append(once, e)
			whole = whole || isNew
			if isNew {
				latest = &once[len(once)-1]
			}
		case isNew, doubt && tr.Event == events.EventInDoubt:
			// One write, one of them: the last step tells it all. That a person has to decide is told again until somebody does.
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

// trim bounds what a record keeps, the oldest going first: places in line that were told, then steps that no event derives from, then
// progress.
func trim(t *events.Task) {
	for len(t.Transitions) > events.MaxTransitions {
		last := len(t.Transitions) - 1
		i := slices.IndexFunc(t.Transitions[:last], func(tr events.Transition) bool { return tr.Name == arrowPlaced })
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
