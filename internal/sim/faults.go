package sim

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"

	"reelay/internal/failpoint"
)

// A Chaos draws faults from one seed. It is safe for concurrent use; since goroutines are not ordered by the seed, a replay
// meets the same mix of faults, not the same moment for each.
type Chaos struct {
	mu      sync.Mutex
	rand    *rand.Rand
	off     bool
	crashed map[string]bool
	// Hits counts the faults that fired, by name.
	hits map[string]int
}

// NewChaos returns the faults of a seed.
func NewChaos(seed uint64) *Chaos {
	return &Chaos{rand: rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15)), crashed: map[string]bool{}, hits: map[string]int{}}
}

// Heal ends all faults but those of services that are crashed.
func (c *Chaos) Heal() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off = true
}

// Hits returns how often each fault has fired.
func (c *Chaos) Hits() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	hits := make(map[string]int, len(c.hits))
	for k, n := range c.hits {
		hits[k] = n
	}
	return hits
}

// Intn draws a number below n.
func (c *Chaos) Intn(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rand.IntN(n)
}

// Between draws a duration.
func (c *Chaos) Between(low, high time.Duration) time.Duration {
	return low + time.Duration(c.Intn(int(high-low)))
}

// Pick draws one of several words.
func (c *Chaos) Pick(words ...string) string { return words[c.Intn(len(words))] }

// one draws a named fault, one time in n, and counts it.
func (c *Chaos) one(n int, name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.off || c.rand.IntN(n) != 0 {
		return false
	}
	c.hits[name]++
	return true
}

// Crash marks a service: from now on every write of it is lost, until Revive.
func (c *Chaos) Crash(service string) { c.setCrashed(service, true) }

// Revive ends a Crash.
func (c *Chaos) Revive(service string) { c.setCrashed(service, false) }

func (c *Chaos) setCrashed(service string, crashed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.crashed[service] = crashed
}

// Plan is the failpoints of a service: one write in twenty is lost, one in twenty answered by silence, one in a hundred late.
func (c *Chaos) Plan(service string) failpoint.Plan {
	return func(point string) failpoint.Outcome {
		c.mu.Lock()
		dead := c.crashed[service]
		c.mu.Unlock()
		switch {
		case dead:
			return failpoint.Outcome{Lose: true}
		case c.one(20, "lost "+point):
			return failpoint.Outcome{Lose: true}
		case c.one(20, "answer lost "+point):
			return failpoint.Outcome{LoseAnswer: true}
		case c.one(100, "late "+point):
			return failpoint.Outcome{Pause: c.Between(time.Second, 3*time.Minute)}
		}
		return failpoint.Outcome{}
	}
}

// Conn is a connection of a paid request that may break at any byte, in either direction, or fall silent.
func (c *Chaos) Conn(conn net.Conn) net.Conn {
	switch {
	case c.one(12, "submit cut while sending"):
		return &writeCut{Conn: conn, left: c.Intn(600)}
	case c.one(12, "submit answer cut"):
		return &readCut{Conn: conn, left: 1 + c.Intn(400)}
	case c.one(25, "submit answer lost"):
		return &readCut{Conn: conn}
	case c.one(40, "submit answer late"):
		return &slowConn{Conn: conn, delay: c.Between(30*time.Second, 3*time.Minute)}
	}
	return conn
}

// writeCut breaks after a number of bytes were sent.
type writeCut struct {
	net.Conn
	left int
}

func (c *writeCut) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p[:min(len(p), c.left)])
	c.left -= n
	if err == nil && n < len(p) {
		_ = c.Conn.Close()
		err = syscall.ECONNRESET
	}
	return n, err
}

// readCut breaks after a number of bytes of the answer; with none, once the provider has begun to answer.
type readCut struct {
	net.Conn
	left int
}

func (c *readCut) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		return n, err
	}
	if n >= c.left {
		_ = c.Conn.Close()
		return c.left, syscall.ECONNRESET
	}
	c.left -= n
	return n, nil
}

// slowConn holds the answer back.
type slowConn struct {
	net.Conn
	delay time.Duration
}

func (c *slowConn) Read(p []byte) (int, error) {
	time.Sleep(c.delay)
	c.delay = 0
	return c.Conn.Read(p)
}

// errBroken is what a look meets.
var errBroken = errors.New("connection reset by chaos")

// Transport stands between the pollers and the providers: about one call in four fails.
func (c *Chaos) Transport(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		switch {
		case c.one(16, "look reset before"):
			return nil, errBroken
		case c.one(16, "look 502 page"):
			return answer(r, http.StatusBadGateway, "text/html", "<html>502 Bad Gateway nginx</html>"), nil
		case c.one(20, "look 429"):
			return answer(r, http.StatusTooManyRequests, "application/json", `{"detail":"slow down"}`), nil
		case c.one(40, "look late"):
			time.Sleep(c.Between(time.Second, 40*time.Second))
		}
		res, err := next.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		switch {
		case c.one(16, "look reset after"):
			_ = res.Body.Close()
			return nil, errBroken
		case c.one(16, "look cut short"):
			body, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			res.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body[:len(body)/2]), errReader{}))
		}
		return res, nil
	})
}

func answer(r *http.Request, status int, contentType, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {contentType}}, Body: io.NopCloser(strings.NewReader(body)),
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errBroken }
