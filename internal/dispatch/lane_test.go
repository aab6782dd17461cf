package dispatch

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"reelay/events"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func emptyLane() *Lane { return NewLane("", 1, nil, noon) }

// put puts a waiting task into the queue: created so many seconds after noon, and not to be sent before so many; 0 for
// at once.
func put(l *Lane, id string, priority, created, notBefore int) (changed bool) {
	t := &events.Task{
		ID: id, Project: "p", Version: 1, Phase: events.PhaseWaiting, Priority: priority,
		CreatedAt: noon.Add(time.Duration(created) * time.Second),
	}
	if notBefore > 0 {
		until := noon.Add(time.Duration(notBefore) * time.Second)
		t.NotBefore = &until
	}
	return l.See(t.Key(), t, 0, noon)
}

// drain takes whatever may be sent so many seconds after noon, and returns when to look again.
func drain(l *Lane, at int) (ids []string, wait time.Duration) {
	for {
		k, ok, wait := l.Next(noon.Add(time.Duration(at)*time.Second), Outside{})
		if !ok {
			return ids, wait
		}
		ids = append(ids, k.ID)
	}
}

func TestLaneOrder(t *testing.T) {
	rows := []struct {
		name string
		fill func(l *Lane)
		want []string
	}{
		{
			"oldest first", func(l *Lane) { put(l, "c", 0, 3, 0); put(l, "a", 0, 1, 0); put(l, "b", 0, 2, 0) },
			[]string{"a", "b", "c"},
		},
		{
			"priority before age", func(l *Lane) { put(l, "old", 0, 1, 0); put(l, "urgent", 5, 9, 0); put(l, "idle", -5, 0, 0) },
			[]string{"urgent", "old", "idle"},
		},
		{"by name at last", func(l *Lane) { put(l, "b", 0, 1, 0); put(l, "a", 0, 1, 0) }, []string{"a", "b"}},
		{"each once", func(l *Lane) { put(l, "a", 0, 1, 0); put(l, "a", 0, 1, 0) }, []string{"a"}},
		{
			"a new priority moves", func(l *Lane) { put(l, "a", 0, 1, 0); put(l, "b", 0, 2, 0); put(l, "b", 1, 2, 0) },
			[]string{"b", "a"},
		},
		{"no longer waiting", func(l *Lane) {
			put(l, "a", 0, 1, 0)
			put(l, "b", 0, 2, 0)
			l.See(events.Key{Project: "p", ID: "a"},
				&events.Task{Project: "p", ID: "a", Version: 2, Phase: events.PhaseSubmitting}, 0, noon)
		}, []string{"b"}},
		{"gone", func(l *Lane) {
			put(l, "a", 0, 1, 0)
			l.See(events.Key{Project: "p", ID: "a"}, nil, 0, noon)
			l.See(events.Key{Project: "p", ID: "never there"}, nil, 0, noon)
		}, nil},
		{
			"not before a time that has passed", func(l *Lane) { put(l, "a", 0, 2, 1); put(l, "b", 0, 1, 0) },
			[]string{"b", "a"},
		},
	}
	for _, row := range rows {
		l := emptyLane()
		row.fill(l)
		if got, _ := drain(l, 5); !slices.Equal(got, row.want) {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
		if got, wait := drain(l, 5); got != nil || wait != 0 {
			t.Errorf("%s: taken a second time: %v, wait %v", row.name, got, wait)
		}
	}
}

// TestLaneNotBefore: a task that was refused waits its time, the others do not wait for it.
func TestLaneNotBefore(t *testing.T) {
	l := emptyLane()
	put(l, "urgent", 9, 0, 30)
	put(l, "later", 0, 0, 60)
	put(l, "now", 0, 1, 0)
	steps := []struct {
		at   int
		want []string
		wait time.Duration
	}{
		{0, []string{"now"}, 30 * time.Second},
		{29, nil, time.Second},
		{30, []string{"urgent"}, 30 * time.Second},
		{59, nil, time.Second},
		{60, []string{"later"}, 0},
	}
	for _, s := range steps {
		if got, wait := drain(l, s.at); !slices.Equal(got, s.want) || wait != s.wait {
			t.Errorf("at %ds: %v and try again in %v, want %v and %v", s.at, got, wait, s.want, s.wait)
		}
	}
}

// TestLaneBackoff: while the account is refused nothing is sent at all; a shorter backoff does not end a longer one.
func TestLaneBackoff(t *testing.T) {
	l := emptyLane()
	put(l, "a", 0, 0, 0)
	l.Backoff(events.BlockedAccount, "refused", noon.Add(time.Minute))
	l.Backoff(events.BlockedAccount, "refused", noon.Add(time.Second))
	if b := l.Stopped(noon, Outside{}); b == nil || b.Reason != events.BlockedAccount ||
		!b.Until.Equal(noon.Add(time.Minute)) {
		t.Errorf("stopped by %+v", b)
	}
	if got, wait := drain(l, 10); got != nil || wait != 50*time.Second {
		t.Errorf("%v and %v, want nothing and 50s", got, wait)
	}
	if got, _ := drain(l, 60); !slices.Equal(got, []string{"a"}) {
		t.Errorf("after the backoff: %v", got)
	}
}

// TestLaneWakes: a new task is reported to whoever waits for work, one that is gone is not.
func TestLaneWakes(t *testing.T) {
	l := emptyLane()
	if !put(l, "a", 0, 0, 0) || !put(l, "b", 0, 0, 0) {
		t.Error("a new task wakes nobody")
	}
	if l.See(events.Key{Project: "p", ID: "a"}, nil, 0, noon) {
		t.Error("woken for a task that is gone")
	}
}

// TestLaneAgainstModel changes tasks at random and compares the whole line with a sorted list.
func TestLaneAgainstModel(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		l := emptyLane()
		model := map[string][3]int{}
		for range 300 {
			id := fmt.Sprint("t", r.IntN(40))
			if r.IntN(4) == 0 {
				l.See(events.Key{Project: "p", ID: id}, nil, 0, noon)
				delete(model, id)
				continue
			}
			m := [3]int{r.IntN(3), r.IntN(10), r.IntN(20)}
			put(l, id, m[0], m[1], m[2])
			model[id] = m
		}
		const at = 10
		var want []string
		for id, m := range model {
			if m[2] <= at {
				want = append(want, id)
			}
		}
		slices.SortFunc(want, func(a, b string) int {
			return cmp.Or(cmp.Compare(model[b][0], model[a][0]), cmp.Compare(model[a][1], model[b][1]), cmp.Compare(a, b))
		})
		if got, _ := drain(l, at); !slices.Equal(got, want) {
			t.Fatalf("seed %d: %v, want %v", seed, got, want)
		}
		if got, _ := drain(l, 100); len(got) != len(model)-len(want) {
			t.Fatalf("seed %d: %d not before later, want %d", seed, len(got), len(model)-len(want))
		}
	}
}

