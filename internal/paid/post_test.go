package paid

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"reelay/internal/provider"
)

func TestGrant(t *testing.T) {
	lost := errors.New("no acknowledgement")
	if p, err := Grant(t.Context(), func(context.Context) error { return lost }); p != nil || !errors.Is(err, lost) {
		t.Errorf("an intent without acknowledgement gave %v, %v", p, err)
	}
	if p, err := Grant(t.Context(), func(context.Context) error { return nil }); p == nil || err != nil {
		t.Errorf("an acknowledged intent gave %v, %v", p, err)
	}
}

// TestOnePermitBuysOnce shares one permit among many.
func TestOnePermitBuysOnce(t *testing.T) {
	s := open(t, false, nil)
	p, shared := s.poster(), permit(t)
	var sent atomic.Int64
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := p.Post(t.Context(), shared, request(s.URL, []byte("{}")), agree); err == nil {
				sent.Add(1)
			} else if !errors.Is(err, ErrNotSent) {
				t.Errorf("%v, want ErrNotSent", err)
			}
		})
	}
	wg.Wait()
	if sent.Load() != 1 || s.complete.Load() != 1 {
		t.Errorf("one permit sent %d requests, %d arrived", sent.Load(), s.complete.Load())
	}
	if _, err := p.Post(t.Context(), nil, request(s.URL, []byte("{}")), agree); !errors.Is(err, ErrNotSent) {
		t.Errorf("without a permit: %v", err)
	}
	if s.complete.Load() != 1 {
		t.Error("a request without a permit arrived")
	}
}

// TestPermitAge lets a permit grow old before it is used, and while its request is on its way.
func TestPermitAge(t *testing.T) {
	rows := []struct {
		name           string
		before, during time.Duration
		sent           bool
	}{
		{"fresh", 0, 0, true},
		{"just young enough", MaxAge, 0, true},
		{"too old", MaxAge + time.Millisecond, 0, false},
		{"too old once connected", MaxAge - time.Second, 2 * time.Second, false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				complete := 0
				p := NewPoster(func(context.Context, string, string) (net.Conn, error) {
					time.Sleep(row.during)
					client, server := net.Pipe()
					go func() {
						defer server.Close()
						r, err := http.ReadRequest(bufio.NewReader(server))
						if err != nil {
							return
						}
						if _, err := io.Copy(io.Discard, r.Body); err == nil {
							complete++
							_, _ = io.WriteString(server, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
						}
					}()
					return client, nil
				})
				granted := permit(t)
				time.Sleep(row.before)
				_, err := p.Post(t.Context(), granted, request("http://provider.test/", []byte("{}")), agree)
				synctest.Wait()
				if row.sent && err != nil || !row.sent && !errors.Is(err, ErrNotSent) || row.sent != (complete == 1) {
					t.Errorf("sent %v, %d complete, %v", row.sent, complete, err)
				}
			})
		})
	}
}

// TestTimeout: a provider that never answers is given up on after Timeout, and nobody knows what it did.
func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPoster(func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, server) }()
			return client, nil
		})
		start := time.Now()
		_, err := p.Post(t.Context(), permit(t), request("http://provider.test/", []byte("{}")), agree)
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrNotSent) {
			t.Errorf("%v, want DeadlineExceeded and not ErrNotSent", err)
		}
		if took := time.Since(start); took != Timeout {
			t.Errorf("gave up after %v, want %v", took, Timeout)
		}
	})
}

