package sim_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"reelay/events"
	"reelay/events/operator"
	"reelay/internal/allinone"
	"reelay/internal/emulator"
	"reelay/internal/test/sim"
)

// TestWebhookFirst: with the webhook service up, the provider's callback ends a task in the moment in which it is done,
// and polls are few.
func TestWebhookFirst(t *testing.T) {
	sim.Run(t, sim.Options{Webhooks: true}, func(t *testing.T, w *sim.World) {
		for _, body := range []string{falRequest("f", "", ""), v1Request("m", "", ""), v2Request("n", "", "")} {
			w.Publish(video, body)
		}
		for _, id := range []string{"f", "m", "n"} {
			task := w.AwaitEnd("demo", id)
			last := task.Transitions[len(task.Transitions)-1]
			if task.Status != events.StatusCompleted || last.By != "callback" {
				t.Errorf("%s ended as %s by %s", id, task.Status, last.By)
			}
			if took := task.CompletedAt.Sub(*task.SubmittedAt); took < 5*time.Minute || took > 5*time.Minute+2*time.Second {
				t.Errorf("%s: %v from submit to end, the provider took 5m", id, took)
			}
		}
		for i := range 4 { // callbacks have to prove themselves
			w.Publish(video, falRequest(fmt.Sprint("g", i), "", ""))
			w.AwaitEnd("demo", fmt.Sprint("g", i))
		}
		before := w.MetricSum("reelay_polls_total", "fal")
		for i := range 10 {
			w.Publish(video, falRequest(fmt.Sprint("h", i), "", ""))
			w.AwaitEnd("demo", fmt.Sprint("h", i))
		}
		if n := (w.MetricSum("reelay_polls_total", "fal") - before) / 10; n > 1.5 {
			t.Errorf("%v polls a task, want at most 1.5", n)
		}
	})
}

// TestRefusedWebhooksLeadToPolls: a webhook that is refused for its signing time tells all the same that something has
// happened, however long polls wait because callbacks have come reliably. One at a time and after the end it is nothing.
func TestRefusedWebhooksLeadToPolls(t *testing.T) {
	sim.Run(t, sim.Options{Webhooks: true}, func(t *testing.T, w *sim.World) {
		for i := range 4 {
			w.Publish(video, falRequest(fmt.Sprint("g", i), "", ""))
			w.AwaitEnd("demo", fmt.Sprint("g", i))
		}
		w.Publish(video, falRequest("a", `{"webhook":"old_timestamp"}`, ""))
		task := w.AwaitEnd("demo", "a")
		if took := task.CompletedAt.Sub(*task.SubmittedAt); task.Status != events.StatusCompleted ||
			took > 5*time.Minute+2*time.Second {
			t.Errorf("%s %v after its submit, the provider took 5m", task.Status, took)
		}
		var reply operator.CallbacksReply
		if e := w.Ask(&reply, operator.VerbCallbacks, `{"limit":100}`); e != nil {
			t.Fatal(e)
		}
		i := slices.IndexFunc(reply.Callbacks, func(c operator.StoredCallback) bool { return c.Unproven != "" })
		if i < 0 || reply.Callbacks[i].Unproven != events.UnprovenClock || reply.Callbacks[i].TaskID != "a" {
			t.Fatalf("the refusal is not listed: %+v", reply.Callbacks)
		}
		polls := w.MetricSum("reelay_polls_total", "fal")
		var again operator.ReplayReply
		if e := w.Ask(&again, operator.VerbCallbacksReplay, fmt.Sprintf(`{"id":%d}`, reply.Callbacks[i].ID)); e != nil {
			t.Fatal(e)
		}
		w.Settle(time.Minute)
		if n := w.MetricSum("reelay_webhook_callbacks_total", "fal", "refused"); n != 2 ||
			w.MetricSum("reelay_polls_total", "fal") != polls {
			t.Errorf("%v refused callbacks were handled, want two, and the task that has ended not polled for its own", n)
		}
	})
}

