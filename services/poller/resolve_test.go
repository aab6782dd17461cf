package poller

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"reelay/events"
	"reelay/internal/provider"
)

// TestChoose tells which of the free requests of a list an attempt may take. All rows are polled fifteen minutes after
// the intent, unless they say otherwise.
func TestChoose(t *testing.T) {
	const (
		exact = true
		alike = false
	)
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		at := func(s int) time.Time { return begin.Add(time.Duration(s) * time.Second) }
		out := at(20)
		reply := []events.Evidence{{Source: "reply"}}
		timer := []events.Evidence{{Source: "timer"}}
		rival := func(digest string, o events.AttemptOutcome, known []events.Evidence) attempt {
			return attempt{
				key: events.Key{Project: "demo", ID: "b"}, digest: digest,
				Attempt: events.Attempt{N: 1, IntentAt: at(30), Outcome: o, Evidence: known},
			}
		}
		mine := attempt{
			key: events.Key{Project: "demo", ID: "a"}, digest: "same",
			Attempt: events.Attempt{N: 1, IntentAt: begin, OutcomeAt: &out, Outcome: events.AttemptInDoubt, Evidence: reply},
		}
		found := func(id string, s int, exact bool) provider.Found {
			return provider.Found{ID: id, CreatedAt: at(s), Exact: exact}
		}
		rows := []struct {
			name     string
			free     []provider.Found
			rivals   []attempt
			complete bool
			want     string // the ids that may be taken, in order
			why      string
		}{
			{"nothing", nil, nil, true, "", ""},
			{"exact", []provider.Found{found("r1", 100, exact)}, nil, false, "r1", "the same input"},
			{
				"exact, several: the oldest first",
				[]provider.Found{found("r2", 5, exact), found("r1", 1, exact)},
				nil, false,
				"r1 r2", "the same input",
			},
			{
				"exact before alike",
				[]provider.Found{found("r1", 1, alike), found("r2", 2, exact)},
				nil, true, "r2",
				"the same input",
			},
			{
				"exact, a rival in doubt by its own word",
				[]provider.Found{found("r1", 1, exact)},
				[]attempt{rival("same", events.AttemptInDoubt, reply)},
				true, "r1", "the same input",
			},
			{
				"exact, a rival under way",
				[]provider.Found{found("r1", 1, exact)},
				[]attempt{rival("same", events.AttemptOpen, nil)},
				true, "", "it waits for demo.b.1",
			},
			{
				"exact, as many as rivals, one under way: which is whose is not known yet",
				[]provider.Found{found("r1", 1, exact), found("r2", 1, exact)},
				[]attempt{rival("same", events.AttemptOpen, nil)},
				true, "", "it waits for demo.b.1",
			},
			{
				"exact, a rival with another input under way",
				[]provider.Found{found("r1", 1, exact)},
				[]attempt{rival("other", events.AttemptOpen, nil)},
				true, "r1", "the same input",
			},
			{
				"exact, a rival whose owner died long ago",
				[]provider.Found{found("r1", 1, exact)},
				[]attempt{rival("same", events.AttemptInDoubt, timer)},
				true, "r1", "the same input",
			},
			{"alike, alone", []provider.Found{found("r1", 3, alike)}, nil, true, "r1", "the only one"},
			{"alike, in a list with gaps", []provider.Found{found("r1", 3, alike)}, nil, false, "", "does not tell everything"},
			{"alike, two", []provider.Found{found("r1", 3, alike), found("r2", 3, alike)}, nil, true, "", "several may be ours"},
			{
				"alike, a rival in doubt",
				[]provider.Found{found("r1", 3, alike)},
				[]attempt{rival("other", events.AttemptInDoubt, reply)},
				true, "", "it may as well be of demo.b.1",
			},
			{"alike, just in time", []provider.Found{found("r1", 30, alike)}, nil, true, "r1", "the only one"},
			{"alike, after the answer was lost", []provider.Found{found("r1", 31, alike)}, nil, true, "", "to the second"},
			{"alike, just before", []provider.Found{found("r1", -10, alike)}, nil, true, "r1", "the only one"},
			{"alike, before the intent", []provider.Found{found("r1", -11, alike)}, nil, true, "", "to the second"},
			{"alike, without a time", []provider.Found{{ID: "r1"}}, nil, true, "", "to the second"},
		}
		time.Sleep(15 * time.Minute)
		for _, row := range rows {
			pool, why := records{rivals: row.rivals}.choose(mine, row.free, row.complete)
			var ids []string
			for _, f := range pool {
				ids = append(ids, f.ID)
			}
			if strings.Join(ids, " ") != row.want || !strings.Contains(why, row.why) {
				t.Errorf("%s: %q because %q, want %q because %q", row.name, ids, why, row.want, row.why)
			}
		}
	})
}

