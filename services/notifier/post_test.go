package notifier

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"reelay/events"
	"reelay/internal/address"
)

// TestPost: over real HTTP, each answer is what it is: only 2xx has taken the event, a redirect leads nowhere, 410 is
// tried again, and what an endpoint says of its URL or secret is not told.
func TestPost(t *testing.T) {
	secrets := []string{"token-in-the-path", "key-in-the-query", strings.TrimPrefix(goodSecret, "whsec_")}
	calls := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls++
		if strings.Contains(fmt.Sprint(r.Header), "other-endpoint") {
			t.Errorf("headers: %v", r.Header)
		}
		var status int
		fmt.Sscan(r.URL.Query().Get("status"), &status)
		w.Header().Set("Location", "/elsewhere")
		w.Header().Set("Retry-After", "7200")
		w.WriteHeader(status)
		if status != http.StatusNoContent {
			fmt.Fprint(w, "no\x1b[2J ", strings.Join(secrets, ", "), strings.Repeat(" x", maxAnswerBytes))
		}
	}))
	defer server.Close()
	s := &Service{log: slog.New(slog.DiscardHandler), metrics: newMetrics(prometheus.NewRegistry())}
	d := delivery{id: "one", header: map[string][]string{events.HeaderNotify: {"studio,other-endpoint"}}, body: []byte("{}")}
	for _, c := range []struct {
		status        int
		label, failed string
		wait          time.Duration
	}{
		{http.StatusNoContent, resultDelivered, "", 0},
		{http.StatusFound, resultFailed, "HTTP 302; redirects are not followed", maxRetryAfter},
		{http.StatusGone, resultRefused, "HTTP 410", maxRetryAfter},
		{http.StatusServiceUnavailable, resultFailed, "HTTP 503", maxRetryAfter},
	} {
		calls = 0
		url := fmt.Sprintf("%s/in/token-in-the-path/?key=key-in-the-query&status=%d", server.URL, c.status)
		set, err := parse([]byte("hosts: [127.0.0.1]\nendpoints: {a: {url: '"+url+"', secret: "+goodSecret+"}}"), nil)
		if err != nil {
			t.Fatal(err)
		}
		r := s.post(t.Context(), set.client, set.endpoints["a"], d)
		if calls != 1 || r.label != c.label || !strings.HasPrefix(r.failure, c.failed) || (r.failure == "") != (c.failed == "") ||
			r.retryAfter != c.wait {
			t.Errorf("%d: %d calls, %+v", c.status, calls, r)
		}
		for _, text := range secrets {
			if strings.Contains(r.failure, text) {
				t.Errorf("%d tells %s: %s", c.status, text, r.failure)
			}
		}
		// The same endpoint, at an address that nobody has named.
		r = s.post(t.Context(), newClient(nil), set.endpoints["a"], d)
		if calls != 1 || r.label != resultUnreachable || !strings.Contains(r.failure, address.ErrGuarded.Error()) {
			t.Errorf("unguarded: %d calls, %+v", calls, r)
		}
	}
}

// TestRetryAfter: seconds or a time, an hour at most; what is neither asks for nothing.
func TestRetryAfter(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"": 0, "-5": 0, "soon": 0, "0": 0, "90": 90 * time.Second, "99999999999999999999": 0, "9223372036854775807": time.Hour,
		"Fri, 31 Dec 1999 23:59:59 GMT": 0, "Fri, 31 Dec 2999 23:59:59 GMT": time.Hour,
	} {
		if got := retryAfter(header); got != want {
			t.Errorf("%q: %v, want %v", header, got, want)
		}
	}
}

// TestSignatures: the newer secret signs first.
func TestSignatures(t *testing.T) {
	text := "endpoints: {a: {url: 'https://h.example', secret: " + goodSecret + ", old_secret: " +
		"whsec_b2xkLW9sZC1vbGQtb2xkLW9sZC1vbGQt}}"
	for range 20 {
		set, err := parse([]byte(text), nil)
		if err != nil {
			t.Fatal(err)
		}
		e := set.endpoints["a"]
		req, err := e.request(t.Context(), delivery{id: "one", body: []byte("{}")}, "test")
		if err != nil {
			t.Fatal(err)
		}
		signed, err := standardwebhooks.NewWebhook(goodSecret)
		if err != nil {
			t.Fatal(err)
		}
		first, _, both := strings.Cut(req.Header.Get("Webhook-Signature"), " ")
		req.Header.Set("Webhook-Signature", first)
		if err := signed.Verify([]byte("{}"), req.Header); err != nil || !both {
			t.Fatalf("the first signature: %v; of two: %v", err, both)
		}
	}
}
