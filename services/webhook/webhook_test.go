package webhook_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/callbackurl"
	"reelay/internal/provider"
	"reelay/internal/provider/fal"
	"reelay/services/webhook"
)

// Good callbacks go out as they came in, with the lane, the task and the attempt of their URL.
func TestAccepted(t *testing.T) {
	t.Parallel()
	e := start(t)
	for i, row := range []struct {
		name, lane string
		attempt    int
		header     http.Header
		body       string
	}{
		{"fal", "fal", 1, newSigner().headers(userID, time.Now(), okBody), okBody},
		{"MiniMax", "minimax", 2, jsonHeader(), update},
		{"charset", "minimax", 1, http.Header{"Content-Type": {"application/json; charset=utf-8"}}, update},
		{"spaces kept", "minimax", 1, jsonHeader(), "\n" + update + "\r\n"},
		{"as large as can be", "minimax", 1, jsonHeader(), `{"x":"` + strings.Repeat("x", events.MaxCallbackBytes-8) + `"}`},
	} {
		before := time.Now()
		status, answer := e.post(e.path(row.lane, row.attempt), row.header, row.body)
		if status != http.StatusOK || answer != `{"status":"success"}` || e.kept.count() != i+1 {
			t.Fatalf("%s: %d %s, %d published", row.name, status, answer, e.kept.count())
		}
		h := e.kept.callbacks[i]
		if h.Lane != row.lane || h.Task != task || h.Attempt != row.attempt || string(h.Body) != row.body ||
			h.Received.Before(before) ||
			h.Received.After(time.Now()) {
			t.Errorf("%s: published %s %v %d %v", row.name, h.Lane, h.Task, h.Attempt, h.Received)
		}
	}
	if fal, mm := e.counted("fal", "accepted"), e.counted("minimax", "accepted"); fal != 1 || mm != 4 {
		t.Errorf("counted %v and %v", fal, mm)
	}
}

