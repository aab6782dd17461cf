package media

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const testTries = 3

// whole is a file of 2000 bytes.
var whole = box("isom") + strings.Repeat("\x07", 2000-len(box("isom")))

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func testSaver(t *testing.T) *Saver {
	t.Helper()
	f := NewFetcher(Loopback(), DefaultMaxBytes)
	f.Pause, f.MaxBytes, f.Tries = 0, 2000, testTries
	return &Saver{Dir: filepath.Join(t.TempDir(), "out"), Fetcher: f}
}

// files lists what is in a saver's directory, half files included.
func files(t *testing.T, s *Saver) []string {
	t.Helper()
	entries, err := os.ReadDir(s.Dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// fails checks that nothing is saved, nothing is left behind and nothing secret is told.
func fails(t *testing.T, s *Saver, w Wanted, is error, want string) {
	t.Helper()
	_, _, err := s.Save(t.Context(), "t", w)
	if err == nil || is != nil && !errors.Is(err, is) || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %v with %q", err, is, want)
	}
	if err != nil && strings.Contains(err.Error(), "hush") {
		t.Errorf("the error tells what the link hides: %v", err)
	}
	if left := files(t, s); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestFetchFails(t *testing.T) {
	var calls, strangers atomic.Int32
	mux := http.NewServeMux()
	dead := httptest.NewServer(nil)
	dead.Close()
	body := func(path, text string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) })
	}
	status := func(path string, code int) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
	}
	status("/forbidden", http.StatusForbidden)
	status("/missing", http.StatusNotFound)
	status("/gone", http.StatusGone)
	status("/sick", http.StatusBadGateway)
	status("/part", http.StatusPartialContent)
	body("/long", whole+"+")
	body("/html", "<!doctype html><html>expired</html>")
	body("/empty", "")
	body("/some", whole[:800])
	mux.HandleFunc("/endless", func(w http.ResponseWriter, _ *http.Request) {
		for range 100 {
			_, _ = w.Write([]byte(whole[:100]))
			w.(http.Flusher).Flush() // so that no length is told
		}
	})
	mux.HandleFunc("/cut", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "2000")
		_, _ = w.Write([]byte(whole[:800]))
	})
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/loop", http.StatusFound)
	})
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://media.example/x", http.StatusFound)
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		if r.Header.Get("Referer") != "" || r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" {
			strangers.Add(1)
		}
		mux.ServeHTTP(w, r)
	}))
	defer server.Close()

	for _, row := range []struct {
		name   string
		wanted Wanted
		is     error
		want   string
		calls  int32
	}{
		{"plain http", Wanted{URL: "http://media.example/x"}, ErrUnsafe, "is not https", 0},
		{"a file", Wanted{URL: "file:///etc/passwd"}, ErrUnsafe, "is not https", 0},
		{"no host", Wanted{URL: "https:///x"}, ErrUnsafe, "is not https", 0},
		{"credentials", Wanted{URL: "https://u:hush@media.example/x"}, ErrUnsafe, "holds credentials", 0},
		{"no URL", Wanted{URL: "https://%zz"}, ErrUnsafe, "no URL", 0},
		{"nobody there", Wanted{URL: dead.URL + "/x?token=hush"}, nil, "connection refused (3 tries)", 0},
		{"forbidden", Wanted{URL: "/forbidden?token=hush"}, nil, "HTTP 403; the link may have expired", testTries},
		{"not there", Wanted{URL: "/missing?token=hush"}, nil, "HTTP 404; the link may have expired", testTries},
		{"gone", Wanted{URL: "/gone?token=hush"}, nil, "HTTP 410; the link may have expired", 1},
		{"a sick server", Wanted{URL: "/sick?token=hush"}, nil, "HTTP 502 (3 tries)", testTries},
		{"a part that was not asked for", Wanted{URL: "/part"}, nil, "HTTP 206", testTries},
		{"a length over the limit", Wanted{URL: "/long"}, ErrTooLarge, "it has 2001", 1},
		{"a body over the limit", Wanted{URL: "/endless"}, ErrTooLarge, "of 2000 bytes", 1},
		{"a cut body", Wanted{URL: "/cut"}, io.ErrUnexpectedEOF, "after 800 of 2000 bytes (video/mp4)", testTries},
		{"an early end", Wanted{URL: "/some", Size: 2000}, ErrShort, "after 800 of 2000 bytes (video/mp4)", testTries},
		{"a page", Wanted{URL: "/html", ContentType: "video/mp4"}, ErrNotMedia, "text/html (35 bytes)", testTries},
		{"nothing", Wanted{URL: "/empty", ContentType: "video/mp4"}, ErrNotMedia, "empty (0 bytes)", testTries},
		{"another file", Wanted{URL: "/some", SHA256: digest("other")}, ErrChecksum, "SHA-256", testTries},
		{"a redirect loop", Wanted{URL: "/loop?token=hush"}, ErrUnsafe, "more than 3 redirects", 1 + maxRedirects},
		{"a redirect to plain http", Wanted{URL: "/away?token=hush"}, ErrUnsafe, "is not https", 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			calls.Store(0)
			if strings.HasPrefix(row.wanted.URL, "/") {
				row.wanted.URL = server.URL + row.wanted.URL
			}
			fails(t, testSaver(t), row.wanted, row.is, row.want)
			if calls.Load() != row.calls {
				t.Errorf("%d calls, want %d", calls.Load(), row.calls)
			}
		})
	}
	if strangers.Load() > 0 {
		t.Errorf("%d calls carried a header that tells something", strangers.Load())
	}
}