// TestLaneForgetsProjects: a lane keeps nothing of projects whose tasks it has forgotten, whoever makes up new ones.
func TestLaneForgetsProjects(t *testing.T) {
	l := emptyLane()
	for n := range 100 {
		k := events.Key{Project: fmt.Sprint("p", n), ID: "t"}
		l.See(k, &events.Task{ID: k.ID, Project: k.Project, Version: 1, Phase: events.PhaseWaiting, CreatedAt: noon}, 0, noon)
		l.See(k, nil, 0, noon)
	}
	for name, f := range l.groups {
		if n := len(f.projects); n > 0 {
			t.Errorf("group %s knows %d projects", name, n)
		}
	}
}

// TestLaneWakesForRoom: a task whose record is gone while it is sent counts in flight no more, and whoever waits for
// that is woken.
func TestLaneWakesForRoom(t *testing.T) {
	l := NewLane("", 2, map[string]events.ModelLimits{events.AnyModel: {InFlight: 1}}, noon)
	put(l, "a", 0, 0, 0)
	put(l, "b", 0, 1, 0)
	k, ok, _ := l.Next(noon, Outside{})
	if !ok || k.ID != "a" {
		t.Fatalf("%v, %v", k, ok)
	}
	l.See(k, nil, 0, noon)
	if got, wait := drain(l, 1); got != nil || wait != 0 {
		t.Fatalf("%v and %v although one is in flight", got, wait)
	}
	if !l.Finish(k, nil, noon, noon) {
		t.Error("nobody is woken")
	}
	if got, _ := drain(l, 2); !slices.Equal(got, []string{"b"}) {
		t.Errorf("then %v is sent", got)
	}
}

// TestLaneUnreachable: a lane waits longer each time that its provider cannot be reached, once for all that were on
// their way together, and one that comes late changes nothing after another got through.
func TestLaneUnreachable(t *testing.T) {
	l := emptyLane()
	now := noon
	waits := func(want time.Duration) {
		t.Helper()
		if got := max(l.backoff.Until.Sub(now), 0); got != want {
			t.Errorf("waits %v, want %v", got, want)
		}
	}
	begun := now
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		begun = now.Add(time.Minute)
		now = begun.Add(time.Second)
		for i := range 4 { // one of those that were under way together tells something new
			if _, first := l.Reached(false, begun, now, ""); first != (i == 0) {
				t.Errorf("number %d of those under way together is the first: %v", i, first)
			}
		}
		waits(want * time.Second)
	}
	now = now.Add(time.Minute)
	l.Reached(true, now, now, "")
	l.Reached(false, begun, now, "")
	waits(0)
	l.Reached(false, now, now, "")
	waits(time.Second)
}

