package fal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"reelay/events"
	"reelay/internal/provider"
)

var sampleHandle = handle{App: "fal-ai/flux", RequestID: sampleID}

// A canned answers calls of one kind.
type canned struct {
	status int
	body   string
	header map[string]string
	abort  bool
}

func (c canned) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	if c.abort {
		panic(http.ErrAbortHandler)
	}
	for name, v := range c.header {
		w.Header().Set(name, v)
	}
	w.WriteHeader(c.status)
	_, _ = w.Write([]byte(c.body))
}

// pollWith polls a fal that has exactly those answers for the status and the result.
func pollWith(t testing.TB, status, result canned) (provider.Snapshot, error) {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /fal-ai/flux/requests/"+sampleID+"/status", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery != "logs=1" || r.Header.Get("Authorization") != "Key "+testKey {
			t.Errorf("the status call has query %q, key %v", r.URL.RawQuery, r.Header.Get("Authorization") != "")
		}
		status.ServeHTTP(w, r)
	})
	mux.Handle("GET /fal-ai/flux/requests/"+sampleID, result)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return newDriver(t, server.URL).Poll(t.Context(), sampleRef())
}

func sampleRef() json.RawMessage {
	return json.RawMessage(`{"app":"fal-ai/flux","request_id":"` + sampleID + `"}`)
}

func done() canned {
	return canned{status: 200, body: `{"status":"COMPLETED","request_id":"` + sampleID + `","logs":null,"metrics":{}}`}
}

func kindOf(err error) events.Kind {
	if err == nil {
		return ""
	}
	return provider.AsError(err).Kind
}

// Every HTTP code of a status call, with every kind of body.
func TestStatusMatrix(t *testing.T) {
	t.Parallel()
	bodies := map[string]string{
		"not found": `{"status":"NOT_FOUND"}`, "text": `{"detail":"nope"}`, "platform": `{"detail":"nope","error_type":"x"}`,
		"html": htmlPage, "empty": "", "garbage": "\x00{", "truncated": `{"status":"COMPL`, "array": `[]`,
		"no word": `{"queue_position":1}`,
	}
	for status := 100; status <= 599; status++ {
		for name, body := range bodies {
			own := name == "text" || name == "platform"
			var want events.Kind
			switch {
			case status/100 == 2 && name == "not found":
				continue // an unknown word: TestStatusWords
			case status == 404 && (own || name == "not found"):
				want = events.KindNotFound
			case status == 429:
				want = events.KindRateLimited
			case (status == 401 || status == 403) && own:
				want = events.KindAuth
			case status == 402 && own:
				want = events.KindQuota
			default:
				want = events.KindRetry
			}
			s, _, err := readStatus(sampleHandle, provider.Reply{Status: status, Body: []byte(body)})
			if err == nil || err.Kind != want || s.State != "" {
				t.Errorf("%d with %s: state %q, %v, want an error of kind %s", status, name, s.State, err, want)
			}
		}
		s, _, err := readStatus(sampleHandle, provider.Reply{Status: status, Body: []byte(`{"status":"IN_PROGRESS"}`)})
		if (err == nil) != (status/100 == 2) || err == nil && s.State != provider.Running {
			t.Errorf("%d with IN_PROGRESS: state %q, %v", status, s.State, err)
		}
	}
}

func TestStatusWords(t *testing.T) {
	t.Parallel()
	position := func(n int) *int { return &n }
	for _, row := range []struct {
		body     string
		state    provider.State
		word     string
		position *int
	}{
		{`{"status":"IN_QUEUE","queue_position":12654}`, provider.Queued, "IN_QUEUE", position(12654)},
		{`{"status":"IN_QUEUE","queue_position":0}`, provider.Queued, "IN_QUEUE", position(0)},
		{`{"status":"IN_QUEUE","queue_position":-1}`, provider.Queued, "IN_QUEUE", nil},
		{`{"status":"IN_QUEUE","queue_position":null}`, provider.Queued, "IN_QUEUE", nil},
		{`{"status":"IN_QUEUE","queue_position":"3"}`, provider.Queued, "IN_QUEUE", nil},
		{`{"status":"IN_QUEUE","queue_position":17454220438242315174}`, provider.Queued, "IN_QUEUE", nil},
		{`{"status":"IN_PROGRESS","queue_position":4}`, provider.Running, "IN_PROGRESS", nil},
		{`{"status":"COMPLETED"}`, provider.Running, "COMPLETED", nil},
		{`{"status":"NOT_FOUND"}`, provider.Unknown, "NOT_FOUND", nil},
		{`{"status":"FAILED"}`, provider.Failed, "FAILED", nil},
		{`{"status":"cancelled"}`, provider.Cancelled, "cancelled", nil},
		{`{"status":"WAITING","message":"soon"}`, provider.Unknown, "WAITING", nil},
		{`{"status":"in_queue"}`, provider.Unknown, "in_queue", nil},
		{`{"status":"IN_QUEUE","logs":"odd","metrics":7}`, provider.Queued, "IN_QUEUE", nil},
	} {
		s, _, err := readStatus(sampleHandle, provider.Reply{Status: 202, Body: []byte(row.body)})
		if err != nil || s.State != row.state || s.Word != row.word {
			t.Errorf("%s: %s %q, %v, want %s %q", row.body, s.State, s.Word, err, row.state, row.word)
		}
		if (s.Position == nil) != (row.position == nil) || s.Position != nil && *s.Position != *row.position {
			t.Errorf("%s: position %v", row.body, s.Position)
		}
	}
	_, _, err := readStatus(sampleHandle,
		provider.Reply{Status: 200, Body: []byte(`{"status":"COMPLETED","request_id":"another"}`)})
	if err == nil || err.Kind != events.KindRetry {
		t.Errorf("the status of another request: %v, want kind retry", err)
	}
}

