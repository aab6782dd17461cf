package media

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
)

// TestOwn: the server that a person has named is asked in plain http, with its header; no other is.
func TestOwn(t *testing.T) {
	var auth []string
	serve := func(w http.ResponseWriter, r *http.Request) {
		auth = append(auth, r.Header.Get("Authorization"))
		_, _ = w.Write([]byte("\x00\x00\x00\x18ftypmp42 and so on"))
	}
	own, other := httptest.NewServer(http.HandlerFunc(serve)), httptest.NewServer(http.HandlerFunc(serve))
	defer own.Close()
	defer other.Close()
	at, err := url.Parse(own.URL)
	if err != nil {
		t.Fatal(err)
	}
	// A name that only this client knows, as that of a machine in a private network.
	const named = "http://gpu1.internal:8000/"
	f, err := NewOwn(named, http.Header{"Authorization": {"Bearer sk-1"}}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	f.Tries = 1
	f.Client.Transport = rerouted(at.Host)
	fetch := func(link string) error {
		into, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer into.Close()
		_, err = f.Fetch(t.Context(), Wanted{URL: link}, into)
		return err
	}
	if err := fetch(named + "v1/videos/a/content"); err != nil || len(auth) != 1 || auth[0] != "Bearer sk-1" {
		t.Errorf("own server: %v, %q", err, auth)
	}
	if err := fetch(other.URL + "/a"); err != nil || len(auth) != 2 || auth[1] != "" {
		t.Errorf("another server: %v, %q", err, auth)
	}
	for _, link := range []string{
		"http://gpu1.internal:8001/a", "http://gpu1.internal.evil.test:8000/a", "http://u:p@gpu1.internal:8000/a", "http://10.0.0.5/a",
	} {
		if err := fetch(link); !errors.Is(err, ErrUnsafe) {
			t.Errorf("%s: %v, want ErrUnsafe", link, err)
		}
	}
	if len(auth) != 2 {
		t.Errorf("%d calls", len(auth))
	}
	if _, err := NewOwn("gpu1", nil, 1); err == nil {
		t.Error("an address without a scheme is taken")
	}
}

// rerouted sends what is for a name without an address to another.
type rerouted string

func (to rerouted) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Hostname(), ".internal") {
		r = r.Clone(r.Context())
		r.URL.Host = string(to)
	}
	return http.DefaultTransport.RoundTrip(r)
}