// TestRefusedWebhookBeforeItsEnd: a provider may show the end some seconds after its webhook, which is not repeated.
func TestRefusedWebhookBeforeItsEnd(t *testing.T) {
	sim.Run(t, sim.Options{Webhooks: true}, func(t *testing.T, w *sim.World) {
		for i := range 4 {
			w.Publish(video, falRequest(fmt.Sprint("g", i), "", ""))
			w.AwaitEnd("demo", fmt.Sprint("g", i))
		}
		w.Publish(video, falRequest("a", `{"webhook":"drop"}`, ""))
		w.Settle(5*time.Minute - 10*time.Second)
		w.Refuse("fal", "demo", "a", 1, events.UnprovenClock)
		task := w.AwaitEnd("demo", "a")
		if took := task.CompletedAt.Sub(*task.SubmittedAt); took > 5*time.Minute+15*time.Second {
			t.Errorf("its end was seen %v after its submit, the provider took 5m", took)
		}
	})
}

// TestWebhooksAllLost: without a single callback tasks end all the same, by polls.
func TestWebhooksAllLost(t *testing.T) {
	lost := emulator.Faults{Shares: map[emulator.Fault]float64{emulator.Drop: 1}}
	sim.Run(t, sim.Options{Webhooks: true, CallbackFaults: lost}, func(t *testing.T, w *sim.World) {
		for _, body := range []string{falRequest("f", "", ""), v1Request("m", "", ""), v2Request("n", "", "")} {
			w.Publish(video, body)
		}
		for _, id := range []string{"f", "m", "n"} {
			task := w.AwaitEnd("demo", id)
			if late := task.CompletedAt.Sub(*task.SubmittedAt) - 5*time.Minute; task.Status != events.StatusCompleted ||
				late > 3*time.Minute {
				t.Errorf("%s ended as %s, %v late", id, task.Status, late)
			}
		}
	})
}

// TestEdgeAway: a provider that tries the callback URL before it accepts and gets no answer is sent the task without
// one, and the next tasks as well for a while, at the first try.
func TestWebhookUnreachable(t *testing.T) {
	sim.Run(t, sim.Options{Webhooks: true}, func(t *testing.T, w *sim.World) {
		if err := w.Stack.StopService(allinone.Webhook); err != nil {
			t.Fatal(err)
		}
		w.Publish(video, v1Request("m", "", ""))
		w.Publish(video, v1Request("bad", `{"submit":"refuse_2013"}`, ""))
		task := w.AwaitEnd("demo", "m")
		if task.Status != events.StatusCompleted || len(task.Attempts) != 2 || len(w.Stack.Ledger("minimax").Jobs()) != 1 ||
			!task.Attempts[0].Callback || task.Attempts[0].Charge != events.ChargeNone || task.Attempts[1].Callback {
			t.Errorf("%s: %+v", task.Status, task.Attempts)
		}
		// One that is refused for itself is refused again, and that is the end of it.
		if task := w.AwaitEnd("demo", "bad"); task.Status != events.StatusFailed || len(task.Attempts) != 2 ||
			task.Error.Charge != events.ChargeNone {
			t.Errorf("%s: %+v", task.Status, task.Attempts)
		}
		w.Publish(video, v1Request("next", "", ""))
		if task := w.AwaitEnd("demo", "next"); task.Status != events.StatusCompleted || len(task.Attempts) != 1 ||
			task.Attempts[0].Callback {
			t.Errorf("the next one is %s: %+v", task.Status, task.Attempts)
		}
		if err := w.Stack.StartService(t.Context(), allinone.Webhook); err != nil {
			t.Fatal(err)
		}
		w.Settle(10 * time.Minute)
		w.Publish(video, v1Request("again", "", ""))
		if task := w.AwaitEnd("demo", "again"); len(task.Attempts) != 1 ||
			task.Transitions[len(task.Transitions)-1].By != "callback" {
			t.Errorf("with the webhook service back: %+v", task.Transitions)
		}
	})
}