// Every HTTP code of a result call, with every kind of body.
func TestResultMatrix(t *testing.T) {
	t.Parallel()
	const pendingState, unconfirmed = provider.State("pending"), provider.State("unconfirmed")
	bodies := map[string]string{
		"files": `{"images":[{"url":"https://v3.fal.media/a.png"}]}`, "no files": `{"text":"hello"}`,
		"text": `{"detail":"nope"}`, "model": `{"detail":[{"msg":"m","type":"value_error"}]}`,
		"platform": `{"detail":"nope","error_type":"x"}`, "not found": `{"status":"NOT_FOUND"}`,
		"in progress": `{"detail":"Request is still in progress"}`, "html": htmlPage, "empty": "", "garbage": "\x00{",
		"truncated": `{"images":[{"url":"https://v3.f`,
	}
	account := map[int]events.Kind{
		401: events.KindAuth, 402: events.KindQuota, 403: events.KindAuth,
		407: events.KindRetry, 408: events.KindRetry, 429: events.KindRateLimited,
	}
	for status := 200; status <= 599; status++ {
		for name, body := range bodies {
			for _, traced := range []bool{false, true} {
				text := name == "text" || name == "in progress"
				early := name == "in progress"
				var want provider.State
				var kind events.Kind
				switch ok := status/100 == 2; {
				case ok && name == "files", ok && name == "no files" && status != 202:
					want = provider.Succeeded
				case ok && status != 202 && (name == "model" || name == "platform"):
					want = provider.Failed
				case ok && status != 202 && text:
					want = provider.Failed
					if !traced {
						want = unconfirmed
					}
				case ok && status != 202 && name == "not found":
					want = provider.Succeeded // a word is no failure by itself
				case ok && traced && (name == "html" || name == "garbage"):
					want = provider.Succeeded // a text, or a file, that came through fal
				case ok && traced && name == "truncated":
					want = unconfirmed
				case status < 400:
					want = pendingState
				case account[status] != "" && (text || name == "model" || name == "platform"):
					kind = account[status]
				case status == 404 && name == "not found":
					kind = events.KindNotFound
				case account[status] != "":
					want = pendingState
				case status == 499 && (traced || text) && !early && name != "model" && name != "platform":
					want = provider.Cancelled
				case name == "platform", name == "model" && (status == 400 || status == 422):
					want = provider.Failed
				case early:
					want = pendingState
				case traced, text, name == "model":
					want = unconfirmed
				default:
					want = pendingState
				}
				r := provider.Reply{Status: status, Body: []byte(body), Header: http.Header{}}
				if traced {
					r.Header.Set("X-Fal-Request-Id", sampleID)
				}
				s, err := readResult(provider.Snapshot{State: provider.Running, Word: wordCompleted}, envelope{}, r)
				got := s.State
				if got == provider.Running && s.ResultPending {
					got = pendingState
				}
				if s.Unconfirmed {
					got += unconfirmed
					got = provider.State(strings.TrimPrefix(string(got), string(provider.Failed)))
				}
				if got != want || (err == nil) != (kind == "") || err != nil && err.Kind != kind {
					t.Errorf("%d with %s, traced %v: %q, %v, want %q, kind %q", status, name, traced, got, err, want, kind)
				}
				if (s.State == provider.Failed) != (s.Err != nil) ||
					s.State == provider.Succeeded && (len(s.Raw) == 0 || len(s.Outputs) == 0 && len(s.Notes) == 0) {
					t.Errorf("%d with %s: %s with error %v and %d outputs", status, name, s.State, s.Err, len(s.Outputs))
				}
			}
		}
	}
}

