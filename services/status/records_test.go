package status

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"reelay/events"
	"reelay/internal/bus"
)

// offline returns a service that is not connected.
func offline(t testing.TB) *Service {
	s, err := New(Options{Bus: &bus.Bus{}, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	must(t, err)
	return s
}

// TestRecordShown: a record with a gap is shown as it would be written anew.
func TestRecordShown(t *testing.T) {
	s := offline(t)
	rapid.Check(t, func(rt *rapid.T) {
		task := drawTask(rt, 1, 0, 20)
		task.Input = json.RawMessage(`{"phase":"running","blocked":{"reason":"x"}}`)
		submitted := time.Now().Add(-time.Minute)
		task.SubmittedAt, task.Logs = &submitted, []events.LogLine{{Message: rapid.String().Draw(rt, "log")}}
		task.Pace = rapid.SampledFrom([]events.Pace{"", events.PaceSlow}).Draw(rt, "pace")
		if rapid.Bool().Draw(rt, "queued at the provider") {
			n := 3
			task.QueuePosition, task.ETA = &events.QueuePosition{Provider: &n}, &submitted
		}
		if rapid.Bool().Draw(rt, "depends") {
			task.WaitsFor = []string{"other"}
		}
		v := s.view(t.Context())
		v.positions[task.Key()] = queuePosition{events.Position{Ahead: 7}, rapid.Bool().Draw(rt, "asked")}
		data, err := events.Marshal(task)
		must(t, err)
		r, err := s.newRecord(bus.Entry{Value: data, Revision: 3})
		must(t, err)
		shown, err := s.appendTo([]byte("x"), r, v)
		must(t, err)
		var got events.Task
		if err := json.Unmarshal(shown[1:], &got); err != nil {
			rt.Fatalf("%v: %s", err, shown)
		}
		s.fillWaiting(&task, v)
		want, err := events.Marshal(task)
		must(t, err)
		again, err := events.Marshal(got)
		must(t, err)
		if string(again) != string(want) && task.ETA == nil {
			rt.Fatalf("shown\n%s\nwant\n%s", again, want)
		}
		if (task.ETA == nil) != (got.ETA == nil) || !reflect.DeepEqual(got.QueuePosition, task.QueuePosition) ||
			got.Pace != task.Pace || got.Logs[0] != task.Logs[0] {
			rt.Fatalf("shown\n%s\nwant\n%s", shown, want)
		}
	})
}

// TestRecordsOfAnotherStream: what is kept of records is not shown for those of a stream that was made anew, in which
// they have the same revisions.
func TestRecordsOfAnotherStream(t *testing.T) {
	inLab(t, Options{}, func(t *testing.T, l *lab) {
		get := func() string {
			return into[events.TaskReply](t, l.ask(nil, events.VerbGet, "a", "x")).Task.SceneID
		}
		write := func(scene string) {
			x := in(waiting("a", "x", 0), events.PhaseDone, events.StatusFailed)
			x.SceneID = scene
			l.put(x)
		}
		write("old")
		if scene := get(); scene != "old" {
			t.Fatal(scene)
		}
		was := l.revision(events.Key{Project: "a", ID: "x"})
		stream, err := l.bus.JetStream().Stream(t.Context(), events.StreamTasks)
		must(t, err)
		must(t, l.bus.JetStream().DeleteStream(t.Context(), events.StreamTasks))
		_, err = l.bus.JetStream().CreateStream(t.Context(), stream.CachedInfo().Config)
		must(t, err)
		<-time.After(time.Minute)
		l.mu.Lock()
		clear(l.revisions)
		l.mu.Unlock()
		write("new")
		if scene, is := get(), l.revision(events.Key{Project: "a", ID: "x"}); scene != "new" || is != was {
			t.Errorf("revision %d of the %s record is shown, want %d of the new one", is, scene, was)
		}
	})
}

// TestRecordCache: what is kept stays within its limit, and what is asked for stays.
func TestRecordCache(t *testing.T) {
	c := newRecordCache(10_000)
	popular := events.Key{Project: "a", ID: "popular"}
	c.put(popular, &record{revision: 7, head: make([]byte, 1000)})
	for i := range 100 {
		k := events.Key{Project: "a", ID: fmt.Sprint(i)}
		c.put(k, &record{revision: 1, head: make([]byte, 1000)})
		if c.get(k, 1) == nil && c.bytes > 0 || c.get(k, 2) != nil {
			t.Fatalf("record %d is not kept, or of another revision", i)
		}
		if c.get(popular, 7) == nil {
			t.Fatalf("what is asked for is forgotten after %d others", i)
		}
		if n := len(c.young) + len(c.old); n > 12 {
			t.Fatalf("%d records are kept", n)
		}
	}
}

// BenchmarkShow is what showing one record takes: as it was done, by reading and writing all of it, read anew, and kept.
func BenchmarkShow(b *testing.B) {
	s := offline(b)
	task := waiting("a", "x", 0)
	submitted := time.Now().Add(-time.Minute)
	task.Phase, task.Status, task.SubmittedAt, task.StartedAt = events.PhaseRunning, events.StatusInProgress, &submitted, &submitted
	task.Input = json.RawMessage(`{"prompt":"` + strings.Repeat("a kite over dunes ", 20) + `"}`)
	data, err := events.Marshal(task)
	must(b, err)
	stored := bus.Entry{Value: data, Revision: 3}
	b.Run("decoded", func(b *testing.B) {
		for b.Loop() {
			t, err := stored.Task()
			must(b, err)
			s.fillWaiting(&t, view{})
			_, err = events.Marshal(events.TaskReply{Task: t})
			must(b, err)
		}
	})
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			r, err := s.newRecord(stored)
			must(b, err)
			_, err = s.appendTo(nil, r, view{})
			must(b, err)
		}
	})
	b.Run("kept", func(b *testing.B) {
		r, err := s.newRecord(stored)
		must(b, err)
		for b.Loop() {
			_, err = s.appendTo(nil, r, view{})
			must(b, err)
		}
	})
}
