package submitter_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/events/bucket"
)

// TestCancelBehindItsRequest: a command waits as long as the request before it cannot be stored, and is refused when
// there is none.
func TestCancelBehindItsRequest(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		healthy := time.Now().Add(2 * minute)
		w.lose = func(point string) bool { // as without a leader
			return point == "put/waiting" && time.Now().Before(healthy)
		}
		w.put(bucket.Lanes, "acme", `{"paused":true}`) // so that the cancel is in time
		w.start()
		late := w.ask("demo", 1, "")
		for _, k := range []events.Key{late, {Project: "demo", ID: "ghost"}} {
			_, err := w.client.JetStream().Publish(w.Context(), events.CommandSubject(k, events.CommandCancel), nil)
			w.ok(err)
		}
		time.Sleep(time.Until(healthy))
		if n := w.rejections(); n != 0 {
			w.Errorf("%d rejections while a request waits, want none", n)
		}
		time.Sleep(2 * minute)
		got, _, err := w.client.Get(w.Context(), late)
		if w.ok(err); got.Status != events.StatusCancelled {
			w.Errorf("the task is %s, want cancelled", got.Status)
		}
		if n := w.rejections(); n != 1 {
			w.Errorf("%d rejections, want that of the ghost's command", n)
		}
	})
}

// rejections returns how many events say that something was refused.
func (w *world) rejections() int {
	w.Helper()
	s, err := w.client.JetStream().Stream(w.Context(), events.StreamEvents)
	w.ok(err)
	info, err := s.Info(w.Context(),
		jetstream.WithSubjectFilter(events.EventSubject(events.Key{Project: "*", ID: "*"}, events.EventRejected)))
	w.ok(err)
	return len(info.State.Subjects)
}
