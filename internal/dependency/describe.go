package dependency

import (
	"fmt"
	"strings"

	"reelay/events"
)

// maxNamed bounds the tasks that a message names.
const maxNamed = 5

// Describe fills into a waiting task which of those that it depends on have not ended, and that they block it. phaseOf
// returns the phase of one, empty where nobody has asked for it. It reports whether the task waits for others.
func Describe(t *events.Task, phaseOf func(events.Key) events.Phase) bool {
	if t.Phase != events.PhaseWaiting || len(t.WaitsFor) == 0 {
		return false
	}
	var open, named []string
	for _, id := range t.WaitsFor {
		phase := phaseOf(events.Key{Project: t.Project, ID: id})
		if phase == events.PhaseDone {
			continue
		}
		if phase == "" {
			phase = "not asked for yet"
		}
		if open = append(open, id); len(open) <= maxNamed {
			named = append(named, fmt.Sprintf("%s (%s)", id, phase))
		}
	}
	t.WaitsFor = open
	t.Blocked = &events.Blocked{Reason: events.BlockedDependency, Message: "waits for " + strings.Join(named, ", ")}
	switch {
	case len(open) == 0:
		t.Blocked.Message = "what it waits for has ended; its outputs are being stored"
	case len(open) > maxNamed:
		t.Blocked.Message += fmt.Sprintf(" and %d more", len(open)-maxNamed)
	}
	// When they end is not known here, and the record is older than that.
	t.QueuePosition, t.EstimatedWaitS, t.ETA, t.ETAEarliest, t.ETALatest = nil, nil, nil, nil, nil
	return true
}
