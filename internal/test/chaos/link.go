//go:build unix

package chaos

import (
	"errors"
	"maps"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// A Fault is what happens to one connection after that many bytes in one direction.
type Fault struct {
	Kind FaultKind
	// Up says that the bytes are those of the client, else of the server.
	Up bool
	// After is how many bytes pass first.
	After int
	// For is how long a Delay or a Stall takes.
	For time.Duration
}

// FaultKind is the kind of a Fault.
type FaultKind string

// The kinds of faults of a connection.
const (
	None      FaultKind = ""
	Cut       FaultKind = "cut"        // both halves are closed in order
	Reset     FaultKind = "reset"      // both halves are reset
	HalfClose FaultKind = "half_close" // the receiver sees the end, its own bytes still pass
	Delay     FaultKind = "delay"      // every further piece comes late
	Stall     FaultKind = "stall"      // nothing passes for a while, then everything
	// Quiet is a connection closed because nothing has passed for the link's quiet time, as middleboxes do.
	Quiet FaultKind = "quiet"
	// CutAll and StallAll are done to all connections of a link at once.
	CutAll   FaultKind = "cut_all"
	StallAll FaultKind = "stall_all"
)

// maxDial bounds the connection to a target.
const maxDial = 2 * time.Second

// A Link is a TCP proxy on loopback in front of the listeners of one service that breaks connections by a plan.
type Link struct {
	targets  []string
	quiet    time.Duration
	plan     func() Fault
	listener net.Listener
	running  sync.WaitGroup
	closed   chan struct{}

	mu      sync.Mutex
	dials   int
	conns   map[*pair]struct{}
	stalled time.Time
	healed  bool
	fired   map[FaultKind]int
}

// OpenLink starts a proxy for targets, "host:port" each: replicas, of which each connection goes to the next that
// listens. plan is asked for the fault of each new connection; quiet is how long a connection may be idle, 0 for any
// time. The link is closed at the end of the test.
func OpenLink(t testing.TB, quiet time.Duration, plan func() Fault, targets ...string) *Link {
	t.Helper()
	l := &Link{
		targets: targets, quiet: quiet, plan: plan, closed: make(chan struct{}), conns: map[*pair]struct{}{},
		fired: map[FaultKind]int{},
	}
	for try := 1; l.listener == nil; try++ { // somebody may have been faster with the address
		var err error
		if l.listener, err = net.Listen("tcp", freeAddress(t)); err != nil && try == portTries {
			t.Fatal(err)
		}
	}
	l.running.Go(l.accept)
	t.Cleanup(func() {
		close(l.closed)
		_ = l.listener.Close()
		l.each((*pair).reset)
		l.running.Wait()
	})
	return l
}

// Address returns where clients connect.
func (l *Link) Address() string { return l.listener.Addr().String() }

// CutAll resets every connection.
func (l *Link) CutAll() {
	if l.each((*pair).reset) > 0 {
		l.count(CutAll)
	}
}

// StallAll stops all traffic for d, new connections included.
func (l *Link) StallAll(d time.Duration) {
	l.count(StallAll)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stalled = time.Now().Add(d)
}

// Heal ends all faults: connections under way are reset, so that nothing that was held back arrives later, and new ones
// are left alone but for their quiet time.
func (l *Link) Heal() {
	l.mu.Lock()
	l.healed, l.stalled = true, time.Time{}
	l.mu.Unlock()
	l.each((*pair).reset)
}

// Fired returns how often each kind of fault really happened.
func (l *Link) Fired() map[FaultKind]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.fired)
}

func (l *Link) count(k FaultKind) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fired[k]++
}

// each calls do for every connection and returns how many there are.
func (l *Link) each(do func(*pair)) int {
	l.mu.Lock()
	conns := maps.Clone(l.conns)
	l.mu.Unlock()
	for c := range conns {
		do(c)
	}
	return len(conns)
}

func (l *Link) accept() {
	for {
		client, err := l.listener.Accept()
		if err != nil {
			return
		}
		l.running.Go(func() { l.serve(client.(*net.TCPConn)) })
	}
}

