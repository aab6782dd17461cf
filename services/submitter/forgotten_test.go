package submitter_test

import (
	"encoding/json"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/journal"
	"reelay/internal/provider"
	"reelay/internal/task"
)

// restoredAt is a store that was restored then.
type restoredAt time.Time

func (restoredAt) Sending(uint64) {}

func (r restoredAt) Restored() (at, taken time.Time) {
	return time.Time(r), time.Time(r).Add(-time.Hour)
}

// TestForgottenAttempts: the record is from before, and the journal knows what has become of its attempts since. All of it
// had reached the record that is lost.
func TestForgottenAttempts(t *testing.T) {
	paid := journal.Answer{Outcome: string(provider.Accepted), Ref: json.RawMessage(`"paid"`), ID: "paid"}
	busy := journal.Answer{
		Outcome: string(provider.Refused), Error: &events.Error{Kind: events.KindRateLimited, Code: "busy", Message: "busy"},
	}
	lost := journal.Answer{Outcome: string(provider.InDoubt), Error: &events.Error{Kind: events.KindAmbiguous, Message: "lost"}}
	for name, row := range map[string]struct {
		// before has the first attempt in the record: submitting, or in doubt.
		before  string
		answers []journal.Answer
		phase   events.Phase
		// id is what the task lives by, sent how often it is sent.
		id   string
		sent int
	}{
		"submitting, accepted":      {"submitting", []journal.Answer{paid}, events.PhaseProviderQueued, "paid", 0},
		"submitting, refused":       {"submitting", []journal.Answer{busy}, events.PhaseInDoubt, "", 0},
		"in doubt, accepted":        {"in doubt", []journal.Answer{paid}, events.PhaseProviderQueued, "paid", 0},
		"accepted":                  {"", []journal.Answer{paid}, events.PhaseProviderQueued, "paid", 0},
		"refused":                   {"", []journal.Answer{busy}, events.PhaseProviderQueued, "", 1},
		"refused, accepted":         {"", []journal.Answer{busy, paid}, events.PhaseProviderQueued, "paid", 0},
		"lost, accepted":            {"", []journal.Answer{lost, paid}, events.PhaseProviderQueued, "paid", 0},
		"lost, refused, accepted":   {"", []journal.Answer{lost, busy, paid}, events.PhaseProviderQueued, "paid", 0},
		"lost":                      {"", []journal.Answer{lost}, events.PhaseInDoubt, "", 0},
		"without an answer":         {"", []journal.Answer{{}}, events.PhaseInDoubt, "", 0},
		"submitting, then accepted": {"submitting", []journal.Answer{lost, paid}, events.PhaseProviderQueued, "paid", 0},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				k, begun := events.Key{Project: "demo", ID: "t1"}, time.Now().UTC()
				w.known(k, row.before, begun)
				r := w.start()
				r.stop()
				j, err := journal.Open(r.dir, w.log, nil)
				w.ok(err)
				for i, a := range row.answers {
					owner := string(rune('a' + i))
					w.ok(j.Begin(journal.Entry{Owner: owner, Project: k.Project, TaskID: k.ID, Attempt: i + 1, At: begun}))
					w.ok(j.Gate(owner))
					if a.Outcome != "" {
						w.ok(j.Answer(owner, a))
					}
					w.ok(j.Done(owner))
				}
				w.ok(j.Close())
				time.Sleep(minute)
				w.witness = restoredAt(time.Now().UTC())
				r.restart()
				time.Sleep(minute)
				got := w.get(k)
				a := got.Attempt()
				if got.Phase != row.phase || row.id != "" && got.ProviderID != row.id || len(w.provider.taken()) != row.sent {
					w.Errorf("%s as %q, sent %d times: %+v", got.Phase, got.ProviderID, len(w.provider.taken()), got.Attempts)
				}
				if row.before == "" && row.phase == events.PhaseInDoubt && (a.SentAfter == nil || !a.SentAfter.Equal(begun) || a.BodySHA256 == "") {
					w.Errorf("it is searched for since %v, %q", a.SentAfter, a.BodySHA256)
				}
			})
		})
	}
}

// known makes the record of a task, with its first attempt. One that waits is held back for a minute.
func (w *world) known(k events.Key, before string, now time.Time) {
	w.Helper()
	input := json.RawMessage(`{"id":"t1"}`)
	digest, err := events.Digest(input)
	w.ok(err)
	apply := func(tr task.Trigger) {
		w.Helper()
		_, err := w.store.Apply(w.Context(), k, tr)
		w.ok(err)
	}
	m := task.Meta{At: now, By: "test"}
	held := now.Add(minute)
	asked := events.Task{
		Schema: events.TaskSchema, Project: k.Project, ID: k.ID, TaskType: events.Video, Provider: "acme", Lane: "acme", Model: "m1",
		RequestDigest: "r", InputDigest: digest, Input: input, CreatedAt: now, Deadline: now.Add(24 * time.Hour),
		OnInDoubt: events.InDoubtHold, MaxPaidAttempts: 3,
	}
	if before == "" {
		asked.NotBefore = &held
	}
	apply(task.Accept{Meta: m, Task: asked})
	if before != "" {
		_, _, err := w.store.Intend(w.Context(), k,
			task.Intent{Meta: m, Owner: "a", BodySHA256: "sha", NotAfter: now.Add(4 * minute)})
		w.ok(err)
	}
	if before == "in doubt" {
		apply(task.Doubt{Meta: m, Owner: "a", Err: &provider.Error{Kind: events.KindAmbiguous, Code: "lost", Message: "lost"}})
	}
}
