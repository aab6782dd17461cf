package minimax_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"reelay/internal/emulator"
	"reelay/internal/emulator/minimax"
)

const (
	goodV1 = `{"model":"MiniMax-Hailuo-2.3","prompt":"a kite"}`
	goodV2 = `{"model":"MiniMax-H3","content":[{"type":"text","text":"a boy"}],"resolution":"768P","duration":5,` +
		`"ratio":"16:9"}`
)

// An answer holds every field that any answer has.
type answer struct {
	Status int         `json:"-"`
	Header http.Header `json:"-"`
	Body   string      `json:"-"`

	TaskID   string `json:"task_id"`
	Word     string `json:"status"`
	FileID   string `json:"file_id"`
	Width    int    `json:"video_width"`
	Action   string `json:"action"`
	BaseResp *struct {
		Code int    `json:"status_code"`
		Msg  string `json:"status_msg"`
	} `json:"base_resp"`
	File struct {
		ID  json.Number `json:"file_id"`
		URL string      `json:"download_url"`
	} `json:"file"`
	Type  string `json:"type"`
	Error struct {
		Message  string `json:"message"`
		HTTPCode string `json:"http_code"`
	} `json:"error"`
	RequestID string `json:"request_id"`
	Task      task   `json:"task"`
	Items     []task `json:"items"`
	Total     int    `json:"total"`
}

type task struct {
	ID        string `json:"id"`
	Model     string `json:"model"`
	Status    string `json:"status"`
	CreatedAt int64  `json:"created_at"`
	Content   struct {
		URL string `json:"url"`
	} `json:"content"`
	Error struct {
		Code string `json:"code"`
	} `json:"error"`
	Usage map[string]int `json:"usage"`
}

// code is the code of a V1 answer, -1 without one.
func (a answer) code() int {
	if a.BaseResp == nil {
		return -1
	}
	return a.BaseResp.Code
}

// call makes one call with the key without a socket, so that it works in a bubble.
func call(t testing.TB, h http.Handler, key, method, target, body string) answer {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+key)
	return do(t, h, r)
}

func do(t testing.TB, h http.Handler, r *http.Request) answer {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	a := answer{Status: w.Code, Header: w.Header(), Body: w.Body.String()}
	_ = json.Unmarshal(w.Body.Bytes(), &a) // not every answer is JSON
	if a.Header.Get("Trace-Id") == "" {
		t.Errorf("%s %s: no Trace-Id", r.Method, r.URL)
	}
	return a
}

func get(t testing.TB, h http.Handler, target string) answer {
	t.Helper()
	return call(t, h, "sk-api-test", http.MethodGet, target, "")
}

func createV1(t testing.TB, h http.Handler, body string) string {
	t.Helper()
	a := call(t, h, "sk-api-test", http.MethodPost, "/v1/video_generation", body)
	if a.Status != http.StatusOK || a.code() != 0 || a.TaskID == "" {
		t.Fatalf("create of %s: %d %s", body, a.Status, a.Body)
	}
	return a.TaskID
}

func createV2(t testing.TB, h http.Handler, body string) string {
	t.Helper()
	a := call(t, h, "sk-api-test", http.MethodPost, "/v2/video_generation", body)
	if a.Status != http.StatusOK || a.TaskID == "" {
		t.Fatalf("create of %s: %d %s", body, a.Status, a.Body)
	}
	return a.TaskID
}

func queryV1(t testing.TB, h http.Handler, id string) answer {
	t.Helper()
	return get(t, h, "/v1/query/video_generation?task_id="+id)
}

func queryV2(t testing.TB, h http.Handler, id string) answer {
	t.Helper()
	return get(t, h, "/v2/query/video_generation/"+id)
}

// with puts members in front of a body's.
func with(members, body string) string { return "{" + members + "," + strings.TrimPrefix(body, "{") }

func paced() minimax.Options {
	return minimax.Options{Speed: emulator.Speed{Queue: 8 * time.Second, Run: 20 * time.Second}}
}