// Everything that is not a good callback is refused, and NATS hears nothing of it; or, where only the clock or the type
// is wrong, that something came.
func TestRefused(t *testing.T) {
	t.Parallel()
	now := time.Now()
	fal := newSigner()
	stranger := callbackurl.New([]callbackurl.Key{callbackKey("other")})
	forged := fal.headers(userID, now, okBody)
	forged.Set("X-Fal-Webhook-Signature", strings.Repeat("0", 128))
	twice := fal.headers(userID, now, okBody)
	twice.Add("X-Fal-Webhook-Signature", twice.Get("X-Fal-Webhook-Signature"))
	with := func(name, value string) http.Header {
		h := jsonHeader()
		h.Set(name, value)
		return h
	}
	deep := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	e := start(t, func(o *webhook.Options) { o.Limits.RefusedBurst, o.Limits.CallsBurst = 1000, 1000 })
	good := e.path("minimax", 1)
	for _, row := range []struct {
		name, method, path string
		header             http.Header
		body               io.Reader
		status             int
		provider, result   string
	}{
		{"GET", http.MethodGet, good, nil, nil, 405, "none", "method"},
		{"HEAD", http.MethodHead, good, nil, nil, 405, "none", "method"},
		{"PUT", http.MethodPut, good, jsonHeader(), strings.NewReader(update), 405, "none", "method"},
		{"OPTIONS", http.MethodOptions, good, nil, nil, 405, "none", "method"},
		{"DELETE", http.MethodDelete, good, nil, nil, 405, "none", "method"},
		{"unknown method", "POSTS", good, nil, nil, 405, "none", "method"},
		{"root", http.MethodPost, "/", jsonHeader(), strings.NewReader(update), 404, "none", "bad_mac"},
		{"metrics", http.MethodPost, "/metrics", jsonHeader(), strings.NewReader(update), 404, "none", "bad_mac"},
		{
			"no MAC", http.MethodPost, "/cb/minimax/k1/demo.shot-042.1/", jsonHeader(), strings.NewReader(update), 404, "none",
			"bad_mac",
		},
		{"wrong MAC", http.MethodPost, good + "A", jsonHeader(), strings.NewReader(update), 404, "none", "bad_mac"},
		{
			"MAC of an unknown key", http.MethodPost, stranger.URL("", "minimax", task, 1, until), jsonHeader(),
			strings.NewReader(update), 404, "none", "bad_mac",
		},
		{
			"MAC of another task", http.MethodPost, strings.Replace(good, "042", "043", 1), jsonHeader(),
			strings.NewReader(update), 404, "none", "bad_mac",
		},
		{
			"MAC of another lane", http.MethodPost, strings.Replace(e.path("fal", 1), "/fal/", "/minimax/", 1), jsonHeader(),
			strings.NewReader(update), 404, "none", "bad_mac",
		},
		{
			"escaped path", http.MethodPost, strings.Replace(good, "shot-", "shot%2d", 1), jsonHeader(),
			strings.NewReader(update), 404, "none", "bad_mac",
		},
		{
			"a URL of last year", http.MethodPost, e.keys.URL("", "minimax", task, 1, time.Now().Add(-2*time.Minute)), jsonHeader(),
			strings.NewReader(update), 404, "minimax", "expired",
		},
		{
			"unknown lane", http.MethodPost, e.keys.URL("", "veo", task, 1, until), jsonHeader(), strings.NewReader(update), 404,
			"none", "unknown_lane",
		},
		{"no type", http.MethodPost, good, http.Header{}, strings.NewReader(update), 415, "minimax", "bad_type"},
		{
			"a form", http.MethodPost, good, with("Content-Type", "application/x-www-form-urlencoded"), strings.NewReader("a=b"),
			415, "minimax", "bad_type",
		},
		{
			"text", http.MethodPost, good, with("Content-Type", "text/plain"), strings.NewReader(update), 415, "minimax",
			"bad_type",
		},
		{
			"almost JSON", http.MethodPost, good, with("Content-Type", "application/json2"), strings.NewReader(update), 415,
			"minimax", "bad_type",
		},
		{
			"compressed", http.MethodPost, good, with("Content-Encoding", "gzip"), strings.NewReader(update), 415, "minimax",
			"bad_type",
		},
		{
			"too large", http.MethodPost, good, jsonHeader(),
			strings.NewReader(`{"x":"` + strings.Repeat("x", events.MaxCallbackBytes) + `"}`), 413, "minimax", "too_large",
		},
		{
			"too large, in chunks", http.MethodPost, good, jsonHeader(),
			io.MultiReader(strings.NewReader(strings.Repeat(" ", events.MaxCallbackBytes+1))), 413, "minimax", "too_large",
		},
		{"endless", http.MethodPost, good, jsonHeader(), endless{}, 413, "minimax", "too_large"},
		{"no body", http.MethodPost, good, jsonHeader(), nil, 400, "minimax", "bad_json"},
		{"no JSON", http.MethodPost, good, jsonHeader(), strings.NewReader("status=success"), 400, "minimax", "bad_json"},
		{"truncated JSON", http.MethodPost, good, jsonHeader(), strings.NewReader(update[:40]), 400, "minimax", "bad_json"},
		{
			"two documents", http.MethodPost, good, jsonHeader(), strings.NewReader(update + update), 400, "minimax",
			"bad_json",
		},
		{"array", http.MethodPost, good, jsonHeader(), strings.NewReader("[" + update + "]"), 400, "minimax", "bad_json"},
		{"null", http.MethodPost, good, jsonHeader(), strings.NewReader("null"), 400, "minimax", "bad_json"},
		{"deep", http.MethodPost, good, jsonHeader(), strings.NewReader(deep(101)), 400, "minimax", "bad_json"},
		{
			"bomb of objects", http.MethodPost, good, jsonHeader(), strings.NewReader(deep(150_000)), 400, "minimax",
			"bad_json",
		},
		{
			"bomb of arrays", http.MethodPost, good, jsonHeader(), strings.NewReader(`{"a":` + strings.Repeat("[", 900_000)),
			400, "minimax", "bad_json",
		},
		{
			"bad challenge", http.MethodPost, good, jsonHeader(), strings.NewReader(`{"challenge":{"a":1}}`), 400, "minimax",
			"bad_challenge",
		},
		{"unsigned", http.MethodPost, e.path("fal", 1), jsonHeader(), strings.NewReader(okBody), 401, "fal", "bad_signature"},
		{"forged", http.MethodPost, e.path("fal", 1), forged, strings.NewReader(okBody), 401, "fal", "bad_signature"},
		{"two signatures", http.MethodPost, e.path("fal", 1), twice, strings.NewReader(okBody), 401, "fal", "bad_signature"},
		{
			"tampered", http.MethodPost, e.path("fal", 1), fal.headers(userID, now, okBody),
			strings.NewReader(strings.Replace(okBody, "OK", "KO", 1)), 401, "fal", "bad_signature",
		},
		{
			"another account", http.MethodPost, e.path("fal", 1), fal.headers("user_xyz", now, okBody),
			strings.NewReader(okBody), 401, "fal", "bad_account",
		},
		{
			"old", http.MethodPost, e.path("fal", 1), fal.headers(userID, now.Add(-302*time.Second), okBody),
			strings.NewReader(okBody), 401, "fal", "old",
		},
		{
			"from the future", http.MethodPost, e.path("fal", 1),
			fal.headers(userID, now.Add(302*time.Second+time.Minute), okBody), strings.NewReader(okBody), 401, "fal", "old",
		},
		{
			"signed bomb", http.MethodPost, e.path("fal", 1), fal.headers(userID, now, deep(1000)),
			strings.NewReader(deep(1000)), 400, "fal", "bad_json",
		},
	} {
		told := map[string]events.Unproven{
			"old": events.UnprovenClock, "bad_type": events.UnprovenContentType, "expired": events.UnprovenExpired,
		}[row.result]
		before, stored := e.counted(row.provider, row.result), e.kept.count()
		status, answer := e.send(row.method, row.path, row.header, row.body)
		if status != row.status || e.counted(row.provider, row.result) != before+1 {
			t.Errorf("%s: %d, want %d and one more %s of %s", row.name, status, row.status, row.result, row.provider)
		}
		if want := `{"error":"` + strings.ToLower(http.StatusText(row.status)) + `"}`; answer != want &&
			row.method != http.MethodHead {
			t.Errorf("%s: answered %q, want %q", row.name, answer, want)
		}
		switch published := e.kept.callbacks[stored:]; {
		case told == "" && len(published) != 0:
			t.Errorf("%s: %d published", row.name, len(published))
		case told != "" && (len(published) != 1 || published[0].Unproven != told || len(published[0].Body) > 0 ||
			published[0].Task != task || published[0].Received.Before(now)):
			t.Errorf("%s: published %+v, want that something came, and that the %s was wrong", row.name, published, told)
		}
	}
	if err := e.stop(); err != nil {
		t.Error(err)
	}
	if log := e.log.String(); !strings.Contains(log, `level=INFO msg="callback came after its URL had expired`) ||
		!strings.Contains(log, "result=expired lane=minimax task="+task.String()) {
		t.Error("what came too late is not in the log")
	}
	// A MAC in a log is as good as the URL.
	if mac := good[strings.LastIndexByte(good, '/')+1:]; strings.Contains(e.log.String(), mac) {
		t.Error("a MAC was logged")
	}
}

