package openai_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/emulator"
	sandbox "reelay/internal/emulator/openai"
	"reelay/internal/provider"
	"reelay/internal/provider/openai"
	"reelay/internal/secret"
)

const model = "Wan-AI/Wan2.2-T2V-A14B-Diffusers"

// open returns a driver for an emulated server whose jobs take an hour unless their script says otherwise.
func open(t *testing.T, kind sandbox.Kind) (*openai.Driver, *sandbox.Server) {
	t.Helper()
	s := sandbox.New(sandbox.Options{Kind: kind, Speed: emulator.Speed{Queue: time.Hour, Run: time.Hour}})
	return dial(t, s), s
}

func dial(t *testing.T, h http.Handler) *openai.Driver {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	d, err := openai.New(openai.Options{BaseURL: server.URL + "/v1/", Key: secret.New("sk-of-the-test")})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// submit makes the create of an input and returns how its answer is read.
func submit(t *testing.T, d *openai.Driver, input string) provider.Answer {
	t.Helper()
	r, err := d.Render(events.Task{TaskType: events.Video, Model: model}, []byte(input), "")
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.URL, bytes.NewReader(r.Body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = r.Header
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return d.Classify(model, r.Body, provider.Reply{Status: res.StatusCode, Header: res.Header, Body: body})
}

// accepted is submit of what must be accepted.
func accepted(t *testing.T, d *openai.Driver, input string) provider.Answer {
	t.Helper()
	a := submit(t, d, input)
	if a.Outcome != provider.Accepted {
		t.Fatalf("%s: %+v, %v", input, a, a.Err)
	}
	return a
}

// TestForms: a server that takes forms only refuses the first create, and gets all others as forms.
func TestForms(t *testing.T) {
	t.Parallel()
	d, s := open(t, sandbox.VLLMOmni)
	const input = `{"prompt":"a \"kite\"","seconds":5,"extra_params":{"a":[1]},"lora":null,"input_reference":`
	link := input + `"https://m.example/a.png"}`
	if a := submit(t, d, link); a.Outcome != provider.Refused || a.Err.Kind != events.KindRetry {
		t.Fatalf("JSON: %+v, %v, want refused, to be tried again", a, a.Err)
	}
	accepted(t, d, link)
	accepted(t, d, input+`"data:image/png;base64,iVBORw0K"}`)
	for i, want := range []string{
		`{"extra_params":{"a":[1]},"image_reference":{"image_url":"https://m.example/a.png"},"model":"` + model +
			`","prompt":"a \"kite\"","seconds":"5"}`,
		`{"extra_params":{"a":[1]},"input_reference":"6 bytes","model":"` + model + `","prompt":"a \"kite\"","seconds":"5"}`,
	} {
		if got := string(s.Ledger().Jobs()[i].Input); got != want {
			t.Errorf("the server has read\n%s, want\n%s", got, want)
		}
	}
	if a := submit(t, d, `{"prompt":"p","size":"big"}`); a.Outcome != provider.Refused || a.Err.Kind != events.KindInvalid {
		t.Errorf("a bad form: %+v, %v, want refused for good", a, a.Err)
	}
	var fe *events.FieldError
	_, err := d.Render(events.Task{TaskType: events.Video, Model: model}, []byte(input+`"data:;base64,*"}`), "")
	if !errors.As(err, &fe) || fe.Field != "input.input_reference" {
		t.Errorf("a data: link that is none: %v", err)
	}
}

// TestSGLang: a job at work is queued, and is not deleted to cancel it, since it would go on.
func TestSGLang(t *testing.T) {
	t.Parallel()
	d, s := open(t, sandbox.SGLang)
	a := accepted(t, d, `{"prompt":"p","emulate":{"queue_ms":0}}`)
	if snap, err := d.Poll(t.Context(), a.Ref); err != nil || snap.State != provider.Queued {
		t.Errorf("at work: %+v, %v", snap, err)
	}
	if got, err := d.Cancel(t.Context(), a.Ref); err != nil || got != provider.CancelUnsupported {
		t.Errorf("cancel: %s, %v", got, err)
	}
	if n := s.Ledger().Calls()["cancel"]; n != 0 {
		t.Errorf("%d DELETEs", n)
	}
	done := accepted(t, d, `{"prompt":"p","emulate":{"queue_ms":0,"run_ms":0}}`)
	if snap, err := d.Poll(t.Context(), done.Ref); err != nil || len(snap.Outputs) != 1 {
		t.Errorf("done: %+v, %v", snap, err)
	}
}

// TestLost: a server that was restarted knows none of its jobs; nothing was charged for them.
func TestLost(t *testing.T) {
	t.Parallel()
	d, s := open(t, sandbox.Any)
	a := accepted(t, d, `{"prompt":"p"}`)
	s.Restart()
	_, err := d.Poll(t.Context(), a.Ref)
	if e := provider.AsError(err); e.Kind != events.KindNotFound || e.Charge != events.ChargeNone {
		t.Errorf("%v, charge %q", err, e.Charge)
	}
	if _, complete, err := d.List(t.Context(), events.Task{Model: model}, []byte(`{}`), time.Time{}); err != nil || !complete {
		t.Errorf("list: complete %v, %v", complete, err)
	}
}

func TestCancelRefused(t *testing.T) {
	t.Parallel()
	d, _ := open(t, sandbox.Any)
	a := accepted(t, d, `{"prompt":"p","emulate":{"cancel":"refused"}}`)
	if got, err := d.Cancel(t.Context(), a.Ref); err != nil || got != provider.CancelUnsupported {
		t.Errorf("%s, %v", got, err)
	}
}

// TestList: every page is read, and a job is exactly ours where all of the input is seen in it.
func TestList(t *testing.T) {
	t.Parallel()
	for _, kind := range []sandbox.Kind{sandbox.Any, sandbox.SGLang} {
		d, s := open(t, kind)
		const jobs = 130
		for i := range jobs {
			accepted(t, d, fmt.Sprintf(`{"prompt":"p%d","size":"832x480"}`, i%2))
		}
		since := s.Ledger().Jobs()[10].At
		for input, exact := range map[string]bool{
			`{"prompt":"p1","size":"832x480"}`: true, `{"prompt":"p1","size":"832x480","seed":1}`: false,
		} {
			found, complete, err := d.List(t.Context(), events.Task{Model: model}, []byte(input), since)
			want := (jobs - 10) / 2
			if kind == sandbox.SGLang { // which shows no prompt
				want, exact = 2*want, false
			}
			// Times are whole seconds there: those of the same second as since are found, too.
			if err != nil || !complete || len(found) < want || len(found) > want+10 || found[0].Exact != exact {
				t.Errorf("%s %s: %d found, complete %v, exact %v, %v; want %d", kind, input, len(found), complete,
					len(found) > 0 && found[0].Exact, err, want)
			}
		}
		found, _, err := d.List(t.Context(), events.Task{Model: model}, []byte(`{"size":"1280x720"}`), since)
		if err != nil || len(found) != 0 {
			t.Errorf("%s: of another size %d are found, %v", kind, len(found), err)
		}
	}
}

// TestListMissing: a server without a list has nothing to show; a gateway in its place says nothing.
func TestListMissing(t *testing.T) {
	t.Parallel()
	for body, complete := range map[string]bool{`{"detail":"Method Not Allowed"}`: true, "<html>": false} {
		d := dial(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusMethodNotAllowed)
			_, _ = io.WriteString(w, body)
		}))
		found, got, err := d.List(t.Context(), events.Task{Model: model}, []byte(`{}`), time.Time{})
		if len(found) != 0 || got != complete || (err == nil) != complete {
			t.Errorf("%s: %d found, complete %v, %v", body, len(found), got, err)
		}
	}
}

