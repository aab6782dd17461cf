package minimax_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/emulator"
	sandbox "reelay/internal/emulator/minimax"
	"reelay/internal/provider"
	"reelay/internal/provider/minimax"
	"reelay/internal/secret"
)

const taskID = "106916112212032171" // over 2^53

func v1Answer(status, more string) string {
	return `{"task_id":"` + taskID + `","status":"` + status + `"` + more + `}`
}

func v2Answer(status, more string) string {
	return `{"task":{"id":` + taskID + `,"model":"MiniMax-H3","status":"` + status + `"` + more + `}}`
}

const (
	fine  = `,"base_resp":{"status_code":0,"status_msg":"success"}`
	moder = `,"base_resp":{"status_code":1027,"status_msg":"output new_sensitive"}`
	limit = `,"base_resp":{"status_code":1002,"status_msg":"rate limit"}`
)

// TestPollAnswers reads one answer each: what it says about the task, or why it says nothing.
func TestPollAnswers(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		model, body string
		state       provider.State // "" is a failed poll
		kind        events.Kind    // of the task's failure or of the failed poll
		code        string
	}{
		{modelV1, v1Answer("Preparing", fine), provider.Queued, "", ""},
		{modelV1, `{"code":0,"data":` + v1Answer("Processing", fine) + `}`, provider.Running, "", ""},
		{modelV1, `{"data":` + v1Answer("Fail", moder) + `}`, provider.Failed, events.KindModeration, "1027"},
		{modelV2, `{"data":` + v2Answer("running", "") + `}`, provider.Running, "", ""},
		{modelV1, v1Answer("Queueing", `,"file_id":""`+fine), provider.Queued, "", ""},
		{modelV1, v1Answer("submitted", fine), provider.Queued, "", ""},
		{modelV1, v1Answer("queued", fine), provider.Queued, "", ""},
		{modelV1, v1Answer("Processing", fine), provider.Running, "", ""},
		{modelV1, v1Answer("processing", ""), provider.Running, "", ""},
		{modelV1, v1Answer("RUNNING", fine), provider.Running, "", ""},
		{modelV1, v1Answer("Unknown", fine), provider.Unknown, "", ""},
		{modelV1, v1Answer("Hibernating", fine), provider.Unknown, "", ""},
		{modelV1, v1Answer("cancelled", fine), provider.Cancelled, "", ""},
		{modelV1, v1Answer("canceled", fine), provider.Cancelled, "", ""},
		{modelV1, v1Answer("Fail", moder), provider.Failed, events.KindModeration, "1027"},
		{modelV1, v1Answer("failed", moder), provider.Failed, events.KindModeration, "1027"},
		{modelV1, v1Answer("Fail", limit), provider.Failed, events.KindRateLimited, "1002"},
		{modelV1, v1Answer("Fail", fine), provider.Failed, events.KindInternal, "fail"},
		{modelV1, v1Answer("Fail", ""), provider.Failed, events.KindInternal, "fail"},
		{
			modelV1, v1Answer("Fail", `,"base_resp":{"status_code":7777,"status_msg":"new"}`), provider.Failed,
			events.KindInternal, "7777",
		},
		{modelV1, v1Answer("Expired", fine), provider.Failed, events.KindDeadline, "expired"},
		{modelV1, v1Answer("Success", moder), provider.Failed, events.KindModeration, "1027"},
		// A code without a verdict tells of the query.
		{modelV1, `{"base_resp":{"status_code":1002,"status_msg":"rate limit"}}`, "", events.KindRateLimited, "1002"},
		{modelV1, v1Answer("", moder), "", events.KindModeration, "1027"},
		{modelV1, v1Answer("Processing", limit), "", events.KindRateLimited, "1002"},
		{modelV1, v1Answer("Success", limit), "", events.KindRateLimited, "1002"},
		{modelV1, v1Answer("Unknown", `,"base_resp":{"status_code":1024}`), "", events.KindRetry, "1024"},
		{modelV1, `{"base_resp":{"status_code":1004,"status_msg":"login fail"}}`, "", events.KindAuth, "1004"},
		{
			modelV1, `{"base_resp":{"status_code":2013,"status_msg":"invalid params, task_id not found"}}`, "",
			events.KindNotFound, "2013",
		},
		{
			modelV1, `{"base_resp":{"status_code":2013,"status_msg":"the task does not exist"}}`, "", events.KindNotFound,
			"2013",
		},
		{
			modelV1, `{"base_resp":{"status_code":2013,"status_msg":"invalid params, task_id cannot by empty"}}`, "",
			events.KindInvalid, "2013",
		},
		{modelV1, `{"base_resp":{"status_code":1000,"status_msg":"not found"}}`, "", events.KindRetry, "1000"},
		{modelV1, `{"base_resp":{"status_code":0,"status_msg":"success"}}`, "", events.KindRetry, "http_200"},
		{modelV1, `{"status":{},"base_resp":{"status_code":0}}`, "", events.KindRetry, "http_200"},
		{modelV1, `{"task_id":"1","status":"Fail"` + moder + `}`, "", events.KindInternal, "wrong_task"},

		{modelV2, v2Answer("queued", ``), provider.Queued, "", ""},
		{modelV2, v2Answer("running", `,"usage":{},"content":{}`), provider.Running, "", ""},
		{modelV2, v2Answer("Success", `,"content":{"url":"https://cdn/x.mp4"}`), provider.Succeeded, "", ""},
		{modelV2, v2Answer("cancelled", ``), provider.Cancelled, "", ""},
		{modelV2, v2Answer("Canceled", ``), provider.Cancelled, "", ""},
		{modelV2, v2Answer("timeout", `,"error":null`), provider.Unknown, "", ""},
		{modelV2, v2Answer("expired", ``), provider.Failed, events.KindDeadline, "expired"},
		{modelV2, v2Answer("upscaling", ``), provider.Unknown, "", ""},
		{
			modelV2, v2Answer("failed", `,"error":{"code":"1026","message":"sensitive"}`), provider.Failed,
			events.KindModeration, "1026",
		},
		{modelV2, v2Answer("failed", `,"error":{"code":2013,"message":"bad"}`), provider.Failed, events.KindInvalid, "2013"},
		{modelV2, v2Answer("failed", `,"error":{"code":"gpu","message":"bad"}`), provider.Failed, events.KindInternal, "gpu"},
		{modelV2, v2Answer("failed", `,"error":null`), provider.Failed, events.KindInternal, "failed"},
		{
			modelV2, v2Answer("failed", `,"error":"odd","content":[],"usage":7,"duration":"x"`), provider.Failed,
			events.KindInternal, "failed",
		},
		{modelV2, v2Answer("", ``), "", events.KindRetry, "http_200"},
		{modelV2, `{"id":"` + taskID + `","status":"running"}`, "", events.KindRetry, "http_200"},
		{modelV2, `{"task":{"id":"1","status":"running"}}`, "", events.KindInternal, "wrong_task"},
	} {
		d := answering(t, http.StatusOK, row.body)
		snap, err := d.Poll(t.Context(), refOf(t, d, row.model, taskID))
		if row.state == "" {
			if e := provider.AsError(orNone(err)); e.Kind != row.kind || e.Code != row.code || e.TraceID != "trace-1" ||
				e.Charge != "" {
				t.Errorf("%s: %+v %+v, want a failed poll of kind %s, code %s", row.body, snap, e, row.kind, row.code)
			}
			continue
		}
		if err != nil || snap.State != row.state || snap.Word == "" || snap.ResultPending {
			t.Errorf("%s: %+v, %v, want %s", row.body, snap, err, row.state)
			continue
		}
		if row.kind == "" {
			if snap.Err != nil {
				t.Errorf("%s: %v, want no error", row.body, snap.Err)
			}
			continue
		}
		charge := events.ChargeNone
		if row.kind == events.KindDeadline {
			charge = events.ChargePossible
		}
		if snap.Err == nil || snap.Err.Kind != row.kind || snap.Err.Code != row.code || snap.Err.Charge != charge ||
			snap.Err.Message == "" {
			t.Errorf("%s: %+v, want kind %s, code %s, charge %s", row.body, snap.Err, row.kind, row.code, charge)
		}
	}
}

