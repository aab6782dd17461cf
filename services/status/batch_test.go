package status

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"reelay/events"
	"reelay/internal/bus"
)

// of returns t as one of a batch, whose request said how many there are.
func of(t events.Task, batch string, size int) events.Task {
	t.BatchID, t.BatchSize = batch, size
	return t
}

// batchEvents counts what is stored of batch_done, and heard.
func (l *lab) batchEvents(k events.Key) int {
	l.t.Helper()
	s, err := l.bus.JetStream().Stream(context.Background(), events.StreamEvents)
	must(l.t, err)
	subject := events.EventSubject(k, events.EventBatchDone)
	info, err := s.Info(context.Background(), jetstream.WithSubjectFilter(subject))
	must(l.t, err)
	return int(info.State.Subjects[subject])
}

// replica starts another status service and returns what stops it; the end of the test does as well.
func (l *lab) replica() (stop func()) {
	l.t.Helper()
	s, err := New(Options{Bus: l.bus, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	must(l.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			l.t.Error(err)
		}
	})
	l.t.Cleanup(stop)
	l.until("the replica is ready", s.Ready)
	return stop
}

// TestBatch follows a batch from its first task to its end, with two replicas and a restart of each.
func TestBatch(t *testing.T) {
	inLab(t, Options{}, func(t *testing.T, l *lab) {
		k := events.Key{Project: "a", ID: "film"}
		heard := make(chan *nats.Msg, 10)
		_, err := l.client.ChanSubscribe(events.EventSubject(k, events.EventBatchDone), heard)
		must(t, err)
		synctest.Wait()
		stop := l.replica()
		done := func(id string, s events.Status, usd float64) events.Task {
			return of(paid(in(waiting("a", id, 1), events.PhaseDone, s), attempt(1, epoch(2), usd)), "film", 0)
		}
		wantProblem(t, l.ask(nil, events.VerbBatch, "a", "film"), "404 not_found ")
		wantProblem(t, l.ask(nil, events.VerbBatch, "a", "fi+lm"), "400 invalid_request batch")
		want := func(announced, total, ended, stored int, usd float64) {
			t.Helper()
			synctest.Wait()
			b := into[events.Batch](t, l.ask(nil, events.VerbBatch, "a", "film"))
			if b.Announced != announced || b.Total != total || b.Ended != ended || b.CostUSD != usd ||
				len(b.ByStatus) != len(events.Statuses()) {
				t.Errorf("got %+v, want %d announced, %d in all, %d ended, %v USD", b, announced, total, ended, usd)
			}
			if n := l.batchEvents(k); n != stored {
				t.Errorf("batch_done is stored %d times, want %d", n, stored)
			}
		}
		l.put(of(waiting("a", "1", 1), "film", 0), of(waiting("b", "1", 1), "film", 1), waiting("a", "other", 1))
		want(0, 1, 0, 0, 0)
		l.put(done("1", events.StatusCompleted, 0.3))
		want(0, 1, 1, 0, 0.3) // nobody has said how many there will be
		l.put(of(waiting("a", "2", 1), "film", 2), of(waiting("a", "3", 1), "film", 3))
		want(3, 3, 1, 0, 0.3)
		l.put(done("2", events.StatusFailed, 0.1))
		want(2+1, 3, 2, 0, 0.4)
		stop() // a replica that was not there when the batch ended
		l.put(done("3", events.StatusCancelled, 0))
		l.until("it is announced", func() bool { return l.batchEvents(k) == 1 })
		m := <-heard
		e, err := events.DecodeEvent(m.Header.Get(events.HeaderType), m.Data)
		must(t, err)
		if e.Batch == nil || !e.Batch.Done() || e.Batch.ID != "film" || e.Key() != k || e.Time.IsZero() {
			t.Errorf("%s: %+v", m.Data, e.Batch)
		}
		for range 2 {
			stop := l.replica() // each publishes it again
			time.Sleep(time.Second)
			stop()
		}
		late := done("3", events.StatusCancelled, 0.5)
		l.put(late)
		time.Sleep(time.Minute)
		want(3, 3, 3, 1, 0.9)
		if len(heard) != 0 {
			t.Errorf("heard %d times more", len(heard))
		}
		for id := range 3 {
			l.delete(events.Key{Project: "a", ID: string(rune('1' + id))})
		}
		wantProblem(t, l.ask(nil, events.VerbBatch, "a", "film"), "404 not_found ")
		if r := into[events.ListReply](t, l.ask(`{"batch_id":"film"}`, events.VerbList)); len(r.Tasks) != 1 ||
			r.Tasks[0].Project != "b" {
			t.Errorf("listed: %+v", r.Tasks)
		}
	})
}

