package webhook_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"reelay/internal/test/sim"
	"reelay/services/webhook"
)

// onPipes runs f in a bubble with a webhook service on a network in memory.
func onPipes(t *testing.T, f func(e *fixture, dial func() net.Conn), change ...func(*webhook.Options)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		network := &sim.Network{}
		l, err := network.Listen("webhook.test:80")
		if err != nil {
			t.Fatal(err)
		}
		e := start(t, append(change, func(o *webhook.Options) { o.Listener = l })...)
		e.client.Transport.(*http.Transport).DialContext = network.Dial
		f(e, func() net.Conn {
			conn, err := network.Dial(t.Context(), "tcp", "webhook.test:80")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			return conn
		})
	})
}

// Whoever is slow is cut off in time, at whatever point he stops, and nothing of it is published.
func TestSlowClients(t *testing.T) {
	onPipes(t, func(e *fixture, dial func() net.Conn) {
		head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n",
			e.path("minimax", 1), len(update))
		for _, row := range []struct {
			name string
			send string
			drip time.Duration // a byte more each time, for ever
			most time.Duration
		}{
			{"nothing", "", 0, 5 * time.Second},
			{"half a line", "POST /cb", 0, 5 * time.Second},
			{"headers without end", head, 0, 5 * time.Second},
			{"headers, a byte a second", head + "X: ", time.Second, 5 * time.Second},
			{"no body", head + "\r\n", 0, 15 * time.Second},
			{"half a body", head + "\r\n" + update[:20], 0, 15 * time.Second},
			{"body, a byte a second", head + "\r\n", time.Second, 15 * time.Second},
		} {
			conn, begin := dial(), time.Now()
			gone := make(chan struct{})
			go func() {
				defer close(gone)
				_, _ = io.Copy(io.Discard, conn)
			}()
			_, err := io.WriteString(conn, row.send)
			for err == nil && row.drip > 0 {
				time.Sleep(row.drip)
				_, err = io.WriteString(conn, " ")
			}
			<-gone
			if took := time.Since(begin); took > row.most+2*time.Second {
				e.Errorf("%s: cut off after %v, want %v", row.name, took, row.most)
			}
		}
		if e.kept.count() != 0 {
			e.Errorf("%d published", e.kept.count())
		}
		if n := e.counted("minimax", "cut"); n != 3 {
			e.Errorf("%v counted", n)
		}
	})
}

// Who sends the bodies of one URL slowly keeps nobody else's callbacks out.
func TestSlowBodiesOfOneURL(t *testing.T) {
	onPipes(t, func(e *fixture, dial func() net.Conn) {
		send := func(attempt int, body string) net.Conn {
			conn := dial()
			fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
				e.path("minimax", attempt), len(update), body)
			return conn
		}
		for range 2 {
			send(1, update[:20])
		}
		synctest.Wait()
		for attempt, want := range map[int]int{1: 503, 2: 200} {
			res, err := http.ReadResponse(bufio.NewReader(send(attempt, update)), nil)
			if err != nil || res.StatusCode != want {
				e.Errorf("attempt %d: %v, %v, want %d", attempt, res, err, want)
			}
		}
	})
}

// Who sends the bodies of many URLs slowly keeps nobody else's callbacks out either: the slowest make room, and are told
// to come again.
func TestSlowBodiesOfManyURLs(t *testing.T) {
	const slow, honest = 150, 40
	onPipes(t, func(e *fixture, dial func() net.Conn) {
		send := func(attempt int, body string) net.Conn {
			conn := dial()
			fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
				e.path("minimax", attempt), len(update), body)
			return conn
		}
		answer := func(conn net.Conn) int {
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				return 0
			}
			return res.StatusCode
		}
		var first net.Conn
		for i := range slow {
			if conn := send(1000+i, update[:20]); i == 0 {
				first = conn
			}
		}
		time.Sleep(time.Second)
		for i := range honest {
			if status := answer(send(1+i, update)); status != 200 {
				e.Errorf("true callback %d is answered with %d", i, status)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if status := answer(first); status != 503 {
			e.Errorf("the slowest is answered with %d", status)
		}
	}, func(o *webhook.Options) { o.Limits.Conns, o.Limits.ConnsPerAddress = 1000, 1000 })
}