// Every error type that fal documents.
func TestDocumentedFailures(t *testing.T) {
	t.Parallel()
	const none, possible = events.ChargeNone, events.ChargePossible
	type row struct {
		errorType string
		status    int
		kind      events.Kind
		charge    events.Charge
	}
	platform := []row{
		{"request_timeout", 504, events.KindDeadline, none},
		{"startup_timeout", 504, events.KindDeadline, none},
		{"runner_scheduling_failure", 503, events.KindInternal, none},
		{"runner_connection_timeout", 503, events.KindInternal, none},
		{"runner_disconnected", 503, events.KindInternal, none},
		{"runner_connection_refused", 503, events.KindInternal, none},
		{"runner_connection_error", 503, events.KindInternal, none},
		{"runner_incomplete_response", 502, events.KindInternal, none},
		{"runner_server_error", 500, events.KindInternal, none},
		{"internal_error", 500, events.KindInternal, none},
		{"bad_request", 400, events.KindInvalid, possible},
		{"client_disconnected", 499, events.KindInternal, possible},
		{"concurrent_requests_limit", 429, events.KindRateLimited, possible},
	}
	model := []row{
		{"internal_server_error", 500, events.KindInternal, none},
		{"generation_timeout", 504, events.KindInternal, none},
		{"downstream_service_error", 400, events.KindInternal, possible},
		{"downstream_service_error", 500, events.KindInternal, none},
		{"downstream_service_unavailable", 500, events.KindInternal, none},
		{"content_policy_violation", 422, events.KindModeration, possible},
	}
	for _, invalid := range strings.Fields(
		`no_media_generated image_too_small image_too_large image_load_error file_download_error
		face_detection_error file_too_large greater_than greater_than_equal less_than less_than_equal multiple_of sequence_too_short
		sequence_too_long one_of feature_not_supported invalid_archive archive_file_count_below_minimum archive_file_count_exceeds_maximum
		audio_duration_too_long audio_duration_too_short unsupported_audio_format unsupported_image_format unsupported_video_format
		video_duration_too_long video_duration_too_short missing value_error`) {
		model = append(model, row{invalid, 422, events.KindInvalid, possible})
	}
	check := func(r row, form string, result canned) {
		s, err := pollWith(t, done(), result)
		if err != nil || s.State != provider.Failed || s.Err == nil {
			t.Errorf("%s in %s: %s, %v, %v, want failed", r.errorType, form, s.State, s.Err, err)
			return
		}
		if e := s.Err; e.Kind != r.kind || e.Charge != r.charge || e.Code != r.errorType || e.Message != "the reason" ||
			e.HTTPStatus != r.status {
			t.Errorf("%s in %s: %s, charge %q, code %q, message %q, status %d, want %s, %q",
				r.errorType, form, e.Kind, e.Charge, e.Code, e.Message, e.HTTPStatus, r.kind, r.charge)
		}
	}
	for _, r := range platform {
		check(r, "the body", canned{status: r.status, body: `{"detail":"the reason","error_type":"` + r.errorType + `"}`})
		check(r, "the header", canned{
			status: r.status, body: `{"detail":"the reason"}`,
			header: map[string]string{"X-Fal-Error-Type": r.errorType},
		})
	}
	for _, r := range model {
		check(r, "the body", canned{
			status: r.status, body: `{"detail":[{"loc":["body"],"msg":"the reason","type":"` + r.errorType + `"}]}`,
		})
	}
}

