package task

import (
	"fmt"
	"strings"
	"time"

	"reelay/events"
)

// maxNamed bounds the ids that a note names.
const maxNamed = 5

// dependenciesEnded lets a task be sent that has waited for others. Its timeouts begin now.
func (s *step) dependenciesEnded(tr DependenciesEnded) {
	if s.t.Phase != events.PhaseWaiting || len(s.t.WaitsFor) == 0 {
		return
	}
	s.t.WaitsFor = nil
	if in := tr.Input; in != nil {
		s.t.Input, s.t.InputRef, s.t.InputDigest, s.t.Cost = in.Input, in.Ref, in.Digest, in.Cost
	}
	from := s.m.At
	if s.t.NotBefore != nil && s.t.NotBefore.After(from) {
		from = *s.t.NotBefore
	}
	later := from.Sub(s.t.TimeoutsFrom())
	s.t.Deadline = s.t.Deadline.Add(later)
	if s.t.StartDeadline != nil {
		at := s.t.StartDeadline.Add(later)
		s.t.StartDeadline = &at
	}
	s.t.TimeoutFrom = &from
	s.move(arrowDepsEnded, "the tasks that it depends on have ended")
}

// dependencyFailed ends a task that has waited for others. Nothing of it was sent.
func (s *step) dependencyFailed(tr DependencyFailed) {
	if s.t.Phase != events.PhaseWaiting || len(s.t.WaitsFor) == 0 {
		return
	}
	e := *tr.Err
	e.Charge = chargeOf(s.t)
	s.t.Unannounced = true // whoever watches the other tasks has nothing that is delivered again
	s.finish(arrowDepFailed, e.Message, &e)
}

// missing ends a task whose deadline has passed while it waited for one that nobody has asked for.
func (s *step) missing(id string) {
	by, ok := s.missedDeadline()
	if !ok {
		return
	}
	s.t.Cancel = &events.CancelState{AskedAt: s.m.At, By: by}
	s.t.Unannounced = true
	s.finish(arrowExpired, "it was still waiting", &events.Error{
		Code: events.CodeDeadlineExceeded, Kind: events.KindDeadline, Retryable: true, Charge: chargeOf(s.t),
		Message: fmt.Sprintf("task %s, which it depends on, was not asked for in time", id),
	})
}

// waitingNote says what a new task waits for.
func waitingNote(t events.Task, chosen string) string {
	var waits []string
	if chosen != "" {
		waits = append(waits, chosen)
	}
	if n := len(t.WaitsFor); n > 0 {
		ids := strings.Join(t.WaitsFor[:min(n, maxNamed)], ", ")
		if n > maxNamed {
			ids += fmt.Sprintf(" and %d more", n-maxNamed)
		}
		waits = append(waits, "waits for "+ids)
	}
	if t.NotBefore != nil {
		waits = append(waits, "is not sent before "+t.NotBefore.UTC().Format(time.RFC3339))
	}
	return strings.Join(waits, "; ")
}
