package sim_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"reelay/events"
	"reelay/internal/allinone"
	"reelay/internal/config"
	"reelay/internal/emulator"
	"reelay/internal/failpoint"
	"reelay/internal/provider/registry"
	"reelay/internal/test/sim"
)

// falDone is fal's callback of a request that has made a film, falBroke that of one that was refused by its model.
func falDone(id string) string {
	return `{"error": null, "gateway_request_id": "g", "payload": {"video": {"url": "https://v3.fal.media/` + id +
		`.mp4", "content_type": "video/mp4"}}, "request_id": "` +
		id + `", "status": "OK"}`
}

func falBroke(id string) string {
	return `{"error": "Invalid status code: 422", "gateway_request_id": "g", "payload": {"detail": [{"loc": ["body"], ` +
		`"msg": "m", "type": "missing"}]}, "request_id": "` +
		id + `", "status": "ERROR"}`
}

func v1Callback(id, word string) string {
	return `{"task_id":"` + id + `","status":"` + word + `","base_resp":{"status_code":0,"status_msg":"success"}}`
}

const unknownFalID = "019e1951-c778-7120-9c82-16efcf40ec82"

// lastJob returns the id of the newest job at a provider.
func lastJob(w *sim.World, provider string) string {
	w.T.Helper()
	jobs := w.Stack.Ledger(provider).Jobs()
	if len(jobs) == 0 {
		w.T.Fatalf("%s has no job", provider)
	}
	return jobs[len(jobs)-1].ID
}

func phase(p events.Phase) func(events.Task) bool {
	return func(t events.Task) bool { return t.Phase == p }
}

func hasStep(t events.Task, name string) bool {
	return slices.ContainsFunc(t.Transitions, func(tr events.Transition) bool { return tr.Name == name })
}

// bySource reports whether evidence of that source is on an attempt.
func bySource(a events.Attempt, source events.EvidenceSource) bool {
	return slices.ContainsFunc(a.Evidence, func(e events.Evidence) bool { return e.Source == source })
}

// endedBy returns who has ended a task.
func endedBy(t events.Task) string {
	for _, tr := range t.Transitions {
		if tr.To == events.PhaseDone {
			return tr.By
		}
	}
	return ""
}

