package provider

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/andybalholm/brotli"

	"reelay/events"
)

const (
	queryCanary  = "token-in-the-query"
	headerCanary = "key-in-the-header"
)

// call makes one call of path at url, with what must not be shown in its query and header.
func call(t *testing.T, client *http.Client, method, url string) (Reply, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url+"/v1/jobs/7?token="+queryCanary, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+headerCanary)
	return Exchange(client, req)
}

// newServer serves h and returns a client of it, as the drivers have it.
func newServer(t *testing.T, h http.HandlerFunc) (url string, client *http.Client) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	transport := NewTransport(s.URL)
	t.Cleanup(transport.CloseIdleConnections)
	return s.URL, NewClient(transport, 10*time.Second)
}

func TestExchange(t *testing.T) {
	url, client := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Trace", "abc")
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, r.Method+" "+r.URL.RequestURI()+" "+r.Header.Get("Authorization"))
	})
	got, err := call(t, client, http.MethodPut, url)
	if err != nil {
		t.Fatal(err)
	}
	want := "PUT /v1/jobs/7?token=" + queryCanary + " Bearer " + headerCanary
	if got.Status != http.StatusTeapot || got.Header.Get("X-Trace") != "abc" || string(got.Body) != want {
		t.Errorf("%d %q %s, want 418 abc %s: no status is an error here", got.Status, got.Header.Get("X-Trace"), got.Body,
			want)
	}
}

func TestExchangeBoundsTheBody(t *testing.T) {
	url, client := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusBadGateway)
		_, _ = w.Write(bytes.Repeat([]byte{'x'}, n))
	})
	for _, n := range []int{0, MaxBodyBytes - 1, MaxBodyBytes, MaxBodyBytes + 1} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/v1/jobs/7?token="+queryCanary, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", strconv.Itoa(n))
		got, err := Exchange(client, req)
		if n <= MaxBodyBytes {
			if err != nil || len(got.Body) != n || got.Status != http.StatusBadGateway {
				t.Errorf("%d bytes: status %d, %d bytes, %v", n, got.Status, len(got.Body), err)
			}
			continue
		}
		var e *Error
		if !errors.As(err, &e) || e.Kind != events.KindInternal || e.Code != "answer_too_large" ||
			e.HTTPStatus != http.StatusBadGateway ||
			e.Message != "GET /v1/jobs/7 answered with more than 4194304 bytes" {
			t.Errorf("%d bytes: error %+v", n, err)
		}
		if got.Body != nil {
			t.Errorf("%d bytes: a body came with the error", n)
		}
	}
}

// The client asks for no compression, and unpacks within its limit what comes compressed nevertheless.
func TestExchangeUnpacks(t *testing.T) {
	pack := func(encoding string, body []byte) []byte {
		var out bytes.Buffer
		var z io.WriteCloser
		switch encoding {
		case "gzip", "GZIP":
			z = gzip.NewWriter(&out)
		case "deflate":
			z = zlib.NewWriter(&out)
		case "raw deflate":
			z, _ = flate.NewWriter(&out, -1)
		case "br":
			z = brotli.NewWriter(&out)
		default:
			return body
		}
		_, _ = z.Write(body)
		_ = z.Close()
		return out.Bytes()
	}
	text := []byte(`{"status":"COMPLETED"}`)
	var encoding string
	var packed []byte
	url, client := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "" {
			t.Errorf("asked for %q", r.Header.Get("Accept-Encoding"))
		}
		w.Header().Set("Content-Encoding", strings.TrimPrefix(encoding, "raw "))
		_, _ = w.Write(packed)
	})
	for _, encoding = range []string{"gzip", "GZIP", "deflate", "raw deflate", "br", "identity", "zstd"} {
		packed = pack(encoding, text)
		got, err := call(t, client, http.MethodGet, url)
		if err != nil || !bytes.Equal(got.Body, text) || encoding != "zstd" && got.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s: %q, %v", encoding, got.Body, err)
		}
		if encoding == "identity" || encoding == "zstd" {
			continue
		}
		packed = pack(encoding, make([]byte, 2*MaxBodyBytes))
		if _, err := call(t, client, http.MethodGet, url); err == nil || AsError(err).Code != CodeTooLarge {
			t.Errorf("%s of too much: %v", encoding, err)
		}
		packed = []byte("not packed at all")
		if _, err := call(t, client, http.MethodGet, url); err == nil || AsError(err).Kind != events.KindRetry {
			t.Errorf("%s that is none: %v", encoding, err)
		}
	}
	encoding, packed = "gzip", nil
	if got, err := call(t, client, http.MethodGet, url); err != nil || len(got.Body) != 0 {
		t.Errorf("no body: %q, %v", got.Body, err)
	}
}

