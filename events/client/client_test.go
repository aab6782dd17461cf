package client

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/internal/bus"
	"reelay/internal/test/broker"
)

func TestMain(m *testing.M) { broker.Main(m) }

// A bench is a broker, a place for services that answer as a test wants, and a client.
type bench struct {
	*broker.Broker
	*Client
	mu    sync.Mutex
	asked []string
}

// on calls f with a new bench in a bubble.
func on(t *testing.T, f func(b *bench)) {
	broker.Run(t, func(b *broker.Broker) { f(&bench{Broker: b, Client: New(b.Connect())}) })
}

// heard returns what services were asked, as "<subject> <payload>".
func (b *bench) heard() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.asked
}

// answer lets f answer a verb; it returns a reply, or an events.Error for a refusal. A nil reply is silence.
func (b *bench) answer(v events.Verb, f func() any) {
	b.Helper()
	nc := b.Connect()
	handle := func(m *nats.Msg) {
		b.mu.Lock()
		b.asked = append(b.asked, m.Subject+" "+string(m.Data))
		b.mu.Unlock()
		reply := f()
		if reply == nil {
			return
		}
		out := nats.NewMsg(m.Reply)
		if refused, ok := reply.(events.Error); ok {
			out.Header.Set(micro.ErrorHeader, refused.Message)
			out.Header.Set(micro.ErrorCodeHeader, "404")
			if refused.Code == events.CodeUnavailable {
				out.Header.Set(micro.ErrorCodeHeader, "503")
			}
			reply = events.ErrorReply{Error: refused}
		}
		var err error
		out.Data, err = events.Marshal(reply)
		b.OK(errors.Join(err, m.RespondMsg(out)))
	}
	for _, subject := range []string{events.APISubject(v), events.APISubject(v, ">")} {
		_, err := nc.Subscribe(subject, handle)
		b.OK(err)
	}
	b.OK(nc.Flush())
}

// aTask is a task in a phase.
func aTask(version uint64, p events.Phase) events.Task {
	t := events.Task{ID: "t1", Project: "demo", Status: events.StatusInProgress, Phase: p, Version: version}
	if p == events.PhaseDone {
		t.Status = events.StatusCompleted
	}
	return t
}

func event(t events.Task, kind events.EventType) events.Event {
	e := events.Event{Type: kind, Project: t.Project, TaskID: t.ID, Version: t.Version, Status: t.Status, Phase: t.Phase}
	if kind.WithTask() {
		e.Task = &t
	}
	return e
}

// TestWaitSurvivesTrouble gets two refusals, then the end.
func TestWaitSurvivesTrouble(t *testing.T) {
	on(t, func(b *bench) {
		asked := 0
		b.answer(events.VerbWait, func() any {
			if asked++; asked <= 2 {
				return events.Error{Code: events.CodeUnavailable, Message: "starting"}
			}
			return events.TaskReply{Task: aTask(2, events.PhaseDone)}
		})
		var trouble []string
		task, err := b.Watch(b.Context(), aTask(1, events.PhaseWaiting), nil,
			Watcher{Trouble: func(err error) { trouble = append(trouble, err.Error()) }})
		if err != nil || task.Status != events.StatusCompleted {
			t.Errorf("got %v, %v", task.Status, err)
		}
		if len(trouble) != 1 || !strings.Contains(trouble[0], "starting") {
			t.Errorf("trouble: %q", trouble)
		}
	})
}

// TestWaitForUnknownTask gives the read side time to see a task, but not for ever.
func TestWaitForUnknownTask(t *testing.T) {
	on(t, func(b *bench) {
		b.answer(events.VerbWait, func() any { return events.Error{Code: events.CodeNotFound, Message: "no task"} })
		begin := time.Now()
		_, err := b.Wait(b.Context(), events.Key{Project: "demo", ID: "t1"})
		var refused *Error
		if !errors.As(err, &refused) || refused.Status != 404 || !HasCode(err, events.CodeNotFound) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(begin); took < maxUnknown || took > maxUnknown+5*time.Second {
			t.Errorf("gave up after %v, want about %v", took, maxUnknown)
		}
	})
}

