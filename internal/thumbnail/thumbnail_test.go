package thumbnail_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"reelay/internal/ffmpeg"
	"reelay/internal/thumbnail"
)

var errBroken = errors.New("broken")

// A tool counts how often it is used, and waits for go before it fails or makes something.
type tool struct {
	used atomic.Int32
	next chan error
}

func (t *tool) Preview(ctx context.Context, dir, _ string, _ bool, _ int64) (ffmpeg.Made, error) {
	t.used.Add(1)
	select {
	case err := <-t.next:
		if err != nil {
			return ffmpeg.Made{}, err
		}
	case <-ctx.Done():
		return ffmpeg.Made{}, ctx.Err()
	}
	return ffmpeg.Made{Name: "made", ContentType: "image/jpeg"}, os.WriteFile(filepath.Join(dir, "made"), []byte("small"), 0o600)
}

func serve(t *testing.T) thumbnail.File {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("a video")) }))
	t.Cleanup(srv.Close)
	return thumbnail.File{Name: "kite", URL: srv.URL, ContentType: "video/mp4"}
}

// TestFailures: a file of which none can be made is not tried again for a while.
func TestFailures(t *testing.T) {
	f, made := serve(t), &tool{next: make(chan error, 2)}
	m := thumbnail.New(nil, func() (thumbnail.Tool, error) { return made, nil })
	made.next <- errBroken
	for range 2 {
		if _, err := m.Of(t.Context(), f, true); !errors.Is(err, errBroken) {
			t.Errorf("%v, want %v", err, errBroken)
		}
	}
	if n := made.used.Load(); n != 1 {
		t.Errorf("%d tries", n)
	}
}

// TestOneMaker: those who ask for one thumbnail at once get the same.
func TestOneMaker(t *testing.T) {
	f, made := serve(t), &tool{next: make(chan error)}
	m := thumbnail.New(nil, func() (thumbnail.Tool, error) { return made, nil })
	done := make(chan error)
	for range 3 {
		go func() {
			p, err := m.Of(t.Context(), f, true)
			if err == nil && string(p.Data) != "small" {
				err = errBroken
			}
			done <- err
		}()
	}
	made.next <- nil
	for range 3 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if n := made.used.Load(); n != 1 {
		t.Errorf("it was made %d times", n)
	}
}

// TestAbandoned: what a killed process has left goes when the next one starts.
func TestAbandoned(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	old, fresh := filepath.Join(os.TempDir(), "reelay-thumbnail-1"), filepath.Join(os.TempDir(), "reelay-thumbnail-2")
	for _, dir := range []string{old, fresh} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(old, time.Time{}, time.Now().Add(-2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	thumbnail.New(nil, nil)
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old one: %v", err)
	}
	if _, err := os.Stat(fresh); err != nil {
		t.Errorf("the fresh one: %v", err)
	}
}
