package status

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nuid"
	"pgregory.net/rapid"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/dispatch"
)

// filled returns an index of tasks.
func filled(tasks ...events.Task) *index {
	x := newIndex()
	for i, t := range tasks {
		x.apply(bus.SummaryUpdate{Key: t.Key(), Revision: uint64(i + 1), Summary: bus.Summarize(&t)})
	}
	x.apply(bus.SummaryUpdate{Ready: true})
	return x
}

var projects = []string{"a", "b", "c"}

// drawTask returns any record; few distinct values, so that they collide.
func drawTask(t *rapid.T, id, from, to int) events.Task {
	task := waiting(rapid.SampledFrom(projects).Draw(t, "project"), fmt.Sprintf("t%d", id),
		rapid.IntRange(from, to).Draw(t, "created"))
	task.Lane = rapid.SampledFrom([]string{"fal", "minimax"}).Draw(t, "lane")
	task.Provider = task.Lane
	task.SceneID = rapid.SampledFrom([]string{"", "s1"}).Draw(t, "scene")
	task.BatchID = rapid.SampledFrom([]string{"", "b1", "b2"}).Draw(t, "batch")
	task.Priority = rapid.IntRange(-1, 1).Draw(t, "priority")
	task.Phase = rapid.SampledFrom(events.Phases()).Draw(t, "phase")
	task.Status = rapid.SampledFrom(events.Statuses()).Draw(t, "status")
	return task
}

func drawFilter(t *rapid.T) filter {
	f := filter{project: rapid.SampledFrom(append(projects, "")).Draw(t, "of project")}
	f.Status = rapid.SliceOfNDistinct(rapid.SampledFrom(events.Statuses()), 0, 2, rapid.ID[events.Status]).Draw(t,
		"statuses")
	f.SceneID = rapid.SampledFrom([]string{"", "s1"}).Draw(t, "of scene")
	f.Phase = rapid.SliceOfNDistinct(rapid.SampledFrom(events.Phases()), 0, 3, rapid.ID[events.Phase]).Draw(t, "phases")
	f.BatchID = rapid.SampledFrom([]string{"", "", "b1"}).Draw(t, "of batch")
	f.Provider = rapid.SampledFrom([]string{"", "fal"}).Draw(t, "of provider")
	if rapid.Bool().Draw(t, "limited") {
		since := epoch(rapid.IntRange(0, 20).Draw(t, "since"))
		f.Since = &since
	}
	return f
}

// TestPages: the pages put together are what the filter selects of the tasks that were there at the start, in order,
// each once, however many newer tasks arrive between the pages.
func TestPages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tasks []events.Task
		for i := range rapid.IntRange(0, 60).Draw(t, "tasks") {
			tasks = append(tasks, drawTask(t, i, 0, 20))
		}
		x, f, n := filled(tasks...), drawFilter(t), rapid.IntRange(1, 7).Draw(t, "page")
		var want []cursor
		for _, task := range tasks {
			if e := entryOf(&task, 0); f.matches(e) {
				want = append(want, e.cursor())
			}
		}
		slices.SortFunc(want, cursor.compare)
		var got []cursor
		for {
			page := x.page(f, n)
			for _, e := range page {
				got = append(got, e.cursor())
			}
			if len(page) < n {
				break
			}
			after, err := parseCursor(page[n-1].cursor().encode())
			if err != nil {
				t.Fatal(err)
			}
			f.after = &after
			for range rapid.IntRange(0, 2).Draw(t, "newer") {
				newer := drawTask(t, 100+x.size(), 21, 30)
				x.apply(bus.SummaryUpdate{Key: newer.Key(), Summary: bus.Summarize(&newer)})
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

// TestListedAsSent: in each project the waiting tasks are listed in the order in which they are sent.
func TestListedAsSent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, now := newIndex(), time.Now()
		l := dispatch.NewLane("fal", 1, nil, now)
		for i := range rapid.IntRange(1, 40).Draw(t, "tasks") {
			task := events.Task{
				ID: fmt.Sprint("t", i), Project: rapid.SampledFrom([]string{"p", "q"}).Draw(t, "project"), Lane: "fal", Version: 1,
				Phase: events.PhaseWaiting, Priority: rapid.IntRange(-3, 3).Draw(t, "priority"),
				CreatedAt: now.Add(-time.Duration(rapid.IntRange(0, 300).Draw(t, "age")) * time.Second),
			}
			x.apply(bus.SummaryUpdate{Key: task.Key(), Summary: bus.Summarize(&task)})
			l.See(task.Key(), &task, 0, now)
		}
		listed, sent := map[string][]string{}, map[string][]string{}
		x.lines["fal"].Scan(func(e *entry) bool {
			listed[e.project] = append(listed[e.project], e.id)
			return true
		})
		for k, ok, _ := l.Next(now, dispatch.Outside{}); ok; k, ok, _ = l.Next(now, dispatch.Outside{}) {
			sent[k.Project] = append(sent[k.Project], k.ID)
		}
		if !maps.EqualFunc(listed, sent, slices.Equal) {
			t.Fatalf("listed %v, sent %v", listed, sent)
		}
	})
}

