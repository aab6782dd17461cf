package emulator

import (
	"bytes"
	"image/png"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestMediaIsWhatItsTypeSays(t *testing.T) {
	t.Parallel()
	for taskType, want := range map[string]struct {
		contentType string
		magic       string
		at          int
	}{
		"video":  {"video/mp4", "ftyp", 4},
		"image":  {"image/png", "\x89PNG\r\n", 0},
		"audio":  {"audio/wav", "WAVEfmt ", 8},
		"speech": {"audio/wav", "WAVEfmt ", 8},
		"other":  {"video/mp4", "ftyp", 4},
	} {
		name, contentType, body := Media(taskType)
		if contentType != want.contentType || name == "" {
			t.Errorf("%s: name %q, content type %q, want %q", taskType, name, contentType, want.contentType)
		}
		if len(body) > 40<<10 || !bytes.HasPrefix(body[want.at:], []byte(want.magic)) {
			t.Errorf("%s: %d bytes that begin with %q, want %q at %d and at most 40 KiB", taskType, len(body), body[:16],
				want.magic, want.at)
		}
		if _, _, again := Media(taskType); !bytes.Equal(body, again) {
			t.Errorf("%s: the bytes differ between two calls", taskType)
		}
	}
	if _, err := png.Decode(bytes.NewReader(testImage())); err != nil {
		t.Errorf("image: %v", err)
	}
}

func TestServeMedia(t *testing.T) {
	t.Parallel()
	_, _, whole := Media("video")
	get := func(method string, header ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "/media/x.mp4", nil)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		ServeMedia(w, r, "video")
		return w
	}
	etag := get(http.MethodGet).Header().Get("ETag")
	for _, row := range []struct {
		name   string
		got    *httptest.ResponseRecorder
		status int
		body   []byte
	}{
		{"whole", get(http.MethodGet), 200, whole},
		{"head", get(http.MethodHead), 200, nil},
		{"range", get(http.MethodGet, "Range", "bytes=10-19"), 206, whole[10:20]},
		{"range past the end", get(http.MethodGet, "Range", "bytes=99999999-"), 416, nil},
		{"known etag", get(http.MethodGet, "If-None-Match", etag), 304, nil},
		{"post", get(http.MethodPost), 405, nil},
	} {
		if row.got.Code != row.status {
			t.Errorf("%s: status %d, want %d", row.name, row.got.Code, row.status)
		}
		if row.body != nil && !bytes.Equal(row.got.Body.Bytes(), row.body) {
			t.Errorf("%s: %d bytes, want %d", row.name, row.got.Body.Len(), len(row.body))
		}
	}
	if got := get(http.MethodGet).Header().Get("Content-Disposition"); got != `attachment; filename="sample.mp4"` {
		t.Errorf("disposition %q", got)
	}
}
