package submitter_test

import (
	"bytes"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/internal/bus"
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

// full is a guard that takes nothing in until a time.
type full struct{ until time.Time }

func (f full) Allowed() error { return nil }

func (f full) Intake() error {
	if time.Now().Before(f.until) {
		return errors.New("no room for new records")
	}
	return nil
}

// TestIntakeWaitsForRoom: while records would be dropped for new ones none is made, and requests wait in their stream.
func TestIntakeWaitsForRoom(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.spending = full{time.Now().Add(minute)}
		w.start()
		k := w.ask("demo", 1, "")
		time.Sleep(minute / 2)
		if _, _, err := w.client.Get(w.Context(), k); !errors.Is(err, bus.ErrNotFound) {
			w.Errorf("%v, want no record yet", err)
		}
		time.Sleep(minute)
		_, _, err := w.client.Get(w.Context(), k)
		w.ok(err)
	})
}

// TestFileReplacedBeforeTheAcknowledgement: a request that has become a task is not refused when it is delivered again,
// though what it would be now is another request, or none.
func TestFileReplacedBeforeTheAcknowledgement(t *testing.T) {
	for name, size := range map[string]int{"another file": 200, "one that does not fit": 2 << 10} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				var lost atomic.Bool // the first acknowledgement was
				w.lose = func(point string) bool {
					return point == "answer/"+events.ConsumerIntake && lost.CompareAndSwap(false, true)
				}
				w.put(bucket.Lanes, "acme", `{"paused":true}`)
				upload := func(n int) {
					png := append([]byte("\x89PNG\r\n\x1a\n"), make([]byte, n)...)
					_, err := w.client.PutInput(w.Context(), "demo", "a.png", "image/png", bytes.NewReader(png))
					w.ok(err)
				}
				upload(100)
				w.start()
				_, err := w.client.JetStream().Publish(w.Context(), events.RequestSubject("demo", events.Video),
					[]byte(`{"id":"one","provider":"acme","model":"m1","input":{"image":{"$file":"a.png"}}}`))
				w.ok(err)
				time.Sleep(time.Second)
				was, _, err := w.client.Get(w.Context(), events.Key{Project: "demo", ID: "one"})
				w.ok(err)
				upload(size)
				time.Sleep(minute)
				now, _, err := w.client.Get(w.Context(), was.Key())
				w.ok(err)
				if n := w.rejections(); n != 0 || !lost.Load() || now.RequestDigest != was.RequestDigest {
					w.Errorf("%d rejections of an accepted request (acknowledgement lost: %t)", n, lost.Load())
				}
				if left, err := w.client.HasRequests(w.Context()); err != nil || left {
					w.Errorf("the request is left: %v", err)
				}
			})
		})
	}
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
