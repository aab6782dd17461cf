package task_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"reelay/events"
	"reelay/internal/provider"
	"reelay/internal/task"
)

// A post is one paid request that a permit allowed, with what the provider really did. The machine never sees the
// truth, only the reports that may come of it.
type post struct {
	attempt  int
	owner    string
	accepted bool
}

// paces from good to bad.
var paces = []events.Pace{events.PaceNormal, events.PaceSlow, events.PaceCongested, events.PaceStuck}

// world applies triggers in any order, repeats them and leaves them out, as crashes, redeliveries and lost messages do.
type world struct {
	t      *rapid.T
	now    time.Time
	record *events.Task
	// untold is the record as it would be if nobody had told it a place.
	untold   *events.Task
	request  events.Task
	posts    []post
	terminal events.Status
	seen     map[events.EventType]int
}

func (w *world) meta() task.Meta { return task.Meta{At: w.now, By: "test"} }

// apply takes a step and checks everything that must hold after any step.
func (w *world) apply(tr task.Trigger) task.Change {
	c, err := task.Apply(w.record, tr)
	if _, positioned := tr.(task.Positioned); !positioned {
		w.compare(tr, c, err)
	}
	w.compareNotes(tr, c, err)
	if errors.Is(err, task.ErrNotApplicable) {
		return c
	}
	if err != nil {
		w.t.Fatalf("%T: %v", tr, err)
	}
	if !c.Written {
		if w.record != nil && !reflect.DeepEqual(*w.record, c.Task) {
			w.t.Fatalf("%T changed the record without saying so", tr)
		}
		return c
	}
	version := uint64(0)
	if w.record != nil {
		version = w.record.Version
	}
	if c.Task.Version != version+1 {
		w.t.Fatalf("%T: version %d after %d", tr, c.Task.Version, version)
	}
	w.check(c)
	w.record = &c.Task
	return c
}

// compare takes a step of the record that was told no place, and fails the test if that makes a difference.
func (w *world) compare(tr task.Trigger, told task.Change, toldErr error) {
	untold, err := task.Apply(w.untold, tr)
	if fmt.Sprint(err) != fmt.Sprint(toldErr) || untold.Written != told.Written || untold.Effects != told.Effects ||
		untold.Announced != told.Announced {
		w.t.Fatalf("%T on a task that was told its place: written %t, %v; else %t, %v", tr, told.Written, toldErr,
			untold.Written, err)
	}
	if !slices.Equal(types(untold.Events), types(told.Events)) {
		w.t.Fatalf("%T on a task that was told its place: events %v; else %v", tr, types(told.Events), types(untold.Events))
	}
	if a, b := withoutPlace(told.Task), withoutPlace(untold.Task); !reflect.DeepEqual(a, b) {
		w.t.Fatalf("%T on a task that was told its place: %+v; else %+v", tr, a, b)
	}
	if err == nil {
		w.untold = &untold.Task
	}
}

// compareNotes takes the step of a record that has other notes, and fails the test if that makes a difference.
func (w *world) compareNotes(tr task.Trigger, want task.Change, wantErr error) {
	if w.record == nil {
		return
	}
	other := withNotes(*w.record, "other words")
	got, err := task.Apply(&other, tr)
	if fmt.Sprint(err) != fmt.Sprint(wantErr) || got.Written != want.Written || got.Effects != want.Effects ||
		got.Announced != want.Announced ||
		!slices.Equal(types(got.Events), types(want.Events)) {
		w.t.Fatalf("%T on a task with other notes: written %t, events %v, %v; else %t, %v, %v",
			tr, got.Written, types(got.Events), err, want.Written, types(want.Events), wantErr)
	}
	if a, b := withNotes(got.Task, ""), withNotes(want.Task, ""); !reflect.DeepEqual(a, b) {
		w.t.Fatalf("%T on a task with other notes: %+v; else %+v", tr, a, b)
	}
}

// withNotes is a record in which every note is the given one.
func withNotes(t events.Task, note string) events.Task {
	t.Transitions, t.Attempts = slices.Clone(t.Transitions), slices.Clone(t.Attempts)
	for i := range t.Transitions {
		t.Transitions[i].Note = note
	}
	for i := range t.Attempts {
		all := slices.Clone(t.Attempts[i].Evidence)
		for j := range all {
			all[j].Note = note
		}
		t.Attempts[i].Evidence = all
	}
	return t
}

