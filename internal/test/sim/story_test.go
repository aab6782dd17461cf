package sim_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"reelay/events"
	"reelay/internal/test/sim"
)

// falRequest is a request for fal with an emulator script.
func falRequest(id, emulate string, extra ...string) string {
	return fmt.Sprintf(`{"id":%q,"provider":"fal","model":%q,"input":{"prompt":"a kite","emulate":%s}%s}`, id, falVideo,
		orEmpty(emulate), strings.Join(extra, ""))
}

func v1Request(id, emulate string, extra ...string) string {
	return fmt.Sprintf(`{"id":%q,"provider":"minimax","model":"MiniMax-Hailuo-2.3","input":{"prompt":"a kite",`+
		`"emulate":%s}%s}`, id, orEmpty(emulate), strings.Join(extra, ""))
}

func v2Request(id, emulate string, extra ...string) string {
	return fmt.Sprintf(`{"id":%q,"provider":"minimax","model":"MiniMax-H3","input":{"content":[{"type":"text",`+
		`"text":"a kite"}],`+
		`"resolution":"768P","duration":5,"ratio":"16:9","emulate":%s}%s}`, id, orEmpty(emulate), strings.Join(extra, ""))
}

func orEmpty(script string) string {
	if script == "" {
		return "{}"
	}
	return script
}

const video = "reelay.request.demo.video"

func TestProgressIsPublishedOnce(t *testing.T) {
	sim.Run(t, sim.Options{}, func(t *testing.T, w *sim.World) {
		w.Publish(video, falRequest("p", ""))
		task := w.AwaitEnd("demo", "p")
		var lines []string
		positions, percents := map[int]bool{}, 0
		last := -1.0
		for _, e := range w.Story("demo", "p") {
			for _, l := range e.Logs {
				lines = append(lines, l.Message)
			}
			if e.Type != events.EventProgress {
				continue
			}
			if q := e.QueuePosition; q != nil {
				positions[*q.Provider] = true
			}
			if p := e.ProgressPercentage; p != nil {
				if *p < last {
					t.Errorf("progress went back from %v to %v", last, *p)
				}
				if *p > last {
					percents++
				}
				last = *p
			}
		}
		if len(positions) < 2 {
			t.Errorf("positions in the provider's queue published: %v, want several", positions)
		}
		if percents < 5 {
			t.Errorf("%d steps of progress published, want at least 5", percents)
		}
		sorted := slices.Clone(lines)
		if len(lines) < 5 || len(slices.Compact(slices.Sorted(slices.Values(sorted)))) != len(lines) {
			t.Errorf("log lines published: %d, want each line once: %q", len(lines), lines)
		}
		if *task.ProgressPercentage != 100 || task.SubmittedAt == nil || task.StartedAt == nil {
			t.Errorf("ended with %v %%, submitted %v, started %v", *task.ProgressPercentage, task.SubmittedAt, task.StartedAt)
		}
	})
}

// TestSubscribersHearOnce: a core subscriber receives every stored event once, however often the request comes again.
func TestSubscribersHearOnce(t *testing.T) {
	sim.Run(t, sim.Options{}, func(t *testing.T, w *sim.World) {
		received := map[string]int{}
		sub, err := w.NC.Subscribe("reelay.event.demo.>", func(m *nats.Msg) { received[m.Subject]++ })
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			w.Publish(video, falRequest("h", ""))
			w.Settle(time.Second) // two that are taken in at once do not know of each other
		}
		w.AwaitEnd("demo", "h")
		w.Publish(video, falRequest("h", ""))
		w.Settle(time.Minute)
		if err := sub.Drain(); err != nil {
			t.Fatal(err)
		}
		w.Settle(time.Second)
		for _, e := range []string{"queued", "submitted", "completed"} {
			if n := received["reelay.event.demo.h."+e]; n != 1 {
				t.Errorf("%s received %d times", e, n)
			}
		}
		if jobs := w.Stack.Ledger("fal").Jobs(); len(jobs) != 1 {
			t.Errorf("one request published four times was paid for %d times", len(jobs))
		}
	})
}