// TestIndexModel: after any series of changes, what the index answers is what the last record of each task says, and
// nothing is left of those that are gone.
func TestIndexModel(t *testing.T) {
	now := time.Now()
	rapid.Check(t, func(t *rapid.T) {
		x, model := newIndex(), map[events.Key]events.Task{}
		for range rapid.IntRange(1, 60).Draw(t, "changes") {
			task := drawTask(t, rapid.IntRange(0, 8).Draw(t, "id"), 0, 3)
			if task.Phase == events.PhaseDone {
				ended := now.Add(-time.Duration(rapid.IntRange(0, 3).Draw(t, "half hours ago")) * 31 * time.Minute)
				task.CompletedAt = &ended
			}
			u := bus.SummaryUpdate{Key: task.Key(), Summary: bus.Summarize(&task)}
			if model[task.Key()] = task; rapid.IntRange(0, 3).Draw(t, "delete") == 0 {
				u.Summary = nil
				delete(model, task.Key())
			}
			x.apply(u)
		}
		fresh := map[events.Key]*entry{}
		for k, task := range model {
			fresh[k] = entryOf(&task, 0)
		}
		checkLines(t, x, fresh)
		f, n := drawFilter(t), rapid.IntRange(1, 7).Draw(t, "page")
		if got, want := keysOf(x.page(f, n)), keysOf(scanned(fresh, f, n)); !slices.Equal(got, want) {
			t.Fatalf("page of %+v: %v, want %v", f, got, want)
		}
		if got, want := x.queue(f.project, nil, now), counted(fresh, f.project, now); !reflect.DeepEqual(got, want) {
			t.Fatalf("queue of %q:\n%+v\nwant\n%+v", f.project, got, want)
		}
		for k := range model {
			x.apply(bus.SummaryUpdate{Key: k})
		}
		if x.size() != 0 || len(x.projects) != 0 || len(x.lines) != 0 || len(x.batches.all) != 0 {
			t.Fatalf("left: %v %v %v", x.projects, x.lines, x.batches.all)
		}
	})
}

func keysOf(all []*entry) (keys []events.Key) {
	for _, e := range all {
		keys = append(keys, e.key())
	}
	return keys
}

// checkLines compares the lines of an index, and what is known of each task, with what it should be.
func checkLines(t *rapid.T, x *index, want map[events.Key]*entry) {
	lines := map[string][]*entry{}
	for k, e := range want {
		got := x.get(k)
		if got == nil || got.kind != e.kind || got.created != e.created || got.completed != e.completed ||
			got.priority != e.priority || (got.scene == nil) != (e.scene == nil) || (got.batch == nil) != (e.batch == nil) {
			t.Fatalf("entry %+v, want %+v", got, e)
		}
		if e.inLine {
			lines[e.lane] = append(lines[e.lane], e)
		}
	}
	if x.size() != len(want) || len(x.lines) != len(lines) {
		t.Fatalf("%d entries in %d lines, want %d in %d", x.size(), len(x.lines), len(want), len(lines))
	}
	for _, line := range lines {
		slices.SortFunc(line, inSendingOrder)
		for i, e := range line {
			if ours, ok := x.estimatePosition(e.key()); ours != i || !ok {
				t.Fatalf("%v is %d (%v), want %d", e.key(), ours, ok, i)
			}
		}
	}
}