// A connection that asks nothing more is closed after a minute.
func TestIdleClients(t *testing.T) {
	onPipes(t, func(e *fixture, dial func() net.Conn) {
		conn := dial()
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
			e.path("minimax", 1), len(update), update)
		r := bufio.NewReader(conn)
		res, err := http.ReadResponse(r, nil)
		if err != nil || res.StatusCode != 200 {
			e.Fatal(res, err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		begin := time.Now()
		_, err = r.ReadByte()
		if took := time.Since(begin); !errors.Is(err, io.EOF) || took != time.Minute {
			e.Errorf("%v after %v", err, took)
		}
	})
}

// A publish that hangs is given up in time for the provider to hear of it.
func TestSlowNATS(t *testing.T) {
	onPipes(t, func(e *fixture, _ func() net.Conn) {
		e.kept.hang = true
		begin := time.Now()
		status, _ := e.post(e.path("minimax", 1), jsonHeader(), update)
		if took := time.Since(begin); status != 503 || took != 5*time.Second {
			e.Errorf("%d after %v", status, took)
		}
	})
}

// Only so many wait for NATS at once; the others are sent away at once, and handshakes are answered all the same.
func TestManyRequests(t *testing.T) {
	onPipes(t, func(e *fixture, _ func() net.Conn) {
		e.kept.hang = true
		const many = 200
		statuses := make(chan time.Duration, many)
		for i := range many {
			go func() {
				begin := time.Now()
				if status, _ := e.post(e.path("minimax", 1+i), jsonHeader(), update); status != 503 {
					e.Errorf("%d", status)
				}
				statuses <- time.Since(begin)
			}()
		}
		synctest.Wait()
		if n := len(statuses); n != many-128 {
			e.Errorf("%d were sent away at once", n)
		}
		if status, _ := e.post(e.path("minimax", 1), jsonHeader(), `{"challenge":1}`); status != 200 {
			e.Errorf("handshake: %d", status)
		}
		for range many {
			<-statuses
		}
		e.kept.hang = false
		for i := range many {
			if status, _ := e.post(e.path("minimax", 1+i), jsonHeader(), update); status != 200 {
				e.Fatalf("%d, when the many has gone", status)
			}
		}
	}, func(o *webhook.Options) { o.Limits.Conns = 1000 })
}

// What is in hand when the service stops is finished.
func TestStopFinishes(t *testing.T) {
	onPipes(t, func(e *fixture, _ func() net.Conn) {
		e.kept.hang = true
		done := make(chan int, 1)
		go func() {
			status, _ := e.post(e.path("minimax", 1), jsonHeader(), update)
			done <- status
		}()
		synctest.Wait()
		if err := e.stop(); err != nil {
			e.Error(err)
		}
		if status := <-done; status != 503 {
			e.Errorf("%d", status)
		}
	})
}

// Connections over the limit are closed at once, and there is room again when others have gone.
func TestConnectionLimits(t *testing.T) {
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	for _, row := range []struct {
		name    string
		change  func(*webhook.Options)
		fit     int
		refused bool
	}{
		{"in all", func(o *webhook.Options) { o.Limits.Conns = 2 }, 2, true},
		{"in all, behind a proxy", func(o *webhook.Options) { o.Limits.Conns, o.Proxies = 2, loopback }, 2, true},
		{"of one address", func(o *webhook.Options) { o.Limits.ConnsPerAddress = 2 }, 2, true},
		{"of one proxy", func(o *webhook.Options) { o.Limits.ConnsPerAddress, o.Proxies = 2, loopback }, 2, false},
	} {
		e := start(t, row.change)
		dial := func() net.Conn {
			conn, err := net.Dial("tcp", strings.TrimPrefix(e.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			return conn
		}
		// ask reports whether the connection is served.
		ask := func(conn net.Conn) bool {
			fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
				e.path("minimax", 1), len(update), update)
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			return err == nil && res.StatusCode == 200
		}
		var held []net.Conn
		for range row.fit {
			held = append(held, dial())
			if !ask(held[len(held)-1]) {
				t.Errorf("%s: one within the limit was refused", row.name)
			}
		}
		if got := !ask(dial()); got != row.refused {
			t.Errorf("%s: the next was refused: %v", row.name, got)
		}
		_ = held[0].Close()
		deadline := time.Now().Add(10 * time.Second)
		for !ask(dial()) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: no room after one has gone", row.name)
			}
		}
	}
}

// The service speaks HTTP/2 with TLS, and without it for a proxy.
func TestHTTP2(t *testing.T) {
	certified := httptest.NewTLSServer(nil)
	defer certified.Close()
	config, pool := &tls.Config{Certificates: certified.TLS.Certificates}, x509.NewCertPool()
	pool.AddCert(certified.Certificate())
	var h1, h2, h2c http.Protocols
	h1.SetHTTP1(true)
	h2.SetHTTP2(true)
	h2c.SetUnencryptedHTTP2(true)
	for _, row := range []struct {
		name   string
		tls    *tls.Config
		client http.Protocols
		want   string
	}{
		{"HTTP/1.1", nil, h1, "HTTP/1.1"},
		{"HTTP/2", nil, h2c, "HTTP/2.0"},
		{"HTTP/1.1 with TLS", config, h1, "HTTP/1.1"},
		{"HTTP/2 with TLS", config, h2, "HTTP/2.0"},
	} {
		e := start(t, func(o *webhook.Options) { o.TLS = row.tls })
		transport := &http.Transport{
			Protocols:       &row.client,
			TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "example.com"},
		}
		url := e.url
		if row.tls != nil {
			url = strings.Replace(url, "http://", "https://", 1)
		}
		for path, want := range map[string]int{e.path("minimax", 1): 200, "/wrong": 404} {
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, url+path, strings.NewReader(update))
			req.Header = jsonHeader()
			res, err := transport.RoundTrip(req)
			if err != nil {
				t.Errorf("%s: %v", row.name, err)
				continue
			}
			if res.Proto != row.want || res.StatusCode != want {
				t.Errorf("%s: %s %d, want %s %d", row.name, res.Proto, res.StatusCode, row.want, want)
			}
			_ = res.Body.Close()
		}
		transport.CloseIdleConnections()
	}
}
