package model

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"reelay/events"
)

func path() []events.Transition {
	at := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	steps := []events.Transition{
		{Version: 1, Name: "accept", To: events.PhaseWaiting, Event: events.EventQueued},
		{Version: 2, Name: "intend", From: events.PhaseWaiting, To: events.PhaseSubmitting, Attempt: 1},
		{Version: 3, Name: "release", From: events.PhaseSubmitting, To: events.PhaseWaiting, Attempt: 1},
		{Version: 4, Name: "intend", From: events.PhaseWaiting, To: events.PhaseSubmitting, Attempt: 2},
		{
			Version: 5, Name: "accepted", From: events.PhaseSubmitting, To: events.PhaseProviderQueued, Attempt: 2,
			Event: events.EventSubmitted,
		},
		{
			Version: 5, Name: "cancel", From: events.PhaseProviderQueued, To: events.PhaseCancelling, Attempt: 2,
			Event: events.EventProgress,
		},
		{
			Version: 6, Name: "succeed", From: events.PhaseCancelling, To: events.PhaseDone, Attempt: 2,
			Event: events.EventCompleted,
		},
		{Version: 7, Name: "double_accept", From: events.PhaseDone, To: events.PhaseDone, Attempt: 2},
	}
	for i := range steps {
		steps[i].At = at.Add(time.Duration(i) * time.Second)
	}
	return steps
}

func TestReplay(t *testing.T) {
	rows := []struct {
		name   string
		change func([]events.Transition) []events.Transition
		want   string // part of the error; empty: accepted
	}{
		{"as it is", func(p []events.Transition) []events.Transition { return p }, ""},
		{"nothing", func([]events.Transition) []events.Transition { return nil }, ""},
		{
			"unknown arrow", func(p []events.Transition) []events.Transition { p[2].Name = "teleport"; return p },
			`unknown arrow "teleport"`,
		},
		{"positions were announced", func(p []events.Transition) []events.Transition { return positioned(p, 5) }, ""},
		{
			"positions were announced, but the next step is missing", func(p []events.Transition) []events.Transition {
				return slices.Delete(positioned(p, 5), 2, 3)
			}, "follows version 5",
		},
		{
			"a position was announced to one that is not waiting", func(p []events.Transition) []events.Transition {
				return append(p[:2:2],
					events.Transition{
						Version: 3, Name: "positioned", From: events.PhaseSubmitting, To: events.PhaseSubmitting,
						Attempt: 1,
					})
			}, "no such arrow",
		},
		{
			"wrong source", func(p []events.Transition) []events.Transition { p[3].From = events.PhaseParked; return p },
			"no such arrow",
		},
		{
			"wrong target", func(p []events.Transition) []events.Transition { p[2].To = events.PhaseDone; return p },
			"no such arrow",
		},
		{
			"wrong event", func(p []events.Transition) []events.Transition { p[6].Event = events.EventFailed; return p },
			`the arrow's "completed"`,
		},
		{
			"a step is missing", func(p []events.Transition) []events.Transition { return slices.Delete(p, 2, 3) },
			"follows version 2",
		},
		{
			"a step of one write is missing", func(p []events.Transition) []events.Transition { return slices.Delete(p, 5, 6) },
			`the phase was "provider_queued"`,
		},
		{
			"version runs back", func(p []events.Transition) []events.Transition { p[4].Version = 2; return p },
			"follows version 4",
		},
		{
			"second creation", func(p []events.Transition) []events.Transition { return append(p[:1:1], p[0]) },
			"second creation",
		},
		{
			"second end", func(p []events.Transition) []events.Transition {
				end := p[6]
				end.Version = 7
				return append(p[:7:7], end)
			}, "second end",
		},
		{
			"out of an end", func(p []events.Transition) []events.Transition {
				return append(p[:7:7],
					events.Transition{
						Version: 7, Name: "run", From: events.PhaseProviderQueued, To: events.PhaseRunning, Attempt: 2,
						Event: events.EventProgress,
					})
			}, "had ended",
		},
		{
			"same attempt opened twice", func(p []events.Transition) []events.Transition { p[3].Attempt = 1; return p },
			"attempt 1 after attempt 1",
		},
		{
			"attempt skipped", func(p []events.Transition) []events.Transition { p[1].Attempt = 2; return p },
			"which no intent opened",
		},
		{
			"attempt from nowhere", func(p []events.Transition) []events.Transition { p[2].Attempt = 3; return p },
			"which no intent opened",
		},
		{
			"former attempt", func(p []events.Transition) []events.Transition { p[4].Attempt = 1; return p },
			"attempt 1 after attempt 2",
		},
		{
			"no attempt", func(p []events.Transition) []events.Transition { p[1].Attempt = 0; return p[:2] },
			"attempt 0 after attempt 0",
		},
		{
			"evidence of an attempt that the record forgot", func(p []events.Transition) []events.Transition {
				return append(p[:1:1], events.Transition{
					Version: 2, Name: "accepted", From: events.PhaseWaiting, To: events.PhaseProviderQueued, Attempt: 1,
					Event: events.EventSubmitted,
				})
			}, "",
		},
		{"trimmed", func([]events.Transition) []events.Transition { return polls(events.MaxTransitions, 3) }, ""},
		{"trimmed, and back in time", func([]events.Transition) []events.Transition {
			p := polls(events.MaxTransitions, 3)
			p[10].Version = 4
			return p
		}, "follows version"},
		{"too long", func([]events.Transition) []events.Transition { return polls(events.MaxTransitions+1, 3) }, "more than"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			err := Replay(row.change(path()))
			switch {
			case row.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case row.want != "" && (!errors.Is(err, ErrNotInModel) || !strings.Contains(err.Error(), row.want)):
				t.Errorf("error %v, want ErrNotInModel with %q", err, row.want)
			}
		})
	}
}

// positioned is a path on which a position was announced at a version, and others that are not kept before.
func positioned(p []events.Transition, version uint64) []events.Transition {
	step := events.Transition{
		Version: version, Name: "positioned", From: events.PhaseWaiting, To: events.PhaseWaiting,
		Event: events.EventProgress,
	}
	p = slices.Insert(p, 1, step)
	for i := 2; i < len(p); i++ {
		p[i].Version += version - 1
	}
	return p
}

// polls is n steps of a trimmed record: progress at the provider with every gap-th version kept.
func polls(n, gap int) []events.Transition {
	p := path()[:5]
	for len(p) < n {
		p = append(p, events.Transition{
			Version: p[len(p)-1].Version + uint64(gap), Name: "progress", From: events.PhaseRunning, To: events.PhaseRunning,
			Attempt: 2, Event: events.EventProgress,
		})
	}
	return p
}