// TestNotSent lists what fails before the last byte.
func TestNotSent(t *testing.T) {
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	stranger := open(t, false, nil) // its certificate is not trusted
	hangUp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer hangUp.Close()
	go func() {
		for {
			c, err := hangUp.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	noSuchHost := func(_ context.Context, _, address string) (net.Conn, error) {
		return nil, &net.DNSError{Err: "no such host", Name: address, IsNotFound: true}
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	var bad *url.Error
	rows := []struct {
		name string
		ctx  context.Context
		dial Dialer
		url  string
		body string
		gate Gate
		is   error
		as   any
	}{
		{name: "vetoed", url: open(t, false, nil).URL, is: nil, gate: veto},
		{name: "refused dial", url: closed.URL, is: syscall.ECONNREFUSED},
		{name: "unknown host", dial: noSuchHost, url: "http://provider.test/", as: &dns},
		{name: "untrusted certificate", url: stranger.URL, as: &cert},
		{name: "bad URL", url: "http://provider.test/\x7f", as: &bad},
		{name: "connection lost in the handshake", url: "https://" + hangUp.Addr().String()},
		{name: "context over", ctx: over, url: closed.URL, is: context.Canceled},
		{name: "no body", url: closed.URL, body: "-"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			ctx, gate, body := row.ctx, row.gate, []byte("{}")
			if ctx == nil {
				ctx = t.Context()
			}
			if gate == nil {
				gate = agree
			}
			if row.body == "-" {
				body = nil
			}
			_, err := NewPoster(row.dial).Post(ctx, permit(t), request(row.url, body), gate)
			if !errors.Is(err, ErrNotSent) {
				t.Errorf("%v, want ErrNotSent", err)
			}
			if row.is != nil && !errors.Is(err, row.is) {
				t.Errorf("%v, want %v in its chain", err, row.is)
			}
			if row.as != nil && !errors.As(err, row.as) {
				t.Errorf("%v (%T), want %T in its chain", err, errors.Unwrap(err), row.as)
			}
			if strings.Contains(err.Error(), "Key of the account") {
				t.Errorf("the key is in the error: %v", err)
			}
		})
	}
	if n := stranger.complete.Load(); n != 0 {
		t.Errorf("%d requests were sent to a stranger", n)
	}
}

// TestUnknownAfterTheLastByte lists what fails once the request has arrived in full: never ErrNotSent, and never a
// second request, not even for what net/http takes to be idempotent.
func TestUnknownAfterTheLastByte(t *testing.T) {
	rows := []struct {
		name, want string
		finish     func(net.Conn)
	}{
		{"closed without an answer", "EOF", func(net.Conn) {}},
		{"reset", "", func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }},
		{"not HTTP", "malformed", func(c net.Conn) { _, _ = io.WriteString(c, "hello\r\n\r\n") }},
		{
			"answer cut in its header", "malformed",
			func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Le") },
		},
		{"answer cut in its body", "broke off", func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"id\":")
		}},
		{"answer too long", "longer than 1048576 bytes", func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n"+strings.Repeat("x", 2_000_000))
		}},
	}
	for _, row := range rows {
		for _, key := range []string{"", "Idempotency-Key", "X-Idempotency-Key"} {
			t.Run(row.name+" "+key, func(t *testing.T) {
				address, complete := raw(t, row.finish)
				r := request(address, []byte(`{"prompt":"a kite"}`))
				if key != "" {
					r.Header.Set(key, "k1") // net/http would send such a request again
				}
				_, err := NewPoster(nil).Post(t.Context(), permit(t), r, agree)
				if err == nil || errors.Is(err, ErrNotSent) || !strings.Contains(err.Error(), row.want) {
					t.Errorf("%v, want %q and not ErrNotSent", err, row.want)
				}
				if n := complete.Load(); n != 1 {
					t.Errorf("the request arrived %d times", n)
				}
			})
		}
	}
}

