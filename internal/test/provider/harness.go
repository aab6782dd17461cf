package providertest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/emulator"
	"reelay/internal/provider"
	"reelay/internal/secret"
)

// Driver is what every provider driver has.
type Driver interface {
	Features(model string) provider.Features
	Check(t events.TaskType, model string, input json.RawMessage) error
	Render(t events.Task, input json.RawMessage, callbackURL string) (provider.Request, error)
	Classify(model string, sent []byte, r provider.Reply) provider.Answer
	Ref(model, id string) (json.RawMessage, error)
	Poll(ctx context.Context, ref json.RawMessage) (provider.Snapshot, error)
	Cancel(ctx context.Context, ref json.RawMessage) (provider.CancelOutcome, error)
	ReadCallback(model string, body []byte) (provider.Callback, error)
}

// A Harness tells the suite about one driver. Every field must be set.
type Harness struct {
	// Driver returns a driver for the provider at baseURL and the account of key.
	Driver func(baseURL string, key secret.Value) (Driver, error)
	// Emulator returns a new emulator of the provider, with an empty ledger.
	Emulator func(speed emulator.Speed) (http.Handler, *emulator.Ledger)
	// Features is what the driver must say of every sample's model.
	Features provider.Features
	// Samples holds a model and an input for each task type, at least one.
	Samples []Sample
	// Free says that the provider charges nothing.
	Free bool
	// NoQueue says that the provider has no word for a task that waits in its queue.
	NoQueue bool
	// UnknownID is an id of the provider's form that no job has.
	UnknownID string
	// Fail is a Script.Fail, FailKind the kind that the driver must make of it.
	Fail     string
	FailKind events.Kind
	// Refusal is the answer to a paid request by which the provider refuses it with that text in its own envelope, and
	// RefusalKind the kind that the driver must make of it.
	Refusal     func(text string) provider.Reply
	RefusalKind events.Kind
	// Callback is the body of a callback of the provider for the request with that id, which has succeeded; nil for a
	// provider that sends none.
	Callback func(id string) []byte
}

// A Sample is a model and an input that the emulator accepts. Input is a JSON object with at least one member and
// without "emulate".
type Sample struct {
	Type  events.TaskType
	Model string
	Input string
}

// Run checks the promises that all drivers share.
func Run(t *testing.T, h Harness) {
	t.Helper()
	if h.Driver == nil || h.Emulator == nil || h.Refusal == nil || h.Features.Webhook && h.Callback == nil || len(h.Samples) == 0 ||
		h.UnknownID == "" || h.Fail == "" {
		t.Fatal("the harness is incomplete")
	}
	for name, test := range map[string]func(*testing.T, Harness){
		"Features":           testFeatures,
		"Check":              testCheck,
		"Render":             testRender,
		"ClassifyIsTotal":    testClassifyIsTotal,
		"ClassifyRefusal":    testClassifyRefusal,
		"States":             testStates,
		"PollDetails":        testPollDetails,
		"PollFailed":         testPollFailed,
		"LostAnswers":        testLostAnswers,
		"FailedPolls":        testFailedPolls,
		"UnknownWord":        testUnknownWord,
		"NotFound":           testNotFound,
		"BadRefs":            testBadRefs,
		"ResultFaults":       testResultFaults,
		"EndedContext":       testEndedContext,
		"Cancel":             testCancel,
		"CancelUnsupported":  testCancelUnsupported,
		"RedirectsNotTaken":  testRedirectsNotTaken,
		"AnswerURLsAreData":  testAnswerURLsAreData,
		"KeyIsNeverRepeated": testKeyIsNeverRepeated,
		"Callback":           testCallback,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, h)
		})
	}
}

// RunAnswered checks what holds for the models of a driver whose paid request is answered with its result. Of the harness
// it takes Driver, Emulator, Features, Samples, Refusal and RefusalKind.
func RunAnswered(t *testing.T, h Harness) {
	t.Helper()
	for _, s := range h.Samples {
		of := h
		of.Samples = []Sample{s}
		for name, test := range map[string]func(*testing.T, Harness){
			"Features":        testFeatures,
			"Check":           testCheck,
			"Render":          testRender,
			"ClassifyIsTotal": testClassifyIsTotal,
			"ClassifyRefusal": testClassifyRefusal,
			"LostAnswers":     testLostAnswers,
			"Answered":        testAnswered,
		} {
			t.Run(s.Model+"/"+name, func(t *testing.T) {
				t.Parallel()
				test(t, of)
			})
		}
	}
}

// canary is the key of every driver here; it must turn up nowhere but in the header.
const canary = "canary-7f3c9a1e"

// A bench is a driver, the emulator it talks to, and a switch that puts a fault in between.
type bench struct {
	h      Harness
	driver Driver
	ledger *emulator.Ledger
	url    string
	client *http.Client
	fault  atomic.Pointer[http.HandlerFunc]
	calls  atomic.Int64
	sent   atomic.Int64
}

