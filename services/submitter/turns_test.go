package submitter_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/events/bucket"
)

// TestBurstOfOneProject: while one project has asked for thousands of tasks and each takes half a second to take in,
// those of others are taken in within a second, a few of them in the order in which they were asked for.
func TestBurstOfOneProject(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.slow = map[string]time.Duration{"put/waiting": time.Second / 2}
		w.put(bucket.Lanes, "acme", `{"paused":true}`)
		last := w.ask("flood", 2_000, "")
		w.start()
		time.Sleep(time.Second)
		asked := time.Now()
		few, one := w.ask("few", 10, ""), w.ask("one", 1, "")
		for _, k := range []events.Key{one, few} {
			for {
				if _, _, err := w.client.Get(w.Context(), k); err == nil {
					break
				}
				time.Sleep(time.Second / 20)
			}
			if took := time.Since(asked); k == one && took > time.Second {
				w.Errorf("%s was taken in after %v", k, took)
			}
		}
		if took := time.Since(asked); took > 6*time.Second { // ten one after the other
			w.Errorf("the tenth of a project was taken in after %v", took)
		}
		if _, _, err := w.client.Get(w.Context(), last); err == nil {
			w.Error("the burst was over before: the test shows nothing")
		}
		time.Sleep(time.Minute)
		_, _, err := w.client.Get(w.Context(), last)
		w.ok(err)
		s, err := w.client.JetStream().Stream(w.Context(), events.StreamEvents)
		w.ok(err)
		queued := events.EventSubject(events.Key{Project: "*", ID: "*"}, events.EventQueued)
		if info, err := s.Info(w.Context(), jetstream.WithSubjectFilter(queued)); err != nil || len(info.State.Subjects) != 2_011 {
			w.Errorf("%d tasks are queued, want 2011; %v", len(info.State.Subjects), err)
		}
		if s, err = w.client.JetStream().Stream(w.Context(), events.StreamRequests); err != nil || s.CachedInfo().State.Msgs != 0 {
			w.Errorf("requests are left: %v", err)
		}
	})
}

// TestBurstOfCommands: while one project cancels thousands of tasks that do not exist, each of which is tried again for
// minutes, what others ask for is taken in within seconds, their commands as well.
func TestBurstOfCommands(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.put(bucket.Lanes, "acme", `{"paused":true}`)
		w.start()
		k := w.ask("one", 1, "")
		time.Sleep(time.Second)
		cancel := func(k events.Key) {
			_, err := w.client.JetStream().Publish(w.Context(), events.CommandSubject(k, events.CommandCancel), nil)
			w.ok(err)
		}
		for n := range 2_000 {
			cancel(events.Key{Project: "flood", ID: fmt.Sprintf("ghost%d", n)})
		}
		time.Sleep(10 * time.Second)
		cancel(k)
		other := w.ask("other", 1, "")
		time.Sleep(2 * time.Second)
		if got, _, err := w.client.Get(w.Context(), k); err != nil || got.Status != events.StatusCancelled {
			w.Errorf("the task is %s, want cancelled; %v", got.Status, err)
		}
		if _, _, err := w.client.Get(w.Context(), other); err != nil {
			w.Errorf("a request was not taken in: %v", err)
		}
	})
}