// TestWaitIsRefused: what no later answer can mend ends a wait, and no time at all is one question.
func TestWaitIsRefused(t *testing.T) {
	on(t, func(b *bench) {
		var field *events.FieldError
		if _, err := b.Wait(b.Context(), events.Key{Project: "demo", ID: "a.b"}); !errors.As(err, &field) {
			t.Errorf("an id that is none: %v", err)
		}
		b.answer(events.VerbWait, func() any {
			return events.Error{Code: events.CodeInvalidRequest, Message: "too long"}
		})
		k := events.Key{Project: "demo", ID: "t1"}
		if _, err := b.Wait(b.Context(), k); !HasCode(err, events.CodeInvalidRequest) {
			t.Errorf("refused: %v", err)
		}
		b.answer(events.VerbGet, func() any { return events.TaskReply{Task: aTask(1, events.PhaseWaiting)} })
		begin := time.Now()
		task, err := b.WaitFor(b.Context(), k, 0)
		if err != nil || task.Phase != events.PhaseWaiting || time.Since(begin) > time.Second {
			t.Errorf("no time at all: %s, %v after %v", task.Phase, err, time.Since(begin))
		}
	})
}

// TestWatchNeverGoesBack hears of another task and of an older state, which must not be shown.
func TestWatchNeverGoesBack(t *testing.T) {
	on(t, func(b *bench) {
		b.answer(events.VerbWait, func() any { return nil })
		other := aTask(9, events.PhaseDone)
		other.ID = "t2"
		stream := make(chan events.Event, 4)
		for _, e := range []events.Event{
			event(aTask(3, events.PhaseRunning), events.EventProgress), event(aTask(1, events.PhaseWaiting), events.EventQueued),
			event(other, events.EventCompleted), event(aTask(4, events.PhaseDone), events.EventCompleted),
		} {
			stream <- e
		}
		var heard, shown []string
		task, err := b.Watch(b.Context(), aTask(2, events.PhaseWaiting), stream, Watcher{
			Event: func(e events.Event) { heard = append(heard, e.TaskID+" "+string(e.Type)) },
			Task:  func(t events.Task) { shown = append(shown, t.ID+" "+string(t.Phase)) },
		})
		if err != nil || task.Version != 4 {
			t.Errorf("got version %d, %v", task.Version, err)
		}
		if got := strings.Join(heard, ", "); got != "t1 progress, t1 queued, t1 completed" {
			t.Errorf("heard %s", got)
		}
		if got := strings.Join(shown, ", "); got != "t1 running, t1 done" {
			t.Errorf("shown %s", got)
		}
	})
}

// TestWatchOfUnknownTask: of a task whose record is not known, an event shows nothing until it brings the record.
func TestWatchOfUnknownTask(t *testing.T) {
	on(t, func(b *bench) {
		b.answer(events.VerbWait, func() any { return nil })
		stream := make(chan events.Event, 2)
		stream <- event(aTask(3, events.PhaseRunning), events.EventProgress)
		stream <- event(aTask(4, events.PhaseDone), events.EventCompleted)
		var shown []string
		_, err := b.Watch(b.Context(), events.Task{ID: "t1", Project: "demo"}, stream, Watcher{
			Task: func(t events.Task) { shown = append(shown, string(t.Phase)) },
		})
		if got := strings.Join(shown, ", "); err != nil || got != "done" {
			t.Errorf("shown %s, %v", got, err)
		}
	})
}