// scanned is page as it is without an index: it asks every entry and keeps the first n.
func scanned(all map[events.Key]*entry, f filter, n int) []*entry {
	top := make([]*entry, 0, n+1)
	for _, e := range all {
		if len(top) == n && inListOrder(top[n-1], e) < 0 || !f.matches(e) {
			continue
		}
		i, _ := slices.BinarySearchFunc(top, e, inListOrder)
		top = slices.Insert(top, i, e)
		top = top[:min(len(top), n)]
	}
	return top
}

// counted is queue as it is without an index: it asks every entry.
func counted(all map[events.Key]*entry, project string, now time.Time) events.QueueReply {
	r, lanes := events.QueueReply{ByStatus: map[events.Status]int{}, Lanes: []events.LaneQueue{}}, map[string]*events.LaneQueue{}
	for _, e := range all {
		if project != "" && project != e.project {
			continue
		}
		l := lanes[e.lane]
		if l == nil {
			l = &events.LaneQueue{Lane: e.lane, Provider: e.provider, ByPhase: map[events.Phase]int{}}
			lanes[e.lane] = l
		}
		r.Total++
		r.ByStatus[e.status]++
		l.ByPhase[e.phase]++
		if !e.status.Terminal() {
			r.ActiveCount++
			l.Active++
		}
		switch e.phase {
		case events.PhaseProviderQueued, events.PhaseRunning, events.PhaseCancelling, events.PhaseFetching:
			l.AtProvider++
		case events.PhaseWaiting:
			if e.inLine {
				l.OldestWaitingS = max(l.OldestWaitingS, now.Sub(time.Unix(0, e.created)).Seconds())
			}
		case events.PhaseDone:
			switch {
			case e.completed < now.Add(-rateWindow).UnixNano():
			case e.status == events.StatusCompleted:
				l.CompletedLastHour++
			case e.status == events.StatusFailed:
				l.FailedLastHour++
			}
		}
	}
	for _, l := range lanes {
		r.Lanes = append(r.Lanes, *l)
	}
	slices.SortFunc(r.Lanes, func(a, b events.LaneQueue) int { return strings.Compare(a.Lane, b.Lane) })
	return r
}

func TestPosition(t *testing.T) {
	urgent, older, other, running := waiting("b", "urgent", 9), waiting("a", "older", 1), waiting("a", "other", 0),
		waiting("a", "running", 0)
	urgent.Priority, other.Lane = 1, "minimax"
	running.Phase = events.PhaseRunning
	x := filled(waiting("a", "y", 5), waiting("a", "x", 5), older, urgent, other, running)
	for _, tt := range []struct {
		key  string
		ours int
		ok   bool
	}{
		{"b.urgent", 0, true},
		{"a.older", 1, true},
		{"a.x", 2, true},
		{"a.y", 3, true},
		{"a.other", 0, true},
		{"a.running", 0, false},
		{"a.none", 0, false},
	} {
		k, err := events.ParseKey(tt.key)
		must(t, err)
		if ours, ok := x.estimatePosition(k); ours != tt.ours || ok != tt.ok {
			t.Errorf("%s: %d (%v), want %d (%v)", tt.key, ours, ok, tt.ours, tt.ok)
		}
	}
}

