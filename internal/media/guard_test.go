package media

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestGuarded: neither a link nor a redirect leads to an address that is not public, however it is written; a proxy of
// the environment is not asked.
func TestGuarded(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	usual := net.DefaultResolver
	defer func() { net.DefaultResolver = usual }()
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("no name server is asked")
	}}
	hits := 0
	secret := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		hits++
		_, _ = w.Write([]byte(whole))
	}))
	defer secret.Close()
	port := secret.URL[strings.LastIndex(secret.URL, ":"):]
	var links []string
	for _, host := range []string{
		"127.0.0.1", "127.1", "127.0.1", "0", "0.0.0.0", "2130706433", "0x7f000001", "0x7f.0x0.0x0.0x1", "017700000001",
		"0177.0.0.1", "127.0.0.1.", "localhost", "LOCALHOST", "localhost.", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
		"[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[fe80::1]", "[fd00::1]", "10.0.0.1", "169.254.169.254", "192.168.0.1",
		"metadata.google.internal", "%31%32%37.0.0.1", "127.0.0.1%00.example", "\uff11\uff12\uff17.0.0.1", "u@127.0.0.1", "example.test@127.0.0.1",
	} {
		for _, scheme := range []string{"http://", "https://"} {
			for _, at := range []string{"", port, ":80", ":443"} {
				links = append(links, scheme+host+at+"/")
			}
		}
	}
	links = append(links, "file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1"+port+"/", "//127.0.0.1"+port+"/", "unix:/x")
	redirect := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i, _ := strconv.Atoi(r.URL.Query().Get("to"))
		w.Header()["Location"] = []string{links[i]}
		w.WriteHeader(http.StatusFound)
	}))
	defer redirect.Close()
	f := NewFetcher([]string{strings.TrimPrefix(redirect.URL, "http://")}, DefaultMaxBytes)
	f.Tries = 1
	for i, link := range links {
		for _, link := range []string{link, redirect.URL + "/?to=" + strconv.Itoa(i)} {
			into, err := os.CreateTemp(t.TempDir(), "")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.Fetch(t.Context(), Wanted{URL: link}, into); err == nil {
				t.Errorf("%s (%s) was fetched", link, links[i])
			}
			_ = into.Close()
		}
	}
	if 2*len(links) < 500 {
		t.Errorf("%d links and redirects", 2*len(links))
	}
	if hits > 0 {
		t.Errorf("%d requests came to a server of this machine", hits)
	}
	into, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer into.Close()
	if _, err := f.Fetch(t.Context(), Wanted{URL: secret.URL}, into); !errors.Is(err, ErrUnsafe) {
		t.Errorf("%v, want ErrUnsafe", err)
	}
	if _, err := f.Reaching(secret.URL).Fetch(t.Context(), Wanted{URL: secret.URL}, into); err != nil || hits != 1 {
		t.Errorf("a link of reelay's own: %v", err)
	}
}