// orNone makes a missing error one that no row asks for.
func orNone(err error) error {
	if err == nil {
		return &provider.Error{Kind: "none"}
	}
	return err
}

// TestPollStatuses sends every HTTP status with every sort of body.
func TestPollStatuses(t *testing.T) {
	t.Parallel()
	bodies := strays()
	bodies["v1 refusal"], bodies["v2 refusal"] = v1Body(1008, "poor"), v2Body(1008, "poor")
	bodies["v1 unknown"], bodies["v2 unknown"] = v1Body(2013, "task_id not found"), v2Body(2013, "invalid task_id")
	bodies["v1 verdict"], bodies["v2 verdict"] = v1Answer("Fail", moder), v2Answer("failed", "")
	var status int
	var body string
	d := inProcess(t, func(*http.Request) (int, string) { return status, body })
	for _, status = range statuses() {
		for name, text := range bodies {
			body = text
			for _, model := range []string{modelV1, modelV2} {
				mine := name[:2] == map[string]string{modelV1: "v1", modelV2: "v2"}[model]
				own := mine || name != "v2 verdict" // a gateway may answer in the other's form
				snap, err := d.Poll(t.Context(), refOf(t, d, model, taskID))
				what := fmt.Sprintf("%s %d %s", model, status, name)
				if status == 200 && mine && strings.HasSuffix(name, "verdict") {
					if err != nil || snap.State != provider.Failed {
						t.Errorf("%s: %+v, %v, want failed", what, snap, err)
					}
					continue
				}
				want := events.KindInternal
				switch {
				case own && strings.HasSuffix(name, "refusal"):
					want = events.KindQuota
				case name == "v1 verdict" && own:
					want = events.KindModeration // the code of an answer that is no verdict because of its HTTP status
				case own && strings.HasSuffix(name, "unknown"):
					want = events.KindInvalid
					if status == 200 || status == 400 || status == 404 {
						want = events.KindNotFound
					}
				case status == 429:
					want = events.KindRateLimited
				case status == 408 || status >= 500 || status >= 200 && status < 300:
					want = events.KindRetry
				}
				e := provider.AsError(orNone(err))
				if e.Kind != want || e.HTTPStatus != status || e.Code == "" || e.Message == "" || snap.State != "" {
					t.Errorf("%s: %+v, state %q, want kind %s", what, e, snap.State, want)
				}
			}
		}
	}
}