func TestIdempotencyConflict(t *testing.T) {
	sim.Run(t, sim.Options{}, func(t *testing.T, w *sim.World) {
		w.Publish(video, falRequest("c", ""))
		w.AwaitEnd("demo", "c")
		w.Publish(video, falRequest("c", `{"run_ms":1}`))
		w.Settle(time.Minute)
		story := w.Story("demo", "c")
		if last := story[len(story)-1]; last.Type != events.EventRejected ||
			last.Error.Code != events.CodeIdempotencyConflict {
			t.Errorf("the second request: %s %+v", last.Type, last.Error)
		}
		var reply events.TaskReply
		e := w.Ask(&reply, events.VerbSubmit, falRequest("c", `{"run_ms":1}`), "demo", "video")
		if e == nil || e.Code != events.CodeIdempotencyConflict {
			t.Errorf("the second request by the API: %+v", e)
		}
		if e := w.Ask(&reply, events.VerbSubmit, falRequest("c", ""), "demo", "video"); e != nil ||
			reply.Task.Status != events.StatusCompleted {
			t.Errorf("the same request by the API: %+v %s", e, reply.Task.Status)
		}
	})
}

func TestRejections(t *testing.T) {
	big := `{"id":"x","provider":"fal","model":"a/b","input":{"prompt":"` + strings.Repeat("x", events.MaxRequestBytes) +
		`"}}`
	rows := []struct {
		name, subject, body string
		code, field         string
	}{
		{"bad JSON", video, `{"provider":`, events.CodeInvalidRequest, "provider"},
		{"not an object", video, `[]`, events.CodeInvalidRequest, "payload"},
		{
			"unknown field", video, `{"provider":"fal","model":"a/b","input":{},"promt":"x"}`, events.CodeInvalidRequest,
			"promt",
		},
		{"unknown provider", video, `{"provider":"acme","model":"a/b","input":{}}`, events.CodeUnknownProvider, "provider"},
		{"unknown model", video, `{"provider":"minimax","model":"acme-1","input":{}}`, events.CodeUnknownModel, "model"},
		{"not an endpoint id", video, `{"provider":"fal","model":"nothing","input":{}}`, events.CodeUnknownModel, "model"},
		{"missing input", video, `{"provider":"fal","model":"a/b"}`, events.CodeInvalidRequest, "input"},
		{"oversized", video, big, events.CodePayloadTooLarge, "payload"},
		{"bad task type", "reelay.request.demo.movie", `{}`, events.CodeInvalidRequest, "subject"},
		{"bad project", "reelay.request.de$mo.video", `{}`, events.CodeInvalidRequest, "subject"},
		{"too many tokens", "reelay.request.demo.video.x", `{}`, events.CodeInvalidRequest, "subject"},
		{"bad command", "reelay.command.demo.t.stop", ``, events.CodeInvalidRequest, "subject"},
		{"command for nobody", "reelay.command.demo.ghost.cancel", ``, events.CodeNotFound, ""},
		{"bad resolve", "reelay.command.demo.ghost.resolve", `{"action":"guess"}`, events.CodeInvalidRequest, "action"},
	}
	sim.Run(t, sim.Options{}, func(t *testing.T, w *sim.World) {
		for _, row := range rows {
			before := len(w.Story("*", "*"))
			w.Publish(row.subject, row.body)
			w.Settle(time.Minute)
			story := w.Story("*", "*")[before:]
			if len(story) != 1 || story[0].Type != events.EventRejected {
				t.Errorf("%s: received %v, want one rejected", row.name, sim.Types(story))
				continue
			}
			if e := story[0].Error; e.Code != row.code || e.Field != row.field || e.Kind != events.KindInvalid {
				t.Errorf("%s: %+v, want code %s and field %q", row.name, e, row.code, row.field)
			}
			if strings.HasPrefix(row.subject, video) && row.field != "subject" && row.name != "too many tokens" {
				var reply events.TaskReply
				if e := w.Ask(&reply, events.VerbSubmit, row.body, "demo", "video"); e == nil || e.Code != row.code ||
					e.Field != row.field {
					t.Errorf("%s by the API: %+v", row.name, e)
				}
				w.Settle(time.Second) // the API has heard the rejection, which may not be stored yet
			}
		}
		stream, err := w.JS.Stream(t.Context(), events.StreamRequests)
		if err != nil {
			t.Fatal(err)
		}
		if n := stream.CachedInfo().State.Msgs; n != 0 {
			t.Errorf("%d messages are stuck in the stream", n)
		}
		for _, p := range []string{"fal", "minimax"} {
			if n := len(w.Stack.Ledger(p).Jobs()); n != 0 {
				t.Errorf("%d rejected requests were paid for at %s", n, p)
			}
		}
	})
}

