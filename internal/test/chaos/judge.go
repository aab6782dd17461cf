//go:build unix

package chaos

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"reelay/events"
	"reelay/internal/emulator"
	"reelay/internal/task"
	"reelay/internal/test/model"
)

// Evidence is all that is left of a run: what was asked for, what the providers say was paid for, and what reelay says.
type Evidence struct {
	Asks []Ask
	// Jobs are those of all ledgers.
	Jobs    []emulator.Job
	Records map[events.Key]events.Task
	// Stories are the stored events by task, in the order of the stream.
	Stories map[events.Key][]events.Event
	// Stored are the subjects of the stored events by id.
	Stored map[string]string
	// Left are the subjects of the messages that still wait in REELAY_REQUESTS, REELAY_POLLS and REELAY_CALLBACKS, and
	// those in REELAY_DEAD.
	Left []string
	// Now is when it was gathered.
	Now time.Time
}

// paid returns the jobs that carry the marker of a task.
func (e Evidence) paid() map[string][]emulator.Job {
	all := map[string][]emulator.Job{}
	for _, j := range e.Jobs {
		id := markerOf(j)
		all[id] = append(all[id], j)
	}
	return all
}

func markerOf(j emulator.Job) string {
	var body map[string]json.RawMessage
	var id string
	if json.Unmarshal(j.Input, &body) != nil || json.Unmarshal(body[marker], &id) != nil {
		return ""
	}
	return id
}

// Open returns what has not come to its end yet, one line each. A task whose submitter was killed with its request out
// sleeps until the NotAfter of its attempt, for two minutes; it is open unless sleepers may be left so. So are messages
// about a task that has ended meanwhile: the poll ticket, whose next poll is due in some minutes, and a callback that
// is tried again because the provider did not show yet what it said, for half a minute.
func (e Evidence) Open(sleepers bool) []string {
	var open []string
	asleep := map[events.Key]bool{}
	for _, a := range e.Asks {
		t, ok := e.Records[a.Key]
		switch {
		case !ok:
			open = append(open, fmt.Sprintf("%s: no record", a.Key))
		case sleepers && e.sleeps(t):
			asleep[a.Key] = true
		case !t.Status.Terminal():
			open = append(open, fmt.Sprintf("%s: %s since version %d", a.Key, t.Phase, t.Version))
		case e.terminalEvents(a.Key) == 0:
			open = append(open, fmt.Sprintf("%s: %s without its event", a.Key, t.Status))
		}
	}
	for _, subject := range e.Left {
		_, polled, notPoll := events.ParsePollSubject(subject)
		_, called, notCallback := events.ParseCallbackSubject(subject)
		switch {
		case sleepers && notPoll == nil && e.Records[polled].Status.Terminal():
		case sleepers && notCallback == nil && e.Records[called].Status.Terminal():
		case notPoll == nil && e.Records[polled].Status.Terminal() && task.Needs(e.Records[polled]).PollTicket:
			// for a late result
		default:
			open = append(open, "left in its stream: "+subject)
		}
	}
	return open
}

// sleeps says whether a task only waits for the time when its attempt is taken to be in doubt.
func (e Evidence) sleeps(t events.Task) bool {
	return t.Phase == events.PhaseSubmitting && e.Now.Before(t.Attempt().NotAfter.Add(5*time.Second))
}

func (e Evidence) terminalEvents(k events.Key) int {
	n := 0
	for _, ev := range e.Stories[k] {
		if ev.Type.Terminal() {
			n++
		}
	}
	return n
}

// Judge compares ledgers, records and events, and returns every breach of what reelay promises, one line each.
func Judge(e Evidence, sleepers bool) []string {
	var found []string
	breach := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	for _, line := range e.Open(sleepers) {
		breach("stuck: %s", line)
	}
	for _, j := range e.Jobs {
		for _, d := range j.Deliveries {
			if d.Fooled > 0 {
				breach("callback: %s: %d webhooks about %s (%s) passed that its provider has not signed for us", markerOf(j),
					d.Fooled, j.ID, d.State)
			}
		}
	}
	paid := e.paid()
	known := map[events.Key]bool{}
	for _, a := range e.Asks {
		known[a.Key] = true
		if t, ok := e.Records[a.Key]; ok {
			judgeMoney(t, paid[a.Key.ID], breach)
			judgeStory(t, e.Stories[a.Key], breach)
			if err := model.Replay(t.Transitions); len(t.Transitions) > 0 && err != nil {
				breach("model: %s went a way that the machine does not have: %v", t.Key(), err)
			}
		}
	}
	for id, jobs := range paid {
		if !known[events.Key{Project: project, ID: id}] {
			breach("money: %d jobs of %q, which nobody asked for", len(jobs), id)
		}
	}
	for k := range e.Records {
		if !known[k] {
			breach("%s: a record that nobody asked for", k)
		}
	}
	for k, story := range e.Stories {
		if !known[k] && k.Project != events.LanesProject { // what a lane does is no task's story
			breach("%s: %v of a task that nobody asked for", k, typesOf(story))
		}
	}
	slices.Sort(found)
	return found
}