// endless is a body without an end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// No target, however odd, is ever redirected: fal takes a 3xx for a refusal for good.
func TestNoRedirects(t *testing.T) {
	t.Parallel()
	e := start(t)
	good := e.path("minimax", 1)
	for target, want := range map[string]string{
		"/" + good:     "404",
		good + "/":     "404",
		"/x/.." + good: "404",
		strings.Replace(good, "/cb/", "/cb/./", 1): "404",
		strings.Replace(good, "/cb/", "/cb//", 1):  "404",
		"*":                    "404",
		"http://example.test/": "404",
		e.url + good:           "200",
		good + "?a=b&c=/../":   "200",
		"/%zz":                 "400",
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(e.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
			target, len(update), update)
		line, err := bufio.NewReader(conn).ReadString('\n')
		_ = conn.Close()
		if fields := strings.Fields(line); err != nil || len(fields) < 2 || fields[1] != want {
			t.Errorf("%s: %q, %v, want %s", target, line, err, want)
		}
	}
}

// A public URL below a path works, whether the proxy before the service takes the path off or not.
func TestPublicURLWithPath(t *testing.T) {
	t.Parallel()
	e := start(t, func(o *webhook.Options) { o.PublicURL = "https://example.test/callbacks/reelay/" })
	for path, want := range map[string]int{
		e.path("minimax", 1):                       200,
		"/callbacks/reelay" + e.path("minimax", 1): 200,
		"/callbacks" + e.path("minimax", 1):        404,
	} {
		if status, _ := e.post(path, jsonHeader(), update); status != want {
			t.Errorf("%s: %d, want %d", path, status, want)
		}
	}
}