// TestMayAnswer: an owner that has not reported may be dead, and its journal be read at its next start.
func TestMayAnswer(t *testing.T) {
	begin := time.Now()
	for _, row := range []struct {
		outcome events.AttemptOutcome
		source  events.EvidenceSource
		after   time.Duration
		want    bool
	}{
		{events.AttemptOpen, "", time.Second, true},
		{events.AttemptOpen, "", time.Hour, true},
		{events.AttemptInDoubt, "timer", journalGrace - 1, true},
		{events.AttemptInDoubt, "timer", journalGrace, false},
		{events.AttemptInDoubt, "reply", time.Second, false},
	} {
		a := attempt{Attempt: events.Attempt{IntentAt: begin, Outcome: row.outcome}}
		if row.source != "" {
			a.Evidence = []events.Evidence{{Source: row.source}}
		}
		if got := a.mayAnswer(begin.Add(row.after)); got != row.want {
			t.Errorf("%s, %q after %v: %v, want %v", row.outcome, row.source, row.after, got, row.want)
		}
	}
}

// TestRivals: who may own a request is decided by lane, model, time and what is known.
func TestRivals(t *testing.T) {
	begin := time.Now()
	task := func(change func(*events.Task, *events.Attempt)) events.Task {
		a := events.Attempt{N: 1, IntentAt: begin, Outcome: events.AttemptInDoubt}
		t := events.Task{Project: "demo", ID: "b", Lane: "fal", Model: "m"}
		change(&t, &a)
		t.Attempts = append(t.Attempts, a)
		return t
	}
	for name, row := range map[string]struct {
		change func(*events.Task, *events.Attempt)
		want   bool
	}{
		"in doubt":            {func(*events.Task, *events.Attempt) {}, true},
		"under way":           {func(_ *events.Task, a *events.Attempt) { a.Outcome = events.AttemptOpen }, true},
		"written off":         {func(t *events.Task, _ *events.Attempt) { t.Phase = events.PhaseDone }, true},
		"accepted":            {func(_ *events.Task, a *events.Attempt) { a.Outcome = events.AttemptAccepted }, false},
		"refused":             {func(_ *events.Task, a *events.Attempt) { a.Outcome = events.AttemptRefused }, false},
		"not sent":            {func(_ *events.Task, a *events.Attempt) { a.Outcome = events.AttemptReleased }, false},
		"of another lane":     {func(t *events.Task, _ *events.Attempt) { t.Lane = "fal-team2" }, false},
		"of another model":    {func(t *events.Task, _ *events.Attempt) { t.Model = "n" }, false},
		"four minutes before": {func(_ *events.Task, a *events.Attempt) { a.IntentAt = begin.Add(-4 * time.Minute) }, true},
		"four minutes after":  {func(_ *events.Task, a *events.Attempt) { a.IntentAt = begin.Add(4 * time.Minute) }, true},
		"longer before": {
			func(_ *events.Task, a *events.Attempt) { a.IntentAt = begin.Add(-4*time.Minute - 1) },
			false,
		},
		"longer after": {
			func(_ *events.Task, a *events.Attempt) { a.IntentAt = begin.Add(4*time.Minute + 1) },
			false,
		},
		"itself":               {func(t *events.Task, _ *events.Attempt) { t.ID = "a" }, false},
		"its own other try":    {func(t *events.Task, a *events.Attempt) { t.ID, a.N = "a", 2 }, true},
		"of another's project": {func(t *events.Task, _ *events.Attempt) { t.ID, t.Project = "a", "other" }, true},
	} {
		r := records{taken: map[string]bool{}}
		r.add(task(row.change), "fal", "m",
			attempt{key: events.Key{Project: "demo", ID: "a"}, Attempt: events.Attempt{N: 1, IntentAt: begin}})
		if (len(r.rivals) == 1) != row.want {
			t.Errorf("%s: a rival: %v, want %v", name, !row.want, row.want)
		}
	}
	r := records{taken: map[string]bool{}}
	r.add(events.Task{ProviderID: "r1", Attempts: []events.Attempt{{ProviderID: "r1"}, {ProviderID: "r2"}}}, "fal", "m",
		attempt{})
	if !r.taken["r1"] || !r.taken["r2"] || r.taken["r3"] {
		t.Errorf("taken: %v", r.taken)
	}
}
