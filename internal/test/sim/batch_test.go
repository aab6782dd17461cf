package sim_test

import (
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/test/sim"
)

// TestBatchWithRejected: a batch of which requests were rejected comes to its end, once, whatever was wrong with them.
func TestBatchWithRejected(t *testing.T) {
	sim.Run(t, sim.Options{}, func(t *testing.T, w *sim.World) {
		done := func(batch string) *events.Batch {
			var found *events.Batch
			for _, e := range w.Story("demo", batch) {
				if e.Type == events.EventBatchDone && found != nil {
					t.Errorf("batch %s was announced twice", batch)
				}
				found = e.Batch
			}
			return found
		}
		in := func(batch string) string { return `,"batch_id":"` + batch + `"` }
		w.Publish(video, falRequest("f1", "", in("film"), `,"batch_size":3`))
		w.Publish(video, falRequest("f2", "", in("film")))
		w.Publish(video, falRequest("f3", "", `,"promt":1`, in("film")))
		for _, id := range []string{"f1", "f2"} {
			w.AwaitEnd("demo", id)
		}
		w.Settle(time.Second)
		if b := done("film"); b == nil || b.Total != 2 || b.Ended != 2 || b.Rejected != 1 ||
			b.ByStatus[events.StatusCompleted] != 2 {
			t.Errorf("of a batch with one rejected was published %+v", b)
		}
		if last := w.Story("demo", "f3"); len(last) != 1 || last[0].Type != events.EventRejected ||
			last[0].BatchID != "film" {
			t.Errorf("of the rejected was published %+v", last)
		}

		// None of these ever becomes a task. The first two are one task's; the last is stored again, as if its
		// acknowledgement was lost.
		w.Publish(video, falRequest("n1", "", in("none"), `,"priority":101`))
		w.Publish(video, falRequest("n1", "", in("none"), `,"priority":102`))
		w.Publish(video, `{"provider":"acme","model":"a/b","input":{},"id":"n2"`+in("none")+`}`)
		w.Publish("reelay.request.demo.movie", falRequest("n3", "", in("none")))
		w.Publish(video, falRequest("f1", "", in("none"))) // a task of another batch has this id
		last := `{"batch_size":5,"batch_id":"none","id":"n5","input":`
		w.Settle(time.Minute)
		if b := done("none"); b != nil {
			t.Errorf("published too early: %+v", b)
		}
		w.Publish(video, last)
		w.Settle(11 * time.Minute)
		w.Publish(video, last)
		w.Settle(time.Minute)
		if b := done("none"); b == nil || b.Announced != 5 || b.Total != 0 || b.Rejected != 5 {
			t.Errorf("of a batch of which all was rejected was published %+v", b)
		}

		// The task that exists counts, not the request that wants its id, whatever is wrong with that.
		w.Publish(video, falRequest("c1", "", in("clash"), `,"batch_size":2`))
		w.Settle(time.Second)
		w.Publish(video, falRequest("c1", `{"run_ms":1}`, in("clash"), `,"batch_size":1`))
		w.Publish(video, falRequest("c1", "", in("clash"), `,"promt":1`))
		w.AwaitEnd("demo", "c1")
		w.Settle(time.Minute)
		if b := done("clash"); b != nil {
			t.Errorf("a task counts twice: %+v", b)
		}
		for _, e := range w.Story("demo", "c1") {
			if e.Type == events.EventRejected && (e.BatchID != "" || e.BatchSize != 0) {
				t.Errorf("%s names the batch %s of its task", e.Message, e.BatchID)
			}
		}
		w.Publish("reelay.command.demo.c1.resolve", `{"action":"adopt","provider_id":"x","batch_id":"clash"}`)
		w.Settle(time.Minute)
		if b := done("clash"); b != nil {
			t.Errorf("a command counts: %+v", b)
		}
	})
}