// strayJob has fal make something for our account that no record knows of, and returns its id.
func strayJob(t *testing.T, w *sim.World) string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DialContext: w.Network.Dial, DisableKeepAlives: true}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
		"http://"+registry.Find("fal").Emulator+"/"+falVideo,
		strings.NewReader(`{"prompt":"a stray","emulate":{"submit":"accept_then_500"}}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Key sandbox")
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return lastJob(w, "fal")
}

// TestCallbackDisorders: each disorder of callbacks has one right outcome. World.Check holds after each: one terminal
// event, an explored way, nothing paid for that no task knows.
func TestCallbackDisorders(t *testing.T) {
	const running = `{"stall":"running","queue_ms":1000}`
	rows := []struct {
		name, request string
		result        string // that the metric counts
		f             func(t *testing.T, w *sim.World)
	}{
		{"the callback alone", falRequest("a", running), "applied", func(t *testing.T, w *sim.World) {
			id := atProvider(w, "fal")
			w.CallBack("fal", "demo", "a", 1, falDone(id))
			w.Settle(100 * time.Millisecond)
			task := w.Get("demo", "a")
			if task.Status != events.StatusCompleted || endedBy(task) != "callback" ||
				task.Result.Outputs[0].URL != "https://v3.fal.media/"+id+".mp4" {
				t.Errorf("%s by %s: %+v", task.Status, endedBy(task), task.Result)
			}
		}},
		{"duplicate", falRequest("a", running), "repeated", func(t *testing.T, w *sim.World) {
			id := atProvider(w, "fal")
			for range 3 {
				w.CallBack("fal", "demo", "a", 1, falDone(id))
			}
			w.Settle(time.Minute)
			if task := w.Get("demo", "a"); task.Status != events.StatusCompleted || task.Version != versionOfEnd(task) {
				t.Errorf("%s, written again after its end: %+v", task.Status, task.Transitions)
			}
			if n := w.MetricSum("reelay_webhook_callbacks_total", "fal", "repeated"); n != 2 {
				t.Errorf("%v repetitions are counted, want 2", n)
			}
		}},
		{"late", falRequest("a", ""), "repeated", func(t *testing.T, w *sim.World) {
			task := w.AwaitEnd("demo", "a")
			w.CallBack("fal", "demo", "a", 1, falDone(lastJob(w, "fal")))
			w.Settle(time.Minute)
			if now := w.Get("demo", "a"); now.Version != task.Version || endedBy(now) != "poller" {
				t.Errorf("version %d after %d, by %s", now.Version, task.Version, endedBy(now))
			}
		}},
		{"early, signed", falRequest("a", `{"submit":"accept_then_hang"}`), "adopted", func(t *testing.T, w *sim.World) {
			w.Await("demo", "a", phase(events.PhaseSubmitting))
			w.Settle(time.Second)
			w.CallBack("fal", "demo", "a", 1, falDone(lastJob(w, "fal")))
			w.Settle(10 * time.Second)
			if task := w.Get("demo", "a"); task.Status != events.StatusCompleted ||
				!bySource(task.Attempts[0], events.SourceCallback) || wasInDoubt(task) {
				t.Errorf("%s %s: %+v", task.Status, task.Phase, task.Attempts)
			}
			w.Settle(10 * time.Minute) // the submitter's own report of doubt comes too late to count
		}},
		{"early, unsigned", v1Request("a", `{"submit":"accept_then_hang"}`), "adopted", func(t *testing.T, w *sim.World) {
			w.Await("demo", "a", phase(events.PhaseSubmitting))
			w.Settle(time.Second)
			w.CallBack("minimax", "demo", "a", 1, v1Callback(lastJob(w, "minimax"), "processing"))
			w.Settle(10 * time.Second)
			task := w.Get("demo", "a")
			if task.ProviderID != lastJob(w, "minimax") || wasInDoubt(task) {
				t.Errorf("%s %s: %+v", task.Status, task.Phase, task.Attempts)
			}
			if task = w.AwaitEnd("demo", "a"); task.Status != events.StatusCompleted {
				t.Errorf("%s: %+v", task.Status, task.Error)
			}
		}},
		{"in doubt", falRequest("a", `{"submit":"accept_then_reset"}`), "adopted", func(t *testing.T, w *sim.World) {
			w.Await("demo", "a", phase(events.PhaseInDoubt))
			w.CallBack("fal", "demo", "a", 1, falDone(lastJob(w, "fal")))
			w.Settle(time.Second)
			task := w.Get("demo", "a")
			if task.Status != events.StatusCompleted || task.Attempts[0].Outcome != events.AttemptAccepted ||
				task.Attempts[0].Charge != events.ChargeConfirmed {
				t.Errorf("%s: %+v", task.Status, task.Attempts)
			}
		}},
		{"parked", v1Request("a", `{"submit":"accept_then_500"}`), "adopted", func(t *testing.T, w *sim.World) {
			w.Await("demo", "a", isParked)
			w.CallBack("minimax", "demo", "a", 1, v1Callback(lastJob(w, "minimax"), "success"))
			w.Settle(10 * time.Second)
			// Its own first poll may be faster than the callback's.
			if task := w.Get("demo", "a"); task.Status != events.StatusCompleted ||
				!bySource(task.Attempts[0], events.SourceCallback) {
				t.Errorf("%s %s: %+v", task.Status, task.Phase, task.Attempts)
			}
		}},
		{"reordered", v1Request("a", `{"queue_ms":1000,"run_ms":20000}`), "polled", func(t *testing.T, w *sim.World) {
			id := atProvider(w, "minimax")
			w.Settle(25 * time.Second)
			w.CallBack("minimax", "demo", "a", 1, v1Callback(id, "success"))
			w.CallBack("minimax", "demo", "a", 1, v1Callback(id, "processing"))
			w.Settle(time.Second)
			if task := w.Get("demo", "a"); task.Status != events.StatusCompleted || endedBy(task) != "callback" ||
				task.Version != versionOfEnd(task) {
				t.Errorf("%s by %q: %+v", task.Status, endedBy(task), task.Transitions)
			}
		}},
		{
			"before the provider's own query knows", v1Request("a", `{"queue_ms":1000,"run_ms":20000}`), "polled",
			func(t *testing.T, w *sim.World) {
				id := atProvider(w, "minimax")
				w.Settle(18 * time.Second)
				w.CallBack("minimax", "demo", "a", 1, v1Callback(id, "success"))
				w.Settle(20 * time.Second)
				if task := w.Get("demo", "a"); task.Status != events.StatusCompleted || endedBy(task) != "callback" {
					t.Errorf("%s by %q", task.Status, endedBy(task))
				}
			},
		},
		{"contradicts the end", falRequest("a", ""), "repeated", func(t *testing.T, w *sim.World) {
			task := w.AwaitEnd("demo", "a")
			w.CallBack("fal", "demo", "a", 1, falBroke(lastJob(w, "fal")))
			w.Settle(time.Minute)
			if now := w.Get("demo", "a"); now.Status != events.StatusCompleted || now.Version != task.Version {
				t.Errorf("%s, version %d after %d", now.Status, now.Version, task.Version)
			}
		}},
		{"contradicts a poll, signed", falRequest("a", running), "applied", func(t *testing.T, w *sim.World) {
			id := atProvider(w, "fal")
			w.Settle(5 * time.Minute) // by then polls have seen it running
			w.CallBack("fal", "demo", "a", 1, falBroke(id))
			w.Settle(time.Second)
			if task := w.Get("demo", "a"); task.Status != events.StatusFailed || task.Error.Kind != events.KindInvalid ||
				task.Error.Code != "missing" {
				t.Errorf("%s: %+v", task.Status, task.Error)
			}
		}},
		{
			"contradicts a poll, unsigned", v1Request("a", `{"queue_ms":1000,"run_ms":1200000}`), "polled",
			func(t *testing.T, w *sim.World) {
				id := atProvider(w, "minimax")
				w.Settle(time.Minute)
				w.CallBack("minimax", "demo", "a", 1, v1Callback(id, "failed"))
				w.Settle(2 * time.Minute)
				if task := w.Get("demo", "a"); task.Status.Terminal() {
					t.Errorf("an unsigned callback has ended the task: %s", task.Status)
				}
				if task := w.AwaitEnd("demo", "a"); task.Status != events.StatusCompleted {
					t.Errorf("%s: %+v", task.Status, task.Error)
				}
			},
		},
		{"no payload", falRequest("a", `{"queue_ms":1000,"run_ms":20000}`), "polled", func(t *testing.T, w *sim.World) {
			id := atProvider(w, "fal")
			w.Settle(25 * time.Second)
			w.CallBack("fal", "demo", "a", 1, `{"request_id":"`+id+`","status":"OK","payload":null,"payload_error":"too large"}`)
			w.Settle(time.Second)
			if task := w.Get("demo", "a"); task.Status != events.StatusCompleted || endedBy(task) != "callback" ||
				len(task.Result.Outputs) != 1 {
				t.Errorf("%s by %q: %+v", task.Status, endedBy(task), task.Result)
			}
		}},
		{"truncated", falRequest("a", `{"queue_ms":1000,"run_ms":20000}`), "unreadable", func(t *testing.T, w *sim.World) {
			id := atProvider(w, "fal")
			w.Settle(25 * time.Second)
			w.CallBack("fal", "demo", "a", 1, falDone(id)[:60])
			w.Settle(time.Second)
			if task := w.Get("demo", "a"); task.Status != events.StatusCompleted || endedBy(task) != "callback" {
				t.Errorf("%s by %q", task.Status, endedBy(task))
			}
		}},
		{
			"truncated, in doubt", falRequest("a", `{"submit":"accept_then_reset"}`), "unreadable",
			func(t *testing.T, w *sim.World) {
				w.Await("demo", "a", phase(events.PhaseInDoubt))
				w.CallBack("fal", "demo", "a", 1, falDone(lastJob(w, "fal"))[:60])
				w.Settle(time.Second)
				if task := w.Get("demo", "a"); task.Phase != events.PhaseInDoubt {
					t.Errorf("%s", task.Phase)
				}
				w.AwaitEnd("demo", "a") // by the list
			},
		},
		{"an attempt that never was", falRequest("a", running), "unknown", func(t *testing.T, w *sim.World) {
			id := atProvider(w, "fal")
			before := w.Get("demo", "a")
			w.CallBack("fal", "demo", "a", 2, falDone(id))
			w.Settle(2 * time.Minute)
			if task := w.Get("demo", "a"); task.Status.Terminal() || len(task.Attempts) != len(before.Attempts) {
				t.Errorf("%s: %+v", task.Status, task.Attempts)
			}
			w.CallBack("fal", "demo", "a", 1, falDone(id))
		}},
		{"a second id for one attempt", falRequest("a", running), "double_accept", func(t *testing.T, w *sim.World) {
			id, second := atProvider(w, "fal"), strayJob(t, w)
			for range 2 {
				w.CallBack("fal", "demo", "a", 1, falDone(second))
				w.Settle(time.Second)
			}
			task := w.Get("demo", "a")
			if task.Status.Terminal() || task.ProviderID != id || !hasStep(task, "double_accept") {
				t.Errorf("%s with %s: %+v", task.Status, task.ProviderID, task.Transitions)
			}
			w.CallBack("fal", "demo", "a", 1, falDone(id))
		}},
		{
			"signed, with an id that the provider does not show", falRequest("a", running), "unproven",
			func(t *testing.T, w *sim.World) {
				id := atProvider(w, "fal")
				w.CallBack("fal", "demo", "a", 1, falDone(unknownFalID))
				w.Settle(2 * time.Minute)
				if task := w.Get("demo", "a"); task.Status.Terminal() || hasStep(task, "double_accept") {
					t.Errorf("%s with %s: %+v", task.Status, task.ProviderID, task.Transitions)
				}
				w.CallBack("fal", "demo", "a", 1, falDone(id))
			},
		},
		{
			"an id of another task", v1Request("a", `{"queue_ms":1000,"run_ms":1200000}`), "conflict",
			func(t *testing.T, w *sim.World) {
				other := atProvider(w, "minimax")
				w.Publish(video, v1Request("b", `{"submit":"reset_before"}`))
				w.Await("demo", "b", phase(events.PhaseInDoubt))
				w.CallBack("minimax", "demo", "b", 1, v1Callback(other, "success"))
				w.Settle(time.Minute)
				if task := w.Get("demo", "b"); task.ProviderID != "" || task.Phase != events.PhaseInDoubt {
					t.Errorf("%s took %q", task.Phase, task.ProviderID)
				}
			},
		},
		{
			"an id that the provider does not show", v1Request("a", `{"submit":"reset_before"}`), "unproven",
			func(t *testing.T, w *sim.World) {
				w.Await("demo", "a", phase(events.PhaseInDoubt))
				w.CallBack("minimax", "demo", "a", 1, v1Callback("999999999999999", "success"))
				w.Settle(10 * time.Minute)
				if task := w.Get("demo", "a"); task.ProviderID != "" || task.Phase != events.PhaseInDoubt {
					t.Errorf("%s took %q", task.Phase, task.ProviderID)
				}
			},
		},
		{
			"an id that another attempt has claimed", falRequest("a", `{"submit":"reset_before"}`), "conflict",
			func(t *testing.T, w *sim.World) {
				w.Await("demo", "a", phase(events.PhaseInDoubt))
				stray := strayJob(t, w)
				if _, err := w.JS.Publish(t.Context(), events.ClaimSubject("fal", stray), []byte("demo.b.1")); err != nil {
					t.Fatal(err)
				}
				w.CallBack("fal", "demo", "a", 1, falDone(stray))
				w.Settle(10 * time.Second)
				if task := w.Get("demo", "a"); task.ProviderID != "" || task.Phase != events.PhaseInDoubt {
					t.Errorf("%s took %q", task.Phase, task.ProviderID)
				}
			},
		},
		{
			"another id than the list gave", falRequest("a", `{"submit":"accept_then_reset"}`), "contradicts",
			func(t *testing.T, w *sim.World) {
				found := w.Await("demo", "a", func(t events.Task) bool { return t.ProviderID != "" })
				if !byList(found) {
					t.Fatalf("%+v", found.Attempts)
				}
				w.CallBack("fal", "demo", "a", 1, falDone(unknownFalID))
				w.Settle(time.Second)
				if task := w.Get("demo", "a"); task.ProviderID != found.ProviderID || hasStep(task, "double_accept") {
					t.Errorf("%s with %s: %+v", task.Status, task.ProviderID, task.Transitions)
				}
			},
		},
		{
			"after the task was given up", falRequest("a", `{"stall":"running","cancel":"ignored"}`, `,"timeout":"5m"`),
			"applied", func(t *testing.T, w *sim.World) {
				id := atProvider(w, "fal")
				task := w.AwaitEnd("demo", "a")
				w.CallBack("fal", "demo", "a", 1, falDone(id))
				w.Settle(time.Second)
				now := w.Get("demo", "a")
				if task.Status != events.StatusFailed || now.Status != events.StatusFailed || now.Result == nil ||
					!now.Result.Late {
					t.Errorf("%s, then %s: %+v", task.Status, now.Status, now.Result)
				}
				want := []events.EventType{events.EventQueued, events.EventSubmitted, events.EventFailed, events.EventLateResult}
				if got := sim.Types(w.Story("demo", "a")); !slices.Equal(got, want) {
					t.Errorf("story %v, want %v", got, want)
				}
			},
		},
		{"unknown task", "", "unknown", func(t *testing.T, w *sim.World) {
			w.CallBack("fal", "demo", "nobody", 1, falDone(unknownFalID))
			w.Settle(time.Minute)
			if all := w.Tasks(); len(all) != 0 {
				t.Errorf("%d tasks", len(all))
			}
		}},
		{"a task of another lane", falRequest("a", running), "unknown", func(t *testing.T, w *sim.World) {
			id := atProvider(w, "fal")
			w.CallBack("minimax", "demo", "a", 1, v1Callback(lastJob(w, "fal"), "success"))
			w.Settle(time.Minute)
			if task := w.Get("demo", "a"); task.Status.Terminal() || hasStep(task, "double_accept") {
				t.Errorf("%s: %+v", task.Status, task.Transitions)
			}
			w.CallBack("fal", "demo", "a", 1, falDone(id))
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			sim.Run(t, sim.Options{Callback: sim.URLs{}}, func(t *testing.T, w *sim.World) {
				if row.request != "" {
					w.Publish(video, row.request)
				}
				row.f(t, w)
				w.Settle(time.Second)
				if w.MetricSum("reelay_webhook_callbacks_total", row.result) == 0 {
					t.Errorf("no callback is counted as %s", row.result)
				}
			})
		})
	}
}

// atProvider waits until task a is at its provider and returns its id there.
func atProvider(w *sim.World, provider string) string {
	w.T.Helper()
	w.Await("demo", "a", func(t events.Task) bool { return t.ProviderID != "" })
	return lastJob(w, provider)
}

func versionOfEnd(t events.Task) uint64 {
	for _, tr := range t.Transitions {
		if tr.To == events.PhaseDone {
			return tr.Version
		}
	}
	return 0
}

// TestCallbackOfAnotherAttempt: attempt 1 is in doubt and bought, attempt 2 is what the task lives by. What a callback
// says of attempt 1 must not end the task, whatever it says, and must not be lost.
func TestCallbackOfAnotherAttempt(t *testing.T) {
	const long = `{"queue_ms":1000,"run_ms":3600000}`
	for _, row := range []struct {
		lane, request string
		broke, done   func(id string) string
	}{
		{
			"minimax", v1Request("a", long, `,"timeout":"3h","max_paid_attempts":2`),
			func(id string) string { return v1Callback(id, "failed") },
			func(id string) string { return v1Callback(id, "success") },
		},
		{"fal", falRequest("a", long, `,"timeout":"3h","max_paid_attempts":2`), falBroke, falDone},
	} {
		t.Run(row.lane, func(t *testing.T) {
			doubtful(t, sim.Options{Callback: sim.URLs{}}, []fate{losesReply}, func(t *testing.T, w *sim.World) {
				w.Publish(video, row.request)
				w.Await("demo", "a", phase(events.PhaseInDoubt))
				first := lastJob(w, row.lane)
				resolve(w, "a", `{"action":"resubmit"}`)
				task := w.Await("demo", "a", func(t events.Task) bool { return t.ProviderID != "" })
				if len(task.Attempts) != 2 || task.ProviderID == first {
					t.Fatalf("%+v", task.Attempts)
				}
				for range 2 {
					w.CallBack(row.lane, "demo", "a", 1, row.broke(first))
					w.Settle(time.Minute)
				}
				// The id of attempt 2 at the URL of attempt 1 belongs to attempt 2.
				w.CallBack(row.lane, "demo", "a", 1, row.done(task.ProviderID))
				w.Settle(time.Minute)
				now := w.Get("demo", "a")
				if now.Status.Terminal() || now.ProviderID != task.ProviderID || now.Attempts[0].ProviderID != first ||
					!hasStep(now, "double_accept") {
					t.Errorf("%s with %s: %+v", now.Status, now.ProviderID, now.Attempts)
				}
				for _, result := range []string{"adopted", "other_attempt", "conflict"} {
					if n := w.MetricSum("reelay_webhook_callbacks_total", row.lane, result); n != 1 {
						t.Errorf("%v callbacks are counted as %s, want one", n, result)
					}
				}
				if end := w.AwaitEnd("demo", "a"); end.Status != events.StatusCompleted || end.ProviderID != task.ProviderID {
					t.Errorf("%s with %s", end.Status, end.ProviderID)
				}
			})
		})
	}
}

// TestForeignCallbacks: what is no callback, or one of a lane that nobody has, is kept as a dead letter and delays
// nobody.
func TestForeignCallbacks(t *testing.T) {
	sim.Run(t, sim.Options{Callback: sim.URLs{}}, func(t *testing.T, w *sim.World) {
		w.CallBack("sora", "demo", "a", 1, "{}")
		bad := &nats.Msg{
			Subject: events.CallbackSubject("fal", events.Key{Project: "demo", ID: "a"}), Data: []byte("{}"),
			Header: nats.Header{},
		}
		bad.Header.Set(events.HeaderCallbackAttempt, "none")
		if _, err := w.JS.PublishMsg(t.Context(), bad); err != nil {
			t.Fatal(err)
		}
		w.Settle(time.Second)
		stream, err := w.JS.Stream(t.Context(), events.StreamDead)
		if err != nil {
			t.Fatal(err)
		}
		if n := stream.CachedInfo().State.Msgs; n != 2 {
			t.Errorf("%d dead letters, want 2", n)
		}
		consumer, err := w.JS.Consumer(t.Context(), events.StreamCallbacks, events.ConsumerCallbacks)
		if err != nil {
			t.Fatal(err)
		}
		if queue := consumer.CachedInfo(); queue.NumPending > 0 || queue.NumAckPending > 0 {
			t.Errorf("%d callbacks are left, %d of them delivered", queue.NumPending, queue.NumAckPending)
		}
	})
}

// TestCallbackURL: the request names the URL of its very attempt where the provider wants it, the record says so and
// holds neither the URL nor its secret, and a lane can go without.
func TestCallbackURL(t *testing.T) {
	sim.Run(t, sim.Options{Callback: sim.URLs{}}, func(t *testing.T, w *sim.World) {
		w.Publish(video, falRequest("f", ""))
		w.Publish(video, v1Request("m", ""))
		for id, lane := range map[string]string{"f": "fal", "m": "minimax"} {
			task := w.AwaitEnd("demo", id)
			url := sim.URLs{}.CallbackURL(lane, task.Key(), 1, time.Time{})
			job := w.Stack.Ledger(lane).Jobs()[0]
			if job.Correlation != url || !task.Attempts[0].Callback || task.Attempts[0].BodySHA256 != job.BodySHA256 {
				t.Errorf("%s: the provider has %q, body %s; the record says callback %v, body %s", lane, job.Correlation,
					job.BodySHA256, task.Attempts[0].Callback, task.Attempts[0].BodySHA256)
			}
			text := fmt.Sprintf("%+v", w.Story("demo", id)) + fmt.Sprintf("%+v", task)
			if mac := url[strings.LastIndexByte(url, '/')+1:]; strings.Contains(text, mac) {
				t.Errorf("%s: the secret of the URL is published", lane)
			}
		}
	})
}

// TestLooksThinOut: with callbacks a task is hardly ever polled; without the callbacks that were asked for, polls come
// back within a few tasks, and every task ends.
func TestPollsThinOut(t *testing.T) {
	o := sim.Options{
		Callback: sim.URLs{}, Quiet: true, Speed: emulator.Speed{Queue: 30 * time.Second, Run: 270 * time.Second},
		Pipeline: config.Pipeline{PollInterval: 10 * time.Second},
	}
	sim.Run(t, o, func(t *testing.T, w *sim.World) {
		polls := func() float64 { return w.MetricSum("reelay_polls_total", "fal") }
		one := func(i int, calls bool) (polled float64, late time.Duration) {
			id, before := fmt.Sprintf("t%d", i), polls()
			w.Publish(video, falRequest(id, ""))
			w.Await("demo", id, func(t events.Task) bool { return t.ProviderID != "" })
			job, _ := w.Stack.Ledger("fal").Job(lastJob(w, "fal"))
			end := job.At.Add(300 * time.Second)
			time.Sleep(time.Until(end) + 10*time.Millisecond)
			if calls {
				w.CallBack("fal", "demo", id, 1, falDone(job.ID))
			}
			task := w.AwaitEnd("demo", id)
			return polls() - before, task.CompletedAt.Sub(end)
		}
		n := 0
		round := func(calls bool, count int) (polled, last float64, lastLate time.Duration) {
			for range count {
				n++
				l, late := one(n, calls)
				polled, last, lastLate = polled+l, l, late
			}
			return polled / float64(count), last, lastLate
		}
		mean, last, late := round(true, 6)
		t.Logf("callbacks come: %.1f polls a task, the last %v and %v after its end", mean, last, late)
		if mean > 4 || last > 1 || late > 100*time.Millisecond { // the first ones have to prove themselves
			t.Errorf("callbacks come: %.1f polls a task, the last %v and %v after its end", mean, last, late)
		}
		mean, last, late = round(false, 6)
		t.Logf("callbacks are lost: %.1f polls a task, the last %v and %v after its end", mean, last, late)
		if last < 4 || late > 12*time.Second { // by now polls know when to come
			t.Errorf("callbacks are lost: the last task was polled %v times and known %v after its end", last, late)
		}
		w.Settle(20 * time.Second)
		var reply events.QueueReply
		if e := w.Ask(&reply, events.VerbQueue, ""); e != nil {
			t.Fatal(e)
		}
		for _, l := range reply.Lanes {
			switch {
			case l.Lane == "fal" &&
				(l.Callbacks == nil || l.Callbacks.Seen != 12 || l.Callbacks.MissRate < 0.7 || l.Callbacks.LagS > 1):
				t.Errorf("queue answers %+v", l.Callbacks)
			case l.Lane != "fal" && l.Callbacks != nil:
				t.Errorf("queue answers %+v of %s", l.Callbacks, l.Lane)
			}
		}
		mean, last, late = round(true, 8)
		t.Logf("callbacks come again: %.1f polls a task, the last %v and %v after its end", mean, last, late)
		if last > 3 || late > 100*time.Millisecond {
			t.Errorf("callbacks come again: the last task was polled %v times", last)
		}
	})
}

// TestDeadlinesWhileLooksAreRare: no task suffers because nobody polls for minutes. One that has begun in time is not
// cancelled for its start deadline, and a cancel is seen to the end soon.
func TestDeadlinesWhilePollsAreRare(t *testing.T) {
	o := sim.Options{Callback: sim.URLs{}, Speed: emulator.Speed{Queue: 30 * time.Second, Run: 10 * time.Minute}}
	sim.Run(t, o, func(t *testing.T, w *sim.World) {
		w.Publish(video, falRequest("start", "", `,"start_timeout":"60s"`))
		w.Publish(video, falRequest("cancel", ""))
		w.Await("demo", "cancel", func(t events.Task) bool { return t.ProviderID != "" })
		w.Settle(5 * time.Second)
		asked := time.Now()
		w.Publish("reelay.command.demo.cancel.cancel", "{}")
		task := w.AwaitEnd("demo", "cancel")
		if took := task.CompletedAt.Sub(asked); task.Status != events.StatusCancelled || took > 40*time.Second {
			t.Errorf("%s, %v after the cancel", task.Status, took)
		}
		if task = w.AwaitEnd("demo", "start"); task.Status != events.StatusCompleted {
			t.Errorf("%s: %+v", task.Status, task.Error)
		}
	})
}

// TestCallbackStoresWhatACrashLeftOut: the submitter dies before it has made sure of the poll ticket, a callback ends
// the task, or has it polled where it was refused, and the event of the end is lost. The callback is delivered again, and
// nobody else knows of it.
func TestCallbackStoresWhatACrashLeftOut(t *testing.T) {
	for name, call := range map[string]func(*sim.World){
		"signed":  func(w *sim.World) { w.CallBack("fal", "demo", "a", 1, falDone(lastJob(w, "fal"))) },
		"refused": func(w *sim.World) { w.Refuse("fal", "demo", "a", 1, events.UnprovenClock) },
	} {
		t.Run(name, func(t *testing.T) {
			d := &death{service: allinone.Submitter, point: "watch", outcome: failpoint.Outcome{Lose: true}}
			var lost atomic.Bool
			faults := func(service string) failpoint.Plan {
				if service != allinone.Poller {
					return d.plan(service)
				}
				return func(point string) failpoint.Outcome {
					return failpoint.Outcome{Lose: point == "publish/completed" && !lost.Swap(true)}
				}
			}
			sim.Run(t, sim.Options{Callback: sim.URLs{}, Faults: faults, Speed: emulator.Speed{Run: time.Second}},
				func(t *testing.T, w *sim.World) {
					w.Publish(video, falRequest("a", ""))
					for !d.dead.Load() {
						time.Sleep(time.Second)
					}
					w.Settle(5 * time.Second)
					call(w)
					w.Settle(10 * time.Second)
					if !lost.Load() {
						t.Fatal("the event was not lost")
					}
					want := []events.EventType{events.EventQueued, events.EventSubmitted, events.EventCompleted}
					if got := sim.Types(w.Story("demo", "a")); !slices.Equal(got, want) {
						t.Errorf("story %v, want %v", got, want)
					}
					d.restart(w, time.Second)
				})
		})
	}
}