// A handshake is answered on the spot, whatever has become of NATS.
func TestHandshake(t *testing.T) {
	t.Parallel()
	e := start(t)
	e.kept.hang = true
	for body, want := range map[string]string{
		`{"challenge":"c9b1f0"}`:  `{"challenge":"c9b1f0"}`,
		`{"challenge": 12345678}`: `{"challenge":12345678}`,
	} {
		begin := time.Now()
		status, answer := e.post(e.path("minimax", 1), jsonHeader(), body)
		if took := time.Since(begin); status != 200 || answer != want || took > 3*time.Second {
			t.Errorf("%s: %d %s after %v", body, status, answer, took)
		}
	}
	if n := e.counted("minimax", "challenge"); n != 2 || e.kept.count() != 0 {
		t.Errorf("%v counted, %d published", n, e.kept.count())
	}
	// fal has no handshake: a signed body that looks like one is a callback, and this one finds nobody.
	e.kept.hang, e.kept.err = false, errors.New("no NATS")
	body := `{"challenge":"c9b1f0"}`
	if status, _ := e.post(e.path("fal", 1), newSigner().headers(userID, time.Now(), body), body); status != 503 {
		t.Errorf("fal: %d", status)
	}
}

// While NATS is down the provider is asked to come again.
func TestUnavailable(t *testing.T) {
	t.Parallel()
	e := start(t)
	e.kept.err = errors.New("no NATS")
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, e.url+e.path("minimax", 1),
		strings.NewReader(update))
	req.Header = jsonHeader()
	res, err := e.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 503 || res.Header.Get("Retry-After") != "10" || e.counted("minimax", "unavailable") != 1 {
		t.Errorf("%d, Retry-After %q", res.StatusCode, res.Header.Get("Retry-After"))
	}
	e.kept.err = nil
	if status, _ := e.post(e.path("minimax", 1), jsonHeader(), update); status != 200 {
		t.Errorf("afterwards: %d", status)
	}
}

// While fal's keys cannot be had it is asked to come again: what cannot be verified is neither believed nor refused for
// good.
func TestNoKeysOfFal(t *testing.T) {
	t.Parallel()
	verifier, err := fal.NewVerifier(fal.VerifierOptions{JWKSURL: "http://127.0.0.1:1/jwks", Transport: &http.Transport{}})
	if err != nil {
		t.Fatal(err)
	}
	e := start(t, func(o *webhook.Options) {
		o.Lanes = []provider.CallbackLane{{Name: "fal", Provider: "fal", Verifier: verifier}}
	})
	status, _ := e.post(e.path("fal", 1), newSigner().headers(userID, time.Now(), okBody), okBody)
	if status != 503 || e.counted("fal", "unavailable") != 1 || e.kept.count() != 0 {
		t.Errorf("%d, %d published", status, e.kept.count())
	}
}

