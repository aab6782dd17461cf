package task

import (
	"fmt"
	"time"

	"reelay/events"
)

// farOff is how far the end that is expected of a waiting task has to move at least for a person to notice.
const farOff = 2 * time.Minute

// An AnnouncedPosition is the queue position and the end that were announced last of a waiting task. It derives from
// the record alone, so that its publisher need not read the record again to know that nothing has changed. The zero
// value says that nothing was announced.
type AnnouncedPosition struct {
	known bool
	ours  int
	eta   time.Time // zero for none
	left  time.Duration
	since time.Time // since when the task waits
}

// LastAnnounced reads the announced position from a record.
func LastAnnounced(t events.Task) AnnouncedPosition {
	if t.Phase != events.PhaseWaiting || t.QueuePosition == nil || t.QueuePosition.Ours == nil {
		return AnnouncedPosition{}
	}
	o := AnnouncedPosition{known: true, ours: *t.QueuePosition.Ours, since: t.CreatedAt}
	if t.ETA != nil && t.EstimatedWaitS != nil {
		o.eta, o.left = *t.ETA, time.Duration(*t.EstimatedWaitS*float64(time.Second))
	}
	return o
}

// Outdated reports whether a person would notice the position in tr. It is announced if it is the first one, if at most
// half as many tasks are ahead as were announced, if more than twice as many are because others were let in before it,
// or if the expected end has moved by two minutes, by half of the time that was left, and by half of the time that the
// task has waited, so that a queue which does not move is announced ever more rarely. An end that was unknown, or is
// now, is no change by itself.
func (o AnnouncedPosition) Outdated(tr Positioned) bool {
	if tr.Position.Ours == nil || *tr.Position.Ours < 0 {
		return false
	}
	ours := *tr.Position.Ours
	switch {
	case !o.known, ours < o.ours && 2*ours <= o.ours, ours > 2*o.ours:
		return true
	case o.eta.IsZero() || tr.Estimate == nil:
		return false
	}
	return tr.At.Add(tr.Estimate.Left).Sub(o.eta).Abs() > max(farOff, o.left/2, tr.At.Sub(o.since)/2)
}

// positioned announces the queue position of a waiting task. No later decision depends on it.
func (s *step) positioned(tr Positioned) {
	// it was announced that the task waits for something else
	backoff := s.t.NotBefore != nil && s.m.At.Before(*s.t.NotBefore)
	if s.t.Phase != events.PhaseWaiting || backoff || !LastAnnounced(s.t).Outdated(tr) {
		return
	}
	ours := *tr.Position.Ours
	s.t.QueuePosition = &events.QueuePosition{Ours: &ours}
	if tr.Position.Total != nil {
		total := *tr.Position.Total
		s.t.QueuePosition.Total = &total
	}
	s.noEstimate()
	note := aheadWords(ours)
	if tr.Estimate != nil {
		tr.Estimate.Fill(&s.t, s.m.At)
		note += ", about " + roughly(tr.Estimate.Left) + " left"
	}
	// Only the newest of such steps in a row is kept: their events are stored, and the record has room for decisions.
	if n := len(s.t.Transitions) - 1; n >= 0 && s.t.Transitions[n].Name == arrowPositioned {
		s.t.Transitions = s.t.Transitions[:n]
	}
	s.move(arrowPositioned, note)
}

// forgetPosition drops the queue position and the end of a task that waits no longer.
func (s *step) forgetPosition() {
	s.t.QueuePosition = nil
	s.noEstimate()
}

func aheadWords(n int) string {
	switch n {
	case 0:
		return "no task goes before it"
	case 1:
		return "1 task goes before it"
	}
	return fmt.Sprintf("%d tasks go before it", n)
}

// roughly writes a time without digits that mean nothing: 40s, 6m, 2h15m.
func roughly(d time.Duration) string {
	switch minutes := int(d.Round(time.Minute) / time.Minute); {
	case d < 90*time.Second:
		return fmt.Sprintf("%ds", int(d.Round(10*time.Second)/time.Second))
	case minutes < 60:
		return fmt.Sprintf("%dm", minutes)
	case minutes%60 == 0:
		return fmt.Sprintf("%dh", minutes/60)
	default:
		return fmt.Sprintf("%dh%dm", minutes/60, minutes%60)
	}
}