func TestResults(t *testing.T) {
	t.Parallel()
	traced := map[string]string{"X-Fal-Request-Id": sampleID}
	timedOut := done()
	timedOut.body = `{"status":"COMPLETED","logs":[],"metrics":{},"error":"Request timed out",` +
		`"error_type":"request_timeout"}`
	for _, row := range []struct {
		name           string
		status, result canned
		state          provider.State
		pending        bool
		kind           events.Kind // of the failed poll
		failure        events.Kind
		code           string
		charge         events.Charge
		units          float64
		unconfirmed    bool
	}{
		{
			name: "billed", status: done(),
			result: canned{
				status: 200, body: `{"video":{"url":"https://a/b.mp4"}}`,
				header: map[string]string{"X-Fal-Billable-Units": "2.5"},
			}, state: provider.Succeeded, units: 2.5,
		},
		{
			name: "nonsense units", status: done(),
			result: canned{
				status: 200, body: `{"video":{"url":"https://a/b.mp4"}}`,
				header: map[string]string{"X-Fal-Billable-Units": "NaN"},
			}, state: provider.Succeeded,
		},
		{
			name: "invalid and free", status: done(),
			result: canned{
				status: 422, body: `{"detail":[{"type":"missing","msg":"m"}]}`,
				header: map[string]string{"X-Fal-Billable-Units": "0"},
			}, state: provider.Failed, failure: events.KindInvalid, code: "missing", charge: events.ChargeNone,
		},
		{
			name: "invalid and billed", status: done(),
			result: canned{
				status: 422, body: `{"detail":[{"type":"missing","msg":"m"}]}`,
				header: map[string]string{"X-Fal-Billable-Units": "1"},
			}, state: provider.Failed, failure: events.KindInvalid, code: "missing", charge: events.ChargeConfirmed, units: 1,
		},
		{
			name: "start timeout by its header alone", status: done(),
			result: canned{
				status: 504, body: "",
				header: map[string]string{"X-Fal-Request-Timeout-Type": "user", "X-Fal-Request-Id": sampleID},
			},
			state: provider.Failed, failure: events.KindDeadline, code: "http_504", charge: events.ChargeNone,
		},
		{
			name: "cancelled", status: done(),
			result: canned{status: 499, body: `{"detail":"Request was cancelled","error_type":"client_cancelled"}`},
			state:  provider.Cancelled,
		},
		{
			name: "499 of somebody else", status: done(), result: canned{status: 499, body: htmlPage}, state: provider.Running,
			pending: true,
		},
		{
			name: "500 of somebody else", status: done(), result: canned{status: 500, body: htmlPage}, state: provider.Running,
			pending: true,
		},
		{
			name: "200 of somebody else", status: done(), result: canned{status: 200, body: htmlPage}, state: provider.Running,
			pending: true,
		},
		{name: "reset", status: done(), result: canned{abort: true}, state: provider.Running, pending: true},
		{
			name: "redirect", status: done(), result: canned{status: 302, header: map[string]string{"Location": "/x"}},
			state: provider.Running, pending: true,
		},
		{
			name: "still in the queue", status: done(), result: canned{status: 200, body: `{"status":"IN_QUEUE"}`},
			state: provider.Running, pending: true,
		},
		{
			name: "early by code", status: done(), result: canned{status: 202, body: `{"status":"COMPLETED"}`},
			state: provider.Running, pending: true,
		},
		{
			name: "nothing to deliver", status: done(), result: canned{status: 200, body: `{"output":"a poem"}`},
			state: provider.Succeeded,
		},
		{
			name: "model's own 404", status: done(), result: canned{status: 404, body: `{"detail":"no such voice"}`},
			state: provider.Failed, failure: events.KindInvalid, code: "http_404", charge: events.ChargePossible,
			unconfirmed: true,
		},
		{
			name: "500 through fal", status: done(),
			result: canned{status: 500, body: `{"detail":"Internal Server Error"}`, header: traced},
			state:  provider.Failed, failure: events.KindInternal, code: "http_500", charge: events.ChargeNone, unconfirmed: true,
		},
		{
			name: "504 through fal without a form", status: done(),
			result: canned{status: 504, body: "Gateway Timeout", header: traced},
			state:  provider.Failed, failure: events.KindInternal, code: "http_504", charge: events.ChargeNone, unconfirmed: true,
		},
		{
			name: "a result of 0 units that says why", status: done(),
			result: canned{status: 200, body: `{"video":null,"error":"NSFW content detected"}`, header: map[string]string{
				"X-Fal-Request-Id": sampleID, "X-Fal-Billable-Units": "0",
			}},
			state: provider.Failed, failure: events.KindModeration, code: "http_200", charge: events.ChargeNone,
		},
		{
			name: "a word for a cancel", status: canned{status: 200, body: `{"status":"CANCELED"}`}, state: provider.Cancelled,
		},
		{
			name:   "a word for a failure with fal's type",
			status: canned{status: 200, body: `{"status":"FAILED","error":"it died","error_type":"runner_server_error"}`},
			state:  provider.Failed, failure: events.KindInternal, code: "runner_server_error", charge: events.ChargeNone,
		},
		{
			name:   "a word that nobody knows beside an error",
			status: canned{status: 200, body: `{"status":"ABORTED","error":{"message":"it died"}}`},
			state:  provider.Failed, failure: events.KindInternal, code: "http_0", charge: events.ChargePossible,
			unconfirmed: true,
		},
		{
			name: "expired", status: done(), result: canned{status: 404, body: `{"status":"NOT_FOUND"}`},
			kind: events.KindNotFound,
		},
		{
			name: "key revoked", status: done(), result: canned{status: 401, body: `{"detail":"invalid key credentials"}`},
			kind: events.KindAuth,
		},
		{
			name: "locked", status: done(),
			result: canned{status: 403, body: `{"detail":"User is locked. Reason: Exhausted balance."}`}, kind: events.KindQuota,
		},
		{
			name: "expired, and the status knows why", status: timedOut,
			result: canned{status: 404, body: `{"status":"NOT_FOUND"}`}, state: provider.Failed, failure: events.KindDeadline,
			code: "request_timeout", charge: events.ChargeNone,
		},
		{
			name: "unreadable, and the status knows why", status: timedOut, result: canned{status: 502, body: htmlPage},
			state: provider.Failed, failure: events.KindDeadline, code: "request_timeout", charge: events.ChargeNone,
		},
	} {
		s, err := pollWith(t, row.status, row.result)
		if kindOf(err) != row.kind || s.State != row.state || s.ResultPending != row.pending {
			t.Errorf("%s: state %q, pending %v, %v, want %q, %v, kind %q", row.name, s.State, s.ResultPending, err, row.state,
				row.pending, row.kind)
			continue
		}
		if s.Unconfirmed != row.unconfirmed {
			t.Errorf("%s: unconfirmed %v", row.name, s.Unconfirmed)
		}
		if e := s.Err; (e != nil) != (row.failure != "") ||
			e != nil && (e.Kind != row.failure || e.Code != row.code || e.Charge != row.charge) {
			t.Errorf("%s: error %+v, want %s, code %s, charge %s", row.name, e, row.failure, row.code, row.charge)
		}
		if (s.Units != nil && *s.Units != row.units) || (s.Units == nil && row.units != 0) ||
			(s.Unit == unitName) != (s.Units != nil) {
			t.Errorf("%s: units %v %q, want %v", row.name, s.Units, s.Unit, row.units)
		}
	}
}

