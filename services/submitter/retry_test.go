package submitter_test

import (
	"fmt"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/task"
)

// retry publishes a request that names no more than the task to make again.
func (w *world) retry(id, of, more string) events.Key {
	w.Helper()
	_, err := w.client.JetStream().Publish(w.Context(), events.RequestSubject("p", events.Video),
		fmt.Appendf(nil, `{"id":%q,"retry_of":%q%s}`, id, of, more))
	w.ok(err)
	return events.Key{Project: "p", ID: id}
}

// TestRetry: a request that names a task to make again becomes a new task with the same input, once, and none without a
// word where the first may have been paid for.
func TestRetry(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.start()
		w.put("reelay_lanes", "acme", `{"paused":true}`)
		free := w.publish("free", input("one", `,"metadata":{"take":"3"},"batch_id":"b"`))
		time.Sleep(time.Minute)
		_, err := w.store.Apply(w.Context(), free, task.Cancel{Meta: task.Meta{At: time.Now(), By: "test"}})
		w.ok(err)
		w.put("reelay_lanes", "acme", `{}`)
		again := w.retry("free-r2", "free", "")
		time.Sleep(time.Minute)
		got := w.record(again)
		if got.RetryOf != "free" || string(got.Input) != `{"id":"one"}` || got.Metadata["take"] != "3" || got.BatchID != "b" {
			t.Errorf("the retry is %+v", got)
		}
		w.end(again)
		none := w.retry("none", "nobody", "")
		paid := w.retry("free-r3", "free-r2", "")
		time.Sleep(time.Minute)
		w.wantRejected(none, events.CodeNotFound, "retry_of", "retry_of: there is no task nobody")
		w.wantRejected(paid, events.CodeConflict, "pay_again",
			"pay_again: task free-r2 has completed; to pay again, say so: true")
		w.retry("free-r3", "free-r2", `,"pay_again":true`)
		time.Sleep(time.Minute)
		// The same request once more is the same task, also when what it repeats can be repeated no more.
		_, err = w.store.Apply(w.Context(), again, task.Erase{Meta: task.Meta{At: time.Now(), By: "test"}})
		w.ok(err)
		before := w.record(paid)
		w.retry("free-r3", "free-r2", `,"pay_again":true`)
		time.Sleep(time.Minute)
		if sent := w.sent(); len(sent) != 2 || before.RetryOf != "free-r2" || w.record(paid).Version != before.Version {
			t.Errorf("%d requests were sent, want 2; %+v", len(sent), before)
		}
	})
}