// TestHTTP2Refusals: HTTP/2 clients resend by themselves what a server says it has not processed. A provider may say so
// after it has read everything, and be wrong.
func TestHTTP2Refusals(t *testing.T) {
	const noError, protocolError, internalError, refusedStream, cancelled = 0, 1, 2, 7, 8
	rows := []struct {
		name  string
		frame []byte
	}{
		{"REFUSED_STREAM", rstStream(refusedStream)},
		{"PROTOCOL_ERROR", rstStream(protocolError)},
		{"CANCEL", rstStream(cancelled)},
		{"GOAWAY before the stream", goAway(0, noError)},
		{"GOAWAY with an error", goAway(1, internalError)},
		{"closed", nil},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s := open(t, true, nil) // for its certificate
			s.Close()
			l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: s.TLS.Certificates, NextProtos: []string{"h2"}})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			var complete atomic.Int64
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					go func() {
						defer c.Close()
						if readStream(c) != nil {
							return
						}
						complete.Add(1)
						if _, err := c.Write(row.frame); err == nil && c.(*tls.Conn).CloseWrite() == nil {
							_, _ = io.Copy(io.Discard, c) // an unread byte would make the close a reset
						}
					}()
				}
			}()
			r := request("https://"+l.Addr().String(), []byte(`{"prompt":"a kite"}`))
			r.Header.Set("Idempotency-Key", "k1")
			_, err = s.poster().Post(t.Context(), permit(t), r, agree)
			if err == nil || errors.Is(err, ErrNotSent) {
				t.Errorf("%v, want an error that is not ErrNotSent", err)
			}
			if n := complete.Load(); n != 1 {
				t.Errorf("the request arrived %d times", n)
			}
		})
	}
}

// frame builds an HTTP/2 frame.
func frame(kind, flags byte, stream uint32, payload ...byte) []byte {
	header := []byte{0, 0, byte(len(payload)), kind, flags}
	return append(binary.BigEndian.AppendUint32(header, stream), payload...)
}

// rstStream refuses the first stream of a client.
func rstStream(code uint32) []byte {
	return frame(3, 0, 1, binary.BigEndian.AppendUint32(nil, code)...)
}

func goAway(last, code uint32) []byte {
	return frame(7, 0, 0, binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, last), code)...)
}

// readStream reads one HTTP/2 request to its end.
func readStream(c net.Conn) error {
	const data, settings, endOrAck = 0, 4, 1
	if _, err := io.CopyN(io.Discard, c, int64(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))); err != nil {
		return err
	}
	if _, err := c.Write(frame(settings, 0, 0)); err != nil {
		return err
	}
	for {
		var h [9]byte
		if _, err := io.ReadFull(c, h[:]); err != nil {
			return err
		}
		if _, err := io.CopyN(io.Discard, c, int64(h[0])<<16|int64(h[1])<<8|int64(h[2])); err != nil {
			return err
		}
		switch kind, flag := h[3], h[4]&endOrAck != 0; {
		case kind == data && flag:
			return nil
		case kind == settings && !flag:
			if _, err := c.Write(frame(settings, endOrAck, 0)); err != nil {
				return err
			}
		}
	}
}

// TestRedirectsAreAnswers: a redirect of a paid request is the provider's answer, not an invitation.
func TestRedirectsAreAnswers(t *testing.T) {
	protocols(t, func(t *testing.T, h2 bool) {
		trap := open(t, h2, nil)
		for _, status := range []int{301, 302, 303, 307, 308} {
			s := open(t, h2, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, trap.URL, status) })
			p := s.poster()
			p.transport.TLSClientConfig.RootCAs.AddCert(trap.Certificate())
			reply, err := p.Post(t.Context(), permit(t), request(s.URL, []byte("{}")), agree)
			if err != nil || reply.Status != status {
				t.Errorf("%d: %d, %v", status, reply.Status, err)
			}
			if s.complete.Load() != 1 || trap.conns.Load() != 0 {
				t.Errorf("%d: %d requests arrived, %d connections to where it points", status, s.complete.Load(), trap.conns.Load())
			}
		}
	})
}

