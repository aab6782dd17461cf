//go:build unix

package chaos_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/emulator"
	"reelay/internal/test/chaos"
)

var (
	now  = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	kite = events.Key{Project: "chaos", ID: "kite"}
)

func job(id, task string) emulator.Job {
	return emulator.Job{ID: id, Provider: "fal", Input: json.RawMessage(`{"chaos_task":"` + task + `"}`)}
}

func story(types ...events.EventType) []events.Event {
	var all []events.Event
	for i, t := range types {
		all = append(all, events.Event{Type: t, Project: kite.Project, TaskID: kite.ID, Version: uint64(i + 1)})
	}
	return all
}

// sound is a run of one task that was completed as it should be.
func sound() chaos.Evidence {
	return chaos.Evidence{
		Now:  now,
		Asks: []chaos.Ask{{Key: kite}},
		Jobs: []emulator.Job{job("j1", "kite")},
		Records: map[events.Key]events.Task{kite: {
			Project: kite.Project, ID: kite.ID, Status: events.StatusCompleted, Phase: events.PhaseDone,
			ProviderRef: json.RawMessage(`{}`),
			Attempts: []events.Attempt{
				{N: 1, Outcome: events.AttemptAccepted, ProviderID: "j1", Charge: events.ChargeConfirmed},
			}, Result: &events.Result{Outputs: []events.Output{{URL: "https://x.example/1"}}},
		}},
		Stories: map[events.Key][]events.Event{
			kite: story(events.EventQueued, events.EventSubmitted, events.EventProgress, events.EventCompleted),
		},
	}
}

// failed makes the task one that failed with that charge after an attempt of that outcome.
func failed(charge events.Charge, outcome events.AttemptOutcome) func(*chaos.Evidence) {
	return func(e *chaos.Evidence) {
		change(e, func(t *events.Task) {
			t.Status, t.Result, t.ProviderRef = events.StatusFailed, nil, nil
			t.Error = &events.Error{Charge: charge}
			t.Attempts = []events.Attempt{{N: 1, Outcome: outcome, Charge: charge}}
		})
		e.Stories[kite] = story(events.EventQueued, events.EventFailed)
	}
}

func change(e *chaos.Evidence, f func(*events.Task)) {
	t := e.Records[kite]
	t.Attempts = slices.Clone(t.Attempts)
	f(&t)
	e.Records[kite] = t
}

func submitting(notAfter time.Time) func(*chaos.Evidence) {
	return func(e *chaos.Evidence) {
		change(e, func(t *events.Task) {
			t.Status, t.Phase, t.ProviderRef = events.StatusQueued, events.PhaseSubmitting, nil
			t.Attempts = []events.Attempt{{N: 1, Outcome: events.AttemptOpen, NotAfter: notAfter, Charge: events.ChargePossible}}
		})
		e.Stories[kite] = story(events.EventQueued)
	}
}

