package fal_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"reelay/events"
	emufal "reelay/internal/emulator/fal"
	"reelay/internal/provider"
	"reelay/internal/provider/fal"
	"reelay/internal/secret"
)

// zeros is a file of nothing but zeros.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func fileOf(size int64) provider.File {
	sum := sha256.New()
	_, _ = io.CopyN(sum, zeros{}, size)
	return provider.File{
		Name: "frame.png", ContentType: "image/png", Size: size, SHA256: hex.EncodeToString(sum.Sum(nil)),
		Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(io.LimitReader(zeros{}, size)), nil },
	}
}

func uploader(t *testing.T, h http.Handler) *fal.Driver {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	d, err := fal.New(fal.Options{BaseURL: server.URL, Key: secret.New("canary-key")})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestUpload: a file arrives whole, in parts if it is large, and is kept as long as it is said to be; a request that names
// it is taken, and one that names a file that is gone is not.
func TestUpload(t *testing.T) {
	for _, size := range []int64{1, 91 << 20} {
		h := emufal.New(emufal.Options{})
		d := uploader(t, h)
		f := fileOf(size)
		up, err := d.Upload(t.Context(), "cdn", f)
		if err != nil {
			t.Fatal(err)
		}
		all := h.Ledger().Uploads()
		if len(all) != 1 || all[0].Size != size || all[0].SHA256 != f.SHA256 || all[0].ContentType != "image/png" {
			t.Fatalf("%d bytes arrived as %+v", size, all)
		}
		if left := all[0].ExpiresAt.Sub(up.ExpiresAt); left <= 0 || time.Until(up.ExpiresAt) < events.MaxTimeout {
			t.Errorf("it is said to live until %v and is kept until %v", up.ExpiresAt, all[0].ExpiresAt)
		}
		for body, status := range map[string]int{
			`{"image_url":` + string(up.Value) + `}`:                                            http.StatusOK,
			`{"image_url":` + strings.Replace(string(up.Value), "/files/", "/files/0", 1) + `}`: http.StatusUnprocessableEntity,
		} {
			r := httptest.NewRequest(http.MethodPost, "/fal-ai/wan", strings.NewReader(body))
			r.Header.Set("Authorization", "Key k")
			var place string
			if err := json.Unmarshal(up.Value, &place); err != nil {
				t.Fatal(err)
			}
			r.Host = strings.Split(place, "/")[2]
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != status {
				t.Errorf("%s: %d %s, want %d", body, w.Code, w.Body, status)
			}
		}
	}
}

// TestUploadFails: what may pass is tried again, what will not is said; no byte goes where the answer has no right to send
// it, and the key goes nowhere but to fal.
func TestUploadFails(t *testing.T) {
	for name, row := range map[string]struct {
		status int
		answer string
		kind   events.Kind
	}{
		"busy":             {503, `{"detail":"later"}`, events.KindRetry},
		"too many":         {429, `{"detail":"slower"}`, events.KindRateLimited},
		"no key":           {401, `{"detail":"invalid key credentials"}`, events.KindAuth},
		"unwanted":         {422, `{"detail":"no such type"}`, events.KindInvalid},
		"no place":         {200, `{"file_url":"https://v3.fal.media/x"}`, events.KindRetry},
		"in plain text":    {200, `{"upload_url":"http://media.test/x","file_url":"https://v3.fal.media/x"}`, events.KindRetry},
		"with credentials": {200, `{"upload_url":"https://a:b@media.test/x","file_url":"https://v3.fal.media/x"}`, events.KindRetry},
	} {
		d := uploader(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Fal-Request-Id", "1")
			w.WriteHeader(row.status)
			_, _ = io.WriteString(w, row.answer)
		}))
		_, err := d.Upload(t.Context(), "cdn", fileOf(1))
		var e *provider.Error
		if !errors.As(err, &e) || e.Kind != row.kind {
			t.Errorf("%s: %v, want %s", name, err, row.kind)
		}
	}
}