func judgeMoney(t events.Task, jobs []emulator.Job, breach func(string, ...any)) {
	if len(jobs) > 1 {
		breach("money: %s was paid for %d times", t.Key(), len(jobs))
	}
	accepted := 0
	for _, a := range t.Attempts {
		if a.Outcome != events.AttemptAccepted {
			continue
		}
		accepted++
		if !slices.ContainsFunc(jobs, func(j emulator.Job) bool { return j.ID == a.ProviderID }) {
			breach("money: %s holds %s, which the provider did not accept for it", t.Key(), a.ProviderID)
		}
	}
	free := t.Error != nil && t.Error.Charge == events.ChargeNone
	switch {
	case t.Status == events.StatusCompleted && len(jobs) == 0:
		breach("money: %s is completed and was never accepted", t.Key())
	case t.Status == events.StatusCompleted &&
		(t.Result == nil || len(t.Result.Outputs) == 0 || t.Result.Outputs[0].URL == ""):
		breach("%s is completed and has no output", t.Key())
	case t.Status == events.StatusFailed && free && accepted == 0 && len(jobs) > 0:
		breach("money: %s failed as free of charge, and the provider has accepted it", t.Key())
	case t.Status == events.StatusCancelled && accepted == 0 && len(jobs) > 0:
		breach("money: %s is cancelled as never accepted, and the provider has accepted it", t.Key())
	case t.Status == events.StatusFailed && t.Error == nil:
		breach("%s failed without an error", t.Key())
	}
	// An attempt that is said to be free must be: the ledger has one job at most, and only one attempt may claim it.
	if len(jobs) > 0 && accepted == 0 &&
		!slices.ContainsFunc(t.Attempts, func(a events.Attempt) bool { return a.Charge != events.ChargeNone }) {
		breach("money: %s says of every attempt that it was free, and the provider has accepted one", t.Key())
	}
}

func judgeStory(t events.Task, story []events.Event, breach func(string, ...any)) {
	count := map[events.EventType]int{}
	version := uint64(0)
	ended := false
	for _, e := range story {
		count[e.Type]++
		switch {
		case e.Type == events.EventRejected && e.Error != nil && e.Error.Code == events.CodeNotFound:
			breach("story: %s: a command was refused as one for nobody", t.Key())
			continue
		case e.Type == events.EventRejected:
			continue // of a command or a second request, at any time
		case ended && e.Type != events.EventLateResult && e.Type != events.EventProgress && e.Type != events.EventStored:
			breach("story: %s: %s after its end", t.Key(), e.Type)
		case e.Version < version && e.Type != events.EventProgress:
			breach("story: %s: %s of version %d after version %d", t.Key(), e.Type, e.Version, version)
		}
		if e.Type != events.EventProgress {
			version = max(version, e.Version)
		}
		if e.Type.Terminal() {
			ended = true
			if string(e.Type) != string(t.Status) {
				breach("story: %s is %s and its event says %s", t.Key(), t.Status, e.Type)
			}
		}
	}
	for _, once := range []events.EventType{
		events.EventQueued, events.EventSubmitted, events.EventCompleted, events.EventFailed, events.EventCancelled,
		events.EventLateResult, events.EventStored,
	} {
		if count[once] > 1 {
			breach("story: %s: %d times %s", t.Key(), count[once], once)
		}
	}
	if n := count[events.EventCompleted] + count[events.EventFailed] + count[events.EventCancelled]; n > 1 {
		breach("story: %s has %d terminal events", t.Key(), n)
	}
	first := slices.IndexFunc(story, func(e events.Event) bool { return e.Type != events.EventRejected })
	if first < 0 || story[first].Type != events.EventQueued {
		breach("story: %s begins with %v", t.Key(), typesOf(story))
	}
	if len(t.ProviderRef) > 0 && t.Status.Terminal() && count[events.EventSubmitted] == 0 && !lateAccepted(t) {
		breach("story: %s was accepted and no event says so: %v", t.Key(), typesOf(story))
	}
}

func lateAccepted(t events.Task) bool {
	return slices.ContainsFunc(t.Transitions,
		func(tr events.Transition) bool { return strings.HasPrefix(tr.Name, "late") })
}

func typesOf(story []events.Event) []events.EventType {
	types := make([]events.EventType, len(story))
	for i, e := range story {
		types[i] = e.Type
	}
	return types
}

// Met counts the scripts that were really met, by what the ledgers and the records say of them.
func (e Evidence) Met() map[Script]int {
	met := map[Script]int{}
	paid := e.paid()
	for _, a := range e.Asks {
		t := e.Records[a.Key]
		jobs := len(paid[a.Key.ID])
		has := func(names ...string) bool {
			return slices.ContainsFunc(t.Transitions, func(tr events.Transition) bool { return slices.Contains(names, tr.Name) })
		}
		outcome := func(o events.AttemptOutcome) bool {
			return slices.ContainsFunc(t.Attempts, func(a events.Attempt) bool { return a.Outcome == o })
		}
		var yes bool
		switch a.Script {
		case Clean, Twice:
			yes = true
		case Cancelled:
			yes = t.Cancel != nil
		case AcceptReset, Accept500, Accept502HTML, AcceptHang, AcceptEmpty:
			yes = jobs > 0
		case ResetBefore:
			yes = jobs == 0 && outcome(events.AttemptInDoubt)
		case RefusedInput, RefusedRate:
			yes = outcome(events.AttemptRefused)
		case PollsFail, PollsNotFound:
			yes = has("poll_failed")
		case PollsUnknown:
			yes = has("unknown_word")
		case ResultFails:
			yes = has("fetch", "poll_failed")
		case FailsAtProvider:
			yes = t.Status == events.StatusFailed && len(t.ProviderRef) > 0
		}
		if yes {
			met[a.Script]++
		}
	}
	return met
}
