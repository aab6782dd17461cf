package fal

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"reelay/internal/emulator"
)

const model = "fal-ai/kling-video/v3/pro/text-to-video"

// do makes one call without a socket.
func do(t testing.TB, s *Server, method, path, body string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "https://queue.example.test"+path, strings.NewReader(body))
	r.Header.Set("Authorization", "Key k")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// submitted returns the id of a new job.
func submitted(t testing.TB, s *Server, body string, header ...string) string {
	t.Helper()
	w := do(t, s, http.MethodPost, "/"+model, body, header...)
	var got struct {
		RequestID string `json:"request_id"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 || got.RequestID == "" {
		t.Fatalf("submit: %d %s", w.Code, w.Body)
	}
	return got.RequestID
}

func TestSubmitBody(t *testing.T) {
	t.Parallel()
	s := New(Options{Speed: emulator.Speed{Queue: time.Hour, Position: 3}})
	w := do(t, s, http.MethodPost, "/"+model+"?fal_webhook=https%3A%2F%2Fh.example.test%2Fcb", `{"prompt":"p"}`)
	id := w.Header().Get("X-Fal-Request-Id")
	if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(id) {
		t.Errorf("id %q is no UUID of version 7", id)
	}
	at := "https://queue.example.test/fal-ai/kling-video/requests/" + id
	want := `{"status":"IN_QUEUE","request_id":"` + id + `","response_url":"` + at + `","status_url":"` + at +
		`/status","cancel_url":"` + at +
		`/cancel","logs":null,"metrics":{},"queue_position":3}`
	if w.Code != 200 || strings.TrimSpace(w.Body.String()) != want {
		t.Errorf("%d %s\nwant 200 %s", w.Code, w.Body, want)
	}
	jobs := s.Ledger().Jobs()
	if len(jobs) != 1 || jobs[0].Correlation != "https://h.example.test/cb" || jobs[0].Model != model ||
		!jobs[0].Answered || jobs[0].PriceUSD != 0.84 {
		t.Errorf("ledger %+v", jobs)
	}
}

func TestAccess(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	for _, row := range []struct {
		name, key string
		status    int
		says      string
	}{
		{"no key", "", 401, `Cannot access application \"fal-ai/kling-video\"`},
		{"empty key", "Key ", 401, "Cannot access application"},
		{"bearer", "Bearer k", 401, "Cannot access application"},
		{"bad key", "Key bad", 401, "invalid key credentials"},
		{"no money", "Key locked", 403, "Exhausted balance"},
	} {
		w := do(t, s, http.MethodPost, "/"+model, `{}`, "Authorization", row.key)
		if w.Code != row.status || !strings.Contains(w.Body.String(), row.says) {
			t.Errorf("%s: %d %s, want %d %s", row.name, w.Code, w.Body, row.status, row.says)
		}
	}
	if n := len(s.Ledger().Jobs()); n != 0 {
		t.Errorf("%d jobs were accepted", n)
	}
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	id := submitted(t, s, `{}`)
	app, full := "/fal-ai/kling-video/requests/"+id, "/"+model+"/requests/"+id
	for _, row := range []struct {
		method, path string
		status       int
		says         string
	}{
		{"GET", app + "/status", 200, `"logs":null`},
		{"GET", app + "/status/?logs=0", 200, `"logs":null`},
		{"GET", app + "/status?logs=1", 200, `"logs":[{`},
		{"GET", app + "/status?logs=true", 200, `"logs":[{`},
		{"GET", full + "/status", 200, "COMPLETED"},
		{"GET", app, 200, `"video"`},
		{"GET", app + "/", 200, `"video"`},
		{"GET", app + "/response", 200, `"video"`},
		{"GET", full, 200, `"video"`},
		{"PUT", app + "/cancel", 400, "ALREADY_COMPLETED"},
		{"GET", app + "/status/stream", 200, "data: {"},
		{"POST", app + "/cancel", 405, "Method Not Allowed"},
		{"GET", "/" + model, 405, "Method Not Allowed"},
		{"GET", "/fal-ai/flux/requests/" + id + "/status", 404, `{"status":"NOT_FOUND"}`},
		{"GET", app + "0/status", 404, `{"status":"NOT_FOUND"}`},
		{"GET", app + "0", 404, `{"status":"NOT_FOUND"}`},
		{"PUT", app + "0/cancel", 404, `{"status":"NOT_FOUND"}`},
		{"GET", "/fal-ai/kling-video/requests", 404, "Not Found"},
		{"POST", "/alone", 404, "not found"},
		{"GET", "/_emulator/ledger", 200, id},
		{"GET", "/media/" + id + ".mp4", 200, "ftyp"},
		{"GET", "/media/" + id + "0.mp4", 404, ""},
	} {
		w := do(t, s, row.method, row.path, "")
		if w.Code != row.status || !strings.Contains(w.Body.String(), row.says) {
			t.Errorf("%s %s: %d %.200s, want %d with %s", row.method, row.path, w.Code, w.Body, row.status, row.says)
		}
	}
}

func TestSubmitRefusals(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	for _, row := range []struct {
		name   string
		status int
		w      *httptest.ResponseRecorder
	}{
		{"too large", 413, do(t, s, "POST", "/"+model, `{"a":"`+strings.Repeat("x", maxBodyBytes)+`"}`)},
		{"timeout is no number", 400, do(t, s, "POST", "/"+model, `{}`, "X-Fal-Request-Timeout", "soon")},
		{"timeout too short", 400, do(t, s, "POST", "/"+model, `{}`, "X-Fal-Request-Start-Timeout", "0.1")},
		{"NaN", 400, do(t, s, "POST", "/"+model, `{}`, "X-Fal-Request-Timeout", "NaN")},
		{"long queue", 429, do(t, s, "POST", "/"+model+"?fal_max_queue_length=2", `{"emulate":{"position":3}}`)},
		{"scripted 422", 422, do(t, s, "POST", "/"+model, `{"emulate":{"submit":"refuse_422"}}`)},
		{"scripted 403", 403, do(t, s, "POST", "/"+model, `{"emulate":{"submit":"refuse_403"}}`)},
	} {
		if row.w.Code != row.status || !strings.Contains(row.w.Body.String(), `"detail"`) {
			t.Errorf("%s: %d %s, want %d", row.name, row.w.Code, row.w.Body, row.status)
		}
	}
	if n := len(s.Ledger().Jobs()); n != 0 {
		t.Errorf("%d jobs were accepted", n)
	}
}

func TestUnfinishedAndCancelledResults(t *testing.T) {
	t.Parallel()
	s := New(Options{Speed: emulator.Speed{Queue: time.Hour, Run: time.Hour}})
	for _, body := range []string{`{}`, `{"emulate":{"queue_ms":0}}`} {
		id := submitted(t, s, body)
		at := "/fal-ai/kling-video/requests/" + id
		if w := do(t, s, "GET", at+"/status", ""); w.Code != 202 {
			t.Errorf("%s: status %d, want 202", body, w.Code)
		}
		if w := do(t, s, "GET", at, ""); w.Code != 400 || !strings.Contains(w.Body.String(), "still in progress") {
			t.Errorf("%s: early result %d %s, want 400", body, w.Code, w.Body)
		}
		if w := do(t, s, "PUT", at+"/cancel", ""); w.Code != 202 ||
			!strings.Contains(w.Body.String(), "CANCELLATION_REQUESTED") {
			t.Errorf("%s: cancel %d %s, want 202", body, w.Code, w.Body)
		}
		if w := do(t, s, "GET", at+"/status", ""); w.Code != 200 ||
			!strings.Contains(w.Body.String(), `"error_type":"client_cancelled"`) {
			t.Errorf("%s: after the cancel %d %s, want COMPLETED", body, w.Code, w.Body)
		}
		if w := do(t, s, "GET", at, ""); w.Code != 499 || w.Header().Get("X-Fal-Error-Type") != "client_cancelled" {
			t.Errorf("%s: result %d %s, want 499", body, w.Code, w.Body)
		}
	}
}

func TestResultShapes(t *testing.T) {
	t.Parallel()
	s := New(Options{MediaBase: func(*http.Request) string { return "https://media.example.test" }})
	for _, row := range []struct{ model, body, says, units string }{
		{model, `{}`, `"video":{"url":"https://media.example.test/media/`, "5"},
		{model, `{"seed":123,"duration":"10"}`, `"seed":123`, "10"},
		{model, `{"duration":"8s"}`, `"video":`, "8"},
		{model, `{"duration":2.5}`, `"video":`, "2.5"},
		{model, `{"duration":"auto"}`, `"video":`, "5"},
		{"fal-ai/flux/schnell", `{"num_images":2,"prompt":"p"}`, `"images":[{"url":"https://media.example.test/media/`, "2"},
		{"fal-ai/flux/schnell", `{"num_images":99}`, `"has_nsfw_concepts":[false,false,false,false]`, "4"},
		{"fal-ai/veo3.1/image-to-video", `{}`, `"video":`, "8"},
		{"fal-ai/minimax/speech-2.8-hd", `{"prompt":"Grüße"}`, `"audio":{"url":`, "0.005"},
	} {
		w := do(t, s, "POST", "/"+row.model, row.body)
		id := w.Header().Get("X-Fal-Request-Id")
		app := strings.Join(strings.Split(row.model, "/")[:2], "/")
		w = do(t, s, "GET", "/"+app+"/requests/"+id, "")
		if w.Code != 200 || !strings.Contains(w.Body.String(), row.says) ||
			w.Header().Get("X-Fal-Billable-Units") != row.units {
			t.Errorf("%s %s: %d %s, units %s, want %s, units %s", row.model, row.body, w.Code, w.Body,
				w.Header().Get("X-Fal-Billable-Units"), row.says, row.units)
		}
	}
}

// A new Server over the re-opened ledger continues the jobs.
func TestRestart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.jsonl")
	open := func() *emulator.Ledger {
		l, err := emulator.OpenLedger(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		return l
	}
	speed := emulator.Speed{Queue: time.Hour, Run: time.Hour}
	s := New(Options{Ledger: open(), Speed: speed})
	waiting := submitted(t, s, `{}`)
	finished := submitted(t, s, `{"emulate":{"queue_ms":0,"run_ms":0},"seed":7}`)
	cancelled := submitted(t, s, `{}`)
	do(t, s, "PUT", "/fal-ai/kling-video/requests/"+cancelled+"/cancel", "")
	late := newJob(model, []byte(`{}`), "", "30") // its start timeout ran out while nobody was there
	late.At = late.At.Add(-24 * time.Hour)
	if _, err := s.Ledger().Accept(late); err != nil {
		t.Fatal(err)
	}
	before := do(t, s, "GET", "/fal-ai/kling-video/requests/"+finished, "").Body.String()

	s = New(Options{Ledger: open(), Speed: speed})
	for id, want := range map[string]string{
		waiting: "IN_QUEUE", finished: "COMPLETED", cancelled: "client_cancelled",
		late.ID: "request_timeout",
	} {
		if w := do(t, s, "GET", "/fal-ai/kling-video/requests/"+id+"/status", ""); !strings.Contains(w.Body.String(), want) {
			t.Errorf("after the restart: %d %s, want %s", w.Code, w.Body, want)
		}
	}
	if after := do(t, s, "GET", "/fal-ai/kling-video/requests/"+finished, "").Body.String(); after != before {
		t.Errorf("the result was %s and is %s", before, after)
	}
	if w := do(t, s, "GET", "/fal-ai/kling-video/requests/"+late.ID, ""); w.Code != 504 ||
		w.Header().Get("X-Fal-Request-Timeout-Type") != "user" {
		t.Errorf("the missed start: %d %v, want 504 by the user's timeout", w.Code, w.Header())
	}
}

func TestStream(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Speed: emulator.Speed{Queue: 20 * time.Second, Run: 20 * time.Second, Position: 0}})
		id := submitted(t, s, `{}`)
		w := do(t, s, "GET", "/fal-ai/kling-video/requests/"+id+"/status/stream", "")
		var words []string
		comments := 0
		lines := bufio.NewScanner(bytes.NewReader(w.Body.Bytes()))
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), ":") {
				comments++
			}
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				var b statusBody
				if err := json.Unmarshal([]byte(data), &b); err != nil {
					t.Errorf("event %s: %v", data, err)
				}
				words = append(words, b.Status)
			}
		}
		if got := strings.Join(words, " "); got != "IN_QUEUE IN_PROGRESS COMPLETED" || comments != 2 {
			t.Errorf("events %s with %d comments in 40 s, want each state once and 2 comments", got, comments)
		}
	})
}

