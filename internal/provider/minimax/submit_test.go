package minimax_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"reelay/events"
	sandbox "reelay/internal/emulator/minimax"
	"reelay/internal/provider"
	"reelay/internal/provider/minimax"
	"reelay/internal/secret"
)

func TestNew(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		o    minimax.Options
		want string // "" is no error
	}{
		{"defaults", minimax.Options{Key: secret.New(testKey)}, ""},
		{"loopback", minimax.Options{Key: secret.New(testKey), BaseURL: "http://127.0.0.1:8089/"}, ""},
		{"no key", minimax.Options{}, "no API key"},
		{"key with a line end", minimax.Options{Key: secret.New("sk-api-1\n")}, "a space or a character"},
		{"plain http", minimax.Options{Key: secret.New(testKey), BaseURL: "http://api.minimax.io"}, "must be https"},
		{"v1", minimax.Options{Key: secret.New(testKey), BaseURL: "https://h.test/v1"}, "URL ends in /v1"},
		{"v2", minimax.Options{Key: secret.New(testKey), BaseURL: "http://127.0.0.1:1/x/V2//"}, "URL ends in /V2"},
		{"a name like it", minimax.Options{Key: secret.New(testKey), BaseURL: "https://h.test/proxy-v1"}, ""},
		{"timeout", minimax.Options{Key: secret.New(testKey), Timeout: -1}, "is negative"},
	} {
		_, err := minimax.New(row.o)
		if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", row.name, err, row.want)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	d := driverFor(t, "http://localhost")
	for _, row := range []struct {
		model, input, field string // field "" is no error
		kind                events.TaskType
	}{
		{model: "MiniMax-H3", input: inputV2},
		{model: "minimax-h3-max", input: `{}`},
		{model: "MiniMax-H3-Next", input: `{}`},
		{model: "MiniMax-Hailuo-02", input: inputV1},
		{model: "T2V-01-Director", input: `{"model":"T2V-01-Director"}`},
		{model: "I2V-01-live", input: `{}`},
		{model: "S2V-01", input: ` {"anything":{"model":"x","callback_url":"y"}} `},
		{model: "MiniMax-H2", input: `{}`, field: "model"},
		{model: "fal-ai/minimax-h3", input: `{}`, field: "model"},
		{model: "MiniMax-H3/../../v1", input: `{}`, field: "model"},
		{model: "MiniMax-H3", kind: events.Speech, input: `{}`, field: "model"},
		{model: "MiniMax-H3", input: `{"model":"MiniMax-H3-Max"}`, field: "input.model"},
		{model: "MiniMax-H3", input: `{"model":"MiniMax-H3","model":"MiniMax-H3-Max"}`, field: "input.model"},
		{model: "MiniMax-H3", input: `{"Model":"MiniMax-H3"}`, field: "input.Model"},
		{model: "MiniMax-H3", input: `{"model":null}`, field: "input.model"},
		{model: "MiniMax-H3", input: `{"\u006dodel":"x"}`, field: "input.model"},
		{model: "MiniMax-H3", input: `{"callback_url":"https://x"}`, field: "input.callback_url"},
		{model: "MiniMax-H3", input: `{"CALLBACK_URL":null}`, field: "input.CALLBACK_URL"},
		{model: "MiniMax-H3", input: ``, field: "input"},
		{model: "MiniMax-H3", input: `null`, field: "input"},
		{model: "MiniMax-H3", input: `"x"`, field: "input"},
		{model: "MiniMax-H3", input: `{} {}`, field: "input"},
		{model: "MiniMax-H3", input: `{"a":1,}`, field: "input"},
	} {
		if row.kind == "" {
			row.kind = events.Video
		}
		err := d.Check(row.kind, row.model, json.RawMessage(row.input))
		var fe *events.FieldError
		if row.field == "" && err == nil {
			continue
		}
		if !errors.As(err, &fe) || fe.Field != row.field {
			t.Errorf("%s %s %s: %v, want a FieldError of %q", row.kind, row.model, row.input, err, row.field)
		}
	}
	if err := d.Check(events.Video, "gpt", nil); !strings.Contains(err.Error(), "MiniMax-Hailuo-*") {
		t.Errorf("%v does not list the families", err)
	}
}

