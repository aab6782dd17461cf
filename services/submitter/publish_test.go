package submitter_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/internal/forecast"
	"reelay/internal/forecast/learner"
)

// stories returns the events of each task, by its id.
func (w *world) stories() map[string][]events.Event {
	w.Helper()
	s, err := w.client.JetStream().Stream(w.Context(), events.StreamEvents)
	w.ok(err)
	all := map[string][]events.Event{}
	for seq := uint64(1); seq <= s.CachedInfo().State.LastSeq; seq++ {
		msg, err := s.GetMsg(w.Context(), seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		w.ok(err)
		if e, err := events.DecodeEvent(msg.Header.Get(events.HeaderType), msg.Data); err == nil &&
			e.Project != events.LanesProject {
			all[e.TaskID] = append(all[e.TaskID], e)
		}
	}
	return all
}

// published returns the positions that were published of each task, and fails the test where an event says not what it
// should.
func (w *world) published() map[string][]int {
	w.Helper()
	all := map[string][]int{}
	for id, story := range w.stories() {
		for _, e := range story {
			if e.Type != events.EventProgress {
				continue
			}
			p := e.QueuePosition
			if p == nil || p.Ours == nil || p.Total == nil || *p.Total != *p.Ours {
				w.Fatalf("%s is told %q of place %+v", id, e.Message, p)
			}
			if e.ETA == nil || e.ETALatest == nil || e.EstimatedWaitS == nil || !e.ETA.After(e.Time) {
				w.Errorf("%s is told %q, and ends at %v", id, e.Message, e.ETA)
			}
			all[id] = append(all[id], *p.Ours)
		}
	}
	return all
}

// count returns how many positions were published.
func count(told map[string][]int) (n int) {
	for _, places := range told {
		n += len(places)
	}
	return n
}

// spaced is a lane that takes a request every three seconds.
func spaced() map[string]events.ModelLimits {
	return map[string]events.ModelLimits{events.AnyModel: {Requests: 20, Spacing: events.Duration(3 * time.Second)}}
}

// TestPositionsPublished: the positions of forty tasks are published as they get less, each a few times, of those near
// the head not at all; each is sent when it would be sent else, at the first try. Its submit says when it will end.
func TestPositionsPublished(t *testing.T) {
	inWorld(t, spaced(), func(w *world) {
		w.ask("demo", 40, "")
		began := time.Now()
		w.start()
		time.Sleep(3 * minute)
		taken := w.provider.taken()
		if len(taken) != 40 {
			w.Fatalf("%d taken", len(taken))
		}
		told := w.published()
		for i, c := range taken {
			if late := c.at.Sub(began) - time.Duration(i)*3*time.Second; late < 0 || late > time.Second {
				w.Errorf("task %d was sent %v late", i, late)
			}
			places := told[c.task]
			for n, place := range places {
				if place < 8 || place > i || n > 0 && 2*place > places[n-1] {
					w.Errorf("task %d was told places %v", i, places)
				}
			}
			if most := 3; len(places) > most || i >= 12 && len(places) == 0 || i >= 32 && len(places) < 2 {
				w.Errorf("task %d was told places %v", i, places)
			}
			task, _, err := w.client.Get(w.Context(), events.Key{Project: "demo", ID: c.task})
			w.ok(err)
			if len(task.Attempts) != 1 || task.QueuePosition != nil {
				w.Errorf("task %d took %d attempts, and has place %+v after all", i, len(task.Attempts), task.QueuePosition)
			}
			story := w.stories()[c.task]
			if e := story[len(story)-1]; e.Type != events.EventSubmitted || e.ETA == nil || e.ETA.Sub(e.Time) < minute/2 {
				w.Errorf("task %d: the last event is %s, and estimates %v", i, e.Type, e.ETA)
			}
		}
	})
}

// TestPublishingDelaysNothing: a lane as fast as its slots let it be is as fast while it publishes positions, and no
// task loses its try to that.
func TestPublishingDelaysNothing(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		const tasks, takes = 600, 50 * time.Millisecond
		w.provider.delay = takes / 2
		w.slow = map[string]time.Duration{"put/submitting": takes / 2, "put/waiting": takes / 2} // after the record was read
		w.ask("demo", tasks, "")
		began := time.Now()
		w.start()
		time.Sleep(minute)
		taken := w.provider.taken()
		if spent := taken[len(taken)-1].at.Sub(began); len(taken) != tasks || spent > tasks/4*takes+time.Second {
			w.Errorf("%d taken in %v", len(taken), spent)
		}
		if n := count(w.published()); n < 5 || n > 60 { // the first look may come before the tasks
			w.Errorf("%d places told", n)
		}
		for _, c := range taken {
			task, _, err := w.client.Get(w.Context(), events.Key{Project: "demo", ID: c.task})
			w.ok(err)
			if len(task.Attempts) != 1 {
				w.Errorf("%s took %d attempts", c.task, len(task.Attempts))
			}
		}
	})
}

