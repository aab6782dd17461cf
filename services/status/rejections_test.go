package status

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/test/long"
)

// lose publishes what the submitter does of a rejected request that names a batch of project a.
func (l *lab) lose(id, batch string, size int) {
	l.t.Helper()
	must(l.t, l.bus.Publish(context.Background(), events.Event{
		Type: events.EventRejected, Project: "a", TaskID: id, Time: time.Now(), RequestDigest: fmt.Sprint(batch, size),
		BatchID: batch, BatchSize: size, Error: &events.Error{Code: events.CodeInvalidRequest},
	}))
	synctest.Wait()
}

// ended returns a task of a batch that has.
func ended(id, batch string, size int) events.Task {
	return of(in(waiting("a", id, 1), events.PhaseDone, events.StatusCompleted), batch, size)
}

// TestBatchRejectedLong: requests that were rejected count for the end of their batch, once per task, unless the task is
// there.
func TestBatchRejectedLong(t *testing.T) {
	long.Only(t)
	inLab(t, Options{}, func(t *testing.T, l *lab) {
		for i, row := range []struct {
			name string
			do   func(batch string)
			want events.Batch // of counts only
			done bool
		}{
			{"one of three", func(b string) {
				l.put(ended(b+"1", b, 3), ended(b+"2", b, 0))
				l.lose(b+"3", b, 0)
			}, events.Batch{Announced: 3, Total: 2, Ended: 2, Rejected: 1}, true},
			{"one of three while one runs", func(b string) {
				l.put(ended(b+"1", b, 3), of(waiting("a", b+"2", 1), b, 0))
				l.lose(b+"3", b, 0)
			}, events.Batch{Announced: 3, Total: 2, Ended: 1, Rejected: 1}, false},
			{"all of them, of which one has told the number", func(b string) {
				l.lose(b+"1", b, 0)
				l.lose(b+"2", b, 2)
			}, events.Batch{Announced: 2, Rejected: 2}, true},
			{"nobody has told the number", func(b string) { l.lose(b+"1", b, 0) }, events.Batch{Rejected: 1}, false},
			{"the number is told by a request that is lost", func(b string) {
				l.lose(b+"3", b, 3)
				l.put(ended(b+"1", b, 0), ended(b+"2", b, 2))
			}, events.Batch{Announced: 3, Total: 2, Ended: 2, Rejected: 1}, true},
			{"the same twice, hours apart", func(b string) {
				l.put(ended(b+"1", b, 3))
				l.lose(b+"2", b, 0)
				time.Sleep(time.Hour)
				l.lose(b+"2", b, 0)
				l.lose(b+"2", b, 1) // with another body
			}, events.Batch{Announced: 3, Total: 1, Ended: 1, Rejected: 1}, false},
			{"corrected, and accepted", func(b string) {
				l.lose(b+"1", b, 2)
				l.put(of(waiting("a", b+"1", 1), b, 2))
				l.put(ended(b+"1", b, 2))
			}, events.Batch{Announced: 2, Total: 1, Ended: 1}, false},
			{"corrected, and the last to end", func(b string) {
				l.put(ended(b+"2", b, 2), of(waiting("a", b+"1", 1), b, 2))
				l.lose(b+"1", b, 2)
				l.put(ended(b+"1", b, 2))
			}, events.Batch{Announced: 2, Total: 2, Ended: 2}, true},
			{"refused for a task that is there", func(b string) {
				l.put(of(waiting("a", b+"1", 1), b, 1))
				l.lose(b+"1", b, 1)
			}, events.Batch{Announced: 1, Total: 1}, false},
			{"the id belongs to a task of another batch", func(b string) {
				l.put(ended(b+"1", "", 0), ended(b+"2", b, 2))
				l.lose(b+"1", b, 2)
			}, events.Batch{Announced: 2, Total: 1, Ended: 1, Rejected: 1}, true},
			{"an id of another project", func(b string) {
				other := ended(b+"1", b, 0)
				other.Project = "b"
				l.put(other)
				l.lose(b+"1", b, 2)
			}, events.Batch{Announced: 2, Rejected: 1}, false},
		} {
			k := events.Key{Project: "a", ID: fmt.Sprint("b", i, "-")}
			row.do(k.ID)
			time.Sleep(time.Second)
			b := into[events.Batch](t, l.ask(nil, events.VerbBatch, "a", k.ID))
			if b.Announced != row.want.Announced || b.Total != row.want.Total || b.Ended != row.want.Ended ||
				b.Rejected != row.want.Rejected {
				t.Errorf("%s: %+v, want %+v", row.name, b, row.want)
			}
			if got := l.batchEvents(k) == 1; got != row.done || b.Done() != row.done {
				t.Errorf("%s: announced %v, done %v, want %v", row.name, got, b.Done(), row.done)
			}
		}
	})
}