// TestAnswers: every status is an answer that the driver classifies; the request is as the driver rendered it.
func TestAnswers(t *testing.T) {
	for _, status := range []int{200, 201, 400, 401, 408, 409, 422, 429, 500, 502, 503} {
		var got http.Header
		s := open(t, false, func(w http.ResponseWriter, r *http.Request) {
			got = r.Header
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "text")
		})
		want := request(s.URL, []byte("{}"))
		want.Header.Set("Content-Type", "application/json")
		reply, err := s.poster().Post(t.Context(), permit(t), want, agree)
		if err != nil || reply.Status != status || string(reply.Body) != "text" || reply.Header.Get("Retry-After") != "7" {
			t.Errorf("%d: %+v, %v", status, reply, err)
		}
		if got.Get("Authorization") != "Key of the account" || got.Get("Content-Type") != "application/json" {
			t.Errorf("%d: header %v", status, got)
		}
		if n := s.complete.Load(); n != 1 {
			t.Errorf("%d: sent %d times", status, n)
		}
	}
}

// TestEarlyAnswers: a server may answer before it has read everything. A refusal is one; an acceptance of half a
// request is not to be understood.
func TestEarlyAnswers(t *testing.T) {
	rows := []struct {
		status int
		err    bool
	}{{200, true}, {413, false}, {429, false}, {503, false}}
	for _, row := range rows {
		synctest.Test(t, func(t *testing.T) {
			p := NewPoster(func(context.Context, string, string) (net.Conn, error) {
				client, server := net.Pipe()
				go func() {
					if _, err := http.ReadRequest(bufio.NewReader(server)); err == nil {
						w := &http.Response{
							StatusCode: row.status, ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody,
							Header: http.Header{},
						}
						_ = w.Write(server)
						_, _ = io.Copy(io.Discard, server)
					}
				}()
				return client, nil
			})
			// The gate answers only once the request is over; 8 kB make net/http flush what comes before it.
			reply, err := p.Post(t.Context(), permit(t), request("http://provider.test/", bytes.Repeat([]byte("x"), 8<<10)),
				func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
			if errors.Is(err, ErrNotSent) || (err != nil) != row.err || err == nil && reply.Status != row.status {
				t.Errorf("%d: %+v, %v", row.status, reply, err)
			}
		})
	}
}

// TestNoProxy: the variables of TestMain name a proxy, and the host is not a loopback one.
func TestNoProxy(t *testing.T) {
	if u, err := http.ProxyFromEnvironment(&http.Request{
		URL: &url.URL{Scheme: "http", Host: "provider.test"},
	}); err != nil || u == nil {
		t.Fatalf("the environment names no proxy: %v, %v", u, err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
	defer s.Close()
	var asked []string
	p := NewPoster(func(ctx context.Context, network, address string) (net.Conn, error) {
		asked = append(asked, address)
		return (&net.Dialer{}).DialContext(ctx, network, s.Listener.Addr().String())
	})
	r := provider.Request{URL: "http://provider.test/x", Header: http.Header{}, Body: []byte("{}")}
	if _, err := p.Post(t.Context(), permit(t), r, agree); err != nil {
		t.Fatal(err)
	}
	if len(asked) != 1 || asked[0] != "provider.test:80" {
		t.Errorf("dialled %v", asked)
	}
}

// TestErrorsHoldNoKey: a server that sends the key back in what is no HTTP gets it into no error.
func TestErrorsHoldNoKey(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 4096)
			n, _ := c.Read(buf)
			_, key, _ := strings.Cut(string(buf[:n]), "Authorization: ")
			key, _, _ = strings.Cut(key, "\r\n")
			_, _ = io.WriteString(c, "HTTP/1.1 "+key+"\r\n\r\n")
			_ = c.Close()
		}
	}()
	permit, err := Grant(t.Context(), func(context.Context) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	_, err = NewPoster(nil).Post(t.Context(), permit, provider.Request{
		URL: "http://" + l.Addr().String(), Header: http.Header{"Authorization": {"Key canary-4711"}},
		Body: []byte(`{"prompt":"x"}`),
	}, func(context.Context) error { return nil })
	if err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("%v", err)
	}
}