func TestCursorRefused(t *testing.T) {
	text := base64.RawURLEncoding.EncodeToString
	for _, s := range []string{
		"!", "YQ==", text([]byte("12")), text([]byte("*.a.b")), text([]byte("12.a")),
		text([]byte("12.a.b.c")), text([]byte("12.a.*")),
	} {
		_, err := parseCursor(s)
		var fe *events.FieldError
		if !errors.As(err, &fe) || fe.Field != "cursor" {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func FuzzCursor(f *testing.F) {
	f.Add(cursor{12, events.Key{Project: "a", ID: "b"}}.encode())
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := parseCursor(s); err == nil && (!p.key.Valid() || p.compare(mustCursor(t, p.encode())) != 0) {
			t.Errorf("%q is %v", s, p)
		}
	})
}

func mustCursor(t testing.TB, s string) cursor {
	p, err := parseCursor(s)
	must(t, err)
	return p
}

// TestFollowAgain cuts a real watch; what is deleted meanwhile must be gone when it is back, and waiters must hear of
// it.
func TestFollowAgain(t *testing.T) {
	inLab(t, Options{}, func(t *testing.T, l *lab) {
		var cut atomic.Pointer[context.CancelCauseFunc]
		var begun []time.Time
		broken := errors.New("broken by the test")
		watch := func(ctx context.Context, apply func(bus.SummaryUpdate)) error {
			if begun = append(begun, time.Now()); len(begun)%4 != 1 { // three failures between two good watches
				return broken
			}
			ctx, cancel := context.WithCancelCause(ctx)
			defer cancel(nil)
			cut.Store(&cancel)
			if err := l.bus.FollowTasks(ctx, apply); err != nil {
				return err
			}
			return context.Cause(ctx)
		}
		x := newIndex()
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			x.follow(ctx, watch, slog.New(slog.DiscardHandler))
		}()
		l.put(waiting("a", "stays", 0), waiting("a", "goes", 1), waiting("a", "changes", 2))
		l.until("the second index is current", func() bool { return x.current.Load() && x.size() == 3 })

		time.Sleep(time.Minute) // it stands: the pause begins anew
		(*cut.Load())(broken)
		l.until("the watch is broken", func() bool { return !x.current.Load() })
		if x.size() != 3 {
			t.Errorf("a broken watch empties the index: %d", x.size())
		}
		l.delete(events.Key{Project: "a", ID: "goes"})
		must(t, purge(l, "goes")) // not even a delete marker is left
		l.put(in(waiting("a", "changes", 2), events.PhaseRunning, events.StatusInProgress))
		l.until("the index is current again", x.current.Load)
		if e := x.get(events.Key{Project: "a", ID: "goes"}); e != nil {
			t.Errorf("stale: %+v", e)
		}
		if e := x.get(events.Key{Project: "a", ID: "changes"}); e == nil || e.phase != events.PhaseRunning || x.size() != 2 {
			t.Errorf("changed: %+v of %d", e, x.size())
		}
		if x.lines["fal"].Len() != 1 {
			t.Errorf("line %v", x.lines["fal"])
		}
		time.Sleep(time.Minute)
		(*cut.Load())(broken)
		l.until("the watch is broken again", func() bool { return !x.current.Load() })
		l.until("the index is current at last", x.current.Load)
		var pauses []time.Duration
		for i := 2; i < len(begun); i++ {
			if i%4 != 1 { // after a good watch the pause counts from its cut
				pauses = append(pauses, begun[i].Sub(begun[i-1]).Round(10*time.Millisecond))
			}
		}
		const ms = time.Millisecond
		if want := []time.Duration{200 * ms, 400 * ms, 800 * ms, 200 * ms, 400 * ms, 800 * ms}; !slices.Equal(pauses, want) {
			t.Errorf("pauses %v, want %v", pauses, want)
		}
		cancel()
		<-done
	})
}

func purge(l *lab, id string) error {
	stream, err := l.bus.JetStream().Stream(context.Background(), events.StreamTasks)
	if err != nil {
		return err
	}
	raw, err := stream.GetLastMsgForSubject(context.Background(), events.RecordSubject(events.Key{Project: "a", ID: id}))
	if err != nil {
		return err
	}
	return stream.DeleteMsg(context.Background(), raw.Sequence)
}

func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := filled(waiting("a", "x", 0))
		k := events.Key{Project: "a", ID: "x"}
		ended := func(e *entry) bool { return e.status.Terminal() }
		got := make(chan *entry, 3)
		for range 3 {
			go func() { got <- x.await(t.Context(), k, ended) }()
		}
		synctest.Wait()
		other := waiting("a", "other", 0)
		for _, task := range []events.Task{
			in(other, events.PhaseDone, events.StatusFailed),
			in(waiting("a", "x", 0), events.PhaseRunning, events.StatusInProgress),
		} {
			x.apply(bus.SummaryUpdate{Key: task.Key(), Summary: bus.Summarize(&task)})
		}
		x.apply(bus.SummaryUpdate{Key: k}) // deleted
		synctest.Wait()
		if len(got) != 0 {
			t.Fatalf("answered by %+v", <-got)
		}
		done := in(waiting("a", "x", 0), events.PhaseDone, events.StatusCompleted)
		x.apply(bus.SummaryUpdate{Key: k, Summary: bus.Summarize(&done), Revision: 7})
		for range 3 {
			if e := <-got; e == nil || e.revision != 7 {
				t.Errorf("got %+v", e)
			}
		}
		many := func(*entry) bool { // changes that come faster than a waiter looks
			for range 3 {
				x.apply(bus.SummaryUpdate{Key: k, Summary: bus.Summarize(&done), Revision: 8})
			}
			return true
		}
		if e := x.await(t.Context(), k, many); e == nil {
			t.Error("no entry")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if e := x.await(ctx, events.Key{Project: "a", ID: "none"}, ended); e != nil {
			t.Errorf("got %+v", e)
		}
		if len(x.waiters) != 0 {
			t.Errorf("waiters are left: %v", x.waiters)
		}
	})
}

