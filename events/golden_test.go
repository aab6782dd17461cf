package events_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/events/operator"
)

var update = flag.Bool("update", false, "write the golden files of the contract")

// golden compares v, as indented JSON, with a file under testdata/v1 and returns the file's content.
func golden(t *testing.T, name string, v any) []byte {
	t.Helper()
	var got bytes.Buffer
	if err := json.Indent(&got, mustMarshal(t, v), "", "  "); err != nil {
		t.Fatal(err)
	}
	got.WriteByte('\n')
	file := filepath.Join("testdata", "v1", name+".json")
	if *update {
		if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (a new golden is written by -update)", err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%s differs; if the contract is meant to change, see testdata/README.md\n--- got\n%s--- want\n%s", file,
			got.Bytes(), want)
	}
	return want
}

// eventGolden is the form of an event's golden file.
type eventGolden struct {
	Subject string            `json:"subject"`
	Header  map[string]string `json:"header"`
	Payload json.RawMessage   `json:"payload"`
}

func TestEventGoldens(t *testing.T) {
	for _, et := range events.EventTypes() {
		t.Run(string(et), func(t *testing.T) {
			e := anEvent(et)
			file := golden(t, string(et), eventGolden{e.Subject(), e.Header(), mustMarshal(t, e)})
			var g eventGolden
			if err := json.Unmarshal(file, &g); err != nil {
				t.Fatal(err)
			}
			for name, payload := range map[string][]byte{
				"as it is":            g.Payload,
				"with unknown fields": withUnknownFields(t, g.Payload),
			} {
				back, err := events.DecodeEvent(g.Header[events.HeaderType], payload)
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
				back.Traceparent = g.Header[events.HeaderTraceparent]
				wantSameJSON(t, name, back, e)
				if back.ID() != g.Header[events.HeaderID] || back.Subject() != g.Subject {
					t.Errorf("%s: read as %s on %s, want %s on %s", name, back.ID(), back.Subject(), g.Header[events.HeaderID],
						g.Subject)
				}
			}
		})
	}
}

// withUnknownFields adds a member that no build knows to every object of data outside the user's and provider's own
// JSON.
func withUnknownFields(t *testing.T, data []byte) []byte {
	t.Helper()
	opaque := map[string]bool{
		"input": true, "raw": true, "ref": true, "provider_ref": true, "metadata": true,
		"by_status": true, "values": true, "options": true, "voice": true, "files": true,
	}
	var add func(json.RawMessage) json.RawMessage
	add = func(raw json.RawMessage) json.RawMessage {
		switch raw[0] {
		case '{':
			members := map[string]json.RawMessage{}
			if err := json.Unmarshal(raw, &members); err != nil {
				t.Fatal(err)
			}
			for name, member := range members {
				if !opaque[name] {
					members[name] = add(member)
				}
			}
			members["a_later_field"] = json.RawMessage(`{"type":[1,"x",null]}`)
			return mustMarshal(t, members)
		case '[':
			var all []json.RawMessage
			if err := json.Unmarshal(raw, &all); err != nil {
				t.Fatal(err)
			}
			for i := range all {
				all[i] = add(all[i])
			}
			return mustMarshal(t, all)
		}
		return raw
	}
	return add(data)
}

// wantSameJSON compares what two values are written as.
func wantSameJSON(t *testing.T, what string, got, want any) {
	t.Helper()
	a, b := mustMarshal(t, got), mustMarshal(t, want)
	if bytes.Equal(a, b) {
		return
	}
	i := 0
	for i < min(len(a), len(b)) && a[i] == b[i] {
		i++
	}
	from := max(0, i-60)
	t.Errorf("%s: got ...%.200s\nwant ...%.200s", what, a[from:], b[from:])
}

// TestEventFields: every field of an event is in the golden of some type.
func TestEventFields(t *testing.T) {
	missing := map[string]int{}
	for _, et := range events.EventTypes() {
		for _, field := range zeroFields(reflect.ValueOf(anEvent(et)), "") {
			missing[field]++
		}
	}
	for field, n := range missing {
		if n == len(events.EventTypes()) {
			t.Errorf("no golden covers %s", field)
		}
	}
}