func TestProviderFailures(t *testing.T) {
	rows := []struct {
		name, body string
		code       string
		kind       events.Kind
		charge     events.Charge
	}{
		{"fal result 422", falRequest("a", `{"fail":"422"}`), "", events.KindInvalid, ""},
		{
			"fal moderation", falRequest("a", `{"fail":"content_policy_violation"}`), "content_policy_violation",
			events.KindModeration, "",
		},
		{
			"fal runner error", falRequest("a", `{"fail":"runner_server_error"}`), "runner_server_error", events.KindInternal,
			events.ChargeNone,
		},
		{"fal start timeout", falRequest("a", `{"queue_ms":600000}`, `,"start_timeout":"2m"`), "", events.KindDeadline, ""},
		{
			"minimax input moderation", v1Request("a", `{"submit":"refuse_1026"}`), "1026", events.KindModeration,
			events.ChargeNone,
		},
		{"minimax bad parameters", v1Request("a", `{"submit":"refuse_2013"}`), "2013", events.KindInvalid, events.ChargeNone},
		{"minimax output moderation", v1Request("a", `{"fail":"1027"}`), "1027", events.KindModeration, events.ChargeNone},
		{"minimax balance at the end", v1Request("a", `{"fail":"1008"}`), "1008", events.KindQuota, ""},
		{
			"minimax balance at submit", v1Request("a", `{"submit":"refuse_1008"}`, `,"timeout":"3m"`), "1008", events.KindQuota,
			events.ChargeNone,
		},
		{"minimax V2 moderation", v2Request("a", `{"fail":"1027"}`), "1027", events.KindModeration, events.ChargeNone},
		{
			"minimax V2 bad parameters", v2Request("a", `{"submit":"refuse_2013"}`), "2013", events.KindInvalid,
			events.ChargeNone,
		},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			sim.Run(t, sim.Options{}, func(t *testing.T, w *sim.World) {
				w.Publish(video, row.body)
				task := w.AwaitEnd("demo", "a")
				w.Settle(time.Minute)
				e := task.Error
				if task.Status != events.StatusFailed || e == nil {
					t.Fatalf("ended as %s: %+v", task.Status, e)
				}
				if e.Kind != row.kind || row.code != "" && e.Code != row.code || row.charge != "" && e.Charge != row.charge {
					t.Errorf("failed with %+v, want code %q, kind %s, charge %s", *e, row.code, row.kind, row.charge)
				}
				if e.Message == "" {
					t.Error("the provider's reason is missing")
				}
				story := w.Story("demo", "a")
				if last := story[len(story)-1]; last.Type != events.EventFailed || last.Error == nil || last.Error.Code != e.Code {
					t.Errorf("the terminal event: %s %+v", last.Type, last.Error)
				}
			})
		})
	}
}

// TestFailingLooksFailNothing: whatever the first polls meet, the task completes, and the trouble is in its timeline.
func TestFailingPollsFailNothing(t *testing.T) {
	rows := []struct{ name, body, arrow string }{
		{"fal 500", falRequest("a", `{"polls":"500","poll_faults":12}`), "poll_failed"},
		{"fal 502 page", falRequest("a", `{"polls":"502_html","poll_faults":12}`), "poll_failed"},
		{"fal reset", falRequest("a", `{"polls":"reset","poll_faults":12}`), "poll_failed"},
		{"fal unknown word", falRequest("a", `{"polls":"unknown","poll_faults":2}`), "unknown_word"},
		{"fal not found once", falRequest("a", `{"polls":"not_found","poll_faults":1}`), "poll_failed"},
		{"fal result 500", falRequest("a", `{"result_faults":6}`), ""},
		{"fal back in the queue", falRequest("a", `{"polls":"regress","poll_faults":3}`), ""},
		{"minimax rate limit", v1Request("a", `{"polls":"1002","poll_faults":3}`), "poll_failed"},
		{"minimax unknown word", v1Request("a", `{"polls":"unknown","poll_faults":3}`), "unknown_word"},
		{"minimax not found once", v1Request("a", `{"polls":"not_found","poll_faults":1}`), "poll_failed"},
		{"minimax V2 500", v2Request("a", `{"polls":"500","poll_faults":12}`), "poll_failed"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			sim.Run(t, sim.Options{}, func(t *testing.T, w *sim.World) {
				w.Publish(video, row.body)
				task := w.AwaitEnd("demo", "a")
				if task.Status != events.StatusCompleted {
					t.Fatalf("ended as %s: %+v", task.Status, task.Error)
				}
				var timeline events.TimelineReply
				if e := w.Ask(&timeline, events.VerbTimeline, "", "demo", "a"); e != nil {
					t.Fatal(e)
				}
				found := slices.ContainsFunc(timeline.Transitions, func(tr events.Transition) bool { return tr.Name == row.arrow })
				if row.arrow != "" && !found {
					t.Errorf("%s is not in the timeline: %+v", row.arrow, timeline.Transitions)
				}
			})
		})
	}
}