// An answer over the limit is not cut and read: what is left of it may look complete.
func TestResultOverTheLimit(t *testing.T) {
	t.Parallel()
	body := `{"video":{"url":"https://a/b.mp4"}}`
	s, err := pollWith(t, done(), canned{status: 200, body: body + strings.Repeat(" ", provider.MaxBodyBytes)})
	if err != nil || s.State != provider.Succeeded || len(s.Outputs) != 1 {
		t.Errorf("over the limit of other answers: state %q, %v, want succeeded", s.State, err)
	}
	s, err = pollWith(t, done(), canned{status: 200, body: body + strings.Repeat(" ", maxResultBytes)})
	if err != nil || s.State != provider.Failed || !s.Unconfirmed || s.Err.Code != provider.CodeTooLarge ||
		s.Err.Charge != events.ChargePossible {
		t.Errorf("state %q, %v, %v, want answer_too_large", s.State, s.Err, err)
	}
}

// A poll that its caller gave up between the status and the result has not seen a result pending.
func TestPollGivenUp(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/status") {
			done().ServeHTTP(w, r)
			return
		}
		cancel()
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	s, err := newDriver(t, server.URL).Poll(ctx, sampleRef())
	if !errors.Is(err, context.Canceled) || s.State != "" || s.ResultPending {
		t.Errorf("state %q, pending %v, %v, want context.Canceled", s.State, s.ResultPending, err)
	}
}

// A status that its logs make too large is asked for without them.
func TestStatusOverTheLimit(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /fal-ai/flux/requests/"+sampleID+"/status", func(w http.ResponseWriter, r *http.Request) {
		answer := done()
		if r.URL.Query().Get("logs") != "0" {
			answer.body += strings.Repeat(" ", provider.MaxBodyBytes)
		}
		answer.ServeHTTP(w, r)
	})
	mux.Handle("GET /fal-ai/flux/requests/"+sampleID, canned{status: 200, body: `{"video":{"url":"https://a/b.mp4"}}`})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	s, err := newDriver(t, server.URL).Poll(t.Context(), sampleRef())
	if err != nil || s.State != provider.Succeeded {
		t.Errorf("state %q, %v, want succeeded", s.State, err)
	}
}

// Addresses that fal has named are asked where the usual ones are not known, on the host of the base URL only.
func TestNamedAddresses(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.Handle("GET /other/app/requests/"+sampleID+"/status", done())
	mux.Handle("GET /other/app/requests/"+sampleID, canned{status: 200, body: `{"video":{"url":"https://a/b.mp4"}}`})
	mux.Handle("PUT /other/app/requests/"+sampleID+"/cancel", canned{status: 400, body: `{"status":"ALREADY_COMPLETED"}`})
	mux.Handle("/", canned{status: 404, body: `{"status":"NOT_FOUND"}`})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	d := newDriver(t, server.URL)
	submitted := func(base string) provider.Answer {
		at := base + "/other/app/requests/" + sampleID
		return d.Classify("fal-ai/flux", nil, provider.Reply{Status: 200, Body: fmt.Appendf(nil,
			`{"request_id":%q,"status_url":%q,"response_url":%q,"cancel_url":%q}`, sampleID, at+"/status", at, at+"/cancel")})
	}
	a := submitted(server.URL)
	s, err := d.Poll(t.Context(), a.Ref)
	if err != nil || s.State != provider.Succeeded {
		t.Errorf("handle %s: state %q, %v, want succeeded", a.Ref, s.State, err)
	}
	if c, err := d.Cancel(t.Context(), a.Ref); err != nil || c != provider.CancelTooLate {
		t.Errorf("cancel: %q, %v, want too_late", c, err)
	}
	for _, base := range []string{"https://evil.test", server.URL + "/..", "http://u:p@" + server.Listener.Addr().String()} {
		if a := submitted(base); string(a.Ref) != string(sampleRef()) {
			t.Errorf("%s: handle %s, want the usual one", base, a.Ref)
		}
	}
}

func TestResultsThatAreNoJSON(t *testing.T) {
	t.Parallel()
	h := map[string]string{"X-Fal-Request-Id": sampleID}
	png := "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
	for _, row := range []struct {
		name, body string
		state      provider.State
		outputs    []string
		raw        string
	}{
		{
			"JSON lines", "{\"a\":1}\n{\"video\":\"https://a/b.mp4\"}\n", provider.Succeeded,
			[]string{"https://a/b.mp4"},
			`"{\"a\":1}\n{\"video\":\"https://a/b.mp4\"}\n"`,
		},
		{"a text", "a kite", provider.Succeeded, nil, `"a kite"`},
		{
			"the file itself", png, provider.Succeeded,
			[]string{"data:image/png;base64,iVBORw0KGgoAAAANSUhEUg=="},
			`"the result is the file itself"`,
		},
		{
			"numbers of Python", `{"score":NaN,"x":[-Infinity,"NaN"],"image":"https://a/b.png"}`, provider.Succeeded,
			[]string{"https://a/b.png"},
			`{"score":null,"x":[null,"NaN"],"image":"https://a/b.png"}`,
		},
		{"cut off", `{"image":"https://a/b.p`, provider.Failed, nil, `"{\"image\":\"https://a/b.p"`},
	} {
		s, err := pollWith(t, done(), canned{status: 200, body: row.body, header: h})
		var links []string
		for _, o := range s.Outputs {
			links = append(links, o.URL)
		}
		if err != nil || s.State != row.state || fmt.Sprint(links) != fmt.Sprint(row.outputs) || string(s.Raw) != row.raw ||
			s.Unconfirmed != (row.state == provider.Failed) {
			t.Errorf("%s: %s, %v, %v, raw %s, unconfirmed %v", row.name, s.State, err, links, s.Raw, s.Unconfirmed)
		}
	}
}