// TestFetchAgain: each answer is that to one try; the last is the file.
func TestFetchAgain(t *testing.T) {
	const tag = `"v1"`
	cut := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "2000")
		_, _ = w.Write([]byte(whole[:800]))
	}
	tagged := func(mark string, f http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { w.Header().Set("ETag", mark); f(w, r) }
	}
	all := func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(whole)) }
	some := func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(whole[:800])) }
	open := func(w http.ResponseWriter, r *http.Request) { some(w, r); w.(http.Flusher).Flush() } // no length is told
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	rest := func(span, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", span)
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write([]byte(text))
		}
	}
	good := rest("bytes 800-1999/2000", whole[800:])
	for name, row := range map[string]struct {
		answers []http.HandlerFunc
		asked   []string // Range and If-Range of each try
	}{
		"403 at first":           {[]http.HandlerFunc{status(403), all}, []string{" ", " "}},
		"404, then 503":          {[]http.HandlerFunc{status(404), status(503), all}, []string{" ", " ", " "}},
		"resumed":                {[]http.HandlerFunc{cut, good}, []string{" ", "bytes=800- "}},
		"resumed by its tag":     {[]http.HandlerFunc{tagged(tag, cut), good}, []string{" ", "bytes=800- " + tag}},
		"a weak tag":             {[]http.HandlerFunc{tagged("W/"+tag, cut), good}, []string{" ", "bytes=800- "}},
		"changed in between":     {[]http.HandlerFunc{tagged(tag, cut), all}, []string{" ", "bytes=800- " + tag}},
		"an early end, resumed":  {[]http.HandlerFunc{open, good}, []string{" ", "bytes=800- "}},
		"half a file as a whole": {[]http.HandlerFunc{some, all}, []string{" ", " "}},
		"another part": {
			[]http.HandlerFunc{cut, rest("bytes 0-1/2000", whole[:2]), all},
			[]string{" ", "bytes=800- ", " "},
		},
		"a part of another file": {
			[]http.HandlerFunc{cut, rest("bytes 800-900/901", "x"), all},
			[]string{" ", "bytes=800- ", " "},
		},
		"no part":         {[]http.HandlerFunc{cut, status(416), all}, []string{" ", "bytes=800- ", " "}},
		"sick in between": {[]http.HandlerFunc{cut, status(502), good}, []string{" ", "bytes=800- ", "bytes=800- "}},
		"a page at first": {[]http.HandlerFunc{func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("<!doctype html><html>not yet</html>"))
		}, all}, []string{" ", " "}},
	} {
		t.Run(name, func(t *testing.T) {
			var asked []string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked = append(asked, r.Header.Get("Range")+" "+r.Header.Get("If-Range"))
				row.answers[min(len(asked), len(row.answers))-1](w, r)
			}))
			defer server.Close()
			s := testSaver(t)
			path, got, err := s.Save(t.Context(), "t",
				Wanted{URL: server.URL + "/x", ContentType: "video/mp4", Size: 2000, SHA256: digest(whole)})
			if err != nil || got.Size != 2000 || got.SHA256 != digest(whole) || got.Warning != "" {
				t.Fatalf("got %+v, %v", got, err)
			}
			if content, err := os.ReadFile(path); string(content) != whole {
				t.Errorf("%s holds %d bytes, %v", path, len(content), err)
			}
			if !slices.Equal(asked, row.asked) {
				t.Errorf("asked for %q, want %q", asked, row.asked)
			}
		})
	}
}