// TestNoAnswer tells silence from absence: after silence a paid request may have been taken.
func TestNoAnswer(t *testing.T) {
	on(t, func(b *bench) {
		b.answer(events.VerbQueue, func() any { return nil })
		begin := time.Now()
		if _, err := b.Queue(b.Context(), ""); !errors.Is(err, ErrNoAnswer) || time.Since(begin) != AnswerTimeout {
			t.Errorf("silence: %v after %v", err, time.Since(begin))
		}
		ctx, cancel := context.WithTimeout(b.Context(), time.Second)
		defer cancel()
		begin = time.Now()
		if _, err := b.Queue(ctx, "demo"); !errors.Is(err, ErrNoAnswer) || !errors.Is(err, context.DeadlineExceeded) ||
			time.Since(begin) != time.Second {
			t.Errorf("a deadline of the caller: %v after %v", err, time.Since(begin))
		}
		if _, err := b.List(b.Context(), "", events.ListRequest{}); !errors.Is(err, ErrNoService) {
			t.Errorf("nobody there: %v", err)
		}
	})
}

// TestRefusals: whatever a service says, its words and its number arrive.
func TestRefusals(t *testing.T) {
	for _, row := range []struct {
		reason events.Error
		want   string
	}{
		{
			events.Error{Code: events.CodeInvalidRequest, Field: "model", Message: "no such model"},
			"model: no such model (invalid_request)",
		},
		{
			events.Error{Code: events.CodeUnknownProvider, Field: "provider", Message: "provider: unknown"},
			"provider: unknown (unknown_provider)",
		},
	} {
		if got := (&Error{400, row.reason}).Error(); got != row.want {
			t.Errorf("%s, want %s", got, row.want)
		}
	}
	m := nats.NewMsg("reply")
	m.Header.Set(micro.ErrorCodeHeader, "500")
	m.Header.Set(micro.ErrorHeader, "out of order")
	if got, want := refusal(m).Error(), "out of order (500)"; got != want {
		t.Errorf("a service of another kind: %s, want %s", got, want)
	}
}

// TestSubmitChecks: a request that is wrong in itself is not sent.
func TestSubmitChecks(t *testing.T) {
	on(t, func(b *bench) {
		b.answer(events.VerbSubmit, func() any { return events.TaskReply{Task: aTask(1, events.PhaseWaiting)} })
		r := events.Request{ID: "t1", Provider: "fal", Model: "m", Input: []byte(`{}`)}
		if _, err := b.Submit(b.Context(), "demo", events.Video, r); err != nil {
			t.Error(err)
		}
		r.Priority = 1_000
		if _, err := b.Submit(b.Context(), "demo", events.Video, r); !errors.Is(err, events.ErrInvalid) {
			t.Errorf("a priority of 1000: %v", err)
		}
		r.Priority, r.Input = 0, []byte(`{"a":"`+strings.Repeat("x", events.MaxRequestBytes)+`"}`)
		if _, err := b.Submit(b.Context(), "demo", events.Video, r); !errors.Is(err, events.ErrInvalid) {
			t.Errorf("a large input: %v", err)
		}
		if n := len(b.heard()); n != 1 {
			t.Errorf("%d requests were sent", n)
		}
	})
}

// TestFollow: an event is handled again until its handler has succeeded, across calls and processes of one durable.
func TestFollow(t *testing.T) {
	on(t, func(b *bench) {
		on := b.Open(bus.Options{})
		ctx, cancel := context.WithCancel(b.Context())
		defer cancel()
		follow := func(stopAt string, err error) (handled []string, got error) {
			got = b.Follow(ctx, "archive", events.EventFilter(events.EventCompleted),
				func(_ context.Context, e events.Event) error {
					handled = append(handled, e.TaskID)
					if e.TaskID == stopAt {
						return err
					}
					return nil
				})
			return handled, got
		}
		for _, id := range []string{"t1", "t2", "t3"} {
			e := event(aTask(4, events.PhaseDone), events.EventCompleted)
			e.TaskID, e.Task.ID = id, id
			b.OK(on.Publish(ctx, e))
		}
		full := errors.New("the disk is full")
		if handled, err := follow("t2", full); !errors.Is(err, full) || strings.Join(handled, " ") != "t1 t2" {
			t.Errorf("handled %v, %v", handled, err)
		}
		time.AfterFunc(time.Minute, cancel)
		if handled, err := follow("", nil); !errors.Is(err, context.Canceled) || strings.Join(handled, " ") != "t2 t3" {
			t.Errorf("handled %v, %v after the failure", handled, err)
		}
	})
}

