package fal

import (
	"encoding/json"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"reelay/internal/emulator"
)

type listBody struct {
	Items []struct {
		RequestID  string          `json:"request_id"`
		EndpointID string          `json:"endpoint_id"`
		SentAt     string          `json:"sent_at"`
		StartedAt  *string         `json:"started_at"`
		EndedAt    string          `json:"ended_at"`
		StatusCode int             `json:"status_code"`
		Duration   float64         `json:"duration"`
		JSONInput  json.RawMessage `json:"json_input"`
	} `json:"items"`
	NextCursor *string `json:"next_cursor"`
	HasMore    bool    `json:"has_more"`
}

func listed(t testing.TB, s *Server, query string) listBody {
	t.Helper()
	w := do(t, s, http.MethodGet, listPath+"?endpoint_id="+url.QueryEscape(model)+query, "")
	var b listBody
	if err := json.Unmarshal(w.Body.Bytes(), &b); err != nil || w.Code != http.StatusOK {
		t.Fatalf("%s: %d %s", query, w.Code, w.Body)
	}
	return b
}

func TestList(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "ledger")
		ledger, err := emulator.OpenLedger(file)
		if err != nil {
			t.Fatal(err)
		}
		o := Options{Speed: emulator.Speed{Queue: time.Minute, Run: time.Minute}, Ledger: ledger}
		s := New(o)
		begin := time.Now()
		done := submitted(t, s, `{"prompt":"a","seed":17454220438242315174}`)
		time.Sleep(time.Second)
		failed := submitted(t, s, `{"emulate":{"fail":"422"}}`)
		time.Sleep(time.Second)
		broken := submitted(t, s, `{"emulate":{"fail":"500"}}`)
		submitted(t, s, `{"emulate":{"stall":"running"}}`)
		lost := submitted(t, s, `{"emulate":{"queue_ms":3600000}}`, "X-Fal-Request-Timeout", "10")
		do(t, s, http.MethodPost, "/fal-ai/other", `{}`)
		soon := url.QueryEscape(begin.Add(time.Hour).UTC().Format(time.RFC3339))
		if b := listed(t, s, "&end="+soon); len(b.Items) != 0 || b.NextCursor != nil || b.HasMore {
			t.Errorf("before anything has ended: %+v", b)
		}
		time.Sleep(10 * time.Minute)
		// It is the same after a restart.
		if err := ledger.Close(); err != nil {
			t.Fatal(err)
		}
		if o.Ledger, err = emulator.OpenLedger(file); err != nil {
			t.Fatal(err)
		}
		defer o.Ledger.Close()
		s = New(o)

		after := func(d time.Duration) string { return url.QueryEscape(begin.Add(d).UTC().Format(time.RFC3339)) }
		for query, want := range map[string]string{
			"":                                      broken + " " + failed + " " + done + " " + lost,
			"&status=success":                       done,
			"&status=user_error":                    failed,
			"&status=error":                         broken + " " + lost,
			"&request_id=" + failed:                 failed,
			"&start=" + after(2*time.Minute+1e9):    broken + " " + failed,
			"&end=" + after(2*time.Minute):          done + " " + lost,
			"&limit=2":                              broken + " " + failed,
			"&start=" + after(20*time.Minute):       "",
			"&endpoint_id=fal-ai/nothing,fal-ai/no": broken + " " + failed + " " + done + " " + lost,
		} {
			b := listed(t, s, query)
			var ids []string
			for _, i := range b.Items {
				ids = append(ids, i.RequestID)
				if i.EndpointID != model || i.JSONInput != nil {
					t.Errorf("%s: %+v", query, i)
				}
			}
			if strings.Join(ids, " ") != want {
				t.Errorf("%s: %v, want %s", query, ids, want)
			}
		}
		b := listed(t, s, "&request_id="+done+"&expand=payloads").Items[0]
		if b.SentAt != listTime(begin) || b.StartedAt == nil || *b.StartedAt != listTime(begin.Add(time.Minute)) ||
			b.EndedAt != listTime(begin.Add(2*time.Minute)) || b.Duration != 60 || b.StatusCode != 200 ||
			string(b.JSONInput) != `{"prompt":"a","seed":17454220438242315174}` {
			t.Errorf("%+v", b)
		}
		if b := listed(t, s, "&request_id="+lost).Items[0]; b.StartedAt != nil || b.StatusCode != 504 {
			t.Errorf("%+v", b)
		}
		time.Sleep(25 * time.Hour)
		if b := listed(t, s, ""); len(b.Items) != 0 {
			t.Errorf("a day later, without a start: %+v", b)
		}
	})
}

func TestListCursor(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	want := map[string]bool{}
	for range 7 {
		want[submitted(t, s, `{}`)] = true
	}
	cursor, pages := "", 0
	for {
		b := listed(t, s, "&limit=3"+cursor)
		pages++
		for _, i := range b.Items {
			if !want[i.RequestID] {
				t.Errorf("%s is unknown or shown twice", i.RequestID)
			}
			delete(want, i.RequestID)
		}
		if b.NextCursor == nil {
			break
		}
		cursor = "&cursor=" + *b.NextCursor
		submitted(t, s, `{}`) // what comes in between moves nothing
	}
	if len(want) != 0 || pages != 3 {
		t.Errorf("%d pages leave out %v", pages, want)
	}
}

func TestListRefusals(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	for _, row := range []struct {
		method, query, key string
		status             int
		says               string
	}{
		{"GET", "", "Key k", 422, "endpoint_id"},
		{"GET", "?endpoint_id=a" + strings.Repeat(",a", 50), "Key k", 422, "endpoint_id"},
		{"GET", "?endpoint_id=a&limit=101", "Key k", 422, "limit"},
		{"GET", "?endpoint_id=a&limit=0", "Key k", 422, "limit"},
		{"GET", "?endpoint_id=a&start=now", "Key k", 422, "start"},
		{"GET", "?endpoint_id=a&end=now", "Key k", 422, "end"},
		{"GET", "?endpoint_id=a&status=running", "Key k", 422, "status"},
		{"GET", "?endpoint_id=a", "", 401, "Authentication is required"},
		{"GET", "?endpoint_id=a", "Key bad", 401, "invalid key"},
		{"POST", "?endpoint_id=a", "Key k", 405, "Method"},
	} {
		w := do(t, s, row.method, listPath+row.query, "", "Authorization", row.key)
		if w.Code != row.status || !strings.Contains(w.Body.String(), row.says) {
			t.Errorf("%s %s: %d %s, want %d %s", row.method, row.query, w.Code, w.Body, row.status, row.says)
		}
	}
	if n := len(s.Ledger().Jobs()); n != 0 {
		t.Errorf("%d jobs", n)
	}
}