// Faults that break the connection need a real one.
func TestResets(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	for submit, paid := range map[string]int{"reset_before": 0, "accept_then_reset": 1} {
		before := len(s.Ledger().Jobs())
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/"+model,
			strings.NewReader(`{"emulate":{"submit":"`+submit+`"}}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Key k")
		if res, err := server.Client().Do(req); err == nil {
			_ = res.Body.Close()
			t.Errorf("%s: answered with %d", submit, res.StatusCode)
		}
		if n := len(s.Ledger().Jobs()) - before; n != paid {
			t.Errorf("%s: %d jobs, want %d", submit, n, paid)
		}
	}
}

func TestPollFaults(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	for polls, want := range map[string]int{
		"not_found": 404, "500": 500, "502_html": 502, "refuse_429": 429,
		"unknown": 202, "empty": 200,
	} {
		id := submitted(t, s, `{"emulate":{"polls":"`+polls+`","poll_faults":2}}`)
		for i, status := range []int{want, want, 200} {
			w := do(t, s, "GET", "/fal-ai/kling-video/requests/"+id+"/status", "")
			if w.Code != status || i == 2 && !strings.Contains(w.Body.String(), completed) {
				t.Errorf("%s, poll %d: %d %s, want %d", polls, i, w.Code, w.Body, status)
			}
		}
	}
}

func TestMediaType(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]string{
		"fal-ai/kling-video/v3/pro/image-to-video": "video", "fal-ai/veo3.1": "video",
		"fal-ai/minimax/hailuo-2.3/standard/text-to-video": "video", "fal-ai/flux/schnell": "image",
		"fal-ai/nano-banana-2": "image", "fal-ai/kling-image/v3/text-to-image": "image",
		"fal-ai/elevenlabs/tts/eleven-v3": "audio", "fal-ai/minimax/speech-2.8-hd": "audio",
		"fal-ai/mmaudio/text-to-audio": "audio", "someone/something": "video",
	} {
		if got := mediaType(id); got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
}