// The judge must find each breach, and only it.
func TestJudge(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		spoil func(*chaos.Evidence)
		// want is a part of each breach, in order.
		want []string
	}{
		{"sound", func(*chaos.Evidence) {}, nil},
		{"a lane that stops", func(e *chaos.Evidence) {
			e.Stories[events.Key{Project: events.LanesProject, ID: "fal"}] = story(events.EventPaused, events.EventResumed)
		}, nil},
		{
			"paid twice", func(e *chaos.Evidence) { e.Jobs = append(e.Jobs, job("j2", "kite")) },
			[]string{"was paid for 2 times"},
		},
		{
			"paid for nobody", func(e *chaos.Evidence) { e.Jobs = append(e.Jobs, job("j2", "other")) },
			[]string{`jobs of "other"`},
		},
		{
			"paid without a marker", func(e *chaos.Evidence) { e.Jobs = append(e.Jobs, emulator.Job{ID: "j2"}) },
			[]string{`jobs of ""`},
		},
		{
			"lost", func(e *chaos.Evidence) { e.Records, e.Stories, e.Jobs = nil, nil, nil },
			[]string{"stuck: chaos.kite: no record"},
		},
		{"not ended", func(e *chaos.Evidence) {
			change(e, func(t *events.Task) { t.Status, t.Phase = events.StatusQueued, events.PhaseWaiting })
			e.Stories[kite] = story(events.EventQueued, events.EventSubmitted)
		}, []string{"stuck: chaos.kite: waiting"}},
		{"asleep", submitting(now.Add(time.Minute)), nil},
		{"overslept", submitting(now.Add(-time.Minute)), []string{"stuck: chaos.kite: submitting"}},
		{
			"no terminal event", func(e *chaos.Evidence) { e.Stories[kite] = story(events.EventQueued, events.EventSubmitted) },
			[]string{"completed without its event"},
		},
		{"two ends", func(e *chaos.Evidence) {
			e.Stories[kite] = story(events.EventQueued, events.EventSubmitted, events.EventFailed, events.EventCompleted)
		}, []string{"completed after its end", "event says failed", "2 terminal events"}},
		{"one end twice", func(e *chaos.Evidence) {
			e.Stories[kite] = story(events.EventQueued, events.EventSubmitted, events.EventCompleted, events.EventCompleted)
		}, []string{"2 times completed", "completed after its end", "2 terminal events"}},
		{"another end than the record's", func(e *chaos.Evidence) {
			e.Stories[kite] = story(events.EventQueued, events.EventSubmitted, events.EventFailed)
		}, []string{"is completed and its event says failed"}},
		{
			"not begun with queued",
			func(e *chaos.Evidence) { e.Stories[kite] = story(events.EventSubmitted, events.EventCompleted) },
			[]string{"begins with"},
		},
		{"queued twice", func(e *chaos.Evidence) {
			e.Stories[kite] = story(events.EventQueued, events.EventQueued, events.EventSubmitted, events.EventCompleted)
		}, []string{"2 times queued"}},
		{
			"out of order", func(e *chaos.Evidence) { e.Stories[kite][1].Version = 9 },
			[]string{"completed of version 4 after version 9"},
		},
		{
			"accepted without an event",
			func(e *chaos.Evidence) { e.Stories[kite] = story(events.EventQueued, events.EventCompleted) },
			[]string{"was accepted and no event says so"},
		},
		{"a refused command says nothing of the task", func(e *chaos.Evidence) {
			e.Stories[kite] = append(story(events.EventRejected), append(e.Stories[kite], story(events.EventRejected)...)...)
		}, nil},
		{"a command found no task", func(e *chaos.Evidence) {
			refused := story(events.EventRejected)
			refused[0].Error = &events.Error{Code: events.CodeNotFound}
			e.Stories[kite] = append(e.Stories[kite], refused...)
		}, []string{"refused as one for nobody"}},
		{"completed for free", func(e *chaos.Evidence) {
			e.Jobs = nil
			change(e, func(t *events.Task) { t.Attempts = nil })
		}, []string{"is completed and was never accepted"}},
		{
			"completed with nothing",
			func(e *chaos.Evidence) { change(e, func(t *events.Task) { t.Result = &events.Result{} }) },
			[]string{"has no output"},
		},
		{
			"another's id", func(e *chaos.Evidence) { change(e, func(t *events.Task) { t.Attempts[0].ProviderID = "j9" }) },
			[]string{"holds j9"},
		},
		{
			"failed free of charge and paid for", failed(events.ChargeNone, events.AttemptRefused),
			[]string{"failed as free of charge", "says of every attempt"},
		},
		{"failed, possibly charged, and paid for", failed(events.ChargePossible, events.AttemptInDoubt), nil},
		{"failed free of charge", func(e *chaos.Evidence) {
			failed(events.ChargeNone, events.AttemptRefused)(e)
			e.Jobs = nil
		}, nil},
		{"cancelled before it was sent, and paid for", func(e *chaos.Evidence) {
			failed(events.ChargeNone, events.AttemptReleased)(e)
			change(e, func(t *events.Task) { t.Status, t.Error = events.StatusCancelled, nil })
			e.Stories[kite] = story(events.EventQueued, events.EventCancelled)
		}, []string{"cancelled as never accepted", "says of every attempt"}},
		{
			"a record of nobody", func(e *chaos.Evidence) { e.Records[events.Key{Project: "chaos", ID: "x"}] = events.Task{} },
			[]string{"chaos.x: a record that nobody asked for"},
		},
		{"events of nobody", func(e *chaos.Evidence) {
			e.Stories[events.Key{Project: "_invalid", ID: "x"}] = story(events.EventRejected)
		}, []string{"_invalid.x: [rejected]"}},
		{
			"a request left", func(e *chaos.Evidence) { e.Left = []string{"reelay.request.chaos.video"} },
			[]string{"stuck: left in its stream: reelay.request.chaos.video"},
		},
		{
			"a poll ticket of nobody", func(e *chaos.Evidence) { e.Left = []string{"reelay.poll.fal.chaos.x"} },
			[]string{"stuck: left in its stream: reelay.poll.fal.chaos.x"},
		},
		{"a poll ticket that nobody needs", func(e *chaos.Evidence) { e.Left = []string{"reelay.poll.fal.chaos.kite"} }, nil},
		{
			"a callback of nobody", func(e *chaos.Evidence) { e.Left = []string{"reelay.callback.fal.chaos.x"} },
			[]string{"stuck: left in its stream: reelay.callback.fal.chaos.x"},
		},
		{
			"a callback that is tried again", func(e *chaos.Evidence) { e.Left = []string{"reelay.callback.fal.chaos.kite"} },
			nil,
		},
		{"a forged callback accepted", func(e *chaos.Evidence) {
			e.Jobs[0].Deliveries = []emulator.Delivery{
				{State: "COMPLETED", Tries: 1, Accepted: 1},
				{State: "x", Forged: 1, Fooled: 1},
			}
		}, []string{"callback: kite: 1 webhooks about j1 (x) passed"}},
		{"a poll ticket for a late result", func(e *chaos.Evidence) {
			e.Left = []string{"reelay.poll.fal.chaos.kite"}
			change(e, func(t *events.Task) { t.LateUntil = &now })
		}, nil},
		{
			"a dead message", func(e *chaos.Evidence) { e.Left = []string{"reelay.dead.X.y"} },
			[]string{"stuck: left in its stream: reelay.dead.X.y"},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			e := sound()
			row.spoil(&e)
			found := chaos.Judge(e, true)
			slices.Sort(found)
			missing := func() bool {
				for _, want := range row.want {
					if !slices.ContainsFunc(found, func(f string) bool { return strings.Contains(f, want) }) {
						return true
					}
				}
				return len(found) != len(row.want)
			}
			if missing() {
				t.Errorf("found %q, want %q", found, row.want)
			}
		})
	}
}

