package main

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"reelay/events"
)

func TestBatch(t *testing.T) {
	b := newBench(t)
	var ended, rejected, asked atomic.Int32
	var status atomic.Value // of what has ended
	status.Store(events.StatusCompleted)
	state := func() events.Batch {
		n, lost := int(ended.Load()), int(rejected.Load())
		return events.Batch{
			Project: "demo", ID: "film", Announced: 2, Total: 2 - lost, Ended: n, Rejected: lost, CostUSD: 0.56,
			ByStatus: map[events.Status]int{status.Load().(events.Status): n, events.StatusQueued: 2 - lost - n},
		}
	}
	b.answer(events.VerbBatch, func(subject string, _ []byte) any {
		if !strings.HasSuffix(subject, ".demo.film") {
			return events.Error{Code: events.CodeNotFound, Kind: events.KindNotFound, Message: "no task of that batch is known"}
		}
		asked.Add(1)
		return state()
	})
	ended.Store(1)
	b.reelay("batch", "film", "--project", "demo").check(t, 0,
		"demo.film: 1 of 2 tasks have ended, 2 announced:  queued 1", "")
	b.reelay("batch", "demo.film", "--json").check(t, 0, `"batch_id": "film"`, "")
	b.reelay("batch", "demo.none").check(t, 1, "", "no task of that batch is known")
	b.reelay("batch", "demo.film.x").check(t, 2, "", "is no task")
	b.reelay("batch", "demo.film", "--wait", "--timeout", "1ms").check(t, 1, "", "batch demo.film is not done after 1ms")

	asked.Store(0)
	done := make(chan result)
	begin := time.Now()
	go func() { done <- b.reelay("batch", "demo.film", "--wait") }()
	for asked.Load() == 0 { // it listens before it asks
		time.Sleep(time.Millisecond)
	}
	ended.Store(2)
	final := state()
	b.publish(events.Event{Type: events.EventBatchDone, Project: "demo", Time: time.Now(), Batch: &final})
	(<-done).check(t, 0, "2 of 2 tasks have ended", "waiting for batch demo.film")
	if took := time.Since(begin); took >= batchAgain {
		t.Errorf("the event was not heard: it took %v", took)
	}
	status.Store(events.StatusFailed)
	b.reelay("batch", "demo.film", "--wait").check(t, 1, "failed 2", "2 of 2 tasks of batch demo.film did not complete")

	status.Store(events.StatusCompleted)
	ended.Store(1)
	rejected.Store(1) // one of the two never became a task
	b.reelay("batch", "demo.film").check(t, 0, "1 of 1 tasks have ended, 2 announced, 1 rejected:", "")
	b.reelay("batch", "demo.film", "--wait").check(t, 1, "1 rejected:", "1 of 2 tasks of batch demo.film did not complete")
}

func TestBatchLine(t *testing.T) {
	for want, b := range map[string]events.Batch{
		"nothing was handed in yet": {},
		"[##########----------]  50%  5 of 10 ended  2 failed": {
			Announced: 10, Total: 6, Ended: 4, Rejected: 1, ByStatus: map[events.Status]int{events.StatusFailed: 1},
		},
		"[####################]  100%  3 of 3 ended  0 failed": {Total: 3, Ended: 3},
	} {
		if got := batchLine(b); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
