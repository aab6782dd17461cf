package model

import (
	"fmt"

	"reelay/events"
	"reelay/internal/task"
)

// The properties, as in the package documentation.
const (
	propOnePost     = "one complete request per permit"
	propBudget      = "bought no more often than allowed"
	propFree        = "what is called free was not bought"
	propAbsorb      = "an end is final"
	propOneEvent    = "one terminal event, and it is the record's"
	propDerived     = "stored events are the record's story, in order"
	propCompleted   = "completed means bought and finished"
	propRefKept     = "a reported reference is kept"
	propBought      = "a reference is of what its attempt bought"
	propRefPolled   = "a known reference is polled unless another attempt is out"
	propTimer       = "what is open has a heartbeat"
	propVerdict     = "a task at the provider ends by its word or is polled on"
	propParked      = "no timer leaves parked"
	propNotPolled   = "what was answered with its result is not polled"
	propMachine     = "the machine takes only its arrows"
	propEnds        = "every task can end without luck"
	propPollTicket  = "a needed poll ticket comes back without luck"
	propAbstraction = "the abstraction is exact"
)

// judge checks a step of the machine against the truth, and notes what was reported.
func (t *step) judge(tr trig, eff effect) {
	before, after := &t.e.b.classes[t.rec], &t.e.b.classes[eff.rec]
	if (tr.kind == kAccepted || tr.kind == kAnswered || tr.kind == kAnsweredFailed || tr.kind == kAdopt) && !eff.refused && tr.attempt <= before.n {
		t.reported |= 1 << (tr.attempt - 1)
	}
	switch {
	case tr.kind == kNotFound:
		t.unknown = min(t.unknown+1, task.NotFoundPolls)
	case tr.kind == kTransient || tr.kind >= kQueued && tr.kind <= kCancelledThere || after.phase == events.PhaseDone:
		t.unknown = 0
	}
	switch {
	case before.phase == events.PhaseDone && (after.phase != events.PhaseDone || after.status != before.status):
		t.broken = propAbsorb
	case before.phase == events.PhaseParked && after.phase != events.PhaseParked && tr.kind == kHeartbeat:
		t.broken = propParked
	case before.phase != events.PhaseDone && after.phase == events.PhaseDone && before.current != 0:
		t.verdict(tr, before, after)
	}
}

// verdict checks how a task ends that is at the provider.
func (t *step) verdict(tr trig, before, after *class) {
	switch tr.kind {
	case kSucceeded, kFailed, kFailedFree, kCancelledThere:
		return
	case kCallbackSucceeded, kCallbackFailed, kCallbackCancelled:
		if tr.attempt == before.current {
			return
		}
	case kNotFound:
		if t.state.unknown >= task.NotFoundPolls || after.late {
			return
		}
	default:
		if after.late && after.status == events.StatusFailed {
			return
		}
	}
	t.broken = propVerdict
}

// check looks at one state. It returns the property that does not hold, or "".
func (e *explorer) check(s *state) (property, detail string) {
	c := &e.b.classes[s.rec]
	paid := uint8(0)
	for i, f := range s.fate {
		bit := uint8(1) << i
		switch {
		case s.posts[i] > 1:
			return propOnePost, fmt.Sprintf("attempt %d was sent %d times", i+1, s.posts[i])
		case bought(f) && c.free&bit != 0:
			return propFree, fmt.Sprintf("attempt %d", i+1)
		case bought(f) && c.allFree:
			return propFree, fmt.Sprintf("the task says charge none, attempt %d was bought", i+1)
		case c.refs&bit != 0 && f < fWorking:
			return propBought, fmt.Sprintf("attempt %d was never accepted", i+1)
		case s.reported&bit != 0 && c.refs&bit == 0 && !c.foreign:
			return propRefKept, fmt.Sprintf("of attempt %d", i+1)
		}
		if bought(f) {
			paid++
		}
	}
	switch n, last := s.stored.terminals(); {
	case paid > s.allowed:
		return propBudget, fmt.Sprintf("%d times, %d allowed", paid, s.allowed)
	case c.foreign:
		return propBought, "an attempt has the reference of another"
	case n > 1:
		return propOneEvent, fmt.Sprintf("%d are stored", n)
	case n == 1 && last != terminalOf(c.status):
		return propOneEvent, "the stored one is not the record's"
	case !s.stored.within(c.story):
		return propDerived, fmt.Sprintf("stored %x, the record tells %x", uint32(s.stored), uint32(c.story))
	case c.status == events.StatusCompleted && (c.current == 0 || s.fate[c.current-1] != fSucceeded):
		return propCompleted, ""
	case c.phase != events.PhaseDone && c.phase != events.PhaseSubmitting && c.refs != 0 && c.current == 0:
		return propRefPolled, fmt.Sprintf("references of attempts %04b", c.refs)
	case (c.phase != events.PhaseDone || c.unannounced) && !c.heartbeat:
		return propTimer, ""
	case e.o.Synchronous && c.needs.PollTicket:
		return propNotPolled, ""
	}
	return "", ""
}

func terminalOf(s events.Status) story {
	switch s {
	case events.StatusCompleted:
		return tCompleted
	case events.StatusFailed:
		return tFailed
	case events.StatusCancelled:
		return tCancelled
	}
	return 0
}

// goal is something that must stay within reach by sure steps.
type goal struct {
	property string
	reached  func(*state) bool
	// owed says from which states.
	owed func(*state) bool
}

func (e *explorer) goals() []goal {
	return []goal{
		{
			property: propEnds,
			reached: func(s *state) bool {
				c := &e.b.classes[s.rec]
				return c.phase == events.PhaseParked || c.phase == events.PhaseDone && s.stored.has(terminalOf(c.status))
			},
			owed: func(*state) bool { return true },
		},
		{
			property: propPollTicket,
			reached:  func(s *state) bool { return s.msgs&mPollTicket != 0 },
			owed: func(s *state) bool {
				if !e.b.classes[s.rec].needs.PollTicket {
					return false
				}
				// Late polling that is over is owed nothing.
				now := e.b.apply(s.rec, trig{kind: kHeartbeat, clock: s.clock})
				return e.b.classes[now.rec].needs.PollTicket
			},
		},
	}
}