func TestRender(t *testing.T) {
	t.Parallel()
	d := driverFor(t, "http://127.0.0.1:1/base/")
	for _, row := range []struct{ model, input, callback, path, body string }{
		{"MiniMax-H3", `{}`, "", "/base/v2/video_generation", `{"model":"MiniMax-H3"}`},
		{
			"MiniMax-H3", " { \n} ", "https://h/x?a=1&b=2", "/base/v2/video_generation",
			`{"model":"MiniMax-H3","callback_url":"https://h/x?a=1&b=2"` + " \n}",
		},
		{
			"T2V-01", `{"n":123456789012345678901,"n":1.50}`, "", "/base/v1/video_generation",
			`{"model":"T2V-01","n":123456789012345678901,"n":1.50}`,
		},
		{"T2V-01", `{"a":"\u00e9<","model":"T2V-01"}`, "", "/base/v1/video_generation", `{"a":"\u00e9<","model":"T2V-01"}`},
		{
			"T2V-01", `{"model":"T2V-01"}`, "https://h/", "/base/v1/video_generation",
			`{"callback_url":"https://h/","model":"T2V-01"}`,
		},
	} {
		r, err := d.Render(events.Task{TaskType: events.Video, Model: row.model}, json.RawMessage(row.input), row.callback)
		if err != nil || string(r.Body) != row.body || r.URL != "http://127.0.0.1:1"+row.path {
			t.Errorf("%s: %s %s, %v, want %s %s", row.input, r.URL, r.Body, err, row.path, row.body)
		}
		if r.Header.Get("Authorization") != "Bearer "+testKey || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("headers of %s are wrong", row.input)
		}
	}
	_, err := d.Render(events.Task{TaskType: events.Video, Model: modelV2}, json.RawMessage(`{"model":"other"}`), "")
	var fe *events.FieldError
	if !errors.As(err, &fe) || fe.Field != "input.model" {
		t.Errorf("render of another model: %v", err)
	}
}

// codes are the documented codes: what they are, and whether they prove at a create that nothing was bought.
var codes = []struct {
	code    int
	kind    events.Kind
	refuses bool
}{
	{1000, events.KindRetry, false},
	{1001, events.KindRetry, false},
	{1002, events.KindRateLimited, true},
	{1004, events.KindAuth, true},
	{1008, events.KindQuota, true},
	{1013, events.KindRetry, false},
	{1024, events.KindRetry, false},
	{1026, events.KindModeration, true},
	{1027, events.KindModeration, false},
	{1028, events.KindQuota, true},
	{1030, events.KindQuota, true},
	{1033, events.KindRetry, false},
	{1039, events.KindRateLimited, true},
	{1041, events.KindRateLimited, true},
	{1042, events.KindInvalid, true},
	{1043, events.KindInvalid, false},
	{1044, events.KindInvalid, false},
	{2013, events.KindInvalid, true},
	{2037, events.KindInvalid, false},
	{2038, events.KindInvalid, false},
	{2039, events.KindInvalid, false},
	{2042, events.KindInvalid, false},
	{2045, events.KindRateLimited, true},
	{2048, events.KindInvalid, false},
	{2049, events.KindAuth, true},
	{2056, events.KindQuota, true},
	{2061, events.KindQuota, true},
	{2064, events.KindRateLimited, true},
	{20132, events.KindInvalid, false},
	{1003, "", false}, // the rest is not documented
	{2014, "", false},
	{9999, "", false},
}