// TestPollCodes has each code as the answer to a query.
func TestPollCodes(t *testing.T) {
	t.Parallel()
	for _, c := range codes {
		for model, body := range map[string]string{modelV1: v1Body(c.code, "words"), modelV2: v2Body(c.code, "words")} {
			want := c.kind
			if want == "" {
				want = events.KindRetry // for the 500 below
			}
			d := answering(t, map[string]int{modelV1: 200, modelV2: 500}[model], body)
			_, err := d.Poll(t.Context(), refOf(t, d, model, taskID))
			if e := provider.AsError(orNone(err)); e.Kind != want || e.Code != fmt.Sprint(c.code) ||
				!strings.Contains(e.Message, "words") {
				t.Errorf("%s: %+v, want kind %s", body, e, want)
			}
		}
	}
}

// TestV1Result reads the second call, which gives the link.
func TestV1Result(t *testing.T) {
	t.Parallel()
	const file = `{"file":{"file_id":176844028768320171,"bytes":0,"filename":"output.mp4","download_url":%q},` +
		`"base_resp":{"status_code":0}}`
	for _, row := range []struct {
		name, fileID string
		status       int
		body         string
		url          string      // the output's
		kind         events.Kind // of the failed poll; "" and no url is a result that is pending
	}{
		{
			"https", `"176844028768320171"`, 200, fmt.Sprintf(file, "https://cdn.test/a.mp4?E=1&S=%2F"),
			"https://cdn.test/a.mp4?E=1&S=%2F", "",
		},
		{
			"number in the query", `176844028768320171`, 200, fmt.Sprintf(file, "https://cdn.test/a.mp4"),
			"https://cdn.test/a.mp4", "",
		},
		{
			"http is upgraded", `"176844028768320171"`, 200, fmt.Sprintf(file, "http://cdn.test/a.mp4?S=%2F"),
			"https://cdn.test/a.mp4?S=%2F", "",
		},
		{
			"loopback is not", `"176844028768320171"`, 200, fmt.Sprintf(file, "http://127.0.0.1:9/a.mp4"),
			"http://127.0.0.1:9/a.mp4", "",
		},
		{"500", `"176844028768320171"`, 500, "", "", ""},
		{"page", `"176844028768320171"`, 200, "<html>", "", ""},
		{"rate limit", `"176844028768320171"`, 200, v1Body(1002, "rate limit"), "", ""},
		{"database", `"176844028768320171"`, 200, v1Body(1033, "db"), "", ""},
		{"404 page", `"176844028768320171"`, 404, "<html>", "", ""},
		{"403 page", `"176844028768320171"`, 403, "{}", "", ""},
		{"unknown code", `"176844028768320171"`, 200, v1Body(7777, "new"), "", ""},
		{"key refused", `"176844028768320171"`, 200, v1Body(1004, "login fail"), "", events.KindAuth},
	} {
		d := serving(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v1/query/video_generation" && r.URL.Query().Get("task_id") == taskID {
				_, _ = io.WriteString(w, v1Answer("Success", `,"file_id":`+row.fileID+fine))
				return
			}
			if r.URL.Path != "/v1/files/retrieve" || r.URL.RawQuery != "file_id=176844028768320171" {
				t.Errorf("%s: call of %s", row.name, r.URL)
			}
			w.WriteHeader(row.status)
			_, _ = io.WriteString(w, row.body)
		})
		before := time.Now()
		snap, err := d.Poll(t.Context(), refOf(t, d, modelV1, taskID))
		switch {
		case row.kind != "":
			if e := provider.AsError(orNone(err)); e.Kind != row.kind {
				t.Errorf("%s: %+v, want kind %s", row.name, e, row.kind)
			}
		case row.url == "":
			if err != nil || snap.State != provider.Running || !snap.ResultPending || snap.Word != "Success" ||
				len(snap.Outputs) != 0 {
				t.Errorf("%s: %+v, %v, want a result that is pending", row.name, snap, err)
			}
		case err != nil || snap.State != provider.Succeeded || len(snap.Outputs) != 1 || snap.Outputs[0].URL != row.url:
			t.Errorf("%s: %+v, %v, want %s", row.name, snap, err, row.url)
		default:
			o := snap.Outputs[0]
			if o.FileName != "output.mp4" || o.ContentType != "video/mp4" || o.Size != 0 || o.ExpiresAt == nil {
				t.Errorf("%s: %+v", row.name, o)
			} else if life := o.ExpiresAt.Sub(before); life < time.Hour || life > time.Hour+time.Minute {
				t.Errorf("%s: the link lives %v, want an hour", row.name, life)
			}
			if !json.Valid(snap.Raw) || !strings.Contains(string(snap.Raw), `"file_id":176844028768320171`) {
				t.Errorf("%s: raw %s", row.name, snap.Raw)
			}
		}
	}
}

