package fal

import (
	"fmt"
	"net/http"
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

// Every HTTP code by everybody who may answer: fal in its own envelope, somebody in words, somebody without a word. A
// cell is the kind of a refusal, and "" is in doubt.
func TestClassifyMatrix(t *testing.T) {
	t.Parallel()
	d := newDriver(t, "")
	const (
		doubt   = events.Kind("")
		address = events.KindAddress
		invalid = events.KindInvalid
	)
	type row struct{ own, words, none events.Kind }
	table := map[int]row{
		301: {address, address, address}, 302: {address, address, address}, 307: {address, address, address},
		308: {address, address, address}, 400: {invalid, invalid, doubt}, 401: {events.KindAuth, address, address},
		402: {events.KindQuota, events.KindQuota, doubt}, 403: {events.KindAuth, address, address},
		404: {invalid, address, address}, 405: {invalid, address, address}, 407: {doubt, address, address},
		410: {invalid, invalid, doubt}, 413: {invalid, invalid, invalid}, 414: {invalid, invalid, invalid},
		415: {invalid, invalid, doubt}, 422: {invalid, invalid, doubt},
		429: {events.KindRateLimited, events.KindRateLimited, events.KindRateLimited}, 431: {invalid, invalid, invalid},
	} // all others are in doubt, and 2xx with an id is accepted
	bodies := map[string][]string{
		"own": {
			`{"detail":"nope"}`, `{"detail":[{"loc":["body","prompt"],"msg":"field required","type":"missing"}]}`,
			`{"detail":"nope","error_type":"bad_request"}`, `{"error":"nope"}`, `{"error":{"message":"nope"}}`,
		},
		"words": {`{"message":"Forbidden"}`, "no such thing", `{"msg":"nope"}`},
		"none": {
			htmlPage, "", "\x00\xff{", `{"detail":"no`, `[{"detail":"nope"}]`, `{"detail":null,"error":null}`,
			`{"detail":"nope"} x`, `{}`,
		},
	}
	for status := 100; status <= 599; status++ {
		want := table[status]
		for who, kind := range map[string]events.Kind{"own": want.own, "words": want.words, "none": want.none} {
			for _, body := range bodies[who] {
				a := d.Classify(sampleModel, nil, provider.Reply{Status: status, Body: []byte(body)})
				checkCell(t, fmt.Sprintf("%d %s", status, body), kind, a, body)
			}
		}
		// An error that names a request may be about one that was queued.
		named := `{"detail":"nope","request_id":"` + sampleID + `"}`
		a := d.Classify(sampleModel, nil, provider.Reply{Status: status, Body: []byte(named)})
		switch {
		case status/100 == 2:
			if a.Outcome != provider.Accepted || a.ID != sampleID || a.Err != nil ||
				string(a.Ref) != `{"app":"fal-ai/flux","request_id":"`+sampleID+`"}` {
				t.Errorf("%d with an id: %+v", status, a)
			}
		case status == 429:
			checkCell(t, "429 that names a request", events.KindRateLimited, a, named)
		default:
			checkCell(t, fmt.Sprintf("%d that names a request", status), doubt, a, named)
		}
	}
}

func checkCell(t *testing.T, what string, kind events.Kind, a provider.Answer, body string) {
	t.Helper()
	outcome, charge := provider.Refused, events.ChargeNone
	if kind == "" {
		outcome, charge, kind = provider.InDoubt, events.ChargePossible, events.KindAmbiguous
	}
	if a.Outcome != outcome || a.Err == nil || a.Err.Kind != kind || a.Err.Charge != charge || a.Ref != nil || a.ID != "" {
		t.Errorf("%s: %s, %v, want %s of kind %q", what, a.Outcome, a.Err, outcome, kind)
		return
	}
	if kind == events.KindAddress && !strings.Contains(a.Err.Message, "base URL") {
		t.Errorf("%s: %q does not speak of the base URL", what, a.Err.Message)
	}
	if kept := string(a.Body); outcome == provider.InDoubt && kept != body {
		t.Errorf("%s: kept %q of the answer", what, kept)
	}
}

func TestClassifyRedirect(t *testing.T) {
	t.Parallel()
	r := provider.Reply{Status: 308, Header: http.Header{"Location": {"https://new.example.test/fal-ai/flux?token=secret"}}}
	a := newDriver(t, "").Classify(sampleModel, nil, r)
	if a.Outcome != provider.Refused || !strings.Contains(a.Err.Message, "it redirects to https://new.example.test/fal-ai/flux)") ||
		strings.Contains(a.Err.Message, "secret") {
		t.Errorf("%s, %v", a.Outcome, a.Err)
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
		{422, `{"detail":{"why":17454220438242315174}}`, events.KindInvalid, "http_422", "why: 17454220438242315174"},
		{405, `{"error_type":"method_not_allowed"}`, events.KindInvalid, "method_not_allowed", "method_not_allowed"},
		{410, `{"detail":"Application is gone"}`, events.KindInvalid, "http_410", "Application is gone"},
		{400, `{"error":{"message":"too long","type":"x"}}`, events.KindInvalid, "x", "too long"},
		{400, `{"error":"NSFW content detected"}`, events.KindModeration, "http_400", "NSFW content detected"},
		{422, `{"message":"too long"}`, events.KindInvalid, "http_422", "too long"},
		{400, "too long", events.KindInvalid, "http_400", "too long"},
		{413, `{"error":"too large"}`, events.KindInvalid, "http_413", "too large"},
	} {
		r := provider.Reply{Status: row.status, Body: []byte(row.body), Header: http.Header{"X-Fal-Request-Id": {"trace-1"}}}
		a := d.Classify(sampleModel, nil, r)
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
		a := d.Classify(sampleModel, nil, provider.Reply{Status: 429, Header: h, Body: []byte(`{"detail":"slow down"}`)})
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
		`{"request_id":"-abc"}`:                                provider.Accepted,
		`{"request_id":"a:b;c=1.2~x"}`:                         provider.Accepted,
		`{"request_id":".."}`:                                  provider.InDoubt,
		`{"request_id":"a b"}`:                                 provider.InDoubt,
		`{"request_id":"a%2fb"}`:                               provider.InDoubt,
		`{"requestId":"abc"}`:                                  provider.Accepted,
		`{"data":{"id":"abc"}}`:                                provider.Accepted,
		`{"data":{"request_id":"abc"}}`:                        provider.Accepted,
		`{"data":[{"id":"abc"}]}`:                              provider.InDoubt,
		`{"status_url":"https://q/x/y/requests/abc/status"}`:   provider.Accepted,
		`{"response_url":"https://q/x/y/requests/abc"}`:        provider.Accepted,
		`{"response_url":"https://q/x/y/abc"}`:                 provider.InDoubt,
		`{"video":{"url":"https://q/paid.mp4"}}`:               provider.Accepted, // the result itself
		`{"video":{"url":"https://q/paid.mp4"},"error":"no"}`:  provider.InDoubt,
		`{"see":"https://q/errors.html"}`:                      provider.InDoubt,
		`{"link":{"url":"mailto:a@b"}}`:                        provider.InDoubt,
		`{"request":{"request_id":"abc"}}`:                     provider.InDoubt,
		`{"request_id":["abc"]}`:                               provider.InDoubt,
		`{"request_id":"abc","status":7,"queue_position":"x"}`: provider.Accepted,
	} {
		if a := d.Classify(sampleModel, nil, provider.Reply{Status: 200, Body: []byte(body)}); a.Outcome != want {
			t.Errorf("%.80s: %s, want %s", body, a.Outcome, want)
		}
	}
	a := d.Classify(sampleModel, nil, provider.Reply{Status: 200, Body: []byte(`{"request_id":"odd/id"}`)})
	if a.Err == nil || !strings.Contains(a.Err.Message, "odd/id") {
		t.Errorf("an id that cannot be used is kept as evidence: %v", a.Err)
	}
}

// An answer that is itself the result needs no poll; what it was billed is in its header.
func TestAnsweredWithTheResult(t *testing.T) {
	t.Parallel()
	d := newDriver(t, "")
	h := http.Header{"X-Fal-Billable-Units": {"5"}}
	r := provider.Reply{Status: 200, Header: h, Body: []byte(`{"video":{"url":"https://q/paid.mp4"}}`)}
	a := d.Classify(sampleModel, nil, r)
	if a.Outcome != provider.Accepted || a.Result == nil || a.Result.State != provider.Succeeded ||
		len(a.Result.Outputs) != 1 || string(a.Result.Raw) != string(r.Body) || a.Result.Units == nil || *a.Result.Units != 5 {
		t.Fatalf("%+v, result %+v", a, a.Result)
	}
	if again := d.Classify(sampleModel, nil, r); again.ID != a.ID || string(again.Ref) != string(a.Ref) {
		t.Errorf("the same answer is named %s and %s", a.ID, again.ID)
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
		a := d.Classify(sampleModel, nil, provider.Reply{Status: status, Body: body})
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