// A client that is told to asks a busy service again, and one that answers the project enough calls already, until it
// answers or AnswerTimeout is over; no other refusal is asked again.
func TestBusyRetry(t *testing.T) {
	on(t, func(b *bench) {
		k := events.Key{Project: "demo", ID: "kite"}
		busy, left := events.Error{Code: events.CodeUnavailable, Message: "256 requests are under way"}, 5
		b.answer(events.VerbGet, func() any {
			if left--; left >= 0 {
				return busy
			}
			return events.TaskReply{Task: events.Task{ID: "kite"}}
		})
		b.answer(events.VerbCancel, func() any { return busy })
		b.answer(events.VerbList, func() any { return events.Error{Code: events.CodeNotFound, Message: "no"} })
		full, calls := events.Error{Code: events.CodeOverLimit, Field: bucket.QuotaCalls, Message: "128 requests are under way"}, 3
		b.answer(events.VerbTimeline, func() any {
			if calls--; calls >= 0 {
				return full
			}
			return events.TimelineReply{}
		})
		b.answer(events.VerbSubmit, func() any {
			return events.Error{Code: events.CodeOverLimit, Field: bucket.QuotaWaiting, Message: "100000 tasks wait"}
		})
		if _, err := b.Get(b.Context(), k); !HasCode(err, events.CodeUnavailable) {
			t.Errorf("without the option: %v", err)
		}
		c := New(b.Connect(), WithBusyRetry())
		if task, err := c.Get(b.Context(), k); err != nil || task.ID != "kite" || len(b.heard()) != 6 {
			t.Errorf("%v, %v after %d requests", task, err, len(b.heard()))
		}
		begun, before := time.Now(), len(b.heard())
		if _, err := c.Cancel(b.Context(), k, events.Cancel{}); !HasCode(err, events.CodeUnavailable) || time.Since(begun) != AnswerTimeout {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		if n := len(b.heard()) - before; n < 10 || n > 50 {
			t.Errorf("a busy service was asked %d times in %v", n, AnswerTimeout)
		}
		before = len(b.heard())
		if _, err := c.List(b.Context(), "demo", events.ListRequest{}); !HasCode(err, events.CodeNotFound) || len(b.heard()) != before+1 {
			t.Errorf("another refusal: %v", err)
		}
		before = len(b.heard())
		if _, err := c.Timeline(b.Context(), k); err != nil || len(b.heard()) != before+4 {
			t.Errorf("too many calls of the project: %v after %d requests", err, len(b.heard())-before)
		}
		before = len(b.heard())
		_, err := c.Submit(b.Context(), "demo", events.Video, events.Request{Provider: "fal", Model: "m", Input: []byte(`{}`)})
		if !HasCode(err, events.CodeOverLimit) || len(b.heard()) != before+1 {
			t.Errorf("too many tasks of the project: %v after %d requests", err, len(b.heard())-before)
		}
	})
}

// TestReplaySince: stored events come from a time on, with their places in the stream, and then those that are new.
func TestReplaySince(t *testing.T) {
	on(t, func(b *bench) {
		stored := b.Open(bus.Options{})
		publish := func(version uint64, kind events.EventType) {
			e := event(aTask(version, events.PhaseRunning), kind)
			e.Time = time.Now()
			b.OK(stored.Publish(b.Context(), e))
		}
		publish(1, events.EventQueued)
		time.Sleep(time.Minute)
		since := time.Now()
		publish(2, events.EventSubmitted)
		stream, err := b.ReplaySince(b.Context(), events.EventSubject(events.Key{Project: "*", ID: "*"}, "*"), since)
		b.OK(err)
		publish(3, events.EventProgress)
		for want := uint64(2); want <= 3; want++ {
			if e := <-stream; e.Version != want || e.Sequence != want {
				b.Errorf("event %d of the stream has version %d, want %d of both", e.Sequence, e.Version, want)
			}
		}
	})
}