func TestExchangeReadsText(t *testing.T) {
	for _, row := range []struct{ contentType, body, want string }{
		{"application/json", "\xef\xbb\xbf{\"a\":1}", `{"a":1}`},
		{"application/json; charset=iso-8859-1", "{\"a\":\"caf\xe9\"}", `{"a":"café"}`},
		{"", "{\"a\":\"caf\xe9 é\"}", "{\"a\":\"café é\"}"},
		{"text/plain", "caf\xe9", "café"},
		{"video/mp4", "\xff\xe9", "\xff\xe9"},
	} {
		url, client := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", row.contentType)
			_, _ = io.WriteString(w, row.body)
		})
		if got, err := call(t, client, http.MethodGet, url); err != nil || string(got.Body) != row.want {
			t.Errorf("%s %q: %q, %v, want %q", row.contentType, row.body, got.Body, err, row.want)
		}
	}
}

func TestLargeReads(t *testing.T) {
	const limit = 2 * MaxBodyBytes
	size := limit
	url, client := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Chunked", "yes")
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush() // without a length
		_, _ = w.Write(make([]byte, size))
	})
	l := NewLargeReads(1, limit)
	get := func(ctx context.Context) (Reply, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		return l.Exchange(client, req)
	}
	if got, err := get(t.Context()); err != nil || len(got.Body) != limit {
		t.Errorf("%d bytes, %v", len(got.Body), err)
	}
	size++
	if _, err := get(t.Context()); err == nil || AsError(err).Code != CodeTooLarge {
		t.Errorf("a byte over: %v", err)
	}
	l.slots <- struct{}{}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := get(ctx); err == nil || AsError(err).Kind != events.KindRetry {
		t.Errorf("while another reads: %v", err)
	}
	size = MaxBodyBytes
	if got, err := get(t.Context()); err != nil || len(got.Body) != size {
		t.Errorf("a small one while another reads: %d bytes, %v", len(got.Body), err)
	}
}

// The key goes to the origin that was asked only.
func TestExchangeRedirects(t *testing.T) {
	foreign, _ := newServer(t, func(http.ResponseWriter, *http.Request) { t.Error("another origin was asked") })
	for _, row := range []struct {
		status    int
		to        string
		method    string
		followed  bool
		wantCalls int
	}{
		{301, "/elsewhere", http.MethodGet, false, 1},
		{302, "/elsewhere", http.MethodGet, false, 1},
		{303, "/elsewhere", http.MethodGet, false, 1},
		{307, "/elsewhere", http.MethodGet, true, 2},
		{308, "/elsewhere", http.MethodGet, true, 2},
		{308, "/elsewhere", http.MethodPut, true, 2},
		{308, "/elsewhere", http.MethodDelete, true, 2},
		{308, foreign + "/elsewhere", http.MethodGet, false, 1},
		{308, "", http.MethodGet, false, 1},
		{308, "/loop", http.MethodGet, false, 4},
	} {
		calls := 0
		url, client := newServer(t, func(w http.ResponseWriter, r *http.Request) {
			calls++
			if r.Method != row.method || r.Header.Get("Authorization") == "" {
				t.Errorf("%d: asked by %s, without the key: %v", row.status, r.Method, r.Header.Get("Authorization") == "")
			}
			if r.URL.Path == "/elsewhere" {
				_, _ = io.WriteString(w, "here")
				return
			}
			if row.to != "" {
				w.Header().Set("Location", row.to)
			}
			w.WriteHeader(row.status)
		})
		got, err := call(t, client, row.method, url)
		if err != nil || (string(got.Body) == "here") != row.followed || calls != row.wantCalls ||
			!row.followed && got.Status != row.status {
			t.Errorf("%d to %q: %d %q, %v, after %d calls, want %d", row.status, row.to, got.Status, got.Body, err, calls,
				row.wantCalls)
		}
	}
	// What has a body is not sent again.
	url, client := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/elsewhere", http.StatusPermanentRedirect)
	})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader("a"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Exchange(client, req); err != nil || got.Status != 308 {
		t.Errorf("with a body: %d, %v", got.Status, err)
	}
}

