package dispatch_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"reelay/events"
	"reelay/internal/dispatch"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func task(project string, n, priority int) dispatch.Rank {
	return dispatch.Rank{
		Key: events.Key{Project: project, ID: fmt.Sprintf("t%05d", n)}, Priority: priority,
		Since: noon.Add(time.Duration(n) * time.Second),
	}
}

// take takes n tasks, or fewer if there are no more.
func take(q *dispatch.Queue, n int, may func(string) bool) (taken []dispatch.Rank) {
	for range n {
		t, ok := q.Take(may)
		if !ok {
			break
		}
		taken = append(taken, t)
	}
	return taken
}

// TestOneBesideThousands: the one task of a project is sent within one round, whenever it comes.
func TestOneBesideThousands(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q dispatch.Queue
		projects := rapid.IntRange(1, 5).Draw(t, "projects")
		for p := range projects {
			for n := range 2_000 {
				q.Put(task(fmt.Sprint("big", p), n, 100))
			}
		}
		take(&q, rapid.IntRange(0, 500).Draw(t, "taken before"), nil)
		q.Put(task(rapid.SampledFrom([]string{"a", "z"}).Draw(t, "name"), 9_999, -100))
		for _, got := range take(&q, projects+1, nil) {
			if got.Key.ID == "t09999" {
				return
			}
		}
		t.Fatalf("not sent within a round of %d projects", projects+1)
	})
}

// TestWeights: while all are busy each has its share within 5 %.
func TestWeights(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q dispatch.Queue
		weights := map[string]int{}
		sum := 0
		for p := range rapid.IntRange(2, 6).Draw(t, "projects") {
			name := fmt.Sprint("p", p)
			weights[name] = rapid.IntRange(1, 10).Draw(t, "weight")
			sum += weights[name]
			for n := range 1_500 {
				q.Put(task(name, n, 0))
			}
		}
		q.SetWeights(weights)
		const taken = 1_200
		got := map[string]int{}
		for _, one := range take(&q, taken, nil) {
			got[one.Key.Project]++
		}
		for name, w := range weights {
			want := float64(taken) * float64(w) / float64(sum)
			if d := float64(got[name]) - want; d > 0.05*want+1 || d < -0.05*want-1 {
				t.Fatalf("%s of weight %d of %d had %d turns, want %.0f", name, w, sum, got[name], want)
			}
		}
	})
}

// TestOrderInProject: a task goes before another unless that has waited longer by as many steps as it has fewer points.
func TestOrderInProject(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q dispatch.Queue
		all := map[events.Key]dispatch.Rank{}
		for n := range rapid.IntRange(1, 60).Draw(t, "tasks") {
			one := task("p", n*rapid.IntRange(0, 30).Draw(t, "pause"), rapid.IntRange(-100, 100).Draw(t, "priority"))
			q.Put(one)
			all[one.Key] = one
		}
		taken := take(&q, len(all)+1, nil)
		if len(taken) != len(all) {
			t.Fatalf("%d taken of %d", len(taken), len(all))
		}
		points := func(one dispatch.Rank) float64 {
			return float64(one.Priority) + float64(noon.Add(time.Hour).Sub(one.Since))/float64(dispatch.Step)
		}
		for i := range len(taken) - 1 {
			if points(taken[i]) < points(taken[i+1])-1e-6 {
				t.Fatalf("%+v before %+v", taken[i], taken[i+1])
			}
		}
	})
}

// TestNothingStarves: however many tasks of the highest priority keep coming, one of the lowest is sent in the end.
func TestNothingStarves(t *testing.T) {
	var q dispatch.Queue
	poor := dispatch.Rank{Key: events.Key{Project: "p", ID: "poor"}, Priority: -100, Since: noon}
	q.Put(poor)
	for minute := range 1_000 {
		for i := range 2 {
			q.Put(dispatch.Rank{
				Key: events.Key{Project: "p", ID: fmt.Sprint(minute, "-", i)}, Priority: 100,
				Since: noon.Add(time.Duration(minute) * time.Minute),
			})
		}
		if one, _ := q.Take(nil); one == poor {
			if minute < 200 {
				t.Errorf("after %d minutes, before its time", minute)
			}
			return
		}
	}
	t.Error("starved")
}

