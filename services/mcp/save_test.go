package mcp

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"reelay/events"
	"reelay/internal/media"
)

// A file is saved under a plain name in the directory that was named, and nowhere else.
func TestSave(t *testing.T) {
	png := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"), make([]byte, 100)...)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(png) }))
	defer server.Close()
	dir := t.TempDir()
	b := &bridge{log: slog.New(slog.DiscardHandler), saver: &media.Saver{Dir: filepath.Join(dir, "files"), Fetcher: media.NewFetcher(media.Loopback(), media.DefaultMaxBytes)}}
	o := output{URL: server.URL + "/a", ContentType: "image/png"}
	for _, want := range []string{"kite.png", "kite_2.png"} {
		path, err := b.save(t.Context(), events.Output{}, o, "kite.png")
		if err != nil || path != filepath.Join(dir, "files", want) {
			t.Fatalf("%s, %v", path, err)
		}
		if saved, err := os.ReadFile(path); err != nil || !bytes.Equal(saved, png) {
			t.Errorf("%s: %d bytes, %v", path, len(saved), err)
		}
	}
	for _, name := range []string{"../kite", "a/b", "/etc/kite", "", ".", "..", ".ssh", `a\b`, "a\x00"} {
		if path, err := b.save(t.Context(), events.Output{}, o, name); err == nil {
			t.Errorf("saved as %q: %s", name, path)
		}
	}
	if all, err := os.ReadDir(dir); err != nil || len(all) != 1 {
		t.Errorf("beside the directory: %v, %v", all, err)
	}
}