func TestSleepersAreOpenInALongRun(t *testing.T) {
	t.Parallel()
	e := sound()
	submitting(now.Add(time.Minute))(&e)
	if open := e.Open(false); len(open) != 1 || !strings.Contains(open[0], "submitting") {
		t.Errorf("open %q, want the one that sleeps", open)
	}
	e = sound()
	e.Left = []string{"reelay.poll.fal.chaos.kite", "reelay.callback.fal.chaos.kite"}
	if open := e.Open(false); len(open) != 2 {
		t.Errorf("open %q, want the messages that sleep", open)
	}
}

// Ids found by a callback count apart from ids found by others, and those found before the reply apart from those in
// doubt.
func TestWebhookFigures(t *testing.T) {
	t.Parallel()
	accepted := func(source events.EvidenceSource) func(*events.Task) {
		return func(t *events.Task) {
			t.ProviderID = "j1"
			t.Attempts[0].OutcomeAt = &now
			t.Attempts[0].Evidence = []events.Evidence{
				{At: now.Add(-time.Second), Source: "reply", Note: "timeout"},
				{At: now, Source: source, Note: "j1"},
				{At: now.Add(time.Second), Source: "callback", Note: "second id for one attempt: j2"},
			}
		}
	}
	for _, row := range []struct {
		source                            events.EvidenceSource
		doubted                           bool
		byCallback, beforeReply, resolved int
	}{
		{"callback", true, 1, 0, 1},
		{"callback", false, 1, 1, 0},
		{"list", true, 0, 0, 1},
		{"reply", false, 0, 0, 0},
	} {
		e := sound()
		change(&e, accepted(row.source))
		if row.doubted {
			e.Stories[kite] = story(events.EventQueued, events.EventInDoubt, events.EventSubmitted, events.EventCompleted)
		}
		r := e.WebhookFigures()
		if r.FoundByCallback != row.byCallback || r.BeforeReply != row.beforeReply ||
			r.ResolvedBy[row.source] != row.resolved {
			t.Errorf("%s, in doubt %v: %+v", row.source, row.doubted, r)
		}
	}
}