func TestTaskGolden(t *testing.T) {
	want := fullTask()
	if zero := zeroFields(reflect.ValueOf(want), "Task"); len(zero) > 0 {
		t.Errorf("the golden does not cover %v", zero)
	}
	file := golden(t, "task", want)
	for name, data := range map[string][]byte{"as it is": file, "with unknown fields": withUnknownFields(t, file)} {
		got, err := events.DecodeTask(data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		wantSameJSON(t, name, got, want)
	}
}

func TestDecodeTaskRefuses(t *testing.T) {
	for _, row := range []struct{ name, data, want string }{
		{"a newer schema", `{"schema":4}`, "task record: schema 4, this build reads 3"},
		{"an older schema", `{"schema":1}`, "task record: schema 1, this build reads 3"},
		{"no schema", `{"id":"a"}`, "task record: schema 0, this build reads 3"},
		{"no JSON", ``, "task record: unexpected end of JSON input"},
	} {
		if _, err := events.DecodeTask([]byte(row.data)); err == nil || err.Error() != row.want {
			t.Errorf("%s: error %v, want %q", row.name, err, row.want)
		}
	}
}

func TestRequestGolden(t *testing.T) {
	missing := map[string]int{}
	requests := map[string]events.Request{"request": fullRequest(), "request_want": wantRequest(), "request_retry": retryRequest()}
	for name, want := range requests {
		for _, field := range zeroFields(reflect.ValueOf(want), "Request") {
			missing[field]++
		}
		got, err := events.DecodeRequest(golden(t, name, want))
		if err != nil {
			t.Fatal(err)
		}
		wantSameJSON(t, name, got, want)
	}
	for field, n := range missing {
		if n == len(requests) {
			t.Errorf("no golden covers %s", field)
		}
	}
}

var (
	someSpend = events.Spend{Tasks: 3, Attempts: 4, Unpriced: 1, SpentUSD: 3.5, ReservedUSD: 0.7}
	someCap   = events.SpendCap{
		Scope: "project.film", DailyUSD: 20, UnknownUSD: 0.5, ReservedUSD: 4.2, Since: at(0), By: "anna", Revision: 7,
	}
	someQuota = operator.ProjectQuota{
		Project: "film", Quota: bucket.Quota{By: "anna"}.Over(bucket.DefaultQuota()), Revision: 7,
		Set: bucket.Quota{
			Waiting: 1, RequestsPerSecond: 2, BytesPerSecond: 3, Calls: 4, Waits: 5, Rejections: 6, By: "anna",
		},
	}
	somePause  = bucket.LanePause{Paused: true, Reason: "the bill of May", By: "anna", At: at(0), Until: at(40), Tries: 2}
	someLimits = events.LaneLimits{
		Models: map[string]events.ModelLimits{
			"fal-ai/kling": {Requests: 20, Window: events.Duration(60e9), InFlight: 5, Spacing: events.Duration(1e9)},
		},
		Projects: map[string]events.ProjectShare{"film": {Weight: 3, Requests: 10, InFlight: 2}},
		Polls:    events.PollLimits{Spacing: events.Duration(30e9), PerSecond: 5},
		Reason:   "the plan of May", By: "anna", At: at(0),
	}
	someLearned = bucket.AdaptiveLimit{Limit: 17, Refused: 20, Accepted: 3, Step: 1, Patience: 2, Streak: 1}
	// someMessage has its body twice, of which an answer has one.
	someMessage = operator.StoredMessage{
		Bytes: 13, Header: map[string][]string{"Nats-Msg-Id": {"m1"}},
		Text: `{"model":"m"}`, Data: []byte{0xff, 0},
	}
	somePage = operator.StoredPage{
		Unreadable: []operator.UnreadableMessage{{ID: 6, Error: "not a dead letter"}},
		NextBefore: 6,
	}
)

// Every command, question and answer: what the decoder of the contract, or of any client, reads from the golden is what
// was written.
func TestCommandAndAPIGoldens(t *testing.T) {
	task := fullTask()
	for _, row := range []struct {
		name   string
		value  any
		decode func([]byte) (any, error)
	}{
		{"command_cancel", events.Cancel{Reason: "wrong take"}, as(events.DecodeCancel)},
		{
			"command_resolve",
			events.Resolve{Action: events.ResolveAdopt, ProviderID: "019c", Reason: "seen in the console"},
			as(events.DecodeResolve),
		},
		{"api_task_reply", events.TaskReply{Task: task}, plainJSON[events.TaskReply]},
		{"api_error_reply", events.ErrorReply{Error: *fullError()}, plainJSON[events.ErrorReply]},
		{"api_list_request", events.ListRequest{
			Status: []events.Status{events.StatusQueued, events.StatusInProgress}, Phase: []events.Phase{events.PhaseParked},
			SceneID: "scene-7", Provider: "fal", Model: "fal-ai/kling-video", BatchID: "film-3", Since: new(at(0)), Limit: 20,
			Cursor: "1767-shot-041", AfterRequest: 812,
		}, as(events.DecodeListRequest)},
		{
			"api_list_reply",
			events.ListReply{Tasks: []events.Task{task}, NextCursor: "1767-shot-042"},
			plainJSON[events.ListReply],
		},
		{"api_queue_reply", events.QueueReply{
			Total: 9, ByStatus: map[events.Status]int{events.StatusQueued: 2, events.StatusCompleted: 7}, ActiveCount: 2,
			Lanes: []events.LaneQueue{{
				Lane: "fal-team2", Provider: "fal",
				ByPhase: map[events.Phase]int{events.PhaseWaiting: 1, events.PhaseProviderQueued: 1}, Active: 2, AtProvider: 1,
				CompletedLastHour: 6, FailedLastHour: 1, OldestWaitingS: 12.5,
				Callbacks: &events.CallbackHealth{MissRate: 0.25, LagS: 0.5, Seen: 4},
				Detection: &events.Detection{LagS: 2.5, PollsPerTask: 3.2, Seen: 40},
				Blocked: []events.Blocked{
					*task.Blocked, {Reason: events.BlockedPaused, Message: "paused by heron: the budget of May"},
				}, SentPerMinute: 2.5, Typical: map[events.TaskType]events.Typical{
					events.Video: {Samples: 120, WaitS: 12.5, RunS: 240, WholeS: 255.5, LateS: 400},
				},
			}},
		}, plainJSON[events.QueueReply]},
		{"api_timeline_reply", events.TimelineReply{
			TaskID: "shot-042", RetryOf: "shot-041", RetriedBy: []string{"shot-042-r2"}, Transitions: fullTask().Transitions, Attempts: fullTask().Attempts,
		}, plainJSON[events.TimelineReply]},
		{"api_wait_request", events.WaitRequest{Timeout: events.Duration(45e9)}, as(events.DecodeWaitRequest)},
		{"api_spend_request", events.SpendRequest{
			Since: "2026-01-01", Until: "2026-01-31", By: []events.SpendGroup{events.SpendByDay, events.SpendByModel},
		}, func(b []byte) (any, error) { return events.DecodeSpendRequest(b, at(0)) }},
		{"api_spend_reply", events.SpendReply{
			Since: "2026-01-01", Until: "2026-01-31", RowsLeftOut: 3, Total: someSpend,
			Rows: []events.SpendRow{{
				Day: "2026-01-31", Project: "film", Provider: "fal", Lane: "fal-team2", Model: "fal-ai/kling-video",
				Spend: someSpend,
			}},
			Caps: []events.SpendCap{someCap},
		}, plainJSON[events.SpendReply]},
		{"api_models_request", events.ModelsRequest{
			Provider: "fal", Model: "kling-v3", TaskType: events.Video,
		}, as(events.DecodeModelsRequest)},
		{"api_models_reply", events.ModelsReply{Models: []events.ModelSheet{fullSheet()}}, plainJSON[events.ModelsReply]},
		{"api_quote_request", events.QuoteRequest{TaskType: events.Image, Request: wantRequest()}, as(events.DecodeQuoteRequest)},
		{"api_quote_reply", events.QuoteReply{
			Provider: "fal", Model: "fal-ai/kling-video/v3/pro/text-to-video", Input: json.RawMessage(`{"prompt":"a heron"}`),
			Warnings: []string{"the model makes no sound"}, Cost: fullTask().Cost, Typical: &fullTypical,
		}, plainJSON[events.QuoteReply]},
		{"api_batch_reply", fullBatch(), plainJSON[events.Batch]},
		{
			"api_links_request",
			events.LinksRequest{ExpiresIn: events.Duration(90 * time.Second)},
			as(events.DecodeLinksRequest),
		},
		{"api_links_reply", events.LinksReply{Links: []events.Link{{
			Output: 1, URL: "https://media.example/artifacts/demo/" + strings.Repeat("4", 64) + ".mp4?expires=1&mac=x",
			ExpiresAt: at(58), FileName: "shot-042-2.mp4", ContentType: "video/mp4", Size: 1 << 40,
			SHA256: strings.Repeat("4", 64),
		}}}, plainJSON[events.LinksReply]},
		{"api_erase_request", events.EraseRequest{Only: events.EraseOutputs}, as(events.DecodeEraseRequest)},
		{"api_erase_reply", events.EraseReply{Task: fullTask(), Deleted: 2, Shared: 1}, plainJSON[events.EraseReply]},
		{"api_artifacts_request", operator.ArtifactsRequest{
			Project: "demo", Limit: 100, After: someArtifact.Name,
		}, as(operator.DecodeArtifactsRequest)},
		{"api_artifacts_reply", operator.ArtifactsReply{
			Files: []operator.ArtifactFile{someArtifact}, NextAfter: someArtifact.Name,
		}, plainJSON[operator.ArtifactsReply]},
		{"api_artifacts_verify_reply", operator.VerifyReply{
			Files: 100, Bytes: 1 << 40, NextAfter: someArtifact.Name, Faults: []operator.FaultyArtifact{{
				Name: someArtifact.Name, Fault: operator.FaultDamaged, Detail: "it has another sum", Task: "demo.shot-042",
			}},
		}, plainJSON[operator.VerifyReply]},
		{"api_artifacts_gc_request", operator.GCRequest{
			ArtifactsRequest: operator.ArtifactsRequest{Project: "demo", Limit: 100, After: someArtifact.Name},
			OlderThan:        events.Duration(720 * time.Hour), DryRun: true,
		}, as(operator.DecodeGCRequest)},
		{"api_artifacts_gc_reply", operator.GCReply{
			Deleted: []operator.ArtifactFile{someArtifact}, Expired: 3, Unnamed: 4, NextAfter: someArtifact.Name,
		}, plainJSON[operator.GCReply]},
		{"api_upload_request", events.UploadRequest{
			Name: "frame.png", Size: 5 << 20, SHA256: strings.Repeat("4", 64), ContentType: "image/png",
		}, as(events.DecodeUploadRequest)},
		{"api_upload_reply", events.UploadReply{
			URL: "https://media.example/inputs/demo/frame.png?expires=1&mac=x", Method: "PUT", ExpiresAt: at(58), MaxBytes: 5 << 20,
		}, plainJSON[events.UploadReply]},
		{"input", events.Input{
			Project: "demo", Name: "frame.png", Size: 5 << 20, SHA256: strings.Repeat("4", 64), ContentType: "image/png",
			StoredAt: at(58),
		}, plainJSON[events.Input]},
		{"api_lanes_reply", operator.LanesReply{Lanes: []operator.LaneState{{
			Lane: "fal-team2", Provider: "fal", Pause: somePause, PauseRevision: 7, Limits: someLimits, LimitsRevision: 8,
			LimitsError: "limits: bad JSON",
			Defaults: map[string]events.ModelLimits{
				"*": {Requests: 20, Window: events.Duration(60e9), InFlight: 5, Spacing: 1e9},
			}, Dispatcher: &bucket.Holder{Name: "submitter-7f3a", Since: at(0), TTL: events.Duration(6e9)},
			DispatcherError: "no JSON",
			Learned: map[string]bucket.LearnedLimits{
				"*": {Rate: someLearned, Concurrency: someLearned, PausedUntil: at(31)},
			}, Blocked: []events.Blocked{*task.Blocked},
		}}}, plainJSON[operator.LanesReply]},
		{
			"api_lanes_pause_request",
			operator.PauseRequest{Lane: "fal-team2", Reason: "the bill of May", By: "anna", Revision: new(uint64(7))},
			func(b []byte) (any, error) { return operator.DecodePauseRequest(operator.VerbLanesPause, b) },
		},
		{
			"api_lanes_pause_reply",
			operator.PauseReply{Lane: "fal-team2", Pause: somePause, Revision: 8},
			plainJSON[operator.PauseReply],
		},
		{
			"api_lanes_limit_request",
			operator.LimitsRequest{Lane: "fal-team2", Limits: someLimits, Revision: new(uint64(8))},
			as(operator.DecodeLimitsRequest),
		},
		{
			"api_lanes_limit_reply",
			operator.LimitsReply{Lane: "fal-team2", Limits: someLimits, Revision: 9},
			plainJSON[operator.LimitsReply],
		},
		{"api_caps_reply", operator.CapsReply{Caps: []events.SpendCap{someCap}}, plainJSON[operator.CapsReply]},
		{
			"api_caps_set_request",
			operator.CapRequest{
				Scope: "project.film", DailyUSD: new(20.0), UnknownUSD: new(0.5), By: "anna",
				Revision: new(uint64(7)),
			},
			func(b []byte) (any, error) { return operator.DecodeCapRequest(operator.VerbCapsSet, b) },
		},
		{"api_caps_set_reply", operator.CapReply{Scope: "project.film", Cap: &someCap}, plainJSON[operator.CapReply]},
		{"api_quotas_reply", operator.QuotasReply{Quotas: []operator.ProjectQuota{someQuota}}, plainJSON[operator.QuotasReply]},
		{
			"api_quotas_set_request",
			operator.QuotaRequest{Project: "film", Quota: someQuota.Set, Revision: new(uint64(7))},
			as(operator.DecodeQuotaRequest),
		},
		{"api_dead_reply", operator.DeadReply{
			Letters: []operator.StoredLetter{{
				ID: 7, Time: at(9), Stream: "REELAY_REQUESTS", Consumer: "intake", Sequence: 42,
				Subject: "reelay.request.demo.video", StoredAt: at(1), Deliveries: 5, Reason: "handler panicked",
				NotReplayable: "cannot be replayed: only 13 of its about 2000000 bytes were kept", StoredMessage: someMessage,
			}},
			StoredPage: somePage,
		}, plainJSON[operator.DeadReply]},
		{
			"api_callbacks_request",
			operator.StoredRequest{ID: 7, Lane: "fal-team2", Limit: 20, Before: 90},
			func(b []byte) (any, error) { return operator.DecodeStoredRequest(operator.VerbCallbacks, b) },
		},
		{"api_callbacks_reply", operator.CallbacksReply{
			Callbacks: []operator.StoredCallback{{
				ID: 7, Received: at(9), Lane: "fal-team2", Project: "demo", TaskID: "shot-042", Attempt: 1, ProviderWord: "OK",
				Unproven: events.UnprovenClock, StoredMessage: someMessage,
			}},
			StoredPage: somePage,
		}, plainJSON[operator.CallbacksReply]},
		{"api_notify_reply", operator.NotifyReply{
			FileError: "endpoints.studio.url: must be https", Endpoints: []operator.NotifyEndpoint{{
				Endpoint: "studio", Defined: true, Projects: []string{"demo"}, Always: true,
				Events: []events.EventType{events.EventCompleted}, Waiting: 3, Oldest: new(at(9)), Dead: 1, Failures: 2,
				LastFailure: "HTTP 503", FailedAt: new(at(10)), DeliveredAt: new(at(8)),
			}},
		}, plainJSON[operator.NotifyReply]},
		{"api_notify_replay_request", operator.NotifyReplayRequest{
			Endpoint: "studio", Since: new(at(1)), Limit: 100, After: 7,
		}, as(operator.DecodeNotifyReplayRequest)},
		{"api_notify_replay_reply", operator.NotifyReplayReply{Replayed: 100, NextAfter: 107}, plainJSON[operator.NotifyReplayReply]},
		{"api_notify_test_request", operator.NotifyTestRequest{Endpoint: "studio"}, as(operator.DecodeNotifyTestRequest)},
		{"api_notify_test_reply", operator.NotifyTestReply{
			Endpoint: "studio", Failure: "HTTP 503", TookS: 0.25, WebhookID: "test/studio/1772366409",
		}, plainJSON[operator.NotifyTestReply]},
		{"notification", events.Notification{Sequence: 42, ID: "demo/shot-042/9/completed"}, plainJSON[events.Notification]},
		{"api_replay_request", operator.ReplayRequest{ID: 7}, as(operator.DecodeReplayRequest)},
		{"api_replay_reply", operator.ReplayReply{
			Subject: "reelay.request.demo.video", Stream: "REELAY_REQUESTS", Sequence: 43, Project: "demo", TaskID: "shot-042",
		}, plainJSON[operator.ReplayReply]},
	} {
		t.Run(row.name, func(t *testing.T) {
			if zero := zeroFields(reflect.ValueOf(row.value), row.name); len(zero) > 0 && row.name != "api_quote_request" { // it has a want or an input
				t.Errorf("the golden does not cover %v", zero)
			}
			got, err := row.decode(golden(t, row.name, row.value))
			if err != nil {
				t.Fatal(err)
			}
			wantSameJSON(t, row.name, got, row.value)
		})
	}
}

func as[T any](decode func([]byte) (T, error)) func([]byte) (any, error) {
	return func(b []byte) (any, error) { return decode(b) }
}

func plainJSON[T any](data []byte) (any, error) {
	var v T
	err := json.Unmarshal(data, &v)
	return v, err
}

// Every file that stands under testdata/v1 is pinned by a test: a golden that nothing writes pins nothing.
func TestNoStrayGoldens(t *testing.T) {
	known := map[string]bool{
		"task.json": true, "request.json": true, "request_want.json": true, "request_retry.json": true, "command_cancel.json": true,
		"command_resolve.json": true,
		"api_task_reply.json":  true, "api_error_reply.json": true, "api_list_request.json": true, "api_list_reply.json": true,
		"api_queue_reply.json": true, "api_timeline_reply.json": true, "api_wait_request.json": true,
		"api_spend_request.json": true, "api_spend_reply.json": true, "api_batch_reply.json": true,
		"api_models_request.json": true, "api_models_reply.json": true, "api_quote_request.json": true,
		"api_quote_reply.json": true,
		"api_lanes_reply.json": true, "api_lanes_pause_request.json": true, "api_lanes_pause_reply.json": true,
		"api_lanes_limit_request.json": true, "api_lanes_limit_reply.json": true, "api_caps_reply.json": true,
		"api_caps_set_request.json": true, "api_caps_set_reply.json": true, "api_dead_reply.json": true,
		"api_quotas_reply.json": true, "api_quotas_set_request.json": true,
		"api_callbacks_request.json": true, "api_callbacks_reply.json": true, "api_replay_request.json": true,
		"api_replay_reply.json": true, "api_links_request.json": true, "api_links_reply.json": true,
		"api_erase_request.json": true, "api_erase_reply.json": true, "api_artifacts_request.json": true,
		"api_artifacts_reply.json": true, "api_artifacts_verify_reply.json": true, "api_artifacts_gc_request.json": true,
		"api_artifacts_gc_reply.json": true, "api_notify_reply.json": true, "api_notify_replay_request.json": true,
		"api_notify_replay_reply.json": true, "api_notify_test_request.json": true, "api_notify_test_reply.json": true,
		"notification.json":       true,
		"api_upload_request.json": true, "api_upload_reply.json": true, "input.json": true,
	}
	for _, et := range events.EventTypes() {
		known[string(et)+".json"] = true
	}
	files, err := os.ReadDir(filepath.Join("testdata", "v1"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(known) {
		t.Errorf("%d files, want %d", len(files), len(known))
	}
	for _, f := range files {
		if !known[f.Name()] {
			t.Errorf("testdata/v1/%s is pinned by no test", f.Name())
		}
	}
}