// TestClassifyCodes sends every code in either form.
func TestClassifyCodes(t *testing.T) {
	t.Parallel()
	d := driverFor(t, "http://localhost")
	for _, c := range codes {
		for _, model := range []string{modelV1, modelV2} {
			for _, body := range []string{v1Body(c.code, "own words"), v2Body(c.code, "own words")} {
				a := d.Classify(model, nil, provider.Reply{Status: 200, Body: []byte(body)})
				kind := events.KindAmbiguous
				if c.refuses {
					kind = c.kind
				}
				checkCell(t, withRetryAfter(a), kind, model+" "+body)
				if a.Err.Code != fmt.Sprint(c.code) || a.Err.HTTPStatus != 200 {
					t.Errorf("%s %s: %+v lacks the code or the status", model, body, a.Err)
				}
			}
		}
	}
}

// withRetryAfter is an answer as one that has the header of checkCell.
func withRetryAfter(a provider.Answer) provider.Answer {
	if a.Err != nil {
		a.Err.RetryAfter = 7 * time.Second
	}
	return a
}

func TestClassifyAccepted(t *testing.T) {
	t.Parallel()
	d := driverFor(t, "http://localhost")
	const ok = `,"base_resp":{"status_code":0,"status_msg":"success"}}`
	for _, row := range []struct {
		name, model string
		status      int
		body        string
		id, code    string // the id if accepted, else the code of the doubt
	}{
		{"v1", modelV1, 200, `{"task_id":"106916112212032"` + ok, "106916112212032", ""},
		{"v1 number over 2^53", modelV1, 200, `{"task_id":106916112212032171` + ok, "106916112212032171", ""},
		{"v1 without verdict", modelV1, 200, `{"task_id":"1"}`, "1", ""},
		// An id is evidence that can be asked about, whatever the code says.
		{"v1 id beside 1000", modelV1, 200, `{"task_id":"1","base_resp":{"status_code":1000}}`, "1", ""},
		{"v1 id beside a refusal", modelV1, 200, `{"task_id":"1","base_resp":{"status_code":1002}}`, "1", ""},
		{"v2", modelV2, 200, `{"task_id":"424010985738629"}`, "424010985738629", ""},
		{"v2 created", modelV2, 201, `{"task_id":424010985738629}`, "424010985738629", ""},
		{"v1 zero id", modelV1, 200, `{"task_id":0` + ok, "", "no_task_id"},
		{"v1 no id", modelV1, 200, `{"base_resp":{"status_code":0,"status_msg":"success"}}`, "", "no_task_id"},
		{"v1 fraction", modelV1, 200, `{"task_id":1.0e17` + ok, "", "no_task_id"},
		{"v1 path", modelV1, 200, `{"task_id":"../x"` + ok, "", "bad_task_id"},
		{"v1 path beside a refusal", modelV1, 200, `{"task_id":"../x","base_resp":{"status_code":1002}}`, "", "bad_task_id"},
		{"v1 long", modelV1, 200, `{"task_id":"` + strings.Repeat("1", 129) + `"` + ok, "", "bad_task_id"},
		{"v1 status 500", modelV1, 500, `{"task_id":"106916112212032"` + ok, "", "bad_task_id"},
		{"v2 status 302", modelV2, 302, `{"task_id":"424010985738629"}`, "", "bad_task_id"},
	} {
		a := d.Classify(row.model, nil, provider.Reply{Status: row.status, Body: []byte(row.body)})
		if row.id == "" {
			if a.Outcome != provider.InDoubt || a.Err == nil || a.Err.Code != row.code {
				t.Errorf("%s: %s %+v, want in doubt with code %s", row.name, a.Outcome, a.Err, row.code)
			}
			continue
		}
		if a.Outcome != provider.Accepted || a.ID != row.id || a.Err != nil ||
			string(a.Ref) != string(refOf(t, d, row.model, row.id)) {
			t.Errorf("%s: %s, id %q, ref %s, %v, want accepted with id %s", row.name, a.Outcome, a.ID, a.Ref, a.Err, row.id)
		}
	}
}