// Neither a question about the server as a whole nor a mountain of headers gets as far as a callback.
func TestRawRequests(t *testing.T) {
	t.Parallel()
	e := start(t)
	for name, row := range map[string]struct{ request, want string }{
		"OPTIONS *":       {"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "405"},
		"long headers":    {"POST / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 32<<10) + "\r\n\r\n", "431"},
		"long path":       {"POST /" + strings.Repeat("x", 32<<10) + " HTTP/1.1\r\nHost: x\r\n\r\n", "431"},
		"two lengths":     {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "400"},
		"negative length": {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", "400"},
		"not HTTP":        {"SSH-2.0-OpenSSH_9.6\r\n\r\n", "400"},
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(e.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, row.request) // the answer may come before its end
		line, err := bufio.NewReader(conn).ReadString('\n')
		_ = conn.Close()
		if fields := strings.Fields(line); err != nil || len(fields) < 2 || fields[1] != row.want {
			t.Errorf("%s: %q, %v, want %s", name, line, err, row.want)
		}
	}
	if e.kept.count() != 0 {
		t.Errorf("%d published", e.kept.count())
	}
}

// A former key's URLs are good as long as it is among the keys.
func TestCallbackKeyRotation(t *testing.T) {
	t.Parallel()
	former := callbackurl.New([]callbackurl.Key{callbackKey("k1")})
	for _, row := range []struct {
		name string
		keys []callbackurl.Key
		want int
	}{
		{"before", []callbackurl.Key{callbackKey("k1")}, 200},
		{"during", []callbackurl.Key{callbackKey("n2"), callbackKey("k1")}, 200},
		{"after", []callbackurl.Key{callbackKey("n2")}, 404},
	} {
		e := start(t, func(o *webhook.Options) { o.Keys = callbackurl.New(row.keys) })
		if status, _ := e.post(former.URL("", "minimax", task, 1, until), jsonHeader(), update); status != row.want {
			t.Errorf("%s: %d, want %d", row.name, status, row.want)
		}
	}
}

// Strangers are told less and less, each for himself, and good callbacks through the same proxy pass all the while.
func TestRateOfRefusals(t *testing.T) {
	t.Parallel()
	e := start(t, func(o *webhook.Options) {
		o.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		o.Limits.RefusedPerSecond, o.Limits.RefusedBurst = 1e-9, 3
	})
	from := func(address string) http.Header {
		h := jsonHeader()
		h.Set("X-Forwarded-For", address)
		return h
	}
	for i, row := range []struct {
		from, path string
		want       int
	}{
		{"203.0.113.1", "/a", 404},
		{"203.0.113.1", "/b", 404},
		{"203.0.113.2", "/a", 404},
		{"203.0.113.1", "/c", 404},
		{"203.0.113.1", "/d", 429},
		{"198.51.100.7, 203.0.113.1", "/d", 429}, // the first is whatever the stranger likes
		{"203.0.113.1, 127.0.0.2", "/d", 429},    // the last is our own proxy
		{"203.0.113.1", e.path("minimax", 1), 200},
		{"203.0.113.2", "/b", 404},
		{"2001:db8::1", "/a", 404},
		{"2001:db8::2", "/a", 404},
		{"[2001:db8::3]:99", "/a", 404},
		{"2001:db8::4", "/a", 429},
		{"2001:db8:0:1::1", "/a", 404},
	} {
		if status, _ := e.post(row.path, from(row.from), update); status != row.want {
			t.Errorf("row %d, from %s: %d, want %d", i, row.from, status, row.want)
		}
	}
	if n := e.counted("none", "rate_limited"); n != 4 {
		t.Errorf("%v counted", n)
	}
}

// Without a trusted proxy nobody can choose the address he is known by.
func TestForwardedForIsNotTrusted(t *testing.T) {
	t.Parallel()
	e := start(t, func(o *webhook.Options) { o.Limits.RefusedPerSecond, o.Limits.RefusedBurst = 1e-9, 1 })
	for i, want := range []int{404, 429} {
		h := jsonHeader()
		h.Set("X-Forwarded-For", fmt.Sprintf("203.0.113.%d", i))
		if status, _ := e.post("/", h, ""); status != want {
			t.Errorf("%d, want %d", status, want)
		}
	}
}

// Whoever has got hold of one URL cannot flood the pipeline with it.
func TestRateOfOneURL(t *testing.T) {
	t.Parallel()
	e := start(t, func(o *webhook.Options) { o.Limits.CallsPerSecond, o.Limits.CallsBurst = 1e-9, 2 })
	for i, row := range []struct{ attempt, want int }{{1, 200}, {1, 200}, {1, 429}, {2, 200}} {
		if status, _ := e.post(e.path("minimax", row.attempt), jsonHeader(), fmt.Sprintf(`{"n":%d}`, i)); status != row.want {
			t.Errorf("%d: %d, want %d", i, status, row.want)
		}
	}
	if e.kept.count() != 3 {
		t.Errorf("%d published", e.kept.count())
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	good := webhook.Options{Keys: callbackurl.New([]callbackurl.Key{callbackKey("k")}), Log: slog.New(slog.DiscardHandler)}
	for _, row := range []struct {
		name   string
		change func(*webhook.Options)
		want   string
	}{
		{"no key", func(o *webhook.Options) { o.Keys = callbackurl.Keys{} }, "no callback key"},
		{
			"bad lane", func(o *webhook.Options) { o.Lanes = []provider.CallbackLane{{Name: "a b"}} },
			`lane "a b" is not 1 to 64 characters of A-Z a-z 0-9 _ -`,
		},
		{
			"bad public URL", func(o *webhook.Options) { o.PublicURL = "example.test" },
			`public URL: "example.test" is not an absolute URL`,
		},
	} {
		o := good
		row.change(&o)
		if _, err := webhook.New(o); err == nil || err.Error() != row.want {
			t.Errorf("%s: %v, want %s", row.name, err, row.want)
		}
	}
}
