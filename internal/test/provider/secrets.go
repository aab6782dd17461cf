package providertest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"reelay/internal/emulator"
	"reelay/internal/provider"
	"reelay/internal/secret"
)

// newTrap returns a server that nobody may call, and the count of calls it got.
func newTrap(t testing.TB) (string, *atomic.Int64) {
	t.Helper()
	var hits atomic.Int64
	trap := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		hits.Add(1)
		_, _ = w.Write([]byte(`{"status":"COMPLETED"}`))
	}))
	t.Cleanup(trap.Close)
	return trap.URL, &hits
}

func testRedirectsNotTaken(t *testing.T, h Harness) {
	b := newBench(t, h)
	ref := b.accepted(t, h.Samples[0], running()).Ref
	trap, hits := newTrap(t)
	for _, status := range []int{301, 302, 303, 307, 308} {
		b.meets(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, trap+r.URL.Path, status) })
		s, err := b.driver.Poll(t.Context(), ref)
		typed(t, "the poll that met "+strconv.Itoa(status), err)
		if s.State != "" && s.State != provider.Unknown {
			t.Errorf("a poll that met %d says %s", status, s.State)
		}
		if h.Features.Cancel {
			_, err := b.driver.Cancel(t.Context(), ref)
			typed(t, "the cancel that met "+strconv.Itoa(status), err)
		}
	}
	if n := hits.Load(); n != 0 {
		t.Errorf("the redirects were followed %d times", n)
	}
}

// testAnswerURLsAreData has every URL in the provider's answers point at a trap.
func testAnswerURLsAreData(t *testing.T, h Harness) {
	b := newBench(t, h)
	trap, hits := newTrap(t)
	target, err := url.Parse(b.url)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(res *http.Response) error {
			var body bytes.Buffer
			if _, err := body.ReadFrom(res.Body); err != nil {
				return err
			}
			_ = res.Body.Close()
			text := strings.ReplaceAll(body.String(), b.url, trap)
			res.Header.Set("Content-Length", strconv.Itoa(len(text)))
			res.ContentLength = int64(len(text))
			res.Body = io.NopCloser(strings.NewReader(text))
			return nil
		},
	}
	front := httptest.NewServer(proxy)
	t.Cleanup(front.Close)
	d, err := h.Driver(front.URL, secret.New(canary))
	if err != nil {
		t.Fatal(err)
	}
	through := &bench{h: h, driver: d, ledger: b.ledger, url: front.URL, client: b.client}
	for _, script := range []emulator.Script{queued(), running(), finished()} {
		ref := through.accepted(t, h.Samples[0], script).Ref
		through.poll(t, ref)
		if h.Features.Cancel {
			if _, err := d.Cancel(t.Context(), ref); err != nil {
				t.Errorf("cancel: %v", err)
			}
		}
	}
	if n := hits.Load(); n != 0 {
		t.Errorf("URLs from answers were called %d times", n)
	}
}

// testKeyIsNeverRepeated has the provider repeat our key in everything it says.
func testKeyIsNeverRepeated(t *testing.T, h Harness) {
	b := newBench(t, h)
	hides(t, "the driver (fmt reads unexported fields past secret.Value: give the driver a Format method)", b.driver)
	model := h.Samples[0].Model
	ref := b.accepted(t, h.Samples[0], running()).Ref

	loud := []provider.Reply{h.Refusal("the key " + canary + " is bad")}
	// A key at the edge of what is kept must not leave its beginning there: redact first, then clip.
	loud = append(loud, h.Refusal(strings.Repeat("x", 1020)+canary))
	for _, body := range strayBodies() {
		loud = append(loud, provider.Reply{Status: 502, Body: []byte(body + canary)})
	}
	quoted, _ := json.Marshal("key " + canary)
	for _, member := range []string{
		"detail", "error", "error_type", "message", "status", "request_id", "task_id",
		"base_resp",
	} {
		loud = append(loud, provider.Reply{Status: 400, Body: []byte(`{"` + member + `":` + string(quoted) + `}`)})
		loud = append(loud, provider.Reply{Status: 200, Body: []byte(`{"` + member + `":` + string(quoted) + `}`)})
	}
	for i, r := range loud {
		what := "answer " + strconv.Itoa(i)
		r.Header = http.Header{}
		for _, name := range []string{
			"X-Fal-Request-Id", "X-Fal-Error-Type", "Trace-Id", "X-Request-Id", "Retry-After",
			"Location", "Content-Type",
		} {
			r.Header.Set(name, canary)
		}
		a := b.driver.Classify(model, nil, r)
		hides(t, what, a)
		if a.Err != nil {
			checkError(t, what, a.Err)
			for n := 8; n < len(canary); n++ {
				if strings.HasSuffix(a.Err.Message, canary[:n]) {
					t.Errorf("%s: the message ends with the first %d bytes of the key", what, n)
				}
			}
		}
		b.meets(func(w http.ResponseWriter, _ *http.Request) {
			for name, v := range r.Header {
				w.Header()[name] = v
			}
			w.WriteHeader(r.Status)
			_, _ = w.Write(r.Body)
		})
		s, err := b.driver.Poll(t.Context(), ref)
		hides(t, what, s)
		hides(t, what, err)
		if h.Features.Cancel {
			_, err = b.driver.Cancel(t.Context(), ref)
			hides(t, what, err)
		}
		b.meets(nil)
	}
}
