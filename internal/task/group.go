package task

import "reelay/events"

// Groups
//
// A request may name a group of lanes. Its task has one of them from the start, and any of them may take it as long as
// nothing can have been sent: the intent says which, and its compare-and-set decides between two. From then on the task
// stays with that lane, unless the attempt is proven free.

// MayMove reports whether another lane of its group may send a task: it waits, and nothing was sent that can have had an
// effect.
func MayMove(t events.Task) bool {
	return t.Group != "" && t.Phase == events.PhaseWaiting && possiblyPaid(t) == 0 && len(t.ProviderRef) == 0
}

// takenBy makes a lane that of the task, and reports whether it may send it.
func (s *step) takenBy(lane string) bool {
	switch {
	case lane == "" || lane == s.t.Lane:
		return true
	case !MayMove(s.t):
		return false
	}
	s.t.Lane = lane
	return true
}

// attemptLane is the lane that the next attempt names: of a task that has stayed with one there is no need.
func attemptLane(t events.Task) string {
	if t.Group == "" {
		return ""
	}
	return t.Lane
}
