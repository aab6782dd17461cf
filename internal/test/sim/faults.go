package sim

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"

	"reelay/internal/failpoint"
)

// A Chaos draws faults from one seed. It is safe for concurrent use; since goroutines are not ordered by the seed, a
// replay meets the same mix of faults, not the same moment for each.
//
// Not every seed has every kind of fault: what happens only while something else does not would never be met.
type Chaos struct {
	// Restarts, Stalls and Doubles say whether the broker is stopped and started in this seed, services stall, and
	// writes and deliveries happen twice. Set them before the first service starts.
	Restarts, Stalls, Doubles bool

	mu      sync.Mutex
	rand    *rand.Rand
	off     bool
	running map[string]*incarnation
	aims    map[string]*Aim
	dead    chan string
	hits    map[string]int
}

// An Aim is a crash at a named failpoint: when it is reached for the nth time the service dies there, before the write
// or after it.
type Aim struct {
	Point string
	Nth   int
	After bool
}

// incarnation is a service from one start to its end.
type incarnation struct {
	service string
	dead    bool
	stall   barrier
}

// NewChaos returns the faults of a seed.
func NewChaos(seed uint64, aims ...Aim) *Chaos {
	c := &Chaos{
		rand: rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15)), running: map[string]*incarnation{}, aims: map[string]*Aim{},
		hits: map[string]int{},
	}
	for _, a := range aims {
		c.aims[a.Point] = &a
	}
	c.Restarts, c.Stalls, c.Doubles = c.rand.IntN(3) == 0, c.rand.IntN(3) == 0, c.rand.IntN(3) > 0
	return c
}

// Heal ends the faults of writes and deliveries, but for services that are dead. The calls to the providers go on
// failing.
func (c *Chaos) Heal() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off = true
}

// Hits returns how often each fault has fired, by name.
func (c *Chaos) Hits() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.hits)
}

// Count counts something beside the faults.
func (c *Chaos) Count(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hits[name]++
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

// writeFault draws a named fault of a write, one time in n, and counts it.
func (c *Chaos) writeFault(n int, name string) bool {
	c.mu.Lock()
	off := c.off
	c.mu.Unlock()
	return !off && c.fault(n, name)
}

// fault draws a named fault, one time in n, and counts it.
func (c *Chaos) fault(n int, name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rand.IntN(n) != 0 {
		return false
	}
	c.hits[name]++
	return true
}

// Kill loses everything that the running incarnation of a service writes from now on. The service must be started
// again.
func (c *Chaos) Kill(service string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.running[service]; l != nil {
		l.dead = true
	}
}

// Stall cuts a service off from the broker and from its own journal for d, like a process that is stopped or whose
// machine sleeps. Then the service goes on with what it knew.
func (c *Chaos) Stall(service string, d time.Duration) {
	c.mu.Lock()
	l := c.running[service]
	c.mu.Unlock()
	if l != nil {
		c.Count("stalled " + service)
		l.stall.close(d)
	}
}

// Plan begins an incarnation of a service and returns its failpoints: one write in twenty is lost, one in twenty
// answered by silence, one in forty done twice, one in a hundred late.
func (c *Chaos) Plan(service string) failpoint.Plan {
	l := &incarnation{service: service}
	c.mu.Lock()
	c.running[service] = l
	if c.dead == nil { // made in the bubble, which stops while it waits for a channel from outside
		c.dead = make(chan string, len(c.aims))
	}
	c.mu.Unlock()
	return func(point string) failpoint.Outcome {
		if o, died := c.crashes(l, point); died {
			return o
		}
		stalled := l.stall.left()
		switch {
		case c.writeFault(20, "lost "+point):
			return failpoint.Outcome{Pause: stalled, Lose: true}
		case c.writeFault(20, "answer lost "+point):
			return failpoint.Outcome{Pause: stalled, LoseAnswer: true}
		case c.Doubles && c.writeFault(40, "twice "+point):
			return failpoint.Outcome{Pause: stalled, Twice: true}
		case c.writeFault(100, "late "+point):
			return failpoint.Outcome{Pause: stalled + c.Between(time.Second, 3*time.Minute)}
		}
		return failpoint.Outcome{Pause: stalled}
	}
}

// crashes counts an incarnation's arrival at a point, and says whether it is dead or dies there.
func (c *Chaos) crashes(l *incarnation, point string) (failpoint.Outcome, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.dead {
		return failpoint.Outcome{Lose: true}, true
	}
	c.hits["reached "+point]++
	a := c.aims[point]
	if a == nil {
		return failpoint.Outcome{}, false
	}
	if a.Nth--; a.Nth > 0 {
		return failpoint.Outcome{}, false
	}
	delete(c.aims, point)
	l.dead = true
	c.hits["died at "+point]++
	c.dead <- l.service
	return failpoint.Outcome{Lose: !a.After, LoseAnswer: a.After}, true
}

// Broker stands between a service and the broker, and stops its traffic while the service is stalled.
func (c *Chaos) Broker(service string, conn net.Conn) net.Conn {
	c.mu.Lock()
	l := c.running[service]
	c.mu.Unlock()
	if l == nil || !c.Stalls {
		return conn
	}
	return newStalledConn(conn, &l.stall)
}

// Conn is a connection of a paid request that may break at any byte, in either direction, or hang.
func (c *Chaos) Conn(conn net.Conn) net.Conn {
	c.Count("call submit")
	switch {
	case c.fault(12, "submit cut while sending"):
		return &writeCut{Conn: conn, left: c.Intn(600)}
	case c.fault(12, "submit answer cut"):
		return &readCut{Conn: conn, left: 1 + c.Intn(400)}
	case c.fault(25, "submit answer lost"):
		return &readCut{Conn: conn}
	case c.fault(40, "submit answer late"):
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

// slowConn delays the answer.
type slowConn struct {
	net.Conn
	delay time.Duration
}

func (c *slowConn) Read(p []byte) (int, error) {
	time.Sleep(c.delay)
	c.delay = 0
	return c.Conn.Read(p)
}

// errBroken is the error of a poll whose connection broke.
var errBroken = errors.New("connection reset by chaos")

// Transport stands between the pollers and the providers: about one call in three fails.
func (c *Chaos) Transport(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		c.Count("call poll")
		switch {
		case c.fault(11, "poll reset before"):
			return nil, errBroken
		case c.fault(11, "poll 502 page"):
			return answer(r, http.StatusBadGateway, "text/html", "<html>502 Bad Gateway nginx</html>"), nil
		case c.fault(20, "poll 429"):
			return answer(r, http.StatusTooManyRequests, "application/json", `{"detail":"slow down"}`), nil
		case c.fault(40, "poll late"):
			time.Sleep(c.Between(time.Second, 40*time.Second))
		}
		res, err := next.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		switch {
		case c.fault(11, "poll reset after"):
			_ = res.Body.Close()
			return nil, errBroken
		case c.fault(11, "poll cut short"):
			body, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			res.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body[:len(body)/2]), errReader{}))
		}
		return res, nil
	})
}

// Callbacks stands between the providers and the webhook service: one callback in five breaks on its way there or back.
func (c *Chaos) Callbacks(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		if c.fault(10, "callback reset before") {
			return nil, errBroken
		}
		res, err := next.RoundTrip(r)
		if err == nil && c.fault(10, "callback reset after") {
			_ = res.Body.Close()
			return nil, errBroken
		}
		return res, err
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
