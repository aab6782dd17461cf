package minimax_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"reelay/events"
	"reelay/internal/emulator"
	sandbox "reelay/internal/emulator/minimax"
	"reelay/internal/provider"
	"reelay/internal/provider/minimax"
	"reelay/internal/secret"
)

const (
	testKey = "sk-api-canary-5d1f0c77"
	modelV1 = "MiniMax-Hailuo-2.3"
	modelV2 = "MiniMax-H3"
)

// driverFor returns a driver of the provider at url.
func driverFor(t testing.TB, url string) *minimax.Driver {
	t.Helper()
	d, err := minimax.New(minimax.Options{BaseURL: url, Key: secret.New(testKey)})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// answering returns a driver of a provider that answers every call with one answer.
func answering(t testing.TB, status int, body string) *minimax.Driver {
	t.Helper()
	return serving(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trace-Id", "trace-1")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
}

// serving returns a driver of a provider that is h.
func serving(t testing.TB, h http.HandlerFunc) *minimax.Driver {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return driverFor(t, server.URL)
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// inProcess returns a driver whose answers come without a socket: for statuses that net/http does not send, and for
// speed. Every answer has the key in its headers.
func inProcess(t testing.TB, answer func(*http.Request) (status int, body string)) *minimax.Driver {
	t.Helper()
	d, err := minimax.New(minimax.Options{
		Key: secret.New(testKey),
		Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			status, body := answer(r)
			h := http.Header{"Trace-Id": {testKey}, "Retry-After": {testKey}}
			return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body))}, nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// A box is an emulator and a driver for it.
type box struct {
	driver *minimax.Driver
	ledger *emulator.Ledger
	url    string
	// transport carries the paid requests; http.DefaultTransport if nil.
	transport http.RoundTripper
}

func newBox(t testing.TB, o sandbox.Options) box {
	t.Helper()
	s := sandbox.New(o)
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return box{driver: driverFor(t, server.URL), ledger: s.Ledger(), url: server.URL}
}

// submit sends one paid request as it was rendered and classifies the answer.
func (b box) submit(t testing.TB, model, input string) provider.Answer {
	t.Helper()
	r, err := b.driver.Render(events.Task{TaskType: events.Video, Model: model}, json.RawMessage(input), "")
	if err != nil {
		t.Fatal(err)
	}
	return b.sent(t, model, r)
}

// sent sends a paid request and classifies the answer.
func (b box) sent(t testing.TB, model string, r provider.Request) provider.Answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.URL, bytes.NewReader(r.Body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = r.Header
	transport := b.transport
	if transport == nil {
		transport = http.DefaultTransport
	}
	reply, err := provider.Exchange(provider.NewClient(transport, 0), req)
	if err != nil {
		t.Fatal(err)
	}
	return b.driver.Classify(model, r.Body, reply)
}

// accepted is submit of a job that must be accepted.
func (b box) accepted(t testing.TB, model, input string) provider.Answer {
	t.Helper()
	a := b.submit(t, model, input)
	if a.Outcome != provider.Accepted {
		t.Fatalf("%s: %v", a.Outcome, a.Err)
	}
	return a
}

// scripted puts a script in front of an input's members.
func scripted(script, input string) string {
	return `{"emulate":` + script + `,` + strings.TrimPrefix(input, "{")
}

func refOf(t testing.TB, d *minimax.Driver, model, id string) json.RawMessage {
	t.Helper()
	ref, err := d.Ref(model, id)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// hides fails the test if any rendering of v shows the key.
func hides(t testing.TB, v any) {
	t.Helper()
	var out bytes.Buffer
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "v", v)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "v", v)
	_ = json.NewEncoder(&out).Encode(v) // what cannot be written cannot leak
	fmt.Fprintf(&out, "%v %+v %#v", v, v, v)
	for err, ok := v.(error); ok && err != nil; {
		fmt.Fprint(&out, err.Error())
		u, can := err.(interface{ Unwrap() error })
		if !can {
			break
		}
		err = u.Unwrap()
	}
	if strings.Contains(out.String(), testKey) {
		t.Errorf("the key shows in %s", out.String())
	}
}

// statuses are all documented HTTP statuses, their neighbours, and the edges.
func statuses() []int {
	return []int{
		0, 100, 101, 199, 200, 201, 202, 204, 206, 299, 300, 301, 302, 304, 307, 308, 399, 400, 401, 402, 403, 404, 405, 408,
		409, 410, 413, 415, 421, 422, 423, 425, 428, 429, 430, 431, 451, 499, 500, 501, 502, 503, 504, 505, 520, 524, 528,
		529, 530, 598, 599,
	}
}

func v1Body(code int, message string) string {
	return fmt.Sprintf(`{"task_id":"","base_resp":{"status_code":%d,"status_msg":%q}}`, code, message)
}

func v2Body(code int, message string) string {
	return fmt.Sprintf(`{"type":"error","error":{"type":"x_error","message":"%s (%d)","http_code":"400"},`+
		`"request_id":"02178"}`, message, code)
}

// strays are bodies that are no answer of MiniMax's.
func strays() map[string]string {
	return map[string]string{
		"empty": "", "page": "<html><body><h1>502 Bad Gateway</h1></body></html>", "garbage": `}{"task_id":"1"`,
		"cut": `{"task_id":"1069161122`, "cut envelope": `{"task_id":"","base_resp":{"status_code":1002`, "null": "null",
		"array": `[1]`, "deep": strings.Repeat("[", 20_000), "other": `{"error":"unauthorized"}`,
		"no code": `{"task_id":"","base_resp":{}}`,
	}
}