// TestFetchGzip: a body that is encoded although nobody asked for it is decoded, and not resumed by its own offsets.
func TestFetchGzip(t *testing.T) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(whole))
	_ = z.Close()
	for name, row := range map[string]struct {
		first, then string
		calls       int
	}{
		"encoded":         {b.String(), "", 1},
		"only said so":    {whole, "", 1},
		"broken off once": {b.String()[:b.Len()-4], b.String(), 2},
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				calls++
				if r.Header.Get("Range") != "" || r.Header.Get("Accept-Encoding") != "identity" {
					t.Errorf("asked with %v", r.Header)
				}
				w.Header().Set("Content-Encoding", "gzip")
				_, _ = io.WriteString(w, map[bool]string{true: row.first, false: row.then}[calls == 1])
			}))
			defer server.Close()
			_, got, err := testSaver(t).Save(t.Context(), "t", Wanted{URL: server.URL, ContentType: "video/mp4"})
			if err != nil || got.SHA256 != digest(whole) || calls != row.calls {
				t.Errorf("got %+v, %v after %d calls", got, err, calls)
			}
		})
	}
}

// TestFetchLinks: a link is asked for as a browser would ask for it.
func TestFetchLinks(t *testing.T) {
	var asked string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.RequestURI
		if to := r.URL.Query().Get("to"); to != "" {
			w.Header().Set("Location", to)
			w.WriteHeader(http.StatusFound)
			return
		}
		_, _ = w.Write([]byte(whole))
	}))
	defer server.Close()
	for link, want := range map[string]string{
		"/a b.mp4":                 "/a%20b.mp4",
		"/a%20b%2Fc d.mp4":         "/a%20b%2Fc%20d.mp4",
		"/drachen-über.mp4":        "/drachen-%C3%BCber.mp4",
		"/x.mp4?name=a b&q=ü'":     "/x.mp4?name=a%20b&q=%C3%BC%27",
		"/100%.mp4?sig=%2F%zz":     "/100%25.mp4?sig=%2F%25zz",
		"/a\nb.mp4#t=3":            "/ab.mp4",
		"/x.mp4?sig=a%2Bb%3D&e=1+": "/x.mp4?sig=a%2Bb%3D&e=1+",
		"/a|b[1].mp4":              "/a%7Cb[1].mp4",
		"/x?to=/y%3Fname=a%20b":    "/y?name=a%20b",
	} {
		_, _, err := testSaver(t).Save(t.Context(), "t", Wanted{URL: " " + server.URL + link + " "})
		if err != nil || asked != want {
			t.Errorf("%q: asked for %q, want %q; %v", link, asked, want, err)
		}
	}
}

// A trip answers a request without a network.
type trip func(*http.Request) (*http.Response, error)

