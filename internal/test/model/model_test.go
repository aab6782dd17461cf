package model

import (
	"flag"
	"strings"
	"testing"

	"reelay/events"
	"reelay/internal/task"
)

var longForm = flag.Bool("model.long", false, "explore more than 10,000,000 states (2 to 4 minutes, 3 GB)")

// show logs the figures of an exploration and how a violation came about.
func show(tb testing.TB, name string, r Result) {
	tb.Helper()
	tb.Logf("%-40s %9d states %10d edges %5d classes %6d applies %6.1f s, cut: %v", name, r.States, r.Edges, r.Classes,
		r.Applies, r.Took.Seconds(), r.Cut)
	if v := r.Violation; v != nil {
		tb.Logf("  %s: %s\n    %s", v.Property, v.Detail, strings.Join(v.Trace, "\n    "))
	}
}

type world struct {
	name string
	o    Options
}

// quick are explored in every run, in full where MaxStates is 0.
var quick = []world{
	{"one attempt", Options{Attempts: 1}},
	{"one attempt, reports unheard, clocks behind", Options{Attempts: 1, Cancels: 1, Unheard: true, Behind: true}},
	{"one attempt, cancel", Options{Attempts: 1, Cancels: 1}},
	{"two attempts", Options{Attempts: 2}},
	{"fail", Options{Policy: events.InDoubtFail, Attempts: 1}},
	{"answered with the result", Options{Synchronous: true, Policy: events.InDoubtFail, Attempts: 2, Cancels: 1, Journal: true}},
	{
		"answered with the result, resubmit, budget 2",
		Options{Synchronous: true, Policy: events.InDoubtResubmit, Budget: 2, Attempts: 3, MaxStates: 300_000},
	},
	{"resubmit, budget 2", Options{Policy: events.InDoubtResubmit, Budget: 2, Attempts: 2, MaxStates: 600_000}},
	{"a person decides, a list", Options{Attempts: 2, Decisions: 1, Listings: 1, MaxStates: 600_000}},
	{
		"odd polls, two pollers",
		Options{Attempts: 1, OddPolls: true, Publishers: 2, StartDeadline: true, MaxStates: 200_000},
	},
}

var thorough = []world{
	{"two attempts", Options{Attempts: 2, Journal: true}},
	{"one attempt, cancel, odd polls", Options{Attempts: 1, Cancels: 1, OddPolls: true}},
	{"one attempt, two pollers", Options{Attempts: 1, Publishers: 2}},
	{
		"fail, a person decides",
		Options{Policy: events.InDoubtFail, Attempts: 1, Decisions: 1, Cancels: 1, MaxStates: 2_000_000},
	},
	{"resubmit, budget 2", Options{Policy: events.InDoubtResubmit, Budget: 2, Attempts: 2}},
	{"two attempts, a person decides", Options{Attempts: 2, Decisions: 1}},
	{
		"two attempts, reports unheard, clocks behind",
		Options{Attempts: 2, StartDeadline: true, Unheard: true, Behind: true, MaxStates: 6_000_000},
	},
	{"one attempt, a person decides, a list", Options{Attempts: 1, Decisions: 1, Listings: 1, Journal: true}},
	{"resubmit, budget 3", Options{
		Policy: events.InDoubtResubmit, Budget: 3, Attempts: 4, Decisions: 1,
		MaxStates: 2_000_000,
	}},
	{"a person decides, a list", Options{Attempts: 3, Decisions: 2, Listings: 1, Journal: true, MaxStates: 2_000_000}},
}

// TestProtocol: every property holds in every state of every world.
func TestProtocol(t *testing.T) {
	worlds, least := quick, 1_000_000
	if *longForm {
		worlds, least = thorough, 10_000_000
	}
	states := 0
	for _, w := range worlds {
		o := w.o
		o.Apply, o.Heartbeat = task.Apply, task.HeartbeatInterval
		if testing.Short() || raceEnabled {
			o.MaxStates, least = 20_000, 0
		}
		r := Explore(o)
		states += r.States
		show(t, w.name, r)
		if r.Violation != nil {
			t.Errorf("%s: %s: %s", w.name, r.Violation.Property, r.Violation.Detail)
		}
	}
	t.Logf("%d states in all", states)
	if states < least {
		t.Errorf("only %d states were explored, at least %d should be", states, least)
	}
}
