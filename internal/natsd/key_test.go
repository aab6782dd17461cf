package natsd

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

func keyFile(tb testing.TB) string {
	tb.Helper()
	pair, err := nkeys.CreateUser()
	if err != nil {
		tb.Fatal(err)
	}
	seed, err := pair.Seed()
	if err != nil {
		tb.Fatal(err)
	}
	file := filepath.Join(tb.TempDir(), "broker.nk")
	if err := os.WriteFile(file, append(seed, '\n'), 0o600); err != nil {
		tb.Fatal(err)
	}
	return file
}

func keyOption(tb testing.TB, file string) nats.Option {
	tb.Helper()
	o, err := nats.NkeyOptionFromSeed(file)
	if err != nil {
		tb.Fatal(err)
	}
	return o
}

// TestKey: with a key nobody is let in without it, also after a restart. A broker without one takes
// clients that have one.
func TestKey(t *testing.T) {
	o := options(t, t.TempDir())
	o.Listen, o.KeyFile = "127.0.0.1:0", keyFile(t)
	s := start(t, o)
	defer s.Stop()
	open := start(t, func() Options { o := options(t, t.TempDir()); o.Listen = "127.0.0.1:0"; return o }())
	defer open.Stop()
	for range 2 {
		connect(t, s)
		for name, row := range map[string]struct {
			url     string
			options []nats.Option
			want    error
		}{
			"no key":       {s.URL(), nil, nats.ErrAuthorization},
			"another key":  {s.URL(), []nats.Option{keyOption(t, keyFile(t))}, nats.ErrAuthorization},
			"the key":      {s.URL(), []nats.Option{keyOption(t, o.KeyFile)}, nil},
			"a password":   {s.URL(), []nats.Option{nats.UserInfo("user", "pass")}, nats.ErrAuthorization},
			"open, no key": {open.URL(), nil, nil},
			"open, a key":  {open.URL(), []nats.Option{keyOption(t, o.KeyFile)}, nil},
		} {
			nc, err := nats.Connect(row.url, append(row.options, nats.Timeout(time.Minute))...)
			if !errors.Is(err, row.want) {
				t.Errorf("%s: %v, want %v", name, err, row.want)
			}
			if err == nil {
				nc.Close()
			}
		}
		if err := s.restart(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestBeyondLoopback: with TLS and a key the broker listens at every address, and plain clients get nothing there.
func TestBeyondLoopback(t *testing.T) {
	certified := httptest.NewTLSServer(nil)
	defer certified.Close()
	pool := x509.NewCertPool()
	pool.AddCert(certified.Certificate())
	o := options(t, t.TempDir())
	o.Listen, o.TLS = "0.0.0.0:0", &tls.Config{Certificates: certified.TLS.Certificates}
	if _, err := Start(o); !errors.Is(err, ErrExposed) {
		t.Errorf("TLS, and everybody let in: %v", err)
	}
	o.KeyFile = keyFile(t)
	s := start(t, o)
	defer s.Stop()
	connect(t, s)
	nc, err := nats.Connect(s.URL(), keyOption(t, o.KeyFile), nats.Timeout(time.Minute), nats.Secure(&tls.Config{RootCAs: pool}))
	if err != nil {
		t.Fatalf("%s: %v", s.URL(), err)
	}
	nc.Close()
	if _, err := nats.Connect(s.URL(), keyOption(t, o.KeyFile)); err == nil {
		t.Error("a certificate that nobody has signed was taken")
	}
	o.StoreDir, o.TLS = t.TempDir(), nil
	if _, err := Start(o); !errors.Is(err, ErrExposed) {
		t.Errorf("a key, and plain connections: %v", err)
	}
}