// TestFewAreNotPublished: nothing is published of tasks that go soon.
func TestFewAreNotPublished(t *testing.T) {
	for _, n := range []int{3, 9} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			inWorld(t, map[string]events.ModelLimits{events.AnyModel: {Requests: 1}}, func(w *world) {
				w.ask("demo", n, "")
				w.start()
				time.Sleep(20 * minute)
				if told := w.published(); len(told) > 0 || len(w.provider.taken()) != n {
					w.Errorf("%d taken, and told %v", len(w.provider.taken()), told)
				}
			})
		})
	}
}

// TestPausedPublishesNoPositions: while a lane is paused no position moves; they are published as soon as it goes on.
func TestPausedPublishesNoPositions(t *testing.T) {
	inWorld(t, spaced(), func(w *world) {
		w.set("acme", `{"paused":true,"reason":"holiday","by":"ann"}`)
		w.ask("demo", 40, "")
		w.start()
		time.Sleep(6 * time.Hour)
		if told := w.published(); len(told) > 0 {
			w.Errorf("told %v", told)
		}
		w.set("acme", `{"paused":false,"by":"ann"}`)
		time.Sleep(15 * time.Second)
		if told := w.published(); len(told) < 20 {
			w.Errorf("%d were told once it goes on", len(told))
		}
	})
}

// TestStoppedPublishesNoPositions: neither does any while the provider refuses the account or is away, and one task now
// and then is tried.
func TestStoppedPublishesNoPositions(t *testing.T) {
	for name, stop := range map[string]func(w *world){
		"refused": func(w *world) { w.provider.rule(func(time.Time, []call) string { return "quota" }) },
		"away":    func(w *world) { w.dial = func() (net.Conn, error) { return nil, errors.New("no route") } },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				stop(w)
				w.provider.delay = 20 * time.Second
				w.ask("demo", 40, "")
				w.start()
				known := time.Now().Add(minute)
				time.Sleep(time.Hour)
				for id, story := range w.stories() {
					for _, e := range story {
						if e.Type == events.EventProgress && e.QueuePosition != nil && e.Time.After(known) {
							w.Errorf("%s is told %q", id, e.Message)
						}
					}
				}
			})
		})
	}
}

// TestEstimatedAsLearned: what the pollers have learned of tasks like it is said of one that waits, and of one that is
// sent.
func TestEstimatedAsLearned(t *testing.T) {
	inWorld(t, spaced(), func(w *world) {
		teacher := learner.New(learner.Options{Bus: w.client, Log: w.log})
		ctx, cancel := context.WithCancel(w.Context())
		done := make(chan error)
		go func() { done <- teacher.Run(ctx) }()
		class := forecast.Class{Provider: "acme", TaskType: events.Video, Model: "m1"}
		for range 40 {
			teacher.Learn(forecast.Sample{Class: class, At: time.Now(), Whole: 2 * time.Hour})
			time.Sleep(10 * time.Second)
		}
		cancel()
		w.ok(<-done)
		w.ask("demo", 40, "")
		w.start()
		time.Sleep(10 * time.Second)
		for id, story := range w.stories() {
			for _, e := range story[1:] {
				if left := e.ETA.Sub(e.Time); left < 110*minute || left > 140*minute {
					w.Errorf("%s is told by %s that it ends in %v", id, e.Type, left)
				}
			}
		}
	})
}

// TestPositionsOverTakeOver: no more than five a second are published, in the end of all that wait for long, and
// whoever takes the lane over knows what was.
func TestPositionsOverTakeOver(t *testing.T) {
	inWorld(t, map[string]events.ModelLimits{events.AnyModel: {InFlight: 1}}, func(w *world) {
		w.ask("demo", 300, "")
		r := w.start()
		time.Sleep(20 * time.Second)
		if n := count(w.published()); n < 60 || n > 100 {
			w.Errorf("%d places told in 20 s", n)
		}
		time.Sleep(3 * minute)
		told := w.published()
		before := count(told)
		if want := 300 - 1 - 8; len(told) != want || before != want {
			w.Errorf("%d tasks were told %d places, want %d", len(told), before, want)
		}
		r.crash()
		r.restart()
		time.Sleep(20 * time.Second)
		if n := count(w.published()); n != before {
			w.Errorf("%d places told anew after a take-over", n-before)
		}
	})
}
