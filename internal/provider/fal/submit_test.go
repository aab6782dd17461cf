package fal

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/provider"
)

const (
	sampleModel = "fal-ai/flux/schnell"
	sampleID    = "019e1951-c778-7120-9c82-16efcf40ec82"
	htmlPage    = "<html><body><h1>502 Bad Gateway</h1><hr>nginx</body></html>"
)

func TestRender(t *testing.T) {
	t.Parallel()
	d := newDriver(t, "https://queue.example.test/")
	created := time.Date(2026, time.May, 1, 12, 0, 0, 0, time.UTC)
	start := func(after time.Duration) *time.Time { at := created.Add(after); return &at }
	for _, row := range []struct {
		name, model, callbackURL, url, timeout string
		start                                  *time.Time
	}{
		{"plain", sampleModel, "", "https://queue.example.test/fal-ai/flux/schnell", "", nil},
		{
			"callback", sampleModel, "https://h.example.test/cb/a?b=c&d=é",
			"https://queue.example.test/fal-ai/flux/schnell?fal_webhook=https%3A%2F%2Fh.example.test%2Fcb%2Fa%3Fb%3Dc%26d%3D%C3%A9", "", nil,
		},
		{"old form of an id", "1234-my-app", "", "https://queue.example.test/1234/my-app", "", nil},
		{"start timeout", sampleModel, "", "https://queue.example.test/fal-ai/flux/schnell", "90", start(90 * time.Second)},
		{
			"part of a second", sampleModel, "", "https://queue.example.test/fal-ai/flux/schnell", "2.5",
			start(2500 * time.Millisecond),
		},
		{
			"start timeout in the past", sampleModel, "", "https://queue.example.test/fal-ai/flux/schnell", "1",
			start(-time.Hour),
		},
	} {
		in := []byte(` {"prompt":"a\u00e9", "seed": 17454220438242315174,"seed":1} `)
		r, err := d.Render(events.Task{Model: row.model, CreatedAt: created, StartDeadline: row.start}, in, row.callbackURL)
		if err != nil || r.URL != row.url {
			t.Errorf("%s: %s, %v, want %s", row.name, r.URL, err, row.url)
		}
		if string(r.Body) != string(in) {
			t.Errorf("%s: body %s, want the input as it is", row.name, r.Body)
		}
		want := http.Header{
			"Authorization": {"Key " + testKey}, "Content-Type": {"application/json"}, "Accept": {"application/json"},
			"X-Fal-Queue-Priority": {"normal"},
		}
		if row.timeout != "" {
			want.Set("X-Fal-Request-Timeout", row.timeout)
		}
		if fmt.Sprint(r.Header) != fmt.Sprint(want) {
			t.Errorf("%s: header %v, want %v", row.name, r.Header, want)
		}
		in[2] = 'X'
		if r.Body[2] == 'X' {
			t.Errorf("%s: the body shares the caller's bytes", row.name)
		}
	}
}

// Every HTTP code, with every kind of body.
func TestClassifyMatrix(t *testing.T) {
	t.Parallel()
	d := newDriver(t, "")
	refused := []int{400, 401, 402, 403, 404, 405, 413, 415, 422, 429}
	own := map[string]string{
		"text":     `{"detail":"nope"}`,
		"model":    `{"detail":[{"loc":["body","prompt"],"msg":"field required","type":"missing"}]}`,
		"platform": `{"detail":"nope","error_type":"bad_request"}`,
		"error":    `{"error":"nope"}`,
	}
	stray := map[string]string{
		"html": htmlPage, "empty": "", "garbage": "\x00\xff{", "truncated": `{"detail":"no`, "array": `[{"detail":"nope"}]`,
		"null detail": `{"detail":null,"error":null}`, "other object": `{"message":"Forbidden"}`,
		"text after": `{"detail":"nope"} x`, "names a request": `{"detail":"nope","request_id":"` + sampleID + `"}`,
	}
	for status := 100; status <= 599; status++ {
		for name, body := range own {
			a := d.Classify(sampleModel, provider.Reply{Status: status, Body: []byte(body)})
			want := provider.InDoubt
			if slices.Contains(refused, status) {
				want = provider.Refused
			}
			if a.Outcome != want || a.Err == nil || a.Ref != nil || a.ID != "" {
				t.Errorf("%d with fal's %s: %+v, want %s", status, name, a, want)
			}
		}
		for name, body := range stray {
			if status/100 == 2 && name == "names a request" {
				continue // it is accepted: below
			}
			a := d.Classify(sampleModel, provider.Reply{Status: status, Body: []byte(body)})
			if a.Outcome != provider.InDoubt || a.Err == nil || a.Err.Kind != events.KindAmbiguous ||
				a.Err.Charge != events.ChargePossible {
				t.Errorf("%d with %s: %+v, want in doubt", status, name, a)
			}
		}
		a := d.Classify(sampleModel,
			provider.Reply{Status: status, Body: []byte(`{"status":"IN_QUEUE","request_id":"` + sampleID + `"}`)})
		if (a.Outcome == provider.Accepted) != (status >= 200 && status <= 299) {
			t.Errorf("%d with an id: %s", status, a.Outcome)
		}
		if a.Outcome == provider.Accepted &&
			(a.ID != sampleID || string(a.Ref) != `{"app":"fal-ai/flux","request_id":"`+sampleID+`"}` || a.Err != nil) {
			t.Errorf("%d with an id: %+v", status, a)
		}
	}
}