func TestClassifyHeaders(t *testing.T) {
	t.Parallel()
	d := driverFor(t, "http://localhost")
	a := d.Classify(modelV1, nil, provider.Reply{
		Status: 200, Header: map[string][]string{"Trace-Id": {"04c0ffee"}, "Retry-After": {"7"}},
		Body: []byte(v1Body(1002, "rate limit")),
	})
	if a.Err == nil || a.Err.TraceID != "04c0ffee" || a.Err.RetryAfter.Seconds() != 7 {
		t.Errorf("%+v, want the trace id and seven seconds", a.Err)
	}
	a = d.Classify(modelV2, nil, provider.Reply{Status: 429, Body: []byte(v2Body(1002, "rate limit"))})
	if a.Err == nil || a.Err.TraceID != "02178" {
		t.Errorf("%+v, want the request id", a.Err)
	}
}

// TestPaidOnce loses the answer in every way after the emulator has taken the job: none may look like a refusal.
func TestPaidOnce(t *testing.T) {
	t.Parallel()
	for _, how := range []string{
		"500", "502_html", "empty", "no_base_resp", "1000", "1001", "1013", "1024", "1033", "408", "409", "504",
	} {
		for model, input := range map[string]string{modelV1: inputV1, modelV2: inputV2} {
			b := newBox(t, sandbox.Options{})
			a := b.submit(t, model, scripted(`{"submit":"accept_then_`+how+`"}`, input))
			if n := len(b.ledger.Jobs()); n != 1 || a.Outcome != provider.InDoubt {
				t.Errorf("%s, %s: %d jobs, %s %v, want one job and in doubt", model, how, n, a.Outcome, a.Err)
			}
		}
	}
}

// TestRefusedIsFree has the emulator refuse in every way: nothing may be in its ledger.
func TestRefusedIsFree(t *testing.T) {
	t.Parallel()
	for _, c := range codes {
		for model, input := range map[string]string{modelV1: inputV1, modelV2: inputV2} {
			b := newBox(t, sandbox.Options{})
			a := b.submit(t, model, scripted(fmt.Sprintf(`{"submit":"refuse_%d"}`, c.code), input))
			want := provider.InDoubt
			if c.refuses {
				want = provider.Refused
			}
			if n := len(b.ledger.Jobs()); n != 0 || a.Outcome != want {
				t.Errorf("%s, %d: %d jobs, %s %v, want none and %s", model, c.code, n, a.Outcome, a.Err, want)
			}
		}
	}
}

func FuzzClassify(f *testing.F) {
	f.Add(true, 200, []byte(`{"task_id":"106916112212032","base_resp":{"status_code":0,"status_msg":"success"}}`))
	f.Add(true, 200, []byte(v1Body(1002, "rate limit")))
	f.Add(false, 200, []byte(`{"task_id":424010985738629}`))
	f.Add(false, 429, []byte(v2Body(1002, "rate limit")))
	for _, body := range strays() {
		f.Add(true, 502, []byte(body))
	}
	d := driverFor(f, "http://localhost")
	f.Fuzz(func(t *testing.T, first bool, status int, body []byte) {
		model := modelV2
		if first {
			model = modelV1
		}
		a := d.Classify(model, nil, provider.Reply{Status: status, Body: body})
		switch a.Outcome {
		case provider.Accepted:
			if a.Err != nil || status < 200 || status > 299 || !strings.Contains(string(a.Ref), a.ID) || !json.Valid(a.Ref) {
				t.Errorf("%d %q: accepted as %q, %s, %v", status, body, a.ID, a.Ref, a.Err)
			}
			if _, err := d.Ref(model, a.ID); err != nil {
				t.Errorf("id %q: %v", a.ID, err)
			}
		case provider.Refused, provider.InDoubt:
			if a.Err == nil || a.ID != "" || a.Ref != nil || a.Err.Charge == "" || len(a.Err.Message) > events.MaxMessageBytes {
				t.Errorf("%d %q: %+v", status, body, a)
			}
			if a.Outcome == provider.Refused && (a.Err.Charge != events.ChargeNone || status == 408 || status == 409) {
				t.Errorf("%d %q: refused with %+v", status, body, a.Err)
			}
		default:
			t.Errorf("%d %q: outcome %q", status, body, a.Outcome)
		}
		hides(t, a)
	})
}