func TestExchangeErrors(t *testing.T) {
	broken := func(write func(net.Conn)) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			c, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			write(c)
			_ = c.Close()
		}
	}
	hang := func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	for _, row := range []struct {
		name    string
		handler http.HandlerFunc
		timeout time.Duration
		is      error
		want    string
	}{
		{"closed without an answer", broken(func(net.Conn) {}), 0, io.EOF, "GET /v1/jobs/7: EOF"},
		{"cut off in the body", broken(func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"id\":")
		}), 0, io.ErrUnexpectedEOF, "GET /v1/jobs/7: unexpected EOF"},
		{"cut off in a chunk", broken(func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nabc")
		}), 0, io.ErrUnexpectedEOF, "GET /v1/jobs/7: unexpected EOF"},
		{"no HTTP", broken(func(c net.Conn) { _, _ = io.WriteString(c, "SSH-2.0-x\r\n\r\n") }), 0, nil, `GET /v1/jobs/7: *`},
		{"no answer in time", hang, 20 * time.Millisecond, context.DeadlineExceeded, "GET /v1/jobs/7: *"},
	} {
		t.Run(row.name, func(t *testing.T) {
			url, client := newServer(t, row.handler)
			if row.timeout > 0 {
				client.Timeout = row.timeout
			}
			got, err := call(t, client, http.MethodGet, url)
			wantBroken(t, got, err, row.want)
			if row.is != nil && !errors.Is(err, row.is) {
				t.Errorf("error %v does not match %v", err, row.is)
			}
		})
	}
	t.Run("nobody listens", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		url := "http://" + l.Addr().String()
		_ = l.Close()
		got, err := call(t, NewClient(NewTransport(url), time.Second), http.MethodGet, url)
		wantBroken(t, got, err, "GET /v1/jobs/7: dial tcp *")
	})
	t.Run("called off", func(t *testing.T) {
		url, client := newServer(t, hang)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodDelete, url+"/v1/jobs/7?token="+queryCanary, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Exchange(client, req)
		wantBroken(t, got, err, "DELETE /v1/jobs/7: context canceled")
	})
}