func (l *Link) serve(client *net.TCPConn) {
	server, err := l.dial()
	if err != nil {
		_ = client.SetLinger(0) // as if nobody had listened
		_ = client.Close()
		return
	}
	p := &pair{client: client, server: server.(*net.TCPConn), done: make(chan struct{}), last: time.Now()}
	l.mu.Lock()
	if !l.healed {
		p.fault = l.plan()
	}
	l.conns[p] = struct{}{}
	l.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { l.pump(p, p.server, p.client, true) })
	both.Go(func() { l.pump(p, p.client, p.server, false) })
	both.Wait()
	p.close()
	l.mu.Lock()
	delete(l.conns, p)
	l.mu.Unlock()
}

// dial connects to the targets in turn, beginning with another one each time.
func (l *Link) dial() (server net.Conn, err error) {
	l.mu.Lock()
	first := l.dials
	l.dials++
	l.mu.Unlock()
	for i := range l.targets {
		if server, err = net.DialTimeout("tcp", l.targets[(first+i)%len(l.targets)], maxDial); err == nil {
			break
		}
	}
	return server, err
}

// pump copies one direction until its end or its fault.
func (l *Link) pump(p *pair, dst, src *net.TCPConn, up bool) {
	faulty := p.fault.Kind != None && p.fault.Up == up
	buffer := make([]byte, 16<<10)
	passed := 0
	for {
		n, err := l.read(p, src, buffer)
		if !l.pass(p) {
			return
		}
		piece := buffer[:n]
		if faulty && passed+n > p.fault.After {
			if _, err := dst.Write(piece[:max(0, p.fault.After-passed)]); err != nil {
				p.close()
				return
			}
			piece = piece[max(0, p.fault.After-passed):]
			p.met.Do(func() { l.count(p.fault.Kind) })
			switch p.fault.Kind {
			case Cut:
				p.close()
				return
			case Reset:
				p.reset()
				return
			case HalfClose:
				_ = dst.CloseWrite()
				return
			case Stall:
				faulty = false
				fallthrough
			default:
				p.sleep(l, p.fault.For)
			}
		}
		passed += n
		if _, werr := dst.Write(piece); werr != nil {
			p.close()
			return
		}
		if err != nil {
			_ = dst.CloseWrite()
			return
		}
	}
}

// read reads a piece, and closes a connection on which nothing has passed for the quiet time in either direction.
func (l *Link) read(p *pair, src *net.TCPConn, buffer []byte) (int, error) {
	for {
		if l.quiet > 0 {
			_ = src.SetReadDeadline(time.Now().Add(l.quiet))
		}
		n, err := src.Read(buffer)
		if n > 0 {
			p.touch()
			return n, err
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if p.idle() >= l.quiet {
			p.once.Do(func() { l.count(Quiet); p.end() })
			return n, err
		}
	}
}

// pass waits while the link is stalled; false when the connection has ended.
func (l *Link) pass(p *pair) bool {
	l.mu.Lock()
	left := time.Until(l.stalled)
	l.mu.Unlock()
	return p.sleep(l, left)
}

// A pair is one proxied connection.
type pair struct {
	client, server *net.TCPConn
	fault          Fault
	met            sync.Once // the fault was counted
	once           sync.Once // it has ended
	done           chan struct{}

	mu   sync.Mutex
	last time.Time
}

func (p *pair) touch() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = time.Now()
}

func (p *pair) idle() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Since(p.last)
}

func (p *pair) close() { p.once.Do(p.end) }

func (p *pair) end() {
	close(p.done)
	_, _ = p.client.Close(), p.server.Close()
}

func (p *pair) reset() {
	p.once.Do(func() {
		_, _ = p.client.SetLinger(0), p.server.SetLinger(0)
		p.end()
	})
}

// sleep lets d pass; false when the connection or the link ends first.
func (p *pair) sleep(l *Link, d time.Duration) bool {
	if d <= 0 {
		select {
		case <-p.done:
			return false
		default:
			return true
		}
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.done:
		return false
	case <-l.closed:
		return false
	case <-timer.C:
		return true
	}
}
