package paid

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"reelay/internal/provider"
)

// deadProxy would break every request that asks the environment for a proxy. net/http reads these variables once per
// process, so they are set before anything else.
const deadProxy = "http://127.0.0.1:1"

func TestMain(m *testing.M) {
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"} {
		if err := os.Setenv(name, deadProxy); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// A till is a provider's front door: it counts the requests whose body arrived in full, which is when a provider may
// charge.
type till struct {
	*httptest.Server
	complete, partial, conns atomic.Int64
	// protocol is that of the last request.
	protocol atomic.Value
}

// open starts a till. answer may be nil.
func open(tb testing.TB, h2 bool, answer http.HandlerFunc) *till {
	tb.Helper()
	s := &till{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.protocol.Store(r.Proto)
		body, err := io.ReadAll(r.Body)
		if err != nil || int64(len(body)) != r.ContentLength {
			s.partial.Add(1)
			return
		}
		s.complete.Add(1)
		if answer != nil {
			answer(w, r)
			return
		}
		_, _ = io.WriteString(w, `{"id":"r1"}`)
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.conns.Add(1)
		}
	}
	s.Config.ErrorLog = silent()
	s.EnableHTTP2 = h2
	s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate(tb)}}
	s.StartTLS()
	tb.Cleanup(s.Close)
	return s
}

// poster returns a Poster that trusts the till's certificate and is else as NewPoster makes it.
func (s *till) poster() *Poster {
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	p := NewPoster(nil)
	p.transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	return p
}

// certificate makes a small one: a test of a thousand handshakes would spend its time on the RSA key of httptest.
func certificate(tb testing.TB) tls.Certificate {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		tb.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func permit(tb testing.TB) *Permit {
	tb.Helper()
	p, err := Grant(context.Background(), func(context.Context) error { return nil })
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func request(url string, body []byte) provider.Request {
	return provider.Request{URL: url, Header: http.Header{"Authorization": {"Key of the account"}}, Body: body}
}

func agree(context.Context) error { return nil }

var errVeto = errors.New("a cancel was asked for")

func veto(context.Context) error { return errVeto }

// raw serves every connection of a listener by hand, one request each, and counts the bodies that arrived in full.
// finish says how the connection goes on after that; the connection is closed when it returns.
func raw(tb testing.TB, finish func(net.Conn)) (url string, complete *atomic.Int64) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = l.Close() })
	complete = &atomic.Int64{}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				r, err := http.ReadRequest(bufio.NewReader(c))
				if err != nil {
					return
				}
				if n, err := io.Copy(io.Discard, r.Body); err == nil && n == r.ContentLength {
					complete.Add(1)
					finish(c)
				}
			}()
		}
	}()
	return "http://" + l.Addr().String(), complete
}