func newBench(t testing.TB, h Harness) *bench {
	t.Helper()
	// Long enough that no state passes by itself; scripts shorten it.
	handler, ledger := h.Emulator(emulator.Speed{Queue: time.Hour, Run: time.Hour, Position: 2})
	b := &bench{h: h, ledger: ledger, client: &http.Client{
		Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second,
	}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.calls.Add(1)
		if fault := b.fault.Load(); fault != nil {
			(*fault)(w, r)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	b.url = server.URL
	d, err := h.Driver(server.URL, secret.New(canary))
	if err != nil {
		t.Fatalf("the driver for %s: %v", server.URL, err)
	}
	b.driver = d
	return b
}

// meets puts a fault in front of the emulator; nil takes it away.
func (b *bench) meets(fault http.HandlerFunc) {
	if fault == nil {
		b.fault.Store(nil)
		return
	}
	b.fault.Store(&fault)
}

// task returns the record that the driver renders for a sample.
func task(s Sample) events.Task {
	return events.Task{
		Schema: events.TaskSchema, ID: "t1", Project: "default", TaskType: s.Type, Lane: "lane", Model: s.Model,
		CreatedAt: time.Date(2026, time.May, 1, 12, 0, 0, 0, time.UTC),
	}
}

// input returns the sample's input with a script for the emulator as its first member.
func input(t testing.TB, s Sample, script emulator.Script) json.RawMessage {
	t.Helper()
	text, err := json.Marshal(script)
	if err != nil {
		t.Fatal(err)
	}
	rest, ok := strings.CutPrefix(strings.TrimSpace(s.Input), "{")
	if !ok {
		t.Fatalf("the sample input %s is not an object", s.Input)
	}
	return json.RawMessage(`{"emulate":` + string(text) + `,` + rest)
}

// send makes the paid request, as package paid would, and returns what came back.
func (b *bench) send(t testing.TB, s Sample, script emulator.Script) (provider.Reply, error) {
	t.Helper()
	in := input(t, s, script)
	if err := b.driver.Check(s.Type, s.Model, in); err != nil {
		t.Fatalf("Check of the %s sample: %v", s.Type, err)
	}
	of := task(s)
	of.ID = fmt.Sprint("t", b.sent.Add(1)) // each is a task of its own
	r, err := b.driver.Render(of, in, "")
	if err != nil {
		t.Fatalf("Render of the %s sample: %v", s.Type, err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.URL, bytes.NewReader(r.Body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = r.Header.Clone()
	res, err := b.client.Do(req)
	if err != nil {
		return provider.Reply{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, provider.MaxBodyBytes))
	if err != nil {
		return provider.Reply{}, err
	}
	return provider.Reply{Status: res.StatusCode, Header: res.Header, Body: body}, nil
}

// accepted submits a job that lives by the script and returns the answer with its handle.
func (b *bench) accepted(t testing.TB, s Sample, script emulator.Script) provider.Answer {
	t.Helper()
	reply, err := b.send(t, s, script)
	if err != nil {
		t.Fatalf("the submit: %v", err)
	}
	a := b.driver.Classify(s.Model, nil, reply)
	if a.Outcome != provider.Accepted || a.ID == "" || len(a.Ref) == 0 || a.Err != nil {
		t.Fatalf("the answer %d %s is %s, id %q, ref %s, err %v, want accepted", reply.Status, reply.Body, a.Outcome, a.ID,
			a.Ref, a.Err)
	}
	return a
}

// poll fails the test unless the poll succeeds.
func (b *bench) poll(t testing.TB, ref json.RawMessage) provider.Snapshot {
	t.Helper()
	s, err := b.driver.Poll(t.Context(), ref)
	if err != nil {
		t.Fatalf("the poll of %s: %v", ref, err)
	}
	return s
}

// Scripts for the states of a job.
func ms(n int) *int { return &n }

func queued() emulator.Script { return emulator.Script{Stall: "queued"} }

func running() emulator.Script { return emulator.Script{QueueMS: ms(0), Stall: "running"} }

func finished() emulator.Script { return emulator.Script{QueueMS: ms(0), RunMS: ms(0)} }

// typed returns the *provider.Error that a failed call must return, and checks its promises.
func typed(t testing.TB, what string, err error) *provider.Error {
	t.Helper()
	if err == nil {
		t.Fatalf("%s: no error", what)
	}
	e, ok := any(err).(*provider.Error) // the error itself, not one that it wraps
	if !ok {
		t.Fatalf("%s: %T %v is not a *provider.Error", what, err, err)
	}
	checkError(t, what, e)
	return e
}

// checkError checks what holds for every error of a driver.
func checkError(t testing.TB, what string, e *provider.Error) {
	t.Helper()
	if e == nil {
		t.Fatalf("%s: no error", what)
	}
	known := false
	for _, k := range events.Kinds() {
		known = known || k == e.Kind
	}
	if !known {
		t.Errorf("%s: kind %q is none of the contract's", what, e.Kind)
	}
	if e.Message == "" || e.Code == "" {
		t.Errorf("%s: code %q, message %q: both must say something", what, e.Code, e.Message)
	}
	if len(e.Message) > events.MaxMessageBytes {
		t.Errorf("%s: the message has %d bytes, want at most %d", what, len(e.Message), events.MaxMessageBytes)
	}
	hides(t, what, e)
	hides(t, what, e.Event())
}

// hides checks that no rendering of v shows the key.
func hides(t testing.TB, what string, v any) {
	t.Helper()
	var logs bytes.Buffer
	slog.New(slog.NewTextHandler(&logs, nil)).Info("m", "v", v)
	slog.New(slog.NewJSONHandler(&logs, nil)).Info("m", "v", v)
	asJSON, _ := json.Marshal(v) // what cannot be written cannot leak
	for _, text := range []string{
		fmt.Sprintf("%v", v), fmt.Sprintf("%+v", v), fmt.Sprintf("%#v", v), string(asJSON), logs.String(),
	} {
		if strings.Contains(text, canary) {
			t.Errorf("%s: the key shows in %s", what, strings.ReplaceAll(text, canary, "<KEY>"))
		}
	}
}