func TestLostByTheProvider(t *testing.T) {
	sim.Run(t, sim.Options{}, func(t *testing.T, w *sim.World) {
		w.Publish(video, falRequest("a", `{"polls":"not_found"}`))
		task := w.AwaitEnd("demo", "a")
		if task.Error == nil || task.Error.Code != events.CodeTaskLost || task.Error.Charge != events.ChargePossible {
			t.Fatalf("ended as %s: %+v", task.Status, task.Error)
		}
		if took := task.CompletedAt.Sub(task.CreatedAt); took < 5*time.Minute {
			t.Errorf("given up after %v, not found counts after five minutes", took)
		}
	})
}

func TestCancel(t *testing.T) {
	isPhase := func(p events.Phase) func(events.Task) bool {
		return func(t events.Task) bool { return t.Phase == p }
	}
	delayed := func(t events.Task) bool { return t.Phase == events.PhaseWaiting && t.NotBefore != nil }
	rows := []struct {
		name, body string
		when       func(events.Task) bool
		status     events.Status
		jobs       int
	}{
		{"before it is sent", falRequest("a", `{"submit":"refuse_429"}`), delayed, events.StatusCancelled, 0},
		{"in fal's queue", falRequest("a", ""), isPhase(events.PhaseProviderQueued), events.StatusCancelled, 1},
		{"while fal runs it", falRequest("a", ""), isPhase(events.PhaseRunning), events.StatusCancelled, 1},
		{"ignored by fal", falRequest("a", `{"cancel":"ignored"}`), isPhase(events.PhaseRunning), events.StatusCompleted, 1},
		{"MiniMax V1 has none", v1Request("a", ""), isPhase(events.PhaseRunning), events.StatusCompleted, 1},
		{"in the queue of MiniMax V2", v2Request("a", ""), isPhase(events.PhaseProviderQueued), events.StatusCancelled, 1},
		{"too late for MiniMax V2", v2Request("a", ""), isPhase(events.PhaseRunning), events.StatusCompleted, 1},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			sim.Run(t, sim.Options{}, func(t *testing.T, w *sim.World) {
				w.Publish(video, row.body)
				w.Await("demo", "a", row.when)
				asked := time.Now()
				var reply events.TaskReply
				if e := w.Ask(&reply, events.VerbCancel, `{"reason":"changed my mind"}`, "demo", "a"); e != nil {
					t.Fatal(e)
				}
				task := w.AwaitEnd("demo", "a")
				if task.Status != row.status {
					t.Errorf("ended as %s, want %s: %+v", task.Status, row.status, task.Error)
				}
				if jobs := w.Stack.Ledger(task.Provider).Jobs(); len(jobs) != row.jobs {
					t.Errorf("%d jobs at the provider, want %d", len(jobs), row.jobs)
				}
				if took := task.CompletedAt.Sub(asked); row.status == events.StatusCancelled && took > 15*time.Second {
					t.Errorf("cancelled %v after it was asked for", took)
				}
				if row.status == events.StatusCompleted && len(task.Result.Outputs) == 0 {
					t.Error("what was paid for is missing")
				}
			})
		})
	}
}

