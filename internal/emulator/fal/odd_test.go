package fal

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// What a finished job answers by its script: the first read, and the one after it.
func TestResultScripts(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	for _, row := range []struct {
		script        string
		first, second string
	}{
		{`{"result":"404","result_faults":1}`, `404 {"detail":"Not Found"}`, `200 {"video"`},
		{`{"result":"503_html","result_faults":1}`, "503 <html>", `200 {"video"`},
		{`{"result_faults":1}`, "500 <html>", `200 {"video"`},
		{`{"result":"text"}`, `200 {"chunks":[],"text"`, `200 {"chunks"`},
		{`{"result":"no_file"}`, `200 {"chunks":[]`, `200 {"chunks":[]`},
		{`{"result":"nsfw"}`, `200 {"result":{"video"`, `200 {"result"`},
		{`{"result":"data_64"}`, `200 {"images":[{"url":"data:image/png;base64,`, `200 {"images"`},
		{`{"result":"error_in_200"}`, `200 {"error":{"message"`, `200 {"error"`},
	} {
		id := submitted(t, s, `{"emulate":`+row.script+`}`)
		for i, want := range []string{row.first, row.second} {
			w := do(t, s, http.MethodGet, "/fal-ai/kling-video/requests/"+id, "")
			if got := fmt.Sprint(w.Code, " ", w.Body); !strings.HasPrefix(got, want) {
				t.Errorf("%s, read %d: %.120s; want %s", row.script, i+1, got, want)
			}
		}
		if j, _ := s.Ledger().Job(id); s.Ledger().Charged(j) == 0 {
			t.Errorf("%s: a job that was made is not billed", row.script)
		}
	}
}

func TestPollAndSubmitScripts(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	for _, row := range []struct {
		script string
		says   func(code int, h http.Header, body string) bool
	}{
		{"gzip", func(code int, h http.Header, body string) bool {
			return code == 200 && h.Get("Content-Encoding") == "gzip" && strings.HasPrefix(body, "\x1f\x8b")
		}},
		{"bom", func(code int, _ http.Header, body string) bool {
			return code == 200 && strings.HasPrefix(body, "\ufeff{")
		}},
		{"redirect", func(code int, h http.Header, _ string) bool {
			return code == 307 && strings.Contains(h.Get("Location"), "logs=1&redirected=1")
		}},
		{"log_window", func(_ int, _ http.Header, body string) bool {
			return strings.Count(body, `"message"`) == logWindow
		}},
		{"big_logs", func(_ int, _ http.Header, body string) bool { return len(body) > 4<<20 }},
	} {
		id := submitted(t, s, `{"emulate":{"polls":"`+row.script+`"}}`)
		w := do(t, s, http.MethodGet, "/fal-ai/kling-video/requests/"+id+"/status?logs=1", "")
		if !row.says(w.Code, w.Header(), w.Body.String()) {
			t.Errorf("%s: %d %v %.200q", row.script, w.Code, w.Header(), w.Body)
		}
	}
	id := submitted(t, s, `{"emulate":{"polls":"redirect"}}`)
	followed := do(t, s, http.MethodGet, "/fal-ai/kling-video/requests/"+id+"/status?redirected=1", "")
	if followed.Code != 200 {
		t.Errorf("after the redirect: %d", followed.Code)
	}
	for script, want := range map[string]int{"429_html": 429, "404_html": 404, "308": 308, "410": 410} {
		w := do(t, s, http.MethodPost, "/"+model, `{"emulate":{"submit":"refuse_`+script+`"}}`)
		if w.Code != want {
			t.Errorf("refuse_%s: %d, want %d", script, w.Code, want)
		}
	}
	if n := len(s.Ledger().Jobs()); n != 6 {
		t.Errorf("%d jobs, want those of the polls only", n)
	}
}
