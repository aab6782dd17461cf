package archiver

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"reelay/internal/artifact"
	"reelay/internal/secret"
)

// TestLinks: whoever has a link reads the file by it, in parts too, until it expires. Nobody reads anything without.
func TestLinks(t *testing.T) {
	dir, err := artifact.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	const content, outOfRange = "moving pictures", "invalid range: failed to overlap\n"
	sum := sha256.Sum256([]byte(content))
	name := artifact.Name{Project: "demo", SHA256: hex.EncodeToString(sum[:]), Ext: ".mp4"}
	if err := dir.Put(t.Context(), name.String(), strings.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	old, key := secret.New(strings.Repeat("o", 32)), secret.New(strings.Repeat("k", 32))
	signing := func(keys ...secret.Value) *Service {
		return &Service{
			log: slog.New(slog.DiscardHandler), o: Options{Store: artifact.New("file:///", dir), Keys: keys},
		}
	}
	s, former, other := signing(key, old), signing(old), signing(secret.New("another"))
	web := httptest.NewServer(s.handler())
	defer web.Close()
	for _, one := range []*Service{s, former, other} {
		one.o.PublicURL = web.URL
	}

	soon := time.Now().Add(time.Minute)
	link := s.ownLink(name, "kite.mp4", soon)
	missing := name
	missing.SHA256 = strings.Repeat("0", 64)
	for _, row := range []struct {
		what, method, url string
		header            http.Header
		status            int
		body              string
	}{
		{"whole", http.MethodGet, link, nil, 200, content},
		{"a part", http.MethodGet, link, http.Header{"Range": {"bytes=7-"}}, 206, "pictures"},
		{"behind the end", http.MethodGet, link, http.Header{"Range": {"bytes=99-"}}, 416, outOfRange},
		{"head alone", http.MethodHead, link, nil, 200, ""},
		{"known already", http.MethodGet, link, http.Header{"If-None-Match": {`"` + name.SHA256 + `"`}}, 304, ""},
		{"signed by the former key", http.MethodGet, former.ownLink(name, "kite.mp4", soon), nil, 200, content},
		{"expired", http.MethodGet, s.ownLink(name, "k", time.Now().Add(-time.Second)), nil, 410, "Gone\n"},
		{"signed by another", http.MethodGet, other.ownLink(name, "k", soon), nil, 403, "Forbidden\n"},
		{"changed", http.MethodGet, strings.Replace(link, "expires=", "expires=9", 1), nil, 403, "Forbidden\n"},
		{"of another file", http.MethodGet, strings.Replace(link, name.SHA256, missing.SHA256, 1), nil, 403, "Forbidden\n"},
		{"without a link", http.MethodGet, web.URL + artifactsPath + name.String(), nil, 403, "Forbidden\n"},
		{"not stored", http.MethodGet, s.ownLink(missing, "k", soon), nil, 404, "404 page not found\n"},
		{"outside", http.MethodGet, web.URL + artifactsPath + "..%2f..%2fetc%2fpasswd", nil, 404, "404 page not found\n"},
		{"written to", http.MethodPut, link, nil, 405, "Method Not Allowed\n"},
	} {
		request, err := http.NewRequestWithContext(t.Context(), row.method, row.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if row.header != nil {
			request.Header = row.header
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil || response.StatusCode != row.status || string(body) != row.body {
			t.Errorf("%s: %d %q, %v; want %d %q", row.what, response.StatusCode, body, err, row.status, row.body)
		}
		if row.status != 200 {
			continue
		}
		h := response.Header
		if h.Get("Content-Type") != "video/mp4" || h.Get("Content-Disposition") != "attachment; filename=kite.mp4" ||
			h.Get("ETag") != `"`+name.SHA256+`"` || response.ContentLength != int64(len(content)) {
			t.Errorf("%s: %v", row.what, h)
		}
	}
}