// TestAhead: as many tasks are ahead of each as are then taken before it, whatever was put, moved, removed and taken
// before.
func TestAhead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q dispatch.Queue
		in := map[events.Key]bool{}
		names := []string{"a", "b", "c", "d"}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			one := task(rapid.SampledFrom(names).Draw(t, "project"), rapid.IntRange(0, 40).Draw(t, "n"),
				rapid.IntRange(-2, 2).Draw(t, "priority"))
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0:
				q.SetWeights(map[string]int{"a": rapid.IntRange(-1, 5).Draw(t, "a"), "b": rapid.IntRange(1, 2_000).Draw(t, "b")})
			case 1:
				q.Remove(one.Key)
				delete(in, one.Key)
			case 2, 3:
				capped := rapid.SampledFrom(names).Draw(t, "capped")
				got, ok := q.Take(func(p string) bool { return p != capped })
				if ok && (!in[got.Key] || got.Key.Project == capped) {
					t.Fatalf("taken: %v", got)
				}
				delete(in, got.Key)
			default:
				q.Put(one)
				in[one.Key] = true
			}
		}
		places := map[events.Key]int{}
		for k := range in {
			place, ok := q.Ahead(k)
			if !ok {
				t.Fatalf("%v is not in line", k)
			}
			places[k] = place
		}
		if q.Len() != len(in) {
			t.Fatalf("%d in line, want %d", q.Len(), len(in))
		}
		for i, got := range take(&q, len(in)+1, nil) {
			if places[got.Key] != i {
				t.Fatalf("%v is taken as number %d and was told %d", got.Key, i, places[got.Key])
			}
			delete(in, got.Key)
		}
		if len(in) != 0 {
			t.Fatalf("not taken: %v", in)
		}
	})
}

// TestCapped: a project that may not have its turn delays nobody, and afterwards makes up for one turn at most.
func TestCapped(t *testing.T) {
	var q dispatch.Queue
	for n := range 100 {
		q.Put(task("a", n, 0))
		q.Put(task("b", n, 0))
	}
	var got []string
	note := func(n int, may func(string) bool) {
		for _, one := range take(&q, n, may) {
			got = append(got, one.Key.Project)
		}
	}
	note(4, nil)
	note(4, func(p string) bool { return p != "a" })
	note(4, nil)
	if want := []string{"a", "b", "a", "b", "b", "b", "b", "b", "a", "a", "b", "a"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if _, ok := q.Take(func(string) bool { return false }); ok || q.Len() != 188 {
		t.Errorf("taken although nobody may; %d in line", q.Len())
	}
}

// TestComesBack: a project that has had its turn and comes back at once has not saved one.
func TestComesBack(t *testing.T) {
	var q dispatch.Queue
	for n := range 10 {
		q.Put(task("busy", n, 0))
	}
	var got []string
	for n := range 6 {
		q.Put(task("again", n, 0))
		got = append(got, take(&q, 1, nil)[0].Key.Project)
	}
	if want := []string{"again", "busy", "again", "busy", "again", "busy"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func BenchmarkQueue(b *testing.B) {
	var q dispatch.Queue
	for n := range 100_000 {
		q.Put(task(fmt.Sprint("p", n%50), n, n%7))
	}
	b.ResetTimer()
	for n := range b.N {
		one, _ := q.Take(nil)
		q.Ahead(events.Key{Project: "p1", ID: "t50001"})
		one.Since = noon.Add(time.Duration(100_000+n) * time.Second)
		q.Put(one)
	}
}

// TestLine: whatever is put in and taken out, each task has its place by time, then by name.
func TestLine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l dispatch.Line
		want := map[events.Key]time.Time{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			k := events.Key{
				Project: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "project"),
				ID:      rapid.SampledFrom([]string{"1", "2", "3", "4"}).Draw(t, "id"),
			}
			if rapid.Bool().Draw(t, "remove") {
				l.Remove(k)
				delete(want, k)
				continue
			}
			want[k] = noon.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "at")) * time.Second)
			l.Put(dispatch.Rank{Key: k, Since: want[k]})
		}
		sorted := slices.SortedFunc(maps.Keys(want), func(a, b events.Key) int {
			return cmp.Or(want[a].Compare(want[b]), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Project, b.Project))
		})
		if l.Len() != len(sorted) {
			t.Fatalf("%d in line, want %d", l.Len(), len(sorted))
		}
		if first, ok := l.First(); ok != (len(sorted) > 0) || ok && first.Key != sorted[0] {
			t.Fatalf("first is %v, %v, want that of %v", first.Key, ok, sorted)
		}
		for i, k := range sorted {
			if n, ok := l.Ahead(k); !ok || n != i {
				t.Fatalf("%v has place %d, %v, want %d", k, n, ok, i)
			}
		}
		if n, ok := l.Ahead(events.Key{Project: "c", ID: "1"}); ok {
			t.Fatalf("a stranger has place %d", n)
		}
	})
}