func TestNotes(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"images":[{"url":"https://a/b.png"}],"has_nsfw_concepts":[false,true]}`:  "flagged",
		`{"images":[{"url":"https://a/b.png"}],"has_nsfw_concepts":[false,false]}`: "",
		`{"text":"hello"}`: "names no file",
		`{"images":[{"url":"https://a/b.png"}],"error":"one of two failed"}`: "one of two failed",
	} {
		s, err := pollWith(t, done(), canned{status: 200, body: body})
		if err != nil || s.State != provider.Succeeded || !strings.Contains(strings.Join(s.Notes, "; "), want) ||
			(want == "") != (len(s.Notes) == 0) {
			t.Errorf("%s: %s, %v, notes %q, want %q", body, s.State, err, s.Notes, want)
		}
	}
}

// A model that makes a voice names it, with a sample of it or without.
func TestVoices(t *testing.T) {
	t.Parallel()
	for body, files := range map[string]int{
		`{"custom_voice_id":"Voice7f3a","audio":null}`:                         0,
		`{"custom_voice_id":"Voice7f3a","audio":{"url":"https://a/b.mp3"}}`:    1,
		`{"voice_id":"Voice7f3a","custom_voice_id":null,"preview_audio":null}`: 0,
	} {
		s, err := pollWith(t, done(), canned{status: 200, body: body})
		if err != nil || s.State != provider.Succeeded || len(s.Outputs) != files || len(s.Notes) > 0 ||
			len(s.Values) != 1 || s.Values[events.ValueVoiceID] != "Voice7f3a" {
			t.Errorf("%s: %s, %v, %d files, values %v, notes %q", body, s.State, err, len(s.Outputs), s.Values, s.Notes)
		}
	}
}

func TestRawKeepsBigNumbers(t *testing.T) {
	t.Parallel()
	body := `{"video":{"url":"https://a/b.mp4"}, "seed": 17454220438242315174}`
	s, err := pollWith(t, done(), canned{status: 200, body: body})
	if err != nil || string(s.Raw) != body {
		t.Errorf("raw %s, %v, want %s", s.Raw, err, body)
	}
}

func TestOutputs(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, body string
		want       []events.Output
	}{
		{
			"video", `{"video":{"url":"https://a/b.mp4","content_type":"video/mp4","file_name":"b.mp4","file_size":42},` +
				`"seed":17454220438242315174}`,
			[]events.Output{{URL: "https://a/b.mp4", ContentType: "video/mp4", FileName: "b.mp4", Size: 42}},
		},
		{
			"order of the text", `{"z":{"url":"https://a/1"},"images":[{"url":"https://a/2"},{"url":"http://a/3"}],` +
				`"a":{"deep":{"url":"https://a/4"}}}`,
			[]events.Output{{URL: "https://a/1"}, {URL: "https://a/2"}, {URL: "http://a/3"}, {URL: "https://a/4"}},
		},
		{
			"outer before inner", `{"video":{"thumbnail":{"url":"https://a/2"},"url":"https://a/1"}}`,
			[]events.Output{{URL: "https://a/1"}, {URL: "https://a/2"}},
		},
		{
			"odd members", `{"f":{"url":"https://a/1","content_type":7,"file_name":null,"file_size":"big"}}`,
			[]events.Output{{URL: "https://a/1"}},
		},
		{
			"float and negative sizes", `[{"url":"https://a/1","file_size":1.5e3},{"url":"https://a/2","file_size":-1}]`,
			[]events.Output{{URL: "https://a/1", Size: 1500}, {URL: "https://a/2"}},
		},
		{
			"data", `{"image":{"url":"data:image/png;base64,AAAA"}}`,
			[]events.Output{{URL: "data:image/png;base64,AAAA", ContentType: "image/png"}},
		},
		{
			"not fetchable", `{"a":{"url":"file:///etc/passwd"},"b":{"url":"javascript:alert(1)"},"c":{"url":"/a"},` +
				`"d":{"url":"https://"},"e":{"url":""},"f":{"url":"https://user:pw@a/b"},"g":{"url":7}}`,
			nil,
		},
		{"long link", `{"a":{"url":"https://a/` + strings.Repeat("x", maxURLBytes) + `"}}`, nil},
		{
			"plain link", `{"note":"https://a/2","audio_url":"https://a/1.wav"}`,
			[]events.Output{{URL: "https://a/1.wav"}, {URL: "https://a/2"}},
		},
		{"any name", `{"output":["https://a/1.png"]}`, []events.Output{{URL: "https://a/1.png"}}},
		{"a text with a link", `{"caption":"https://a/1 shows a kite","status_url":"https://q/x"}`, nil},
		{
			"a video beside its thumbnail",
			`{"thumbnail":{"url":"https://a/t.mp4.png","content_type":"image/png"},"video":"https://a/o"}`,
			[]events.Output{{URL: "https://a/o"}, {URL: "https://a/t.mp4.png", ContentType: "image/png"}},
		},
		{
			"a video by its extension",
			`{"frame":{"url":"https://a/f","content_type":"image/png"},"sound":"https://a/s.mp3","result":"https://a/o.mp4?x=1"}`,
			[]events.Output{
				{URL: "https://a/o.mp4?x=1"}, {URL: "https://a/s.mp3"}, {URL: "https://a/f", ContentType: "image/png"},
			},
		},
		{
			"lists of lists and index maps", `{"frames":[[{"url":"https://a/1"}],["https://a/2.png"]],"m":{"0":{"url":"https://a/3"}}}`,
			[]events.Output{{URL: "https://a/1"}, {URL: "https://a/3"}, {URL: "https://a/2.png"}},
		},
		{
			"one output per link", `{"image_url":"https://a/1","images":[{"url":"https://a/1","file_size":3}],"url":"https://a/1"}`,
			[]events.Output{{URL: "https://a/1", Size: 3}},
		},
		{
			"a page beside a file", `{"docs":"https://fal.ai/models/x","image":{"url":"https://a/1"}}`,
			[]events.Output{{URL: "https://a/1"}},
		},
		{
			"plain links", `{"image_urls":["https://a/1","https://a/2"]}`,
			[]events.Output{{URL: "https://a/1"}, {URL: "https://a/2"}},
		},
		{
			"files before links", `{"image_url":"https://a/input.png","video":{"url":"https://a/1"}}`,
			[]events.Output{{URL: "https://a/1"}, {URL: "https://a/input.png"}},
		},
		{"too deep", strings.Repeat(`{"a":`, maxDepth+1) + `{"url":"https://a/1"}` + strings.Repeat("}", maxDepth+1), nil},
		{"none", `{"text":"a"}`, nil},
		{"no object", `"https://a/1"`, nil},
	} {
		got := readOutputs([]byte(row.body)).outputs
		if fmt.Sprint(got) != fmt.Sprint(row.want) {
			t.Errorf("%s: %.300v, want %v", row.name, got, row.want)
		}
	}
	var many []string
	for i := range 1000 {
		many = append(many, fmt.Sprintf(`{"url":"https://a/%d"}`, i))
	}
	f := readOutputs([]byte("[" + strings.Join(many, ",") + "]"))
	if len(f.outputs) != maxOutputs || f.more != 1000-maxOutputs || f.notes()[0] != "744 more in the raw result" {
		t.Errorf("%d outputs of 1000 and %d more, %q, want %d", len(f.outputs), f.more, f.notes(), maxOutputs)
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		lines []string
		want  float64 // -1 for none
	}{
		{[]string{"step 3/30"}, 10},
		{[]string{"Step 15 of 30"}, 50},
		{[]string{" 45%"}, 45},
		{[]string{"progress: 12.5 %"}, 12.5},
		{[]string{"Sampling:  33%|███▎      | 10/30 [00:03<00:06]"}, 33},
		{[]string{"  3/30 [00:01<00:09,  3.1it/s]"}, 10},
		{[]string{"step 1/30", "step 2/30", "saving"}, 100.0 * 2 / 30},
		{[]string{"100%"}, 100},
		{[]string{"101%"}, -1},
		{[]string{"step 31/30"}, -1},
		{[]string{"step 1/0"}, -1},
		{[]string{"GPU memory 45%"}, -1},
		{[]string{"took 3/30 seconds"}, -1},
		{[]string{"loading"}, -1},
		{[]string{"Loading pipeline components...:  43%|####  | 3/7 [00:01<00:02]"}, -1},
		{[]string{"Downloading shards: 50%|##  | 1/2 [00:01<00:01]"}, -1},
		{[]string{"Fetching 16 files:  25%|##        | 4/16 [00:01<00:03]"}, -1},
		{[]string{"model-00001.safetensors:  45%|####  | 1.2G/2.5G"}, -1},
		{[]string{"45%|####      | 1.2G/2.5G [00:10<00:12, 110MB/s]"}, -1},
		{[]string{"step 3/30", "Uploading: 100%|####| 1/1 [00:01<00:00]"}, 10},
		{[]string{"warmed up: 100%"}, -1},
		{nil, -1},
		{append([]string{"50%"}, make([]string, maxProgressLines)...), -1},
	} {
		var lines []events.LogLine
		for _, text := range row.lines {
			lines = append(lines, events.LogLine{Message: text})
		}
		got := -1.0
		if p := progress(lines); p != nil {
			got = *p
		}
		if got != row.want {
			t.Errorf("%.60q: %v, want %v", row.lines, got, row.want)
		}
	}
}

func TestShown(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]string{
		"plain":                           "plain",
		"\x1b[32mgreen\x1b[0m":            "green",
		"\x1b[1;38;5;196m 45%\x1b[K":      " 45%",
		"\u009b31mred":                    "red",
		"\x1b]0;title\x07text":            "text",
		"\x1b]8;;https://a\x1b\\link":     "link",
		"\x1b(Bx\x1b=y":                   "xy",
		" 10%|#  |\r 20%|## |\r 30%|###|": " 30%|###|",
		" 10%|#  |\r 20%|## |\r":          " 20%|## |",
		"a\r\nb":                          "a\nb",
		"\x1b[2K":                         "",
	} {
		if got := shown(message); got != want {
			t.Errorf("%q: %q, want %q", message, got, want)
		}
	}
}

func TestLogs(t *testing.T) {
	t.Parallel()
	raw := `[{"message":"a","level":"INFO","source":"USER","timestamp":"2026-05-11T10:30:01.123456Z"},
		{"message":"b\u001b[31m\nc","timestamp":"2026-05-11T10:30:01.5"},7,{"message":7},{"message":""},{"message":"d","level":3,"timestamp":"never"}]`
	lines := readLogs([]byte(raw))
	if len(lines) != 3 {
		t.Fatalf("%d lines, want 3: %v", len(lines), lines)
	}
	if at := lines[0].At; lines[0].Message != "a" || lines[0].Level != "INFO" || at == nil ||
		at.Nanosecond() != 123456000 {
		t.Errorf("first line %+v", lines[0])
	}
	if lines[1].Message != "b c" || lines[1].At == nil {
		t.Errorf("second line %+v", lines[1])
	}
	if lines[2].At != nil || lines[2].Level != "" {
		t.Errorf("third line %+v", lines[2])
	}
	long := `[{"message":"` + strings.Repeat("é", events.MaxLogBytes) + `"}]`
	if n := len(readLogs([]byte(long))[0].Message); n > events.MaxLogBytes {
		t.Errorf("a line of %d bytes is kept, want at most %d", n, events.MaxLogBytes)
	}
	many := `[{"message":"old"}` + strings.Repeat(`,{"message":"new"}`, maxLines) + `]`
	if got := readLogs([]byte(many)); len(got) != maxLines || got[0].Message != "new" {
		t.Errorf("%d lines, the first %q, want the newest %d", len(got), got[0].Message, maxLines)
	}
}

func FuzzPoll(f *testing.F) {
	f.Add(200, []byte(`{"status":"COMPLETED","logs":[{"message":"45%"}]}`), 200, []byte(`{"video":{"url":"https://a/b"}}`),
		"1")
	f.Add(202, []byte(`{"status":"IN_QUEUE","queue_position":3}`), 500, []byte(htmlPage), "")
	f.Add(200, []byte(`{"status":"COMPLETED","error_type":"x"}`), 422,
		[]byte(`{"detail":[{"loc":["body"],"msg":"m","type":"t"}]}`), "NaN")
	f.Fuzz(func(t *testing.T, status int, body []byte, code int, result []byte, units string) {
		s, said, err := readStatus(sampleHandle, provider.Reply{Status: status, Body: body})
		if err != nil {
			if s.State != "" || err.Kind == "" || err.Code == "" || err.Message == "" {
				t.Errorf("failed poll with state %q, error %+v", s.State, err)
			}
			return
		}
		if s.Word == "" || (s.Err != nil) != (s.State == provider.Failed) || s.Progress != nil && !(*s.Progress >= 0 && *s.Progress <= 100) {
			t.Errorf("snapshot %+v", s)
		}
		s.State = provider.Running
		s, err = readResult(s, said,
			provider.Reply{Status: code, Body: result, Header: http.Header{"X-Fal-Billable-Units": {units}}})
		switch {
		case err != nil:
			if s.State != "" {
				t.Errorf("failed poll with state %q", s.State)
			}
		case s.State == provider.Succeeded:
			if len(s.Outputs) > maxOutputs || len(s.Outputs) == 0 && len(s.Notes) == 0 || !json.Valid(s.Raw) {
				t.Errorf("succeeded with %d outputs, raw %s", len(s.Outputs), s.Raw)
			}
		case s.State == provider.Failed:
			if s.Err == nil || s.Err.Charge == "" || s.Err.Kind == "" || s.Err.Message == "" {
				t.Errorf("failed with %d, %+v", code, s.Err)
			}
		case s.State == provider.Running && s.ResultPending, s.State == provider.Cancelled:
		default:
			t.Errorf("state %q, pending %v", s.State, s.ResultPending)
		}
		if _, err := json.Marshal(s); err != nil {
			t.Errorf("the snapshot cannot be written: %v", err)
		}
	})
}
