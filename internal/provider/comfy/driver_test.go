package comfy_test

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
	sandbox "reelay/internal/emulator/comfy"
	"reelay/internal/provider"
	"reelay/internal/provider/comfy"
	"reelay/internal/secret"
)

// open returns a driver for an emulated server whose jobs take an hour unless their script says otherwise.
func open(t *testing.T, kind sandbox.Kind) (*comfy.Driver, *sandbox.Server) {
	t.Helper()
	s := sandbox.New(sandbox.Options{Kind: kind, Speed: emulator.Speed{Queue: time.Hour, Run: time.Hour}})
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	base := server.URL
	if kind == sandbox.V2 {
		base += "/api/v2/"
	}
	d, err := comfy.New(comfy.Options{BaseURL: base, Key: secret.New("key-of-the-test")})
	if err != nil {
		t.Fatal(err)
	}
	return d, s
}

func scripted(script string) string { return `{"emulate":` + script + `,` + graph[1:] }

// task is one that has made attempts, and whose input is the graph.
func task(t *testing.T, id, input string, attempts int) events.Task {
	t.Helper()
	digest, err := events.Digest([]byte(input))
	if err != nil {
		t.Fatal(err)
	}
	of := events.Task{
		Project: "demo", ID: id, TaskType: events.Video, Model: "wan-t2v", InputDigest: digest, CreatedAt: time.Unix(1_000_000, 7),
	}
	for n := range attempts {
		of.Attempts = append(of.Attempts, events.Attempt{N: n + 1})
	}
	return of
}

// submit sends the next attempt of a task, and returns how its answer is read.
func submit(t *testing.T, d *comfy.Driver, of events.Task, input string) provider.Answer {
	t.Helper()
	r, err := d.Render(of, []byte(input), "")
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
		return provider.Answer{Outcome: provider.InDoubt}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return d.Classify(of.Model, r.Body, provider.Reply{Status: res.StatusCode, Header: res.Header, Body: body})
}

func poll(t *testing.T, d *comfy.Driver, a provider.Answer) provider.Snapshot {
	t.Helper()
	s, err := d.Poll(t.Context(), a.Ref)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestLostAnswers: whatever is lost is found, and nothing of another task or attempt is.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	since := time.Now().Add(-time.Second)
	for _, kind := range []sandbox.Kind{sandbox.Current, sandbox.Old, sandbox.V2} {
		d, s := open(t, kind)
		other := task(t, "other", graph, 0)
		submit(t, d, other, graph)
		lost := scripted(`{"submit":"accept_then_reset","queue_ms":0,"run_ms":0}`)
		if a := submit(t, d, task(t, "a", lost, 0), lost); a.Outcome != provider.InDoubt {
			t.Errorf("%s: a lost answer is %s", kind, a.Outcome)
		}
		jobs := s.Ledger().Jobs()
		found, complete, err := d.List(t.Context(), task(t, "a", lost, 1), nil, since)
		if kind == sandbox.V2 { // it has no list: the request is sent again, and says that it had arrived
			a := submit(t, d, task(t, "a", lost, 1), lost)
			if err != nil || !complete || len(found) != 0 || a.Outcome != provider.InDoubt || a.Err.Code != "idempotency_key_reuse" ||
				len(s.Ledger().Jobs()) != 2 {
				t.Errorf("%s: %v, complete %v, %v, then %s %v; %d jobs", kind, found, complete, err, a.Outcome, a.Err, len(s.Ledger().Jobs()))
			}
			continue
		}
		if err != nil || !complete || len(found) != 1 || found[0].ID != jobs[1].ID || !found[0].Exact {
			t.Errorf("%s: %+v, complete %v, %v, want %s", kind, found, complete, err, jobs[1].ID)
		}
		never := scripted(`{"stall":"queued"}`)
		found, complete, err = d.List(t.Context(), task(t, "never", never, 1), nil, since)
		if err != nil || !complete || len(found) != 0 {
			t.Errorf("%s: what was never sent: %+v, complete %v, %v", kind, found, complete, err)
		}
		found, _, err = d.List(t.Context(), task(t, "a", lost, 2), nil, since)
		if err != nil || kind == sandbox.Current && len(found) != 0 {
			t.Errorf("%s: attempt 2: %+v, %v", kind, found, err)
		}
	}
}

