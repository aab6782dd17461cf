package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"reelay/events"
)

func testDownloader(t *testing.T) *downloader {
	t.Helper()
	d := newDownloader(filepath.Join(t.TempDir(), "out"))
	d.pause, d.maxBytes = 0, 10
	return d
}

// files lists what is in a downloader's directory, half files included.
func files(t *testing.T, d *downloader) []string {
	t.Helper()
	entries, err := os.ReadDir(d.dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestDownloadNames(t *testing.T) {
	media := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", r.URL.Query().Get("type"))
		_, _ = w.Write([]byte("media"))
	}))
	defer media.Close()
	for _, row := range []struct{ name, contentType, path, fileName, want string }{
		{"the output's type", "video/mp4; codecs=x", "/a.bin?type=image/png", "", "t.mp4"},
		{"the answer's type", "", "/a.bin?type=image/png", "", "t.png"},
		{"an empty word", "application/octet-stream", "/a.GLB?type=application/octet-stream", "", "t.glb"},
		{"the file name", "", "/a?type=x/y", "b.safetensors.tar", "t.tar"},
		{"nothing", "", "/a.b/c?type=x/y", "", "t.bin"},
		{"a bad extension", "", "/a.%2F..%2Fx?type=x/y", "", "t.bin"},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := testDownloader(t)
			got, err := d.save(t.Context(), "t",
				events.Output{URL: media.URL + row.path, ContentType: row.contentType, FileName: row.fileName})
			if err != nil || got != filepath.Join(d.dir, row.want) {
				t.Errorf("got %q, %v; want %s", got, err, row.want)
			}
		})
	}

	t.Run("several, and none overwritten", func(t *testing.T) {
		d := testDownloader(t)
		o := events.Output{URL: media.URL + "/a.png"}
		if err := os.MkdirAll(d.dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(d.dir, "t-2.png"), []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := d.saveAll(t.Context(), "t", []events.Output{o, o}); err != nil {
			t.Fatal(err)
		}
		if got, want := files(t, d), []string{"t-1.png", "t-2.png", "t-2_2.png"}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		for name, want := range map[string]string{"t-1.png": "media", "t-2.png": "mine", "t-2_2.png": "media"} {
			if got, err := os.ReadFile(filepath.Join(d.dir, name)); string(got) != want {
				t.Errorf("%s holds %q (%v), want %q", name, got, err, want)
			}
		}
	})
}

func TestDownloadFails(t *testing.T) {
	var calls, strangers atomic.Int32
	mux := http.NewServeMux()
	media := httptest.NewServer(mux)
	defer media.Close()
	dead := httptest.NewServer(nil)
	dead.Close()
	body := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) }
	}
	mux.HandleFunc("/gone", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	mux.HandleFunc("/sick", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	mux.HandleFunc("/long", body("0123456789+"))
	mux.HandleFunc("/endless", func(w http.ResponseWriter, _ *http.Request) {
		for range 100 {
			_, _ = w.Write([]byte("0123456789"))
			w.(http.Flusher).Flush() // so that no length is told
		}
	})
	mux.HandleFunc("/cut", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "9")
		_, _ = w.Write([]byte("0"))
	})
	mux.HandleFunc("/other", body("other"))
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/loop", http.StatusFound)
	})
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://media.example/x", http.StatusFound)
	})
	count := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		if r.Header.Get("Referer") != "" || r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" {
			strangers.Add(1)
		}
		mux.ServeHTTP(w, r)
	})
	media.Config.Handler = count

	for _, row := range []struct {
		name, url string
		sha256    string
		is        error
		want      string
		calls     int32
	}{
		{"plain http", "http://media.example/x", "", errUnsafeURL, "is not https", 0},
		{"a file", "file:///etc/passwd", "", errUnsafeURL, "is not https", 0},
		{"no host", "https:///x", "", errUnsafeURL, "is not https", 0},
		{"credentials", "https://u:hush@media.example/x", "", errUnsafeURL, "holds credentials", 0},
		{"no URL", "https://%zz", "", errUnsafeURL, "no URL", 0},
		{"nobody there", dead.URL + "/x?token=hush", "", nil, "connection refused", 0},
		{"a link that has died", media.URL + "/gone?token=hush", "", nil, "HTTP 403; the link may have expired", 1},
		{"a sick server", media.URL + "/sick?token=hush", "", nil, "HTTP 502", downloadTries},
		{"a length over the limit", media.URL + "/long", "", errTooLarge, "it has 11", 1},
		{"a body over the limit", media.URL + "/endless", "", errTooLarge, "of 10 bytes", 1},
		{"a cut body", media.URL + "/cut", "", nil, "unexpected EOF", downloadTries},
		{"another file", media.URL + "/other", strings.Repeat("0", 64), errChecksum, "SHA-256", downloadTries},
		{"a redirect loop", media.URL + "/loop?token=hush", "", errUnsafeURL, "more than 3 redirects", 1 + maxRedirects},
		{"a redirect to plain http", media.URL + "/away?token=hush", "", errUnsafeURL, "is not https", 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			calls.Store(0)
			d := testDownloader(t)
			_, err := d.save(t.Context(), "t", events.Output{URL: row.url, SHA256: row.sha256})
			if err == nil || row.is != nil && !errors.Is(err, row.is) || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want %v with %q", err, row.is, row.want)
			}
			if err != nil && strings.Contains(err.Error(), "hush") {
				t.Errorf("the error tells what the link hides: %v", err)
			}
			if calls.Load() != row.calls {
				t.Errorf("%d calls, want %d", calls.Load(), row.calls)
			}
			if left := files(t, d); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
	if strangers.Load() > 0 {
		t.Errorf("%d calls carried a header that tells something", strangers.Load())
	}
}

// TestRedirectKeepsHTTPS cannot be tried on a real https server without giving it our trust.
func TestRedirectKeepsHTTPS(t *testing.T) {
	request := func(url string) *http.Request {
		r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Referer", "https://a/?token")
		return r
	}
	first := []*http.Request{request("https://a/x")}
	if err := checkRedirect(request("http://127.0.0.1/x"), first); !errors.Is(err, errUnsafeURL) {
		t.Errorf("from https to this machine: got %v", err)
	}
	next := request("https://b/x")
	if err := checkRedirect(next, first); err != nil || next.Header.Get("Referer") != "" {
		t.Errorf("from https to https: got %v, Referer %q", err, next.Header.Get("Referer"))
	}
}