func TestClassify(t *testing.T) {
	t.Parallel()
	d, _ := open(t, sandbox.Any)
	for _, row := range []struct {
		status  int
		body    string
		outcome provider.Outcome
		kind    events.Kind
		says    string
	}{
		{404, `{"detail":"Not Found"}`, provider.Refused, events.KindAddress, "base URL"},
		{307, ``, provider.Refused, events.KindAddress, "redirects"},
		{404, `{"error":{"message":"The model does not exist","code":404}}`, provider.Refused, events.KindInvalid, "not exist"},
		{401, `{"error":"Unauthorized"}`, provider.Refused, events.KindAuth, "Unauthorized"},
		{
			422, `{"detail":[{"type":"int_parsing","loc":["body","fps"],"msg":"not an integer"}]}`, provider.Refused,
			events.KindInvalid, "(fps) not an integer",
		},
		{429, `{"detail":"busy"}`, provider.Refused, events.KindRateLimited, "busy"},
		{409, `{"detail":"busy"}`, provider.InDoubt, events.KindAmbiguous, "busy"},
		{503, `{"detail":"busy"}`, provider.InDoubt, events.KindAmbiguous, "busy"},
		{200, `{"id":"a/b"}`, provider.InDoubt, events.KindAmbiguous, "provider_id"},
		{200, `{"id":17}`, provider.Accepted, "", ""},
	} {
		a := d.Classify(model, []byte(`--form`), provider.Reply{Status: row.status, Body: []byte(row.body), Header: http.Header{}})
		if a.Outcome != row.outcome || row.kind != "" && (a.Err.Kind != row.kind || !strings.Contains(a.Err.Message, row.says)) {
			t.Errorf("%d %s: %s, %v", row.status, row.body, a.Outcome, a.Err)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	d, _ := open(t, sandbox.Any)
	for _, row := range []struct {
		of                  events.TaskType
		model, input, field string
	}{
		{events.Video, "default", `{"prompt":"p"}`, ""},
		{events.Video, model, `{"prompt":"p","model":"` + model + `"}`, ""},
		{events.Video, model, `{"prompt":"p","Model":"` + model + `"}`, "input.Model"},
		{events.Video, "default", `{"prompt":"p","model":"other"}`, "input.model"},
		{events.Video, model, `{"prompt":" "}`, "input.prompt"},
		{events.Speech, model, `{"prompt":"p"}`, "model"},
	} {
		var fe *events.FieldError
		if err := d.Check(row.of, row.model, []byte(row.input)); errors.As(err, &fe) != (row.field != "") ||
			fe != nil && fe.Field != row.field {
			t.Errorf("%+v: %v", row, err)
		}
	}
	r, err := d.Render(events.Task{TaskType: events.Video, Model: "default"}, []byte(` {"prompt":"p"} `), "")
	if err != nil || string(r.Body) != `{"prompt":"p"}` {
		t.Errorf("the server's own model: %s, %v", r.Body, err)
	}
}

// TestOutput: where a server keeps its files elsewhere it says so.
func TestOutput(t *testing.T) {
	t.Parallel()
	for named, want := range map[string]string{
		"https://bucket.example/a.mp4": "https://bucket.example/a.mp4", "http://10.0.0.5/a.mp4": "/v1/videos/x/content", "": "/v1/videos/x/content",
	} {
		d := dial(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_ = json.NewEncoder(w).Encode(map[string]any{"id": "x", "status": "completed", "url": named, "expires_at": 2e9})
		}))
		ref, err := d.Ref(model, "x")
		if err != nil {
			t.Fatal(err)
		}
		s, err := d.Poll(t.Context(), ref)
		if err != nil || len(s.Outputs) != 1 || !strings.HasSuffix(s.Outputs[0].URL, want) || s.Outputs[0].ExpiresAt.Unix() != 2e9 {
			t.Errorf("%s: %+v, %v", named, s.Outputs, err)
		}
	}
}

func TestNew(t *testing.T) {
	t.Parallel()
	for base, ok := range map[string]bool{
		"http://10.0.0.5:8000": true, "http://gpu1:8000/v1": true, "https://api.example.com/proxy": true,
		"http://8.8.8.8": false, "http://example.com": false, "ftp://10.0.0.5": false, "": false,
	} {
		if _, err := openai.New(openai.Options{BaseURL: base}); (err == nil) != ok {
			t.Errorf("%q: %v", base, err)
		}
	}
	d, err := openai.New(openai.Options{BaseURL: "http://gpu1:8000/v1/", Key: secret.New("sk-1")})
	if err != nil {
		t.Fatal(err)
	}
	if base, header := d.FileServer(); base != "http://gpu1:8000/" || header.Get("Authorization") != "Bearer sk-1" {
		t.Errorf("files are at %s with %v", base, header)
	}
	if _, err := openai.New(openai.Options{BaseURL: "http://gpu1", Key: secret.New("two words")}); err == nil {
		t.Error("a key of two words is taken")
	}
}
