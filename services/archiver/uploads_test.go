package archiver

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/secret"
	"reelay/internal/test/broker"
)

// TestUploads: whoever has a link hands in the one file that it is for, as long as it works; what is not that file leaves
// what was there. Nobody hands in anything without.
func TestUploads(t *testing.T) {
	b := broker.Start(t)
	signing := func(name string) *Service {
		return &Service{
			log: b.Logger, o: Options{Bus: b.Open(bus.Options{}), Keys: []secret.Value{secret.New(strings.Repeat(name, 32))}},
		}
	}
	s, other := signing("k"), signing("o")
	web := httptest.NewServer(s.handler())
	defer web.Close()
	s.o.PublicURL, other.o.PublicURL = web.URL, web.URL

	const content = "moving pictures"
	sum := sha256.Sum256([]byte(content))
	digest := hex.EncodeToString(sum[:])
	soon := time.Now().Add(time.Minute)
	plain := events.UploadRequest{Name: "frame.png"}
	exact := events.UploadRequest{Name: "frame.png", Size: int64(len(content)), SHA256: digest, ContentType: "image/png"}
	link := s.uploadLink("demo", exact, soon)
	broken := io.MultiReader(strings.NewReader("mov"), iotest.ErrReader(errors.New("the client dies")))
	for _, row := range []struct {
		what, method, url string
		body              io.Reader
		status            int // 0 for an error of the client
	}{
		{"as asked for", http.MethodPut, link, strings.NewReader(content), 201},
		{"longer", http.MethodPut, link, strings.NewReader(content + "!"), 413},
		{"shorter", http.MethodPut, link, strings.NewReader(content[1:]), 400},
		{"empty", http.MethodPut, s.uploadLink("demo", plain, soon), nil, 400},
		{"of another sum", http.MethodPut, link, strings.NewReader(strings.ToUpper(content)), 400},
		{"cut", http.MethodPut, link, broken, 0},
		{"expired", http.MethodPut, s.uploadLink("demo", plain, time.Now().Add(-time.Second)), strings.NewReader("x"), 410},
		{"signed by another", http.MethodPut, other.uploadLink("demo", plain, soon), strings.NewReader("x"), 403},
		{"for another project", http.MethodPut, strings.Replace(link, "/demo/", "/film/", 1), strings.NewReader("x"), 403},
		{"of another size", http.MethodPut, strings.Replace(link, "size=15", "size=1", 1), strings.NewReader("x"), 403},
		{"outside", http.MethodPut, web.URL + inputsPath + "demo/..%2fframe.png", strings.NewReader("x"), 404},
		{"read", http.MethodGet, link, nil, 405},
	} {
		request, err := http.NewRequestWithContext(t.Context(), row.method, row.url, row.body)
		if err != nil {
			t.Fatal(err)
		}
		status, answer := 0, []byte(nil)
		if response, err := http.DefaultClient.Do(request); err == nil {
			answer, _ = io.ReadAll(response.Body)
			_ = response.Body.Close()
			status = response.StatusCode
		}
		if status != row.status {
			t.Errorf("%s: %d %s, want %d", row.what, status, answer, row.status)
		}
		file, err := s.o.Bus.Input(t.Context(), "demo", "frame.png")
		if err != nil || file.SHA256 != digest || file.Size != int64(len(content)) || file.ContentType != "image/png" {
			t.Errorf("%s: the file is %+v, %v", row.what, file, err)
		}
	}
	if _, err := s.o.Bus.Input(t.Context(), "film", "frame.png"); !errors.Is(err, bus.ErrNoInput) {
		t.Errorf("another project's file: %v", err)
	}
	r, err := s.o.Bus.OpenInput(t.Context(), "demo", "frame.png")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || string(got) != content {
		t.Errorf("the file holds %q, %v", got, err)
	}
}