// TestBatchAfterItsEvents: batch_done comes when the terminal event of each task is stored, or was and has left the
// stream.
func TestBatchAfterItsEvents(t *testing.T) {
	inLab(t, Options{}, func(t *testing.T, l *lab) {
		must(t, l.bus.Publish(t.Context(), events.Event{Type: events.EventQueued, Project: "a", TaskID: "1", Once: true}))
		l.untold = true
		k, other := events.Key{Project: "a", ID: "film"}, events.Key{Project: "a", ID: "other"}
		last := ended("2", "film", 2)
		l.put(ended("1", "film", 0), ended("3", "other", 1), last)
		want := func(what string, batch events.Key, n int) {
			t.Helper()
			time.Sleep(time.Minute)
			if got := l.batchEvents(batch); got != n {
				t.Errorf("%s: batch_done is stored %d times, want %d", what, got, n)
			}
		}
		want("no event is stored", k, 0)
		l.tell(last)
		want("one of two is stored", k, 0)
		l.tell(ended("1", "film", 0))
		want("both are stored", k, 1)

		want("another batch waits", other, 0)
		stream, err := l.bus.JetStream().Stream(t.Context(), events.StreamEvents)
		must(t, err)
		must(t, stream.Purge(t.Context()))
		l.tell(ended("4", "", 0))
		want("what was stored by then is gone", other, 1)

		lost := events.Key{Project: "a", ID: "lost"}
		l.put(ended("5", "lost", 1))
		want("its event may still come", lost, 0)
		time.Sleep(endGrace)
		want("its event was lost", lost, 1)
	})
}

// TestBatchNobodySaw: a batch whose last task ended while no status service ran is announced by the next one; one that
// ended so long ago that its event is leaving the stream is not announced a second time.
func TestBatchNobodySaw(t *testing.T) {
	inLab(t, Options{}, func(t *testing.T, l *lab) {
		l.stop()
		must(t, <-l.done)
		l.done <- nil
		old := of(in(waiting("a", "1", 1), events.PhaseDone, events.StatusCompleted), "old", 1)
		*old.CompletedAt = time.Now().Add(-maxBatchAge - time.Minute)
		l.write(old)
		l.write(of(in(waiting("a", "2", 1), events.PhaseDone, events.StatusCompleted), "new", 1))
		// Seen in part, this batch would look done.
		l.write(of(in(waiting("a", "3", 1), events.PhaseDone, events.StatusCompleted), "part", 1))
		l.write(of(waiting("a", "4", 1), "part", 2))
		defer l.replica()()
		time.Sleep(time.Minute)
		for id, want := range map[string]int{"old": 0, "new": 1, "part": 0} {
			if n := l.batchEvents(events.Key{Project: "a", ID: id}); n != want {
				t.Errorf("batch %s is announced %d times, want %d", id, n, want)
			}
		}
	})
}

// TestBatchSeenInPart: as long as the index does not have all records, no batch is taken to be done.
func TestBatchSeenInPart(t *testing.T) {
	x := newIndex()
	see := func(task events.Task) { x.apply(bus.SummaryUpdate{Key: task.Key(), Summary: bus.Summarize(&task)}) }
	see(of(in(waiting("a", "1", 1), events.PhaseDone, events.StatusCompleted), "part", 1))
	see(of(in(waiting("a", "2", 1), events.PhaseDone, events.StatusCompleted), "whole", 1))
	if got := x.doneBatches(time.Now()); len(got) != 0 {
		t.Errorf("announced too early: %+v", got)
	}
	see(of(waiting("a", "3", 1), "part", 2))
	x.apply(bus.SummaryUpdate{Ready: true})
	if got := x.doneBatches(time.Now()); len(got) != 0 {
		t.Errorf("announced before the rejections are known: %+v", got)
	}
	x.reject(nil)
	if got := x.doneBatches(time.Now()); len(got) != 1 || got[0].Batch.ID != "whole" || !got[0].Once {
		t.Errorf("announced: %+v", got)
	}
}

// TestBatchModel: after any series of changes a tally is what counting the records anew gives, but for the announced
// number, which never sinks while the batch has a task.
func TestBatchModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, model := newIndex(), map[events.Key]events.Task{}
		for range rapid.IntRange(1, 60).Draw(t, "changes") {
			task := drawTask(t, rapid.IntRange(0, 8).Draw(t, "id"), 0, 3)
			task.BatchID = rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "batch")
			if task.BatchID != "" {
				task.BatchSize = rapid.IntRange(0, 3).Draw(t, "size")
			}
			task.Attempts = []events.Attempt{attempt(1, epoch(0), float64(rapid.IntRange(-1, 9).Draw(t, "usd")))}
			u := bus.SummaryUpdate{Key: task.Key(), Summary: bus.Summarize(&task)}
			if model[task.Key()] = task; rapid.IntRange(0, 3).Draw(t, "delete") == 0 {
				u.Summary = nil
				delete(model, task.Key())
			}
			x.apply(u)
		}
		fresh := newBatches()
		for _, task := range model {
			fresh.replace(nil, entryOf(&task, 0))
		}
		if len(x.batches.all) != len(fresh.all) {
			t.Fatalf("%d batches, want %d", len(x.batches.all), len(fresh.all))
		}
		for k, want := range fresh.all {
			got, ok := x.batch(k)
			w := want.batch(k)
			if !ok || got.Total != w.Total || got.Ended != w.Ended || got.CostUSD != w.CostUSD || got.Announced < w.Announced {
				t.Fatalf("%s: got %+v, want %+v", k, got, w)
			}
			for s, n := range w.ByStatus {
				if got.ByStatus[s] != n {
					t.Fatalf("%s: got %v, want %v", k, got.ByStatus, w.ByStatus)
				}
			}
		}
	})
}