func TestV2Result(t *testing.T) {
	t.Parallel()
	d := answering(t, 200, v2Answer("succeeded",
		`,"content":{"url":"http://cdn.test/v"},"usage":{"total_seconds":7.5,"output_seconds":5}`))
	snap, err := d.Poll(t.Context(), refOf(t, d, modelV2, taskID))
	if err != nil || len(snap.Outputs) != 1 || snap.Outputs[0].URL != "https://cdn.test/v" ||
		snap.Outputs[0].ExpiresAt != nil {
		t.Fatalf("%+v, %v", snap, err)
	}
	if snap.Units == nil || *snap.Units != 7.5 || snap.Unit != "second" || !json.Valid(snap.Raw) {
		t.Errorf("%+v: want 7.5 seconds", snap)
	}
	d = answering(t, 200, v2Answer("succeeded", `,"content":{"url":"https://h/x"},"usage":{"total_seconds":-1}`))
	if snap, err = d.Poll(t.Context(), refOf(t, d, modelV2, taskID)); err != nil || snap.State != provider.Succeeded ||
		snap.Units != nil {
		t.Errorf("%+v, %v: want no units of -1 seconds", snap, err)
	}
}

// TestPollFaults meets the emulator's faults: each ends, and the task is there afterwards.
func TestPollFaults(t *testing.T) {
	t.Parallel()
	for polls, want := range map[string]events.Kind{
		"reset": events.KindRetry, "502_html": events.KindRetry, "empty": events.KindRetry, "no_base_resp": events.KindRetry,
		"not_found": events.KindNotFound, "1000": events.KindRetry, "1002": events.KindRateLimited, "1004": events.KindAuth,
		"500": events.KindRetry, "429": events.KindRateLimited,
	} {
		for model, input := range map[string]string{modelV1: inputV1, modelV2: inputV2} {
			b := newBox(t, sandbox.Options{BigIDs: true})
			a := b.accepted(t, model, scripted(`{"polls":"`+polls+`","poll_faults":2}`, input))
			for range 2 {
				_, err := b.driver.Poll(t.Context(), a.Ref)
				if e := provider.AsError(orNone(err)); e.Kind != want {
					t.Errorf("%s, %s: %+v, want kind %s", model, polls, e, want)
				}
			}
			if snap, err := b.driver.Poll(t.Context(), a.Ref); err != nil || snap.State != provider.Succeeded {
				t.Errorf("%s, %s: then %s, %v, want succeeded", model, polls, snap.State, err)
			}
		}
	}
}