// TestScan: a pass visits a bounded number of tasks, whatever the number of limit groups, and none of a queue so short
// that its tasks go soon.
func TestScan(t *testing.T) {
	l := NewLane("", 10, map[string]events.ModelLimits{
		events.AnyModel: {Requests: 1}, "a": {Requests: 1}, "b": {Requests: 1}, "short": {Requests: 1},
	}, noon)
	for model, n := range map[string]int{"a": 300, "b": 300, "short": 20} {
		for i := range n {
			k := events.Key{Project: "p", ID: fmt.Sprint(model, i)}
			l.See(k, &events.Task{
				ID: k.ID, Project: k.Project, Model: model, Version: 1, Phase: events.PhaseWaiting,
				CreatedAt: noon,
			}, 0, noon)
		}
	}
	if n := l.MinAnnounced(); n != 20 {
		t.Errorf("positions from %d on are published, with 10 slots", n)
	}
	if n := emptyLane().MinAnnounced(); n != 8 {
		t.Errorf("positions from %d on are published, with 1 slot", n)
	}
	seen := map[events.Key]bool{}
	for range 200 {
		some := l.Scan(noon)
		if len(some) != maxScan {
			t.Fatalf("%d tasks are visited", len(some))
		}
		for _, s := range some {
			seen[s.Key] = true
			if l.entries[s.Key].model == "short" {
				t.Fatalf("%s goes soon", s.Key)
			}
		}
	}
	if len(seen) != 600 {
		t.Errorf("of 600 tasks %d are ever visited", len(seen))
	}
}

// TestRefusedForThemselves: tasks that a provider never takes keep the others waiting for minutes, not for ever; and
// they are sent one at a time.
func TestRefusedForThemselves(t *testing.T) {
	l := NewLane("", 8, nil, noon)
	for i, id := range []string{"never", "nor this", "good", "fine"} {
		put(l, id, 0, i, 0)
	}
	taken := map[string]time.Duration{}
	attempts := map[string][]events.Attempt{}
	for now := noon.Add(time.Minute); len(taken) < 2; now = now.Add(time.Second) {
		k, ok, _ := l.Next(now, Outside{})
		if !ok {
			continue
		}
		if l.refusing() {
			if also, ok, _ := l.Next(now, Outside{}); ok {
				t.Fatalf("%s is sent beside %s while the provider refuses", also.ID, k.ID)
			}
		}
		sent := events.Task{ID: k.ID, Project: k.Project, Version: 2, Phase: events.PhaseWaiting, Attempts: attempts[k.ID]}
		if len(k.ID) == 4 {
			l.Accepted(k, now)
			taken[k.ID] = now.Sub(noon)
			l.Finish(k, nil, time.Time{}, now)
			l.See(k, nil, 0, now)
			continue
		}
		_, own := l.RateLimited(sent, now, false, 0, now)
		attempts[k.ID] = append(attempts[k.ID], events.Attempt{Error: &events.Error{Kind: events.KindRateLimited}})
		l.Finish(k, nil, now.Add(own), now)
	}
	if last := max(taken["good"], taken["fine"]); last > keepOrderFor+5*time.Minute {
		t.Errorf("taken after %v", taken)
	}
}

// refusing reports whether the provider refuses for the rate in any group.
func (l *Lane) refusing() bool {
	for _, g := range l.groups {
		if !g.refusals.since.IsZero() {
			return true
		}
	}
	return false
}

// TestGroup: a lane takes a task that another of its group has, once that one has let it wait, and after its own of the
// same age. After an attempt that came to nothing the other lane goes first.
func TestGroup(t *testing.T) {
	record := func(id, lane string) *events.Task {
		return &events.Task{
			ID: id, Project: "p", Lane: lane, Group: "all", Model: "m", Phase: events.PhaseWaiting, CreatedAt: noon, Version: 1,
		}
	}
	l := NewLane("a", 4, nil, noon)
	see := func(r *events.Task) { l.See(r.Key(), r, 0, noon) }
	next := func(after time.Duration) string {
		k, _, _ := l.Next(noon.Add(after), Outside{})
		return k.ID
	}
	see(record("0-other", "b"))
	if id := next(groupGrace - 1); id != "" {
		t.Errorf("%s is taken before its own lane could", id)
	}
	see(record("1-own", "a"))
	if first, second := next(groupGrace), next(groupGrace); first != "1-own" || second != "0-other" {
		t.Errorf("%s, then %s", first, second)
	}
	failed := record("2-own", "a")
	failed.Attempts = []events.Attempt{{N: 1, Lane: "a", Outcome: events.AttemptReleased, Charge: events.ChargeNone}}
	see(failed)
	if id := next(groupGrace - 1); id != "" {
		t.Errorf("%s is tried again at once where it could not be sent", id)
	}
	sent := record("3-other", "b")
	see(sent)
	moved := *sent
	moved.Phase, moved.Version = events.PhaseSubmitting, 2
	see(&moved)
	if id := next(groupGrace); id != "2-own" {
		t.Errorf("%s instead of what is left", id)
	}
	if id := next(time.Hour); id != "" {
		t.Errorf("%s, which another lane has sent", id)
	}
}
