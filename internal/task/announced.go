package task

import (
	"fmt"
	"time"

	"reelay/events"
)

// farOff is how far the end that is expected of a waiting task has to move at least for a person to notice.
const farOff = 2 * time.Minute

// Told is what a waiting task was told last of its turn. It derives from the record alone, so that who tells it need not read the
// record to know that there is nothing new. The zero Told is that of a task that was told nothing.
type Told struct {
	placed bool
	ours   int
	eta    time.Time // zero for none
	left   time.Duration
	since  time.Time // it waits
}

// ToldOf reads a record.
func ToldOf(t events.Task) Told {
	if t.Phase != events.PhaseWaiting || t.QueuePosition == nil || t.QueuePosition.Ours == nil {
		return Told{}
	}
	o := Told{placed: true, ours: *t.QueuePosition.Ours, since: t.CreatedAt}
	if t.ETA != nil && t.EstimatedWaitS != nil {
		o.eta, o.left = *t.ETA, time.Duration(*t.EstimatedWaitS*float64(time.Second))
	}
	return o
}

// Outdated reports whether a person would notice what tr tells: it is the first word, at most half as many tasks go before it as
// were told, or more than twice as many because others were let in before it, or its end is expected much sooner or later: by two
// minutes, by half of the time that was left, and by half of the time that it has waited, so that a line which does not move is
// told of ever more rarely. An end that was unknown, or is now, is no news by itself.
func (o Told) Outdated(tr Placed) bool {
	if tr.Position.Ours == nil || *tr.Position.Ours < 0 {
		return false
	}
	ours := *tr.Position.Ours
	switch {
	case !o.placed, ours < o.ours && 2*ours <= o.ours, ours > 2*o.ours:
		return true
	case o.eta.IsZero() || tr.Estimate == nil:
		return false
	}
	return tr.At.Add(tr.Estimate.Left).Sub(o.eta).Abs() > max(farOff, o.left/2, tr.At.Sub(o.since)/2)
}

// placed tells a waiting task its place. Nothing that is decided about it later depends on that.
func (s *step) placed(tr Placed) {
	heldBack := s.t.NotBefore != nil && s.m.At.Before(*s.t.NotBefore) // it was told that it waits for something else
	if s.t.Phase != events.PhaseWaiting || heldBack || !ToldOf(s.t).Outdated(tr) {
		return
	}
	ours := *tr.Position.Ours
	s.t.QueuePosition = &events.QueuePosition{Ours: &ours}
	if tr.Position.Total != nil {
		total := *tr.Position.Total
		s.t.QueuePosition.Total = &total
	}
	s.noEstimate()
	note := goBefore(ours)
	if tr.Estimate != nil {
		tr.Estimate.Fill(&s.t, s.m.At)
		note += ", about " + roughly(tr.Estimate.Left) + " left"
	}
	// Only the newest of such steps in a row is kept: their events are told, and the record has room for what was decided.
	if n := len(s.t.Transitions) - 1; n >= 0 && s.t.Transitions[n].Name == arrowPlaced {
		s.t.Transitions = s.t.Transitions[:n]
	}
	s.move(arrowPlaced, note)
}

// outOfLine forgets what a task was told while it waited: it is sent now, or at the provider already.
func (s *step) outOfLine() {
	s.t.QueuePosition = nil
	s.noEstimate()
}

func goBefore(n int) string {
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