func TestClassifyKinds(t *testing.T) {
	t.Parallel()
	d := newDriver(t, "")
	for _, row := range []struct {
		status  int
		body    string
		kind    events.Kind
		code    string
		message string
	}{
		{401, `{"detail":"invalid key credentials"}`, events.KindAuth, "http_401", "invalid key credentials"},
		{
			401, `{"detail":"Cannot access application \"fal-ai/flux\""}`, events.KindAuth, "http_401",
			`Cannot access application "fal-ai/flux"`,
		},
		{
			403, `{"detail":"User is locked. Reason: Exhausted balance."}`, events.KindQuota, "http_403",
			"User is locked. Reason: Exhausted balance.",
		},
		{403, `{"detail":"Forbidden"}`, events.KindAuth, "http_403", "Forbidden"},
		{402, `{"detail":"Payment required"}`, events.KindQuota, "http_402", "Payment required"},
		{404, `{"detail":"Application \"x\" not found"}`, events.KindInvalid, "http_404", `Application "x" not found`},
		{400, `{"detail":"bad header","error_type":"bad_request"}`, events.KindInvalid, "bad_request", "bad header"},
		{429, `{"detail":"queue full"}`, events.KindRateLimited, "http_429", "queue full"},
		{
			422, `{"detail":[{"loc":["body","images",0,"url"],"msg":"too small","type":"image_too_small"},{"msg":"b",` +
				`"type":"c"}]}`,
			events.KindInvalid, "image_too_small", "images.0.url: too small; b",
		},
		{
			422, `{"detail":[{"loc":["body","prompt"],"msg":"flagged","type":"content_policy_violation"}]}`,
			events.KindModeration, "content_policy_violation", "prompt: flagged",
		},
		{
			422, `{"detail":[{"msg":"1"},{"msg":"2"},{"msg":"3"},{"msg":"4"},{"msg":"5"}]}`, events.KindInvalid, "http_422",
			"1; 2; 3; and 2 more",
		},
		{422, `{"detail":{"why":17454220438242315174}}`, events.KindInvalid, "http_422", `{"why":17454220438242315174}`},
		{405, `{"error_type":"method_not_allowed"}`, events.KindInvalid, "method_not_allowed", "method_not_allowed"},
		{413, `{"error":"too large"}`, events.KindInvalid, "http_413", "too large"},
	} {
		r := provider.Reply{Status: row.status, Body: []byte(row.body), Header: http.Header{"X-Fal-Request-Id": {"trace-1"}}}
		a := d.Classify(sampleModel, r)
		if a.Outcome != provider.Refused {
			t.Errorf("%d %s: %s, want refused", row.status, row.body, a.Outcome)
			continue
		}
		e := a.Err
		if e.Kind != row.kind || e.Code != row.code || e.Message != row.message {
			t.Errorf("%d %s: %s %q %q, want %s %q %q", row.status, row.body, e.Kind, e.Code, e.Message, row.kind, row.code,
				row.message)
		}
		if e.Charge != events.ChargeNone || e.HTTPStatus != row.status || e.TraceID != "trace-1" {
			t.Errorf("%d %s: charge %q, status %d, trace %q", row.status, row.body, e.Charge, e.HTTPStatus, e.TraceID)
		}
	}
}

