package model

import (
	"slices"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/task"
)

type apply = func(*events.Task, task.Trigger) (task.Change, error)

// told returns the events that happen once of all steps up to a version.
func told(t *events.Task, last uint64) (all []events.Event) {
	seen := map[events.EventType]bool{}
	for _, s := range t.Transitions {
		if digits[s.Event] != 0 && !seen[s.Event] && s.Version <= last {
			all = append(all, events.Event{Type: s.Event, Version: s.Version, Once: true})
		}
		seen[s.Event] = true
	}
	return all
}

// mendOrder: a step that repeats a recent event repeats all before it.
func mendOrder(next apply) apply {
	return func(t *events.Task, tr task.Trigger) (task.Change, error) {
		c, err := next(t, tr)
		var last uint64
		for _, e := range c.Events {
			if e.Once {
				last = max(last, e.Version)
			}
		}
		if last > 0 {
			c.Events = told(&c.Task, last)
		}
		return c, err
	}
}

// mendLate: every step of an ended task tells its whole story again, for the step may take the last timer away.
func mendLate(next apply) apply {
	return func(t *events.Task, tr task.Trigger) (task.Change, error) {
		c, err := next(t, tr)
		if c.Written && c.Task.Phase == events.PhaseDone {
			c.Events = told(&c.Task, c.Task.Version)
		}
		return c, err
	}
}

// mendOverdue: a heartbeat that finds the report on an attempt overdue takes over a reference of a former attempt, as the owner's own
// report does.
func mendOverdue(next apply) apply {
	return func(t *events.Task, tr task.Trigger) (task.Change, error) {
		c, err := next(t, tr)
		if _, due := tr.(task.Due); !due || !c.Written || t.Phase != events.PhaseSubmitting || len(c.Task.ProviderRef) > 0 {
			return c, err
		}
		for _, a := range c.Task.Attempts {
			if len(a.Ref) == 0 {
				continue
			}
			written := c.Task
			c, err = next(&written, task.Accepted{Meta: tr.(task.Due).Meta, Attempt: a.N, Ref: a.Ref, ID: a.ProviderID})
			c.Task.Version = written.Version
			for i := range c.Task.Transitions {
				s := &c.Task.Transitions[i]
				s.Version = min(s.Version, written.Version)
			}
			c.Events = told(&c.Task, c.Task.Version)
			break
		}
		return c, err
	}
}

// mendBeat: a late watch has a heartbeat, which makes its watch message again.
func mendBeat(t events.Task) time.Duration {
	if d := task.Heartbeat(t); d > 0 || t.LateUntil == nil {
		return d
	}
	return time.Minute
}

// A mend corrects what the explorer has found wrong in the machine or in the services, so that it can go on beyond.
type mend struct {
	name string
	wrap func(apply) apply
	beat func(events.Task) time.Duration
	bend func(*bend)
	// o is a world in which the defect shows without the mend, property what it violates.
	o        Options
	property string
}

func mends() []mend {
	return []mend{
		{
			name: "a repeated young event comes before an older one", wrap: mendOrder,
			o: Options{Attempts: 1, Retold: true}, property: propDerived,
		},
		{
			name: "the end of a late watch leaves the terminal event untold", wrap: mendLate,
			o: Options{Attempts: 1}, property: propEnds,
		},
		{
			name: "an overdue attempt leaves the reference of a former one aside", wrap: mendOverdue,
			o: resubmits(2), property: propRefWatched,
		},
		{
			name: "a late watch is not made again after a crash", beat: mendBeat,
			o: Options{Attempts: 1, Policy: events.InDoubtFail}, property: propWatch,
		},
		{
			name: "a heartbeat that ended the task expires before it is handled again", bend: func(b *bend) { b.dueKept = true },
			o: Options{Attempts: 1}, property: propEnds,
		},
		{
			name: "a resolve that comes late decides about the next attempt", bend: func(b *bend) { b.resolveNames = true },
			o: Options{Attempts: 3, Decisions: 1}, property: propBudget,
		},
	}
}

// mended corrects everything, except the mend of this name.
func mended(o Options, except ...string) Options {
	o.Apply, o.Heartbeat = task.Apply, task.Heartbeat
	for _, m := range mends() {
		switch {
		case slices.Contains(except, m.name):
		case m.wrap != nil:
			o.Apply = m.wrap(o.Apply)
		case m.beat != nil:
			o.Heartbeat = m.beat
		default:
			m.bend(&o.bend)
		}
	}
	return o
}

// TestKnownDefects tells which mends are still needed, and shows the shortest way to each defect. A mend that is no longer
// needed can go.
func TestKnownDefects(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Log("this needs the full bounds; run without -short and -race")
		return
	}
	for _, m := range mends() {
		r := Explore(mended(m.o, m.name))
		switch {
		case r.Violation == nil:
			t.Logf("NO LONGER NEEDED: the mend of %q (%d states)", m.name, r.States)
		case r.Violation.Property != m.property:
			show(t, m.name, r)
			t.Errorf("%s: found by %q, not by %q", m.name, r.Violation.Property, m.property)
		default:
			show(t, "STILL OPEN: "+m.name, r)
		}
	}
}