// TestPollTimeout bounds a poll that is not answered.
func TestPollTimeout(t *testing.T) {
	t.Parallel()
	b := newBox(t, sandbox.Options{})
	a := b.accepted(t, modelV1, scripted(`{"polls":"hang"}`, inputV1))
	d, err := minimax.New(minimax.Options{BaseURL: b.url, Key: secret.New(testKey), Timeout: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Poll(t.Context(), a.Ref)
	if e := provider.AsError(orNone(err)); e.Kind != events.KindRetry || e.Code != "network" {
		t.Errorf("%+v, want kind retry", e)
	}
}

func TestPromptTriggers(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		trigger string
		speed   emulator.Speed
		want    provider.State
		kind    events.Kind
	}{
		{"#1027", emulator.Speed{}, provider.Failed, events.KindModeration},
		{"#stall", emulator.Speed{}, provider.Running, ""},
		{"#unknown", emulator.Speed{Run: time.Hour}, provider.Unknown, ""},
	} {
		for model, input := range map[string]string{modelV1: inputV1, modelV2: inputV2} {
			b := newBox(t, sandbox.Options{Speed: row.speed})
			input = strings.NewReplacer("a kite", row.trigger, "a boy", row.trigger).Replace(input)
			snap, err := b.driver.Poll(t.Context(), b.accepted(t, model, input).Ref)
			if err != nil || snap.State != row.want || row.kind != "" && (snap.Err == nil || snap.Err.Kind != row.kind) {
				t.Errorf("%s, %s: %+v, %v, want %s", model, row.trigger, snap, err, row.want)
			}
		}
	}
}

// FuzzPoll reads what a stranger could answer to a query: any state but a broken one.
func FuzzPoll(f *testing.F) {
	for _, body := range []string{
		v1Answer("Success", `,"file_id":"1"`+fine), v1Answer("Fail", moder), v1Body(2013, "not found"),
		v2Answer("running", ""), v2Answer("succeeded", `,"content":{"url":"https://h/x.mp4"},"usage":{"total_seconds":5}`),
		v2Body(1002, "x"), "<html>", "",
	} {
		f.Add(true, 200, []byte(body), []byte(`{"file":{"download_url":"https://h/x"},"base_resp":{"status_code":0}}`))
		f.Add(false, 200, []byte(body), []byte(body))
	}
	f.Fuzz(func(t *testing.T, first bool, status int, query, file []byte) {
		d := inProcess(t, func(r *http.Request) (int, string) {
			if strings.HasPrefix(r.URL.Path, "/v1/files/") {
				return status, string(file)
			}
			return status, string(query)
		})
		model := modelV2
		if first {
			model = modelV1
		}
		snap, err := d.Poll(context.Background(), refOf(t, d, model, taskID))
		hides(t, snap)
		hides(t, err)
		switch {
		case err != nil:
			if e := provider.AsError(err); e.Kind == "" || e.Code == "" || e.Message == "" || snap.State != "" {
				t.Errorf("%q: %+v, state %s", query, e, snap.State)
			}
		case snap.State == provider.Succeeded:
			if len(snap.Outputs) == 0 || !json.Valid(snap.Raw) ||
				!strings.HasPrefix(snap.Outputs[0].URL, "http") && !strings.HasPrefix(snap.Outputs[0].URL, "data:") {
				t.Errorf("%q: succeeded with %+v", query, snap)
			}
		case snap.State == provider.Failed && snap.Err == nil || snap.State == "" || len(snap.Outputs) != 0:
			t.Errorf("%q: %+v", query, snap)
		}
	})
}