// withoutPlace is a record without all that a step that tells a place may leave in it.
func withoutPlace(t events.Task) events.Task {
	t.Version = 0
	if t.Phase == events.PhaseWaiting {
		t.QueuePosition, t.EstimatedWaitS, t.ETA, t.ETAEarliest, t.ETALatest = nil, nil, nil, nil, nil
	}
	if len(t.Transitions) == events.MaxTransitions {
		t.Transitions = nil // one more or less of them is lost
	}
	t.Transitions = slices.DeleteFunc(slices.Clone(t.Transitions),
		func(tr events.Transition) bool { return tr.Name == "positioned" })
	for i := range t.Transitions {
		t.Transitions[i].Version = 0
	}
	return t
}

func (w *world) check(c task.Change) {
	t := c.Task
	arrows := task.Arrows()
	for _, step := range t.Transitions {
		i := slices.IndexFunc(arrows, func(a task.Arrow) bool { return a.Name == step.Name })
		if i < 0 || !slices.Contains(arrows[i].From, step.From) || arrows[i].To != "" && arrows[i].To != step.To {
			w.t.Fatalf("%s from %q to %q is not in the table", step.Name, step.From, step.To)
		}
	}
	if len(t.Transitions) > events.MaxTransitions || len(t.Logs) > events.MaxLogs {
		w.t.Fatalf("the record grows without bound: %d transitions, %d logs", len(t.Transitions), len(t.Logs))
	}
	for i, step := range t.Transitions[1:] {
		if step.Name == "positioned" && t.Transitions[i].Name == step.Name {
			w.t.Fatalf("two places that were told in a row are kept: versions %d and %d", t.Transitions[i].Version, step.Version)
		}
	}
	if p := t.QueuePosition; p != nil && p.Ours != nil && t.Phase != events.PhaseWaiting {
		w.t.Fatalf("place %d in our line in phase %s", *p.Ours, t.Phase)
	}
	estimated := t.ETA != nil || t.EstimatedWaitS != nil || t.ETAEarliest != nil || t.ETALatest != nil
	if estimated && t.Phase != events.PhaseWaiting && !task.Needs(t).PollTicket {
		w.t.Fatalf("in phase %s its end is estimated", t.Phase)
	}
	if w.terminal != "" && t.Status != w.terminal {
		w.t.Fatalf("left the terminal status %s for %s", w.terminal, t.Status)
	}
	if t.Status.Terminal() != (t.Phase == events.PhaseDone) {
		w.t.Fatalf("phase %s with status %s", t.Phase, t.Status)
	}
	if t.Status.Terminal() {
		w.terminal = t.Status
	}
	if beat := task.HeartbeatInterval(t); t.Phase != events.PhaseDone && beat < time.Second {
		w.t.Fatalf("a task in %s would be forgotten: heartbeat %v", t.Phase, beat)
	}
	for _, e := range c.Events {
		if e.Version == t.Version {
			w.seen[e.Type]++
		}
	}
	ended := 0
	for _, e := range []events.EventType{events.EventCompleted, events.EventFailed, events.EventCancelled} {
		ended += w.seen[e]
	}
	if want := 0; t.Status.Terminal() {
		want = 1
		if ended != want {
			w.t.Fatalf("%d terminal events", ended)
		}
	}
	bought := 0
	for _, p := range w.posts {
		if p.accepted {
			bought++
		}
	}
	if bought > t.MaxPaidAttempts {
		w.t.Fatalf("paid %d times, %d allowed", bought, t.MaxPaidAttempts)
	}
	if bought > 0 && t.Status == events.StatusFailed && t.Error.Charge == events.ChargeNone && len(t.ProviderRef) == 0 {
		w.t.Fatalf("bought and reported as free: %+v", t.Error)
	}
}