// TestBatchRejectedReplicas: however many replicas see it, and see it again when they start, one event tells of the
// batch, the first, also after more has happened. It has a number for every status.
func TestBatchRejectedReplicas(t *testing.T) {
	inLabAt(t, time.Now().Round(0), Options{}, func(t *testing.T, l *lab) {
		l.replica()
		k := events.Key{Project: "a", ID: "film"}
		l.put(ended("1", "film", 3), ended("2", "film", 0))
		l.lose("3", "film", 0)
		l.until("it is announced", func() bool { return l.batchEvents(k) == 1 })
		l.lose("4", "film", 0)
		l.put(ended("3", "film", 3)) // corrected
		for range 2 {
			stop := l.replica()
			time.Sleep(time.Minute)
			stop()
		}
		if n := l.batchEvents(k); n != 1 {
			t.Fatalf("announced %d times", n)
		}
		stream, err := l.bus.JetStream().Stream(t.Context(), events.StreamEvents)
		must(t, err)
		m, err := stream.GetLastMsgForSubject(t.Context(), events.EventSubject(k, events.EventBatchDone))
		must(t, err)
		e, err := events.DecodeEvent(m.Header.Get(events.HeaderType), m.Data)
		must(t, err)
		if b := e.Batch; b.Ended != 2 || b.Rejected != 1 || len(b.ByStatus) != len(events.Statuses()) ||
			b.ByStatus[events.StatusCompleted] != 2 {
			t.Errorf("told of %+v", b)
		}
	})
}

// TestBatchRejectedNobodySaw: what was rejected and ended while no status service ran is known to the next one before
// it announces.
func TestBatchRejectedNobodySaw(t *testing.T) {
	inLabAt(t, time.Now().Round(0), Options{}, func(t *testing.T, l *lab) {
		l.stop()
		must(t, <-l.done)
		l.done <- nil
		l.write(ended("1", "done", 2))
		l.lose("2", "done", 0)
		l.write(ended("3", "more", 1))
		l.lose("4", "more", 3) // without it, the batch would look done
		l.lose("5", "all", 1)
		for range 2 {
			stop := l.replica()
			time.Sleep(time.Minute)
			for id, want := range map[string]int{"done": 1, "more": 0, "all": 1} {
				if n := l.batchEvents(events.Key{Project: "a", ID: id}); n != want {
					t.Errorf("batch %s is announced %d times, want %d", id, n, want)
				}
			}
			stop()
		}
	})
}