func TestDeadline(t *testing.T) {
	t.Run("the provider cancels", func(t *testing.T) {
		sim.Run(t, sim.Options{}, func(t *testing.T, w *sim.World) {
			w.Publish(video, falRequest("a", `{"stall":"running"}`, `,"timeout":"7m"`))
			task := w.AwaitEnd("demo", "a")
			if task.Status != events.StatusFailed || task.Error.Code != events.CodeDeadlineExceeded ||
				task.Error.Kind != events.KindDeadline {
				t.Fatalf("ended as %s: %+v", task.Status, task.Error)
			}
			if took := task.CompletedAt.Sub(task.CreatedAt); took < 7*time.Minute || took > 8*time.Minute {
				t.Errorf("ended after %v", took)
			}
		})
	})
	t.Run("the result comes late", func(t *testing.T) {
		sim.Run(t, sim.Options{}, func(t *testing.T, w *sim.World) {
			w.Publish(video, falRequest("a", `{"run_ms":1800000,"cancel":"ignored"}`, `,"timeout":"5m"`))
			task := w.AwaitEnd("demo", "a")
			if task.Status != events.StatusFailed || task.Error.Code != events.CodeDeadlineExceeded {
				t.Fatalf("ended as %s: %+v", task.Status, task.Error)
			}
			task = w.Await("demo", "a", func(t events.Task) bool { return t.Result != nil })
			if !task.Result.Late || len(task.Result.Outputs) != 1 || task.Status != events.StatusFailed {
				t.Errorf("the late result: %+v, status %s", task.Result, task.Status)
			}
			w.Settle(time.Minute)
			want := []events.EventType{events.EventQueued, events.EventSubmitted, events.EventFailed, events.EventLateResult}
			if got := sim.Types(w.Story("demo", "a")); !slices.Equal(got, want) {
				t.Errorf("story %v, want %v", got, want)
			}
		})
	})
	t.Run("never sent", func(t *testing.T) {
		sim.Run(t, sim.Options{}, func(t *testing.T, w *sim.World) {
			w.Publish(video, falRequest("a", `{"submit":"refuse_429"}`, `,"timeout":"3m"`))
			task := w.AwaitEnd("demo", "a")
			if task.Error == nil || task.Error.Kind != events.KindRateLimited || task.Error.Charge != events.ChargeNone {
				t.Fatalf("ended as %s: %+v", task.Status, task.Error)
			}
		})
	})
}

func TestInDoubt(t *testing.T) {
	lost := `{"submit":"accept_then_reset"}`
	inDoubt := func(t events.Task) bool { return t.Phase == events.PhaseInDoubt }
	parked := func(t events.Task) bool { return t.Phase == events.PhaseParked }

	t.Run("parked, then adopted by a person", func(t *testing.T) {
		sim.Run(t, sim.Options{}, func(t *testing.T, w *sim.World) {
			w.Publish(video, v1Request("a", lost))
			w.Await("demo", "a", inDoubt)
			begin := time.Now()
			w.Await("demo", "a", parked)
			if took := time.Since(begin); took < 50*time.Minute {
				t.Errorf("parked after %v, MiniMax V1 may be silent for an hour", took)
			}
			jobs := w.Stack.Ledger("minimax").Jobs()
			if len(jobs) != 1 {
				t.Fatalf("a submit in doubt was paid for %d times", len(jobs))
			}
			var reply events.TaskReply
			e := w.Ask(&reply, events.VerbResolve,
				`{"action":"adopt","provider_id":"`+jobs[0].ID+`","reason":"seen in the dashboard"}`, "demo", "a")
			if e != nil {
				t.Fatal(e)
			}
			if task := w.AwaitEnd("demo", "a"); task.Status != events.StatusCompleted {
				t.Errorf("ended as %s: %+v", task.Status, task.Error)
			}
		})
	})
	t.Run("failed by policy", func(t *testing.T) {
		sim.Run(t, sim.Options{}, func(t *testing.T, w *sim.World) {
			w.Publish(video, v1Request("a", `{"submit":"accept_then_1001"}`, `,"on_in_doubt":"fail"`))
			task := w.AwaitEnd("demo", "a")
			if task.Error == nil || task.Error.Charge != events.ChargePossible || task.Error.Kind != events.KindAmbiguous {
				t.Errorf("ended as %s: %+v", task.Status, task.Error)
			}
		})
	})
	t.Run("resubmitted within the budget", func(t *testing.T) {
		sim.Run(t, sim.Options{}, func(t *testing.T, w *sim.World) {
			w.Publish(video, v1Request("a", lost, `,"on_in_doubt":"resubmit","max_paid_attempts":2`))
			task := w.Await("demo", "a", parked)
			if jobs := w.Stack.Ledger("minimax").Jobs(); len(jobs) != 2 || len(task.Attempts) != 2 {
				t.Errorf("%d jobs and %d attempts with a budget of two", len(jobs), len(task.Attempts))
			}
		})
	})
	t.Run("written off", func(t *testing.T) {
		sim.Run(t, sim.Options{}, func(t *testing.T, w *sim.World) {
			w.Publish(video, falRequest("a", lost))
			w.Await("demo", "a", inDoubt)
			var reply events.TaskReply
			if e := w.Ask(&reply, events.VerbResolve, `{"action":"write_off"}`, "demo", "a"); e != nil {
				t.Fatal(e)
			}
			if task := w.AwaitEnd("demo", "a"); task.Error.Code != events.CodeWrittenOff {
				t.Errorf("ended as %s: %+v", task.Status, task.Error)
			}
			if e := w.Ask(&reply, events.VerbResolve, `{"action":"resubmit"}`, "demo", "a"); e == nil ||
				e.Code != events.CodeConflict {
				t.Errorf("resolve of an ended task: %+v", e)
			}
		})
	})
	t.Run("nothing left before the answer was lost", func(t *testing.T) {
		sim.Run(t, sim.Options{}, func(t *testing.T, w *sim.World) {
			w.Publish(video, falRequest("a", `{"submit":"reset_before"}`, `,"timeout":"10m"`))
			w.Settle(5 * time.Minute)
			if n := len(w.Stack.Ledger("fal").Jobs()); n != 0 {
				t.Errorf("%d jobs", n)
			}
		})
	})
}