// TestAnyOrder is the promise of the package doc: whatever order, repetition or loss of triggers, at most one terminal
// state, one terminal event, and never more paid submits than allowed.
func TestAnyOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := &world{t: rt, now: t0, seen: map[events.EventType]int{}, request: request(func(r *events.Task) {
			r.OnInDoubt = rapid.SampledFrom([]events.InDoubtPolicy{
				events.InDoubtHold, events.InDoubtFail,
				events.InDoubtResubmit,
			}).Draw(rt, "policy")
			r.MaxPaidAttempts = rapid.IntRange(1, 3).Draw(rt, "max paid attempts")
		})}
		listings := rapid.IntRange(0, 3).Draw(rt, "listings needed")
		w.apply(task.Accept{Meta: w.meta(), Task: w.request})
		rt.Repeat(map[string]func(*rapid.T){
			"time passes": func(rt *rapid.T) {
				w.now = w.now.Add(time.Duration(rapid.Int64Range(1, int64(90*time.Minute)).Draw(rt, "by")))
			},
			"position": func(rt *rapid.T) {
				tr := task.Positioned{
					Meta: w.meta(), Position: events.QueuePosition{Ours: ptr(rapid.IntRange(-1, 40).Draw(rt, "place"))},
				}
				if rapid.Bool().Draw(rt, "with an end") {
					left := time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(rt, "left"))
					tr.Estimate = &events.Estimate{Left: left, Latest: 2 * left}
				}
				before := *w.record
				c := w.apply(tr)
				if c.Written && before.Phase != events.PhaseWaiting {
					rt.Fatalf("a place in line was told in phase %s", before.Phase)
				}
				if c.Written != (before.Phase == events.PhaseWaiting &&
					(before.NotBefore == nil || !w.now.Before(*before.NotBefore)) &&
					task.LastAnnounced(before).Outdated(tr)) {
					rt.Fatalf("written %t, although who tells it sees that differently", c.Written)
				}
				if !reflect.DeepEqual(withoutPlace(before), withoutPlace(c.Task)) {
					rt.Fatalf("more than the place has changed: %+v after %+v", c.Task, before)
				}
				if c := w.apply(tr); c.Written {
					rt.Fatalf("the same place was told twice")
				}
			},
			"accept again": func(*rapid.T) { w.apply(task.Accept{Meta: w.meta(), Task: w.request}) },
			"intent": func(rt *rapid.T) {
				owner := fmt.Sprintf("o%d", len(w.posts))
				c := w.apply(task.Intent{Meta: w.meta(), Owner: owner, NotAfter: w.now.Add(2 * time.Minute)})
				if c.Written && c.Task.Phase == events.PhaseSubmitting {
					w.posts = append(w.posts, post{c.Task.Attempt().N, owner, rapid.Bool().Draw(rt, "the provider accepts")})
				}
			},
			"report": func(rt *rapid.T) {
				if len(w.posts) == 0 {
					rt.Skip("nothing was sent")
				}
				p := rapid.SampledFrom(w.posts).Draw(rt, "of")
				lost := task.Doubt{Meta: w.meta(), Owner: p.owner, Err: fault(events.KindAmbiguous, "timeout")}
				id := "r" + p.owner
				truth := []task.Trigger{lost, task.Accepted{
					Meta: w.meta(), Attempt: p.attempt, ID: id, Ref: json.RawMessage(`"` + id + `"`),
					Source: rapid.SampledFrom([]events.EvidenceSource{"reply", "callback", "list"}).Draw(rt, "source"),
				}}
				if !p.accepted {
					kind := rapid.SampledFrom([]events.Kind{events.KindInvalid, events.KindQuota, events.KindRateLimited}).Draw(rt,
						"kind")
					truth = []task.Trigger{
						lost,
						task.Release{Meta: w.meta(), Owner: p.owner, Reason: "vetoed"},
						task.Refused{Meta: w.meta(), Owner: p.owner, Err: fault(kind, "refused"), Wait: time.Minute},
					}
				}
				tr := rapid.SampledFrom(truth).Draw(rt, "as")
				w.apply(tr)
				if c := w.apply(tr); c.Written {
					rt.Fatalf("the same report took effect twice: %T", tr)
				}
			},
			"second id": func(rt *rapid.T) {
				if w.record.ProviderRef == nil {
					rt.Skip("there is no first one")
				}
				a := w.record.Attempts[0]
				id := rapid.SampledFrom([]string{"second", "third"}).Draw(rt, "id")
				tr := task.Accepted{
					Meta: w.meta(), Attempt: a.N, ID: id, Ref: json.RawMessage(`"` + id + `"`),
					Source: events.SourceCallback,
				}
				if len(a.Ref) == 0 || len(a.Evidence) > 6 {
					rt.Skip("it would be the first one, or its evidence be forgotten")
				}
				w.apply(tr)
				if c := w.apply(tr); c.Written {
					rt.Fatalf("the same second id was told twice")
				}
			},
			"cap reached": func(rt *rapid.T) {
				tr := task.CapReached{Meta: w.meta(), Until: w.now.Add(time.Minute), Note: "no money", Cap: events.CapReached{
					Scope: rapid.SampledFrom([]string{"all", "lane.fal"}).Draw(rt, "scope"), DailyUSD: 5,
				}}
				w.apply(tr)
				if c := w.apply(tr); c.Written {
					rt.Fatalf("the same cap was told twice")
				}
			},
			"poll": func(rt *rapid.T) {
				if w.record.ProviderRef == nil {
					rt.Skip("nothing to poll")
				}
				tr := rapid.SampledFrom([]task.Trigger{
					observed(0, provider.Snapshot{State: provider.Queued, Position: ptr(rapid.IntRange(0, 3).Draw(rt, "position"))}),
					observed(0, provider.Snapshot{
						State:    provider.Running,
						Progress: ptr(rapid.Float64Range(-10, 120).Draw(rt, "percent")),
					}),
					observed(0, provider.Snapshot{
						State: provider.Running,
						Logs:  make([]events.LogLine, rapid.IntRange(0, 40).Draw(rt, "lines")),
					}),
					observed(0, provider.Snapshot{State: provider.Running, ResultPending: true}),
					observed(0, provider.Snapshot{State: provider.Unknown, Word: "ODD"}),
					observed(0, provider.Snapshot{State: provider.Succeeded, Outputs: outputs}),
					observed(0, provider.Snapshot{State: provider.Failed, Err: fault(events.KindModeration, "1027")}),
					observed(0, provider.Snapshot{State: provider.Cancelled}),
				}).Draw(rt, "snapshot").(task.PollResult)
				tr.Meta = w.meta()
				if rapid.Bool().Draw(rt, "with an end") {
					tr = estimated(tr, rapid.SampledFrom(paces).Draw(rt, "pace"))
				}
				before := slices.Index(paces, w.record.Pace)
				c := w.apply(tr)
				if after := slices.Index(paces, c.Task.Pace); !c.Task.Status.Terminal() && after < before {
					rt.Fatalf("the record forgets that it was %s", w.record.Pace)
				}
				if c := w.apply(tr); c.Written {
					rt.Fatalf("the same snapshot took effect twice: %+v", tr.Snapshot)
				}
			},
			"callback": func(rt *rapid.T) {
				if len(w.posts) == 0 {
					rt.Skip("nothing was sent")
				}
				p := rapid.SampledFrom(w.posts).Draw(rt, "of")
				if !p.accepted {
					rt.Skip("nothing to call back about")
				}
				tr := rapid.SampledFrom([]task.Trigger{
					observed(0, provider.Snapshot{State: provider.Succeeded, Outputs: outputs}),
					observed(0, provider.Snapshot{State: provider.Failed, Err: fault(events.KindModeration, "1027")}),
				}).Draw(rt, "snapshot").(task.PollResult)
				tr.Meta, tr.ID = w.meta(), "r"+p.owner
				before := w.record.ProviderID
				if c := w.apply(tr); c.Written && before != tr.ID {
					rt.Fatalf("a task that lives by %q has taken the callback of %q", before, tr.ID)
				}
			},
			"failed poll": func(rt *rapid.T) {
				kind := rapid.SampledFrom([]events.Kind{events.KindRetry, events.KindNotFound, events.KindAuth}).Draw(rt, "kind")
				w.apply(task.PollFailed{Meta: w.meta(), Err: fault(kind, "poll")})
			},
			"cancel": func(*rapid.T) { w.apply(task.Cancel{Meta: w.meta(), Reason: "enough"}) },
			"cancel answered": func(rt *rapid.T) {
				tr := task.CancelAnswered{Meta: w.meta(), Outcome: rapid.SampledFrom([]provider.CancelOutcome{
					provider.CancelRequested, provider.CancelDone, provider.CancelTooLate, provider.CancelUnsupported, "",
				}).Draw(rt, "outcome")}
				if tr.Outcome == "" {
					tr.Err = fault(events.KindRetry, "502")
				}
				w.apply(tr)
			},
			"resolve": func(rt *rapid.T) {
				action := rapid.SampledFrom([]events.ResolveAction{events.ResolveResubmit, events.ResolveWriteOff}).Draw(rt,
					"action")
				w.apply(task.Resolve{Meta: w.meta(), Action: action})
			},
			"search": func(rt *rapid.T) {
				w.apply(task.Searched{
					Meta: w.meta(), Attempt: len(w.record.Attempts), Complete: rapid.Bool().Draw(rt, "complete"),
					Note: "not there",
				})
			},
			"heartbeat": func(*rapid.T) { w.apply(task.Heartbeat{Meta: w.meta(), Horizon: time.Hour, Listings: listings}) },
		})
	})
}