// TestV2BesideACore: where the list of the core is served beside v2, a lost answer is found there.
func TestV2BesideACore(t *testing.T) {
	t.Parallel()
	s := sandbox.New(sandbox.Options{Speed: emulator.Speed{Queue: time.Hour}})
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	d, err := comfy.New(comfy.Options{BaseURL: server.URL + "/api/v2"})
	if err != nil {
		t.Fatal(err)
	}
	lost := scripted(`{"submit":"accept_then_500"}`)
	submit(t, d, task(t, "other", graph, 0), graph)
	submit(t, d, task(t, "a", lost, 0), lost)
	found, complete, err := d.List(t.Context(), task(t, "a", lost, 1), nil, time.Now().Add(-time.Second))
	if err != nil || !complete || len(found) != 1 || found[0].ID != s.Ledger().Jobs()[1].ID || !found[0].Exact {
		t.Errorf("%+v, complete %v, %v", found, complete, err)
	}
}

// TestListOfABusyServer: a list that does not end is complete where it reaches back behind the request, and what has been
// removed since does not break it.
func TestListOfABusyServer(t *testing.T) {
	t.Parallel()
	since := time.Now().Add(-time.Minute)
	for _, row := range []struct {
		base   string
		oldest time.Time
		want   bool
	}{
		{"/api/v2", since.Add(-time.Second), true},
		{"/api/v2", since.Add(time.Second), false},
		{"", since.Add(-time.Second), true},
		{"", since.Add(time.Second), false},
	} {
		var list []string
		history := map[string]any{}
		for i := range 500 {
			id, created := fmt.Sprint("job", i), since.Add(30*time.Second).UnixMilli()
			if i == 49 {
				created = row.oldest.UnixMilli()
			}
			if i < 50 {
				list = append(list, fmt.Sprintf(`{"id":%q,"create_time":%d}`, id, created))
			}
			history[id] = map[string]any{
				"prompt": []any{i, id, map[string]any{}, map[string]any{"create_time": created}}, "status": map[string]any{},
			}
		}
		all, err := json.Marshal(history)
		if err != nil {
			t.Fatal(err)
		}
		answers := map[string]string{"/queue": `{"queue_running":[],"queue_pending":[]}`, "/history": string(all)}
		if row.base != "" {
			answers = map[string]string{
				"/api/jobs":      `{"jobs":[` + strings.Join(list, ",") + `],"pagination":{"has_more":true}}`,
				"/api/jobs/job3": `{"id":"job3","status":"completed","workflow":{"prompt":` + graph + `}}`,
			}
		}
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch answer := answers[r.URL.Path]; {
			case answer != "":
				_, _ = io.WriteString(w, answer)
			case strings.HasPrefix(r.URL.Path, "/history/"):
				_, _ = io.WriteString(w, "{}")
			case row.base != "":
				w.WriteHeader(http.StatusNotFound)
				_, _ = io.WriteString(w, `{"error":"Job not found"}`)
			default:
				w.WriteHeader(http.StatusNotFound)
			}
		}))
		t.Cleanup(server.Close)
		d, err := comfy.New(comfy.Options{BaseURL: server.URL + row.base})
		if err != nil {
			t.Fatal(err)
		}
		found, complete, err := d.List(t.Context(), task(t, "a", graph, 1), nil, since)
		if err != nil || complete != row.want || row.base != "" && (len(found) != 1 || found[0].ID != "job3") {
			t.Errorf("%q, the oldest of %v after: %+v, complete %v, %v", row.base, row.oldest.Sub(since), found, complete, err)
		}
	}
}