func (f trip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// stalling gives what it has and then nothing until its request is given up.
type stalling struct {
	ctx  context.Context
	rest io.Reader
}

func (s *stalling) Read(p []byte) (int, error) {
	if n, err := s.rest.Read(p); err == nil {
		time.Sleep(50 * time.Second) // slow, and not stalled
		return n, nil
	}
	<-s.ctx.Done()
	return 0, s.ctx.Err()
}

func (s *stalling) Close() error { return nil }

func TestFetchWaits(t *testing.T) {
	answer := func(r *http.Request, code int, header string, value string, body io.ReadCloser) *http.Response {
		return &http.Response{
			StatusCode: code, Header: http.Header{header: {value}}, Body: body, ContentLength: -1, Request: r,
		}
	}
	none := io.NopCloser(strings.NewReader(""))
	for name, row := range map[string]struct {
		trip trip
		took time.Duration
		want string
	}{
		"stalled": {func(r *http.Request) (*http.Response, error) {
			body := &stalling{r.Context(), strings.NewReader(whole)}
			return answer(r, 200, "Content-Type", "video/mp4", body), nil
		}, 5*(50+60)*time.Second + 15*time.Second, "no bytes came for 1m0s after 2000 bytes (video/mp4) (5 tries)"},
		"no answer": {func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}, 5*time.Minute + 15*time.Second, "no bytes came for 1m0s (5 tries)"},
		"asked to wait": {func(r *http.Request) (*http.Response, error) {
			return answer(r, 429, "Retry-After", "7", none), nil
		}, (7 + 7 + 7 + 8) * time.Second, "HTTP 429 (5 tries)"},
		"asked to wait for long": {func(r *http.Request) (*http.Response, error) {
			return answer(r, 503, "Retry-After", "86400", none), nil
		}, 4 * time.Minute, "HTTP 503 (5 tries)"},
		"asked to wait until": {func(r *http.Request) (*http.Response, error) {
			return answer(r, 503, "Retry-After", time.Now().Add(20*time.Second).UTC().Format(http.TimeFormat), none), nil
		}, 80 * time.Second, "HTTP 503"},
		"for ever": {func(r *http.Request) (*http.Response, error) {
			return answer(r, 200, "", "", io.NopCloser(dripping{r.Context()})), nil
		}, 30 * time.Minute, "deadline exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := testSaver(t)
				f := NewFetcher(nil, DefaultMaxBytes)
				f.Client.Transport = row.trip
				s.Fetcher = f
				start := time.Now()
				fails(t, s, Wanted{URL: "https://media.example/x?hush", ContentType: "video/mp4"}, nil, row.want)
				if took := time.Since(start); took.Round(time.Second) != row.took {
					t.Errorf("took %v, want %v", took, row.took)
				}
			})
		})
	}
}

// dripping gives a byte a minute, all but.
type dripping struct{ ctx context.Context }

func (d dripping) Read(p []byte) (int, error) {
	select {
	case <-time.After(59 * time.Second):
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	}
	p[0] = 7
	return 1, nil
}

