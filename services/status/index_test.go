package status

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/dispatch"
)

// filled returns an index of tasks.
func filled(tasks ...events.Task) *index {
	x := newIndex()
	for i, t := range tasks {
		x.apply(bus.Update{Key: t.Key(), Revision: uint64(i + 1), Task: &t})
	}
	x.apply(bus.Update{Ready: true})
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
			if e := newEntry(&task, 0, 0); f.matches(e) {
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
				x.apply(bus.Update{Key: newer.Key(), Task: &newer})
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
		l := dispatch.NewLane(1, nil, now)
		for i := range rapid.IntRange(1, 40).Draw(t, "tasks") {
			task := events.Task{
				ID: fmt.Sprint("t", i), Project: rapid.SampledFrom([]string{"p", "q"}).Draw(t, "project"), Lane: "fal", Version: 1,
				Phase: events.PhaseWaiting, Priority: rapid.IntRange(-3, 3).Draw(t, "priority"),
				CreatedAt: now.Add(-time.Duration(rapid.IntRange(0, 300).Draw(t, "age")) * time.Second),
			}
			x.apply(bus.Update{Key: task.Key(), Task: &task})
			l.See(task.Key(), &task, 0, now)
		}
		listed, sent := map[string][]string{}, map[string][]string{}
		for _, e := range x.lines["fal"] {
			listed[e.key.Project] = append(listed[e.key.Project], e.key.ID)
		}
		for k, ok, _ := l.Next(now, dispatch.Outside{}); ok; k, ok, _ = l.Next(now, dispatch.Outside{}) {
			sent[k.Project] = append(sent[k.Project], k.ID)
		}
		if !maps.EqualFunc(listed, sent, slices.Equal) {
			t.Fatalf("listed %v, sent %v", listed, sent)
		}
	})
}

// TestIndexModel: after any series of changes, lines and entries are what the last record of each task says.
func TestIndexModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, model := newIndex(), map[events.Key]events.Task{}
		for range rapid.IntRange(1, 60).Draw(t, "changes") {
			task := drawTask(t, rapid.IntRange(0, 8).Draw(t, "id"), 0, 3)
			u := bus.Update{Key: task.Key(), Task: &task}
			if model[task.Key()] = task; rapid.IntRange(0, 3).Draw(t, "delete") == 0 {
				u.Task = nil
				delete(model, task.Key())
			}
			x.apply(u)
		}
		lines := map[string][]*entry{}
		for k, task := range model {
			e := newEntry(&task, 0, 0)
			if got := x.get(k); got == nil || !reflect.DeepEqual(got, e) {
				t.Fatalf("entry %+v, want %+v", got, e)
			}
			if task.Phase == events.PhaseWaiting {
				lines[task.Lane] = append(lines[task.Lane], e)
			}
		}
		if x.size() != len(model) || len(x.lines) != len(lines) {
			t.Fatalf("%d entries in %d lines, want %d in %d", x.size(), len(x.lines), len(model), len(lines))
		}
		for _, line := range lines {
			slices.SortFunc(line, inSendingOrder)
			for i, e := range line {
				if ours, ok := x.estimatePosition(e.key); ours != i || !ok {
					t.Fatalf("%v is %d (%v), want %d", e.key, ours, ok, i)
				}
			}
		}
	})
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

func mustCursor(t *testing.T, s string) cursor {
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
		watch := func(ctx context.Context, apply func(bus.Update)) error {
			if begun = append(begun, time.Now()); len(begun)%4 != 1 { // three failures between two good watches
				return broken
			}
			ctx, cancel := context.WithCancelCause(ctx)
			defer cancel(nil)
			cut.Store(&cancel)
			if err := l.bus.WatchTasks(ctx, apply); err != nil {
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
		if len(x.lines["fal"]) != 1 {
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
			x.apply(bus.Update{Key: task.Key(), Task: &task})
		}
		x.apply(bus.Update{Key: k}) // deleted
		synctest.Wait()
		if len(got) != 0 {
			t.Fatalf("answered by %+v", <-got)
		}
		done := in(waiting("a", "x", 0), events.PhaseDone, events.StatusCompleted)
		x.apply(bus.Update{Key: k, Task: &done, Revision: 7})
		for range 3 {
			if e := <-got; e == nil || e.revision != 7 {
				t.Errorf("got %+v", e)
			}
		}
		many := func(*entry) bool { // changes that come faster than a waiter looks
			for range 3 {
				x.apply(bus.Update{Key: k, Task: &done, Revision: 8})
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

func BenchmarkList(b *testing.B) {
	x := many(10_000)
	for _, bb := range []struct {
		name string
		f    filter
	}{
		{"all", filter{}},
		{"project", filter{project: "p7"}},
		{"status", filter{ListRequest: events.ListRequest{Status: []events.Status{events.StatusFailed}}}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			for b.Loop() {
				if page := x.page(bb.f, events.DefaultListLimit+1); len(page) != events.DefaultListLimit+1 {
					b.Fatal(len(page))
				}
			}
		})
	}
}

func BenchmarkQueue(b *testing.B) {
	x, now := many(10_000), epoch(20_000)
	for b.Loop() {
		if q := x.queue("", nil, now); q.Total != 10_000 {
			b.Fatal(q.Total)
		}
	}
}

func many(n int) *index {
	tasks := make([]events.Task, n)
	for i := range tasks {
		tasks[i] = waiting(fmt.Sprintf("p%d", i%100), fmt.Sprintf("t%d", i), i)
		if i%2 == 0 {
			tasks[i].Phase, tasks[i].Status = events.PhaseDone, events.Statuses()[2+i/2%3]
		}
	}
	return filled(tasks...)
}
