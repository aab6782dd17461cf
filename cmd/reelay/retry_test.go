package main

import (
	"strings"
	"testing"

	"reelay/events"
)

// TestRetry: tasks of a batch that have failed are handed in again under new ids, those that nobody has retried yet, and
// wait for the retries of each other. What may have been paid for is told.
func TestRetry(t *testing.T) {
	b := newBench(t)
	still := with(failed(aTask()), func(t *events.Task) { t.ID = "still" })
	fly := with(failed(aTask()), func(t *events.Task) { t.ID, t.After, t.WaitsFor = "fly", []string{"still"}, []string{"still"} })
	old := with(failed(aTask()), func(t *events.Task) { t.ID = "old" })
	next := with(completed(aTask()), func(t *events.Task) { t.ID, t.RetryOf = "old-r2", "old" })
	b.answer(events.VerbList, func(string, []byte) any {
		return events.ListReply{Tasks: []events.Task{next, still, fly, old}}
	})
	b.answer(events.VerbGet, func(string, []byte) any { return events.TaskReply{Task: next} })
	b.answer(events.VerbSubmit, func(_ string, payload []byte) any {
		r, err := events.DecodeRequest(payload)
		switch {
		case err != nil:
			return events.Error{Code: events.CodeInvalidRequest, Message: err.Error()}
		case r.RetryOf == "old-r2":
			return events.Error{Code: events.CodeConflict, Field: "pay_again", Message: "it has completed"}
		}
		return events.TaskReply{Task: with(aTask(), func(t *events.Task) { t.ID, t.RetryOf = r.ID, r.RetryOf })}
	})

	b.reelay("retry", "--batch", "reel", "--failed", "--project", "demo").check(t, 0, "demo.fly-r2  ", "2 of 2 failed tasks")
	want := `reelay.api.submit.demo.video {"id":"still-r2","retry_of":"still"}` + "\n" +
		`reelay.api.submit.demo.video {"id":"fly-r2","retry_of":"fly","replace":{"still":"still-r2"}}`
	if got := strings.Join(b.heard()[1:], "\n"); got != want {
		t.Errorf("asked %s\nwant  %s", got, want)
	}
	b.reelay("retry", "demo.old-r2").check(t, 1, "", "retry demo.old-r2: pay_again: it has completed (conflict); add --pay-again")
	b.reelay("retry", "--batch", "reel").check(t, 2, "", "name tasks, or --batch with --failed")
	b.reelay("retry", "a", "b", "--id", "c").check(t, 2, "", "--id: is for one task")
}