// BenchmarkList is the choice of one page of 200,000 tasks in 100 projects, by the index and, for comparison, by asking
// every entry.
func BenchmarkList(b *testing.B) {
	x := many(200_000)
	all := x.flat()
	deep := mustCursor(b, x.page(filter{}, 100_000)[99_999].cursor().encode())
	for _, bb := range []struct {
		name string
		f    filter
	}{
		{"all", filter{}},
		{"deep", filter{after: &deep}},
		{"project", filter{project: "p7"}},
		{"status", filter{ListRequest: events.ListRequest{Status: []events.Status{events.StatusFailed}}}},
		{"scene", filter{ListRequest: events.ListRequest{SceneID: "s7"}}},
	} {
		const n = events.DefaultListLimit + 1
		b.Run(bb.name, func(b *testing.B) {
			for b.Loop() {
				if page := x.page(bb.f, n); len(page) == 0 {
					b.Fatal("an empty page")
				}
			}
		})
		b.Run(bb.name+"/every-entry", func(b *testing.B) {
			for b.Loop() {
				if page := scanned(all, bb.f, n); len(page) == 0 {
					b.Fatal("an empty page")
				}
			}
		})
	}
}

// BenchmarkQueue is the numbers of queue for 200,000 tasks in 100 projects, likewise.
func BenchmarkQueue(b *testing.B) {
	x, now := many(200_000), epoch(20_000)
	all := x.flat()
	b.Run("all", func(b *testing.B) {
		for b.Loop() {
			if q := x.queue("", nil, now); q.Total != 200_000 {
				b.Fatal(q.Total)
			}
		}
	})
	b.Run("all/every-entry", func(b *testing.B) {
		for b.Loop() {
			if q := counted(all, "", now); q.Total != 200_000 {
				b.Fatal(q.Total)
			}
		}
	})
}

// BenchmarkIndexMemory tells what the index keeps of a task that waits, and of one that has ended, and how long it takes
// to learn of it.
func BenchmarkIndexMemory(b *testing.B) {
	for _, bb := range []struct {
		name   string
		record func(i int) events.Task
	}{
		{"waiting", func(i int) events.Task { return waiting("p", nuid.Next(), i) }},
		{"ended", func(i int) events.Task {
			task := in(waiting("p", nuid.Next(), i), events.PhaseDone, events.StatusCompleted)
			task.BatchID, task.SceneID = fmt.Sprint("b", i/12), fmt.Sprint("s", i/4)
			task.Attempts = []events.Attempt{{N: 1, IntentAt: epoch(i), Charge: events.ChargeConfirmed}}
			return task
		}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			const n = 200_000
			for b.Loop() {
				before := heap()
				x := newIndex()
				for i := range n {
					task := bb.record(i)
					x.apply(bus.SummaryUpdate{Key: task.Key(), Revision: uint64(i + 1), Summary: bus.Summarize(&task)})
				}
				b.ReportMetric(float64(heap()-before)/n, "B/task")
				runtime.KeepAlive(x)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/task")
		})
	}
}

// heap is how much of it is in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// flat returns all entries by key.
func (x *index) flat() map[events.Key]*entry {
	all := map[events.Key]*entry{}
	for e := range x.entries("") {
		all[e.key()] = e
	}
	return all
}

func many(n int) *index {
	tasks := make([]events.Task, n)
	for i := range tasks {
		tasks[i] = waiting(fmt.Sprintf("p%d", i%100), fmt.Sprintf("t%d", i), i)
		tasks[i].SceneID = fmt.Sprint("s", i/100)
		if i%2 == 0 {
			tasks[i].Phase, tasks[i].Status = events.PhaseDone, events.Statuses()[2+i/2%3]
		}
	}
	return filled(tasks...)
}