func TestClassifyRetryAfter(t *testing.T) {
	t.Parallel()
	d := newDriver(t, "")
	for _, row := range []struct {
		after, date string
		want        time.Duration
	}{
		{"7", "", 7 * time.Second},
		{"Fri, 01 May 2026 12:00:30 GMT", "Fri, 01 May 2026 12:00:00 GMT", 30 * time.Second},
		{"Fri, 01 May 2026 12:00:30 GMT", "", 0}, // relative to nothing
		{"999999", "", 10 * time.Minute},
		{"-5", "", 0},
		{"soon", "", 0},
		{"", "", 0},
	} {
		h := http.Header{"Retry-After": {row.after}, "Date": {row.date}}
		a := d.Classify(sampleModel, provider.Reply{Status: 429, Header: h, Body: []byte(`{"detail":"slow down"}`)})
		if a.Err == nil || a.Err.RetryAfter != row.want {
			t.Errorf("%q at %q: %+v, want %v", row.after, row.date, a.Err, row.want)
		}
	}
}

func TestClassifyIDs(t *testing.T) {
	t.Parallel()
	d := newDriver(t, "")
	for body, want := range map[string]provider.Outcome{
		`{"request_id":"abc"}`:                                 provider.Accepted,
		`{"request_id":"abc","extra":` + htmlInJSON() + `}`:    provider.Accepted,
		`{"request_id":17454220438242315174}`:                  provider.InDoubt,
		`{"request_id":"a/b"}`:                                 provider.InDoubt,
		`{"request_id":"` + strings.Repeat("a", 101) + `"}`:    provider.InDoubt,
		`{"request_id":"abc"}{"request_id":"def"}`:             provider.InDoubt,
		`{"gateway_request_id":"abc"}`:                         provider.InDoubt,
		`{"request_id":"-abc"}`:                                provider.InDoubt,
		`{"request":{"request_id":"abc"}}`:                     provider.InDoubt,
		`{"request_id":["abc"]}`:                               provider.InDoubt,
		`{"request_id":"abc","status":7,"queue_position":"x"}`: provider.Accepted,
	} {
		if a := d.Classify(sampleModel, provider.Reply{Status: 200, Body: []byte(body)}); a.Outcome != want {
			t.Errorf("%.80s: %s, want %s", body, a.Outcome, want)
		}
	}
	a := d.Classify(sampleModel, provider.Reply{Status: 200, Body: []byte(`{"request_id":"odd/id"}`)})
	if a.Err == nil || !strings.Contains(a.Err.Message, "odd/id") {
		t.Errorf("an id that cannot be used is kept as evidence: %v", a.Err)
	}
}

func htmlInJSON() string { return `"<html>"` }

func FuzzClassify(f *testing.F) {
	f.Add(200, []byte(`{"request_id":"abc"}`))
	f.Add(422, []byte(`{"detail":[{"loc":["body",0],"msg":"m","type":"t"}]}`))
	f.Add(503, []byte(htmlPage))
	f.Add(401, []byte(`{"detail":"`+testKey+`"}`))
	d := newDriver(f, "")
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		a := d.Classify(sampleModel, provider.Reply{Status: status, Body: body})
		switch a.Outcome {
		case provider.Accepted:
			if a.Err != nil || !validID(a.ID) || status < 200 || status > 299 {
				t.Errorf("accepted with %d, id %q, err %v", status, a.ID, a.Err)
			}
			if _, err := parseRef(a.Ref); err != nil {
				t.Errorf("the handle %s cannot be read: %v", a.Ref, err)
			}
		case provider.Refused, provider.InDoubt:
			if a.Err == nil || a.Err.Message == "" || a.Err.Code == "" || len(a.Err.Message) > events.MaxMessageBytes ||
				a.Ref != nil {
				t.Errorf("%s with %+v, ref %s", a.Outcome, a.Err, a.Ref)
			}
		default:
			t.Errorf("outcome %q", a.Outcome)
		}
	})
}