// wantBroken checks that err says that a call broke off, with the text want ("*" at its end stands for the cause), and
// that neither the error nor any cause of it shows the query, the header or the host.
func wantBroken(t *testing.T, got Reply, err error, want string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Kind != events.KindRetry || e.Code != "network" || e.HTTPStatus != 0 || got.Body != nil {
		t.Fatalf("reply %+v, error %+v, want KindRetry, network", got, err)
	}
	prefix, open := strings.CutSuffix(want, "*")
	if e.Message != want && (!open || !strings.HasPrefix(e.Message, prefix)) {
		t.Errorf("message %q, want %q", e.Message, want)
	}
	for cause := error(e); cause != nil; cause = errors.Unwrap(cause) {
		for _, verb := range []string{"%v", "%+v", "%#v"} {
			if text := fmt.Sprintf(verb, cause); strings.Contains(text, queryCanary) || strings.Contains(text, headerCanary) {
				t.Errorf("%T shows what it must not by %s: %s", cause, verb, text)
			}
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	const most = 10 * time.Minute
	for _, row := range []struct {
		name, text string
		want       time.Duration
	}{
		{"none", "", 0},
		{"seconds", "7", 7 * time.Second},
		{"none to wait", "0", 0},
		{"the cap", "600", most},
		{"over the cap", "601", most},
		{"beyond int32", "99999999999", most},
		{"beyond int64", "99999999999999999999999", most},
		{"as nanoseconds it would overflow", "18446744074", most},
		{"negative", "-1", 0},
		{"far negative", "-9223372037", 0},
		{"negative beyond int64", "-99999999999999999999999", 0},
		{"date", "Sun, 01 Mar 2026 12:00:30 GMT", 30 * time.Second},
		{"date of RFC 850", "Sunday, 01-Mar-26 12:00:30 GMT", 30 * time.Second},
		{"date now", "Sun, 01 Mar 2026 12:00:00 GMT", 0},
		{"date past", "Sun, 01 Mar 2026 11:59:00 GMT", 0},
		{"date far past", "Mon, 01 Jan 0001 00:00:00 GMT", 0},
		{"date far ahead", "Fri, 31 Dec 9999 23:59:59 GMT", most},
		{"another zone is no HTTP date", "Sun, 01 Mar 2026 13:00:30 +0100", 0},
		{"fraction", "1.5", 0},
		{"words", "soon", 0},
		{"with a unit", "5s", 0},
		{"hex", "0x10", 0},
	} {
		h := http.Header{}
		if row.text != "" {
			h.Set("Retry-After", row.text)
		}
		if got := RetryAfter(h, now); got != row.want {
			t.Errorf("%s: %q is %v, want %v", row.name, row.text, got, row.want)
		}
	}
}

func TestCheckBaseURL(t *testing.T) {
	const (
		parts    = "a base URL has no user, query or fragment"
		absolute = "* is not an absolute URL"
		plain    = "* must be https; plain http is for loopback addresses only"
	)
	for raw, want := range map[string]string{
		"https://queue.fal.run":            "",
		"https://queue.fal.run/":           "",
		"https://api.example.test:8443/v1": "",
		"https://[2001:db8::1]/x":          "",
		"http://localhost:8090":            "",
		"http://127.0.0.1":                 "",
		"http://127.255.0.1:1/x":           "",
		"http://[::1]:8090":                "",
		"HTTPS://queue.fal.run":            "",

		"":                         absolute,
		"queue.fal.run":            absolute,
		"/v1":                      absolute,
		"//queue.fal.run":          plain,
		"https:":                   absolute,
		"https://":                 absolute,
		"https:///v1":              absolute,
		"https://:443":             absolute,
		"https:queue.fal.run":      absolute,
		"https://ho st":            absolute,
		"https://h\n":              absolute,
		"https://[::1":             absolute,
		"https://h:port":           absolute,
		"http://queue.fal.run":     plain,
		"http://127.0.0.1.nip.io":  plain,
		"http://localhost.evil.io": plain,
		"http://10.0.0.1":          plain,
		"http://0.0.0.0":           plain,
		"http://[::]":              plain,
		"http://2130706433":        plain,
		"ftp://queue.fal.run":      plain,
		"file://localhost/etc":     plain,

		"https://user@h":                    parts,
		"https://:" + queryCanary + "@h":    parts,
		"https://u:" + queryCanary + "@h":   parts,
		"https://u:" + queryCanary + "@h h": parts,
		"https://h?token=" + queryCanary:    parts,
		"https://h/?":                       parts,
		"https://h#":                        parts,
		"https://h/x#a":                     parts,
		"http://localhost@evil.io":          parts,
	} {
		err := CheckBaseURL(raw)
		if want == "" {
			if err != nil {
				t.Errorf("%q: %v, want it accepted", raw, err)
			}
			continue
		}
		want = strings.Replace(want, "*", strconv.Quote(raw), 1)
		if err == nil || err.Error() != want {
			t.Errorf("%q: error %v, want %q", raw, err, want)
		}
		if err != nil && strings.Contains(err.Error(), queryCanary) {
			t.Errorf("%q: the error shows the token: %v", raw, err)
		}
	}
}

func TestIsLoopbackURL(t *testing.T) {
	for raw, want := range map[string]bool{
		"http://localhost:8090/x": true, "https://127.0.0.1": true, "http://[::1]": true, "http://user@127.0.0.9/": true,
		"http://127.0.0.1.nip.io": false, "https://example.test": false, "http://0.0.0.0": false, "": false,
		"http://[::1": false, "127.0.0.1": false,
	} {
		if IsLoopbackURL(raw) != want {
			t.Errorf("%q: %v, want %v", raw, !want, want)
		}
	}
}