// TestLargeAndExactInput: what is sent is what was given, byte for byte, also when it is too large for the record.
func TestLargeAndExactInput(t *testing.T) {
	for _, size := range []int{10, events.MaxInlineBytes, 200 << 10} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			sim.Run(t, sim.Options{}, func(t *testing.T, w *sim.World) {
				input := `{"seed": 17454220438242315174, "cfg":1.50, "html":"<a&b>", "prompt":"` + strings.Repeat("x", size) + `"}`
				w.Publish(video, `{"id":"a","provider":"fal","model":"`+falVideo+`","input":`+input+`}`)
				task := w.AwaitEnd("demo", "a")
				if task.Status != events.StatusCompleted {
					t.Fatalf("ended as %s: %+v", task.Status, task.Error)
				}
				record, err := json.Marshal(task)
				if err != nil {
					t.Fatal(err)
				}
				if len(record) > 2*events.MaxInlineBytes {
					t.Errorf("the record has %d bytes", len(record))
				}
				want := strings.ReplaceAll(strings.ReplaceAll(input, `": `, `":`), `, "`, `,"`)
				got := strings.ReplaceAll(strings.ReplaceAll(string(w.Stack.Ledger("fal").Jobs()[0].Input), `": `, `":`), `, "`,
					`,"`)
				if got != want {
					t.Errorf("the provider got %.200s", got)
				}
			})
		})
	}
}

// TestSharedID: a provider, or a cache before it, that answers two paid requests with one id raises an alarm on both
// tasks, once, and both end.
func TestSharedID(t *testing.T) {
	sim.Run(t, sim.Options{}, func(t *testing.T, w *sim.World) {
		w.Publish(video, falRequest("first", `{"run_ms":60000}`))
		w.Await("demo", "first", phase(events.PhaseRunning))
		w.Publish(video, falRequest("second", `{"submit":"repeat"}`))
		for _, id := range []string{"first", "second"} {
			task := w.AwaitEnd("demo", id)
			steps := 0
			for _, tr := range task.Transitions {
				if tr.Name == "shared_id" {
					steps++
				}
			}
			if a := task.Attempts[0]; task.Status != events.StatusCompleted || steps != 1 || !a.SharedID ||
				a.ProviderID != lastJob(w, "fal") {
				t.Errorf("%s: %s, alarms %d, attempt %+v", id, task.Status, steps, a)
			}
		}
	})
}