// TestRequestIDs: each attempt has an id of its own, the same whenever it is sent, and another in a store made anew.
func TestRequestIDs(t *testing.T) {
	t.Parallel()
	d, _ := open(t, sandbox.Current)
	again := task(t, "a", graph, 0)
	again.CreatedAt = again.CreatedAt.Add(time.Hour)
	seen := map[string]bool{}
	for _, of := range []events.Task{task(t, "a", graph, 0), task(t, "a", graph, 1), task(t, "b", graph, 0), again} {
		var ids []string
		for range 2 {
			r, err := d.Render(of, []byte(graph), "")
			var body struct {
				ID string `json:"prompt_id"`
			}
			if err != nil || json.Unmarshal(r.Body, &body) != nil {
				t.Fatal(err)
			}
			ids = append(ids, body.ID)
		}
		if ids[0] != ids[1] || seen[ids[0]] {
			t.Errorf("%s after %d attempts: %v, seen %v", of.ID, len(of.Attempts), ids, seen)
		}
		seen[ids[0]] = true
	}
}

// TestOldCore: a core without /api/jobs is asked for its queue and its history, and told to interrupt only what runs.
func TestOldCore(t *testing.T) {
	t.Parallel()
	d, s := open(t, sandbox.Old)
	done := submit(t, d, task(t, "done", graph, 0), scripted(`{"queue_ms":0,"run_ms":0}`))
	bad := submit(t, d, task(t, "bad", graph, 0), scripted(`{"queue_ms":0,"run_ms":0,"fail":"OutOfMemoryError"}`))
	running := submit(t, d, task(t, "running", graph, 0), scripted(`{"queue_ms":0}`))
	first := submit(t, d, task(t, "first", graph, 0), scripted(`{}`))
	second := submit(t, d, task(t, "second", graph, 0), scripted(`{}`))
	if got := poll(t, d, done); got.State != provider.Succeeded || len(got.Outputs) != 1 {
		t.Errorf("done: %s %+v", got.State, got.Outputs)
	}
	if got := poll(t, d, bad); got.State != provider.Failed || got.Err.Code != "OutOfMemoryError" ||
		!strings.Contains(got.Err.Message, "node 9 (SaveVideo)") || got.Err.Charge != events.ChargeNone {
		t.Errorf("bad: %s %+v", got.State, got.Err)
	}
	if got := poll(t, d, second); got.State != provider.Queued || got.Position == nil || *got.Position != 1 {
		t.Errorf("second: %s at %v, want the place behind one", got.State, got.Position)
	}
	for _, row := range []struct {
		a    provider.Answer
		want provider.CancelOutcome
		then provider.State
	}{
		{second, provider.CancelDone, provider.Cancelled},
		{done, provider.CancelTooLate, provider.Succeeded},
		{running, provider.CancelRequested, provider.Cancelled},
		{first, provider.CancelDone, provider.Cancelled},
	} {
		got, err := d.Cancel(t.Context(), row.a.Ref)
		if then := poll(t, d, row.a).State; err != nil || got != row.want || then != row.then {
			t.Errorf("cancel: %s, %v, then %s, want %s, %s", got, err, then, row.want, row.then)
		}
	}
	if calls := s.Ledger().Calls(); calls["interrupt"] != 1 || calls["interrupt_any"] != 0 {
		t.Errorf("interrupted %d times, %d without an id", calls["interrupt"], calls["interrupt_any"])
	}
	s.Restart()
	if _, err := d.Poll(t.Context(), running.Ref); err == nil || provider.AsError(err).Kind != events.KindNotFound {
		t.Errorf("after a restart: %v", err)
	}
}