// TestFetchCancelled: who has given up is told so, and not that a download failed.
func TestFetchCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		cancel()
		w.WriteHeader(http.StatusBadGateway)
	}))
	defer server.Close()
	if _, _, err := testSaver(t).Save(ctx, "t", Wanted{URL: server.URL}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestRedirectKeepsHTTPS cannot be tried on a real https server without giving it our trust.
func TestRedirectKeepsHTTPS(t *testing.T) {
	request := func(url string) *http.Request {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Referer", "https://a/?token")
		return r
	}
	first := []*http.Request{request("https://a/x")}
	if err := checkRedirect(request("http://127.0.0.1/x"), first); !errors.Is(err, ErrUnsafe) {
		t.Errorf("from https to this machine: got %v", err)
	}
	next := request("https://b/x")
	if err := checkRedirect(next, first); err != nil || next.Header.Get("Referer") != "" {
		t.Errorf("from https to https: got %v, Referer %q", err, next.Header.Get("Referer"))
	}
}

func TestSaveNames(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", r.URL.Query().Get("type"))
		_, _ = w.Write([]byte("\x01\x02\x03\x00")) // nobody knows what it is
	}))
	defer server.Close()
	for _, row := range []struct{ name, contentType, path, fileName, want string }{
		{"the output's type", "video/mp4; codecs=x", "/a.bin?type=image/png", "", "t.mp4"},
		{"the answer's type", "", "/a.bin?type=image/png", "", "t.png"},
		{"an empty word", "application/octet-stream", "/a.GLB?type=application/octet-stream", "", "t.glb"},
		{"the file name", "", "/a?type=x/y", "b.safetensors.tar", "t.tar"},
		{"nothing", "", "/a.b/c?type=x/y", "", "t.bin"},
		{"a bad extension", "", "/a.%2F..%2Fx?type=x/y", "", "t.bin"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := testSaver(t)
			got, _, err := s.Save(t.Context(), "t",
				Wanted{URL: server.URL + row.path, ContentType: row.contentType, FileName: row.fileName})
			if err != nil || got != filepath.Join(s.Dir, row.want) {
				t.Errorf("got %q, %v; want %s", got, err, row.want)
			}
		})
	}
}

// TestSaveTellsProgress: also a download that broke off in the middle is told as far as it is.
func TestSaveTellsProgress(t *testing.T) {
	tries := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Content-Length", "8")
		if tries++; tries == 1 {
			_, _ = w.Write([]byte("kite")) // and no more
			return
		}
		_, _ = w.Write([]byte("kitekite"))
	}))
	defer server.Close()
	s := testSaver(t)
	var told []int64
	s.Progress = func(have, total int64) { told = append(told, have, total) }
	if _, got, err := s.Save(t.Context(), "t", Wanted{URL: server.URL, Size: 8}); err != nil || got.Size != 8 {
		t.Fatal(got, err)
	}
	if want := []int64{4, 8, 8, 8}; !slices.Equal(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
}

func TestSaveNeverOverwrites(t *testing.T) {
	s := testSaver(t)
	for i, want := range []string{"t.txt", "t_2.txt", "t_3.txt"} {
		got, _, err := s.SaveFrom("t", Wanted{ContentType: "text/plain"}, strings.NewReader(fmt.Sprint(i)))
		content, _ := os.ReadFile(got)
		if err != nil || filepath.Base(got) != want || string(content) != fmt.Sprint(i) {
			t.Errorf("%s holds %q, want %s; %v", got, content, want, err)
		}
	}
	if _, _, err := s.SaveFrom("t", Wanted{}, strings.NewReader(whole+"+")); !errors.Is(err, ErrTooLarge) {
		t.Errorf("over the limit: %v", err)
	}
	if got := files(t, s); len(got) != 3 {
		t.Errorf("left behind: %v", got)
	}
}

func TestSaveDataURL(t *testing.T) {
	for link, want := range map[string]string{
		"data:image/png;base64,iVBORw0KGgoAAAANSUhEUg==":   "t.png 16",
		"DATA:;base64,iVBORw0KGgoAAAANSUhEUg":              "t.png 16",
		"data:image/jpeg;base64,iVBORw0KGgoAAAANSUhEUg%3D": "t.png 16",
		"data:application/octet-stream;base64,AAH_-w":      "t.bin 4",
		"data:text/plain;charset=utf-8,a%20kite":           "t.txt 6",
		"data:image/png;base64,":                           "it is empty",
		"data:image/png;base64,*":                          "cannot be read",
		"data:image/png":                                   "no data: URL",
	} {
		path, got, err := testSaver(t).Save(t.Context(), "t", Wanted{URL: link})
		text := fmt.Sprintf("%s %d", filepath.Base(path), got.Size)
		if err != nil {
			text = err.Error()
		}
		if !strings.Contains(text, want) {
			t.Errorf("%s: got %s, want %s", link, text, want)
		}
	}
}
