package emulator

import (
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Whatever comes when, no window of 60 seconds has more than the limit, and what is refused had a full window behind
// it.
func TestRate(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 5).Draw(t, "limit")
		r := Rate{PerMinute: limit}
		now := epoch
		var taken []time.Time
		for range rapid.IntRange(1, 60).Draw(t, "calls") {
			now = now.Add(time.Duration(rapid.IntRange(0, 40_000).Draw(t, "ms")) * time.Millisecond)
			last := 0
			for _, at := range taken {
				if now.Sub(at) < time.Minute {
					last++
				}
			}
			if got := r.Allow(now); got != (last < limit) {
				t.Fatalf("taken %v with %d of %d in the last minute", got, last, limit)
			} else if got {
				taken = append(taken, now)
			}
		}
	})
	var none Rate
	for range 1000 {
		if !none.Allow(epoch) {
			t.Fatal("refused without a limit")
		}
	}
}

func TestServeLimits(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		method, body string
		status       int
		says         string
	}{
		{"POST", `{"requests_per_minute":20,"concurrency":0}`, 204, ""},
		{"POST", `{}`, 204, ""},
		{"GET", ``, 405, "Method Not Allowed"},
		{"POST", `{"in_flight":-1}`, 400, "in_flight: -1 is below 0"},
		{"POST", `{"rpm":20}`, 400, `unknown field "rpm"`},
		{"POST", `{"in_flight":"20"}`, 400, "in_flight"},
		{"POST", `{} {}`, 400, "more than one"},
		{"POST", `{"api":"v9"}`, 400, "no such API"},
		{"POST", `{"api":"` + strings.Repeat("v", maxControlBytes) + `"}`, 400, "too large"},
	} {
		w := httptest.NewRecorder()
		ServeLimits(w, httptest.NewRequest(row.method, "/_emulator/limits", strings.NewReader(row.body)),
			func(l Limits) error {
				if l.API == "v9" {
					return errors.New("no such API")
				}
				return nil
			})
		if w.Code != row.status || !strings.Contains(w.Body.String(), row.says) {
			t.Errorf("%s %.60s: %d %s, want %d %s", row.method, row.body, w.Code, w.Body, row.status, row.says)
		}
	}
}

func TestServeFaults(t *testing.T) {
	t.Parallel()
	c := NewWebhookSender(WebhookSenderOptions{Ledger: new(Ledger), Log: slog.New(slog.DiscardHandler)})
	serve := func(method, body string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		c.ServeFaults(w, httptest.NewRequest(method, "/_emulator/faults", strings.NewReader(body)))
		return w
	}
	good := `{"shares":{"drop":0.1,"duplicate":1},"delay_ms":5,"seed":7}`
	if w := serve("POST", good); w.Code != 204 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	for _, row := range []struct{ body, says string }{
		{`{"shares":{"dorp":0.1}}`, `no fault "dorp"`},
		{`{"shares":{"drop":1.1}}`, "shares.drop: 1.1"},
		{`{"shares":{"drop":-0.1}}`, "shares.drop: -0.1"},
		{`{"delay_ms":-5}`, "delay_ms: -5"},
		{`{"share":{}}`, `unknown field "share"`},
	} {
		if w := serve("POST", row.body); w.Code != 400 || !strings.Contains(w.Body.String(), row.says) {
			t.Errorf("%s: %d %s, want 400 %s", row.body, w.Code, w.Body, row.says)
		}
	}
	if got := strings.TrimSpace(serve("GET", "").Body.String()); got != good {
		t.Errorf("faults %s, want those that were good: %s", got, good)
	}
}