// TestBatchAnsweredWhole: a service that starts answers once it knows all rejections.
func TestBatchAnsweredWhole(t *testing.T) {
	inLab(t, Options{}, func(t *testing.T, l *lab) {
		l.stop()
		must(t, <-l.done)
		l.done <- nil
		const many = 3_000
		all := make([]events.Event, 0, many)
		for i := range many {
			all = append(all, *lost(fmt.Sprint(i), "film", 0, time.Now()))
		}
		must(t, l.bus.Publish(t.Context(), all...))
		s, err := New(Options{Bus: l.bus, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
		must(t, err)
		done := make(chan error, 1)
		ctx, stop := context.WithCancel(t.Context())
		defer func() {
			stop()
			must(t, <-done)
		}()
		go func() { done <- s.Run(ctx) }()
		var a answer
		for range 1_000_000 { // not a moment later than it can
			if a = l.ask(nil, events.VerbBatch, "a", "film"); a.err == nil {
				break
			}
		}
		if b := into[events.Batch](t, a); b.Rejected != many {
			t.Errorf("the first answer tells of %d rejected of %d", b.Rejected, many)
		}
	})
}

// TestRejectionsLapseLong: a running service forgets a rejection when its event has left the stream.
func TestRejectionsLapseLong(t *testing.T) {
	long.Only(t)
	inLabAt(t, time.Now().Round(0), Options{}, func(t *testing.T, l *lab) {
		l.put(of(waiting("a", "1", 1), "film", 3))
		must(t, l.bus.Publish(t.Context(), *lost("2", "film", 0, time.Now().Add(90*time.Minute-events.RejectedAge)),
			*lost("3", "film", 0, time.Now())))
		for _, want := range []int{2, 2, 1} {
			time.Sleep(time.Minute)
			if b := into[events.Batch](t, l.ask(nil, events.VerbBatch, "a", "film")); b.Rejected != want {
				t.Errorf("%d rejected, want %d", b.Rejected, want)
			}
			time.Sleep(time.Hour)
		}
	})
}

// lost is a rejected event.
func lost(id, batch string, size int, at time.Time) *events.Event {
	return &events.Event{Type: events.EventRejected, Project: "a", TaskID: id, Time: at, BatchID: batch, BatchSize: size}
}

// TestRejectionsBounded: the oldest are forgotten, by number and by age, and their batches with them; hearing all again
// changes nothing.
func TestRejectionsBounded(t *testing.T) {
	x := filled(waiting("a", "task", 0))
	all := []*events.Event{
		lost("of none", "", 0, epoch(0)), lost("first", "old", 9, epoch(0)),
		lost("first", "old", 9, epoch(0)),
	}
	for i := range maxRejections {
		all = append(all, lost(fmt.Sprint(i), "new", 0, epoch(i)))
	}
	for again := range 2 {
		forgot := 0
		for _, e := range all {
			if x.reject(e) {
				forgot++
			}
		}
		x.reject(nil)
		b, _ := x.batch(events.Key{Project: "a", ID: "new"})
		_, old := x.batch(events.Key{Project: "a", ID: "old"})
		if b.Rejected != maxRejections || old || x.batches.remembered != maxRejections {
			t.Errorf("%d rejections of %d are counted, the oldest: %v", b.Rejected, x.batches.remembered, old)
		}
		if again == 0 && forgot != 1 {
			t.Errorf("%d forgotten", forgot)
		}
	}
	x.forgetRejections(epoch(maxRejections - 2))
	if b, _ := x.batch(events.Key{Project: "a", ID: "new"}); b.Rejected != 2 {
		t.Errorf("%d rejections are left, want the 2 newest", b.Rejected)
	}
	x.forgetRejections(epoch(maxRejections))
	if len(x.batches.all) != 0 || len(x.batches.rejections) != 0 || x.batches.remembered != 0 {
		t.Errorf("left: %v %v", x.batches.all, x.batches.rejections)
	}
}

// TestRejectionsOfOthers: however many requests of a project are rejected, what others have lost is not forgotten.
func TestRejectionsOfOthers(t *testing.T) {
	x := filled()
	few := lost("first", "few", 9, epoch(0))
	few.Project = "b"
	for range 2 {
		x.reject(few)
		for i := range 2 * maxRejections {
			x.reject(lost(fmt.Sprint(i), "many", 0, epoch(i)))
		}
		b, _ := x.batch(events.Key{Project: "b", ID: "few"})
		a, _ := x.batch(events.Key{Project: "a", ID: "many"})
		if b.Rejected != 1 || a.Rejected != maxRejections-1 {
			t.Errorf("%d and %d rejections are remembered", b.Rejected, a.Rejected)
		}
	}
}

// TestRejectionsModel: after any series of records, removals, rejections and lapses of memory, what is lost of a batch
// is what counting anew gives, and a batch that is done is about to be announced.
func TestRejectionsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := filled()
		x.reject(nil)
		tasks, remembered := map[string]events.Task{}, []*events.Event{}
		for step := range rapid.IntRange(1, 60).Draw(t, "steps") {
			id := fmt.Sprint(rapid.IntRange(0, 5).Draw(t, "id"))
			batch := rapid.SampledFrom([]string{"x", "y", ""}).Draw(t, "batch")
			size := rapid.IntRange(0, 4).Draw(t, "size")
			switch rapid.IntRange(0, 4).Draw(t, "what") {
			case 0, 1:
				task := of(waiting("a", id, 0), batch, size)
				if rapid.Bool().Draw(t, "ended") {
					task = ended(id, batch, size)
				}
				tasks[id] = task
				x.apply(bus.SummaryUpdate{Key: task.Key(), Summary: bus.Summarize(&task)})
			case 2:
				delete(tasks, id)
				x.apply(bus.SummaryUpdate{Key: events.Key{Project: "a", ID: id}})
			case 3:
				x.reject(lost(id, batch, size, epoch(step)))
				known := batch == ""
				for _, e := range remembered {
					known = known || e.TaskID == id && e.BatchID == batch
				}
				if !known {
					remembered = append(remembered, lost(id, batch, size, epoch(step)))
				}
			case 4:
				if len(remembered) > 0 {
					x.forgetRejections(remembered[0].Time.Add(1))
					remembered = remembered[1:]
				}
			}
		}
		for _, batch := range []string{"x", "y"} {
			k, want, of := events.Key{Project: "a", ID: batch}, 0, 0
			for _, e := range remembered {
				if e.BatchID == batch {
					of++
					if tasks[e.TaskID].BatchID != batch {
						want++
					}
				}
			}
			total, over := 0, 0
			for _, task := range tasks {
				if task.BatchID == batch {
					total++
					if task.Status.Terminal() {
						over++
					}
				}
			}
			b, ok := x.batch(k)
			if ok != (total+of > 0) || b.Rejected != want || b.Total != total || b.Ended != over {
				t.Fatalf("%s: %+v %v, want %d rejected, %d of %d ended", batch, b, ok, want, over, total)
			}
			if _, ripe := x.batches.unpublished[k]; b.Done() && !ripe {
				t.Fatalf("%s is done and not about to be announced: %+v", batch, b)
			}
		}
	})
}