// TestOutputs: the files of all nodes are outputs in the order of the nodes, previews only where there is nothing else, and
// the first text is a value.
func TestOutputs(t *testing.T) {
	t.Parallel()
	for outputs, want := range map[string]string{
		`{"12":{"images":[{"filename":"b.png","subfolder":"s","type":"output"}],"animated":[true]},"9":{"gifs":[{"filename":"a.mp4",` +
			`"subfolder":"","type":"output"}],"audio":[{"filename":"a.wav","subfolder":"","type":"output"}]},` +
			`"3":{"images":[{"filename":"p.png","type":"temp"}]}}`: "b.png a.mp4 a.wav",
		`{"3":{"images":[{"filename":"p.png","type":"temp"}]},"4":{"text":["a heron","b"]}}`: "p.png",
		`{"4":{"text":["a heron"]},"5":null,"6":7,"7":{"x":[1,null,{}]}}`:                    "",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"id":"j","status":"completed","outputs":`+outputs+`}`)
		}))
		t.Cleanup(server.Close)
		d, err := comfy.New(comfy.Options{BaseURL: server.URL})
		if err != nil {
			t.Fatal(err)
		}
		s := poll(t, d, provider.Answer{Ref: json.RawMessage(`{"job_id":"j"}`)})
		var names []string
		for _, o := range s.Outputs {
			names = append(names, o.FileName)
			if !strings.HasPrefix(o.URL, server.URL+"/view?filename="+o.FileName+"&subfolder=") {
				t.Errorf("the link is %s", o.URL)
			}
		}
		if got := strings.Join(names, " "); s.State != provider.Succeeded || got != want {
			t.Errorf("%s: %s %q, want %q", outputs, s.State, got, want)
		}
		if (s.Values["text"] == "a heron") != strings.Contains(outputs, "heron") {
			t.Errorf("%s: values %v", outputs, s.Values)
		}
	}
}

// TestCheck: what is no workflow in the API's format costs no request.
func TestCheck(t *testing.T) {
	t.Parallel()
	d, _ := open(t, sandbox.Current)
	for input, says := range map[string]string{
		graph: "", `{"prompt":"a kite"}`: "class_type", `{"nodes":[],"links":[]}`: "as the editor saves it", `[]`: "JSON object",
	} {
		var fe *events.FieldError
		if err := d.Check(events.Video, "default", []byte(input)); (err == nil) != (says == "") ||
			err != nil && (!errors.As(err, &fe) || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s: %v, want %q", input, err, says)
		}
	}
	for _, bad := range []string{"https://cloud.comfy.org/api/v2", "https://x.run.comfy.app", "http://8.8.8.8:8188"} {
		if _, err := comfy.New(comfy.Options{BaseURL: bad}); err == nil {
			t.Errorf("%s is taken for a server of one's own", bad)
		}
	}
	a := d.Classify("default", nil, provider.Reply{Status: 400, Body: []byte(`{"error":{"type":"prompt_outputs_failed_validation",` +
		`"message":"Prompt outputs failed validation"},"node_errors":{"4":{"class_type":"CheckpointLoaderSimple","errors":` +
		`[{"type":"value_not_in_list","message":"Value not in list","details":"ckpt_name"}]}}}`)})
	if a.Outcome != provider.Refused || !strings.Contains(a.Err.Message, "node 4 (CheckpointLoaderSimple): Value not in list") {
		t.Errorf("%s %v", a.Outcome, a.Err)
	}
}

// TestUpload: a file stands in a graph by the name that a core gave it, or as an asset of v2.
func TestUpload(t *testing.T) {
	t.Parallel()
	for kind, want := range map[sandbox.Kind]string{
		sandbox.Current: `"reelay/00112233445566778899aabbccddeeff.png"`, sandbox.V2: `{"__type":"core/ASSET","info":{"id":"`,
	} {
		d, s := open(t, kind)
		up, err := d.Upload(t.Context(), "", provider.File{
			Name: "a kite.png", ContentType: "image/png", Size: 4, SHA256: "00112233445566778899aabbccddeeff00112233",
			Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("kite")), nil },
		})
		if err != nil || !strings.HasPrefix(string(up.Value), want) || len(s.Ledger().Uploads()) != 1 || up.ExpiresAt.Before(time.Now()) {
			t.Errorf("%s: %s, %v", kind, up.Value, err)
		}
	}
}
