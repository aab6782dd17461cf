package submitter_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/events/bucket"
)

// TestOverQuota: a request over the quota of its project is refused before anybody copies its files, outside of its batch
// and as often as it is sent. One that has become a task is not refused when it is delivered again.
func TestOverQuota(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		var lost atomic.Bool // the first acknowledgement was
		w.lose = func(point string) bool {
			return point == "answer/"+events.ConsumerIntake && lost.CompareAndSwap(false, true)
		}
		var copies atomic.Int64
		_, err := w.client.Conn().Subscribe(events.APISubject(events.VerbCopy, "p"), func(*nats.Msg) { copies.Add(1) })
		w.ok(err)
		w.put(bucket.Lanes, "acme", `{"paused":true}`)
		w.put(bucket.Quotas, "p", `{"waiting":1}`)
		w.start()
		one := w.publish("one", input("one", ""))
		time.Sleep(2 * minute)
		w.record(one)
		if n := w.rejections(); n != 0 || !lost.Load() {
			w.Errorf("%d rejections of an accepted request (acknowledgement lost: %t)", n, lost.Load())
		}
		var two events.Key
		for range 2 {
			two = w.publish("two", `"input":{},"input_files":{"image":"s3://box/a.png"},"batch_id":"b","batch_size":2`)
			time.Sleep(time.Second)
		}
		if n := w.refusals(two); n != 2 || copies.Load() != 0 {
			w.Errorf("%d rejections of two requests, %d copies", n, copies.Load())
		}
		e, err := w.client.Rejection(w.Context(), two)
		if w.ok(err); e == nil || e.Error.Code != events.CodeOverLimit || e.BatchID != "" || e.BatchSize != 0 {
			w.Errorf("rejected by %+v", e)
		}
	})
}

// TestRejectedInTurn: a request that was rejected by a submitter which took it in turn is not accepted by another, to
// which the consumer delivers it for the first time.
func TestRejectedInTurn(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		k := w.publish("one", input("one", ""))
		s, err := w.client.JetStream().Stream(w.Context(), events.StreamRequests)
		w.ok(err)
		m, err := s.GetLastMsgForSubject(w.Context(), events.RequestSubject("p", events.Video))
		w.ok(err)
		w.ok(w.client.Publish(w.Context(), events.Event{
			Type: events.EventRejected, Project: k.Project, TaskID: k.ID, Time: m.Time, RequestDigest: "d",
			Error: &events.Error{Code: events.CodeOverLimit, Message: "over"},
		}))
		time.Sleep(time.Minute)
		w.start()
		time.Sleep(time.Minute)
		if _, _, err := w.client.Get(w.Context(), k); err == nil || w.refusals(k) != 1 {
			w.Errorf("a task of a rejected request: %v; %d rejections", err, w.refusals(k))
		}
	})
}

// refusals returns how many rejections of a task id are stored.
func (w *world) refusals(k events.Key) uint64 {
	w.Helper()
	s, err := w.client.JetStream().Stream(w.Context(), events.StreamEvents)
	w.ok(err)
	subject := events.EventSubject(k, events.EventRejected)
	info, err := s.Info(w.Context(), jetstream.WithSubjectFilter(subject))
	w.ok(err)
	return info.State.Subjects[subject]
}
