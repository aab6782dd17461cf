package replicate_test

import (
	"bytes"
	"context"
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
	sandbox "reelay/internal/emulator/replicate"
	"reelay/internal/provider"
	"reelay/internal/provider/replicate"
	"reelay/internal/secret"
)

const model = "bytedance/seedance-1-pro"

func dial(t *testing.T, h http.Handler) *replicate.Driver {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	d, err := replicate.New(replicate.Options{BaseURL: server.URL + "/v1/", Key: secret.New("r8_of_the_test")})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func open(t *testing.T, o sandbox.Options) (*replicate.Driver, *sandbox.Server) {
	t.Helper()
	s := sandbox.New(o)
	return dial(t, s), s
}

// submit makes the create of a task and returns how its answer is read.
func submit(t *testing.T, d *replicate.Driver, task events.Task, input, callback string) provider.Answer {
	t.Helper()
	r, err := d.Render(task, []byte(input), callback)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.URL, bytes.NewReader(r.Body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = r.Header
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return d.Classify(task.Model, r.Body, provider.Reply{Status: res.StatusCode, Header: res.Header, Body: body})
}

func poll(t *testing.T, d *replicate.Driver, a provider.Answer) provider.Snapshot {
	t.Helper()
	s, err := d.Poll(t.Context(), a.Ref)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestOutputs: whatever the shape of an output, its links are found in their order, and what is none is kept.
func TestOutputs(t *testing.T) {
	t.Parallel()
	for output, want := range map[string]string{
		`"https://h.test/a.mp4"`:                                               "https://h.test/a.mp4",
		`["https://h.test/2.png","https://h.test/1.png"]`:                      "https://h.test/2.png https://h.test/1.png",
		`{"z":{"file":"https://h.test/z"},"a":["https://h.test/a",1]}`:         "https://h.test/z https://h.test/a",
		`{"https://h.test/name":1,"b":"see https://h.test/x for more"}`:        "",
		`["https://h.test/a","https://h.test/a","data:image/png;base64,AA=="]`: "https://h.test/a data:image/png;base64,AA==",
		`"a heron"`:                       "",
		`null`:                            "",
		`["http://10.0.0.1/a","ftp://h"]`: "",
		strings.Repeat("[", 100) + strings.Repeat("]", 100): "",
	} {
		d := dial(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintf(w, `{"id":"p1","status":"succeeded","completed_at":"2026-03-01T12:00:00.5Z","metrics":{"predict_time":1,`+
				`"image_output_count":2},"output":%s}`, output)
		}))
		s, err := d.Poll(t.Context(), json.RawMessage(`{"prediction_id":"p1"}`))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, o := range s.Outputs {
			got = append(got, o.URL)
			if !provider.IsDataURL(o.URL) && (o.ExpiresAt == nil || !o.ExpiresAt.Equal(time.Date(2026, 3, 1, 13, 0, 0, 5e8, time.UTC))) {
				t.Errorf("%s: expires at %v, an hour after its end it is gone", output, o.ExpiresAt)
			}
		}
		if s.State != provider.Succeeded || strings.Join(got, " ") != want || !strings.Contains(string(s.Raw), output) {
			t.Errorf("%s: %s with %q, raw %s", output, s.State, got, s.Raw)
		}
		if s.Units == nil || *s.Units != 2 || s.Unit != "image" {
			t.Errorf("%s: %v %s are billed, want 2 images", output, s.Units, s.Unit)
		}
		if (s.Values["output"] == "a heron") != (output == `"a heron"`) {
			t.Errorf("%s: values %v", output, s.Values)
		}
	}
}

// TestEnds: what ends a prediction without a result is told with its reason and its charge.
func TestEnds(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]struct {
		state  provider.State
		kind   events.Kind
		code   string
		charge events.Charge
	}{
		`"status":"aborted"`: {provider.Cancelled, events.KindDeadline, "aborted", events.ChargeNone},
		`"status":"failed","error":"CUDA out of memory (E1001)","started_at":"2026-03-01T12:00:00Z"`: {
			provider.Failed, events.KindInternal, "E1001", events.ChargePossible,
		},
		`"status":"failed","error":"Error starting. (E9243)"`: {provider.Failed, events.KindInternal, "E9243", events.ChargeNone},
		`"status":"failed","error":"NSFW content detected. Try running it again.","started_at":"x"`: {
			provider.Failed, events.KindModeration, "failed", events.ChargePossible,
		},
		`"status":"succeeded","output":null,"data_removed":true`: {
			provider.Failed, events.KindDeadline, "data_removed", events.ChargeConfirmed,
		},
	} {
		d := dial(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"id":"p1",`+body+`}`)
		}))
		s, err := d.Poll(t.Context(), json.RawMessage(`{"prediction_id":"p1"}`))
		if err != nil || s.State != want.state || s.Err == nil || s.Err.Kind != want.kind || s.Err.Code != want.code ||
			s.Err.Charge != want.charge {
			t.Errorf("%s: %s, %+v, %v, want %+v", body, s.State, s.Err, err, want)
		}
	}
}

// TestDeadline: Replicate ends what takes longer than the task may, and one that never began is aborted.
func TestDeadline(t *testing.T) {
	t.Parallel()
	now := time.Now()
	task := events.Task{TaskType: events.Video, Model: model, CreatedAt: now, Deadline: now.Add(90*time.Minute + time.Second/2)}
	d, s := open(t, sandbox.Options{})
	r, err := d.Render(task, []byte(`{"prompt":"p"}`), "")
	if err != nil || r.Header.Get("Cancel-After") != "5401s" {
		t.Errorf("cancelled after %q, %v, want 5401s", r.Header.Get("Cancel-After"), err)
	}
	a := submit(t, d, task, `{"prompt":"p","emulate":{"stall":"queued"}}`, "")
	// As if it had been created hours ago.
	if err := s.Ledger().Update(a.ID, func(j *emulator.Job) { j.At = j.At.Add(-2 * time.Hour) }); err != nil {
		t.Fatal(err)
	}
	if got := poll(t, d, a); got.State != provider.Cancelled || got.Word != "aborted" {
		t.Errorf("it is %s (%s), want cancelled by being aborted", got.State, got.Word)
	}
}

// TestRefusals: what Replicate refuses is no attempt, and its wait is read from the body.
func TestRefusals(t *testing.T) {
	t.Parallel()
	d, _ := open(t, sandbox.Options{})
	for code, kind := range map[string]events.Kind{
		"401": events.KindAuth, "402": events.KindQuota, "404": events.KindInvalid, "422": events.KindInvalid,
		"429": events.KindRateLimited, "403_html": events.KindAddress, "308": events.KindAddress,
	} {
		task := events.Task{TaskType: events.Video, Model: model}
		a := submit(t, d, task, `{"prompt":"p","emulate":{"submit":"refuse_`+code+`"}}`, "")
		if a.Outcome != provider.Refused || a.Err.Kind != kind || a.Err.Charge != events.ChargeNone {
			t.Errorf("%s: %s %+v, want refused as %s", code, a.Outcome, a.Err, kind)
		}
		if code == "429" && a.Err.RetryAfter != 30*time.Second {
			t.Errorf("it waits %v, want the 30 s that Replicate says", a.Err.RetryAfter)
		}
	}
}

// TestList: what a lost answer has begun is found by the callback that it names, or by its input, and another's is not.
func TestList(t *testing.T) {
	t.Parallel()
	d, s := open(t, sandbox.Options{Speed: emulator.Speed{Queue: time.Hour}})
	since := time.Now()
	callbackOf := func(id string, n int) string {
		return fmt.Sprintf("https://r.test/cb/replicate/k/demo.%s.%d.29000000/mac", id, n)
	}
	input := `{"prompt":"a kite"}`
	digest, err := events.Digest([]byte(input))
	if err != nil {
		t.Fatal(err)
	}
	task := func(id, model string, n int) events.Task {
		return events.Task{
			Project: "demo", ID: id, TaskType: events.Video, Model: model, InputDigest: digest,
			Attempts: []events.Attempt{{N: n, Callback: id != "c"}},
		}
	}
	for range 120 { // more than a page
		submit(t, d, task("other", model, 1), `{"prompt":"another"}`, "")
	}
	a := submit(t, d, task("a", model, 2), input, callbackOf("a", 2))
	b := submit(t, d, task("b", model, 1), input, callbackOf("b", 1))
	plain := submit(t, d, task("c", "acme/wan:"+version, 1), input, "")
	for range 120 {
		submit(t, d, task("other", model, 1), `{"prompt":"another"}`, callbackOf("other", 1))
	}
	for _, row := range []struct {
		task events.Task
		want string
	}{
		{task("a", model, 2), a.ID},
		{task("b", model, 1), b.ID},
		{task("a", model, 1), ""},
		{task("c", "acme/wan:"+version, 1), plain.ID},
		{task("c", version, 1), plain.ID},
	} {
		found, complete, err := d.List(t.Context(), row.task, []byte(input), since)
		var ids []string
		for _, f := range found {
			ids = append(ids, f.ID)
			if !f.Exact || f.CreatedAt.Before(since.Add(-time.Second)) {
				t.Errorf("%s: %+v", row.task.ID, f)
			}
		}
		if err != nil || !complete || strings.Join(ids, " ") != row.want {
			t.Errorf("%s of %s, attempt %d: %v, complete %v, %v, want %q", row.task.ID, row.task.Model, row.task.Attempt().N, ids, complete,
				err, row.want)
		}
	}
	if calls := s.Ledger().Calls()["list"]; calls != 5*3 {
		t.Errorf("%d pages were read, want 3 each time", calls)
	}
}

// TestVerifier: what the emulator signs is taken, and nothing else.
func TestVerifier(t *testing.T) {
	t.Parallel()
	v, err := replicate.NewVerifier(secret.New(sandbox.Secret))
	if err != nil {
		t.Fatal(err)
	}
	s := sandbox.New(sandbox.Options{})
	d := dial(t, s)
	a := submit(t, d, events.Task{TaskType: events.Video, Model: model}, `{"prompt":"p"}`, "https://r.test/cb")
	j, _ := s.Ledger().Job(a.ID)
	render := func(flaws string) ([]byte, http.Header) {
		j := j
		j.Input = json.RawMessage(`{"emulate":{"webhook":"` + flaws + `"}}`)
		w := s.Webhooks(j)[0]
		return s.Render(j, w, emulator.NewWebhookSender(emulator.WebhookSenderOptions{}).Flaws(j, w.State))
	}
	for flaws, want := range map[string]error{
		"": nil, "bad_signature": provider.ErrCallbackSignature, "stranger": provider.ErrCallbackSignature,
		"old_timestamp": provider.ErrCallbackTime,
	} {
		body, h := render(flaws)
		if err := v.Verify(t.Context(), h, body, time.Now()); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", flaws, err, want)
		}
	}
	body, h := render("")
	for what, change := range map[string]func(h http.Header){
		"another body":        func(http.Header) { body = append(body, ' ') },
		"another id":          func(h http.Header) { h.Set("Webhook-Id", "msg_2") },
		"no id":               func(h http.Header) { h.Del("Webhook-Id") },
		"two signatures":      func(h http.Header) { h.Add("Webhook-Signature", h.Get("Webhook-Signature")) },
		"no time":             func(h http.Header) { h.Set("Webhook-Timestamp", "now") },
		"a signature of none": func(h http.Header) { h.Set("Webhook-Signature", "v1,") },
	} {
		was, changed := body, h.Clone()
		change(changed)
		if err := v.Verify(t.Context(), changed, body, time.Now()); !errors.Is(err, provider.ErrCallbackSignature) {
			t.Errorf("%s: %v", what, err)
		}
		body = was
	}
	rotated := h.Clone()
	rotated.Set("Webhook-Signature", "v1,b2xk v1a,x "+h.Get("Webhook-Signature"))
	if err := v.Verify(t.Context(), rotated, body, time.Now()); err != nil {
		t.Errorf("beside that of an older secret: %v", err)
	}
	for _, bad := range []string{"", "whsec_!", "whsec_"} {
		if _, err := replicate.NewVerifier(secret.New(bad)); err == nil || strings.Contains(err.Error(), "!") {
			t.Errorf("the secret %q: %v", bad, err)
		}
	}
}

// TestUpload: a file of an input is handed in, and stands in it by its link.
func TestUpload(t *testing.T) {
	t.Parallel()
	d, s := open(t, sandbox.Options{})
	content := strings.Repeat("kite", 100_000)
	up, err := d.Upload(t.Context(), "files", provider.File{
		Name: "a \"kite\".png", ContentType: "image/png", Size: int64(len(content)),
		Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil },
	})
	all := s.Ledger().Uploads()
	if err != nil || len(all) != 1 || string(up.Value) != `"`+all[0].URL+`"` || all[0].Name != `a "kite".png` ||
		all[0].ContentType != "image/png" || all[0].Size != int64(len(content)) {
		t.Errorf("%s %v: %+v", up.Value, err, all)
	}
	if life := time.Until(up.ExpiresAt); life < 20*time.Hour || life > 24*time.Hour {
		t.Errorf("it is kept for %v", life)
	}
	_, err = d.Upload(t.Context(), "files", provider.File{
		Name: "b", Size: 3, Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("b")), nil },
	})
	if err == nil || len(s.Ledger().Uploads()) != 1 {
		t.Errorf("a file that is cut off is handed in: %v", err)
	}
}
