package sim

import (
	"net"
	"sync"
	"time"
)

// barrier is closed until a time.
type barrier struct {
	mu    sync.Mutex
	until time.Time
}

func (g *barrier) close(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.until = time.Now().Add(d)
}

// left is how long it stays closed.
func (g *barrier) left() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return max(0, time.Until(g.until))
}

// wait returns when the barrier is open.
func (g *barrier) wait() {
	for d := g.left(); d > 0; d = g.left() {
		time.Sleep(d)
	}
}

// stalledConn is a connection whose bytes wait, in both directions, while a barrier is closed. Reads and writes of its
// users never block on it: the client library writes under a lock, which would stop the bubble's clock, and the server
// would drop a slow reader.
type stalledConn struct {
	net.Conn
	barrier  *barrier
	up, down *backlog
}

func newStalledConn(conn net.Conn, g *barrier) *stalledConn {
	c := &stalledConn{Conn: conn, barrier: g, up: newBacklog(), down: newBacklog()}
	go func() {
		p := make([]byte, maxChunkBytes)
		for {
			n, err := c.up.Read(p)
			if err != nil {
				return
			}
			g.wait()
			if _, err := conn.Write(p[:n]); err != nil {
				c.up.end(err)
				return
			}
		}
	}()
	go func() {
		p := make([]byte, maxChunkBytes)
		for {
			n, err := conn.Read(p)
			_, _ = c.down.Write(p[:n]) // it fails after Close only
			if err != nil {
				c.down.end(err)
				return
			}
		}
	}()
	return c
}

// maxChunkBytes is what is moved at a time.
const maxChunkBytes = 32 << 10

func (c *stalledConn) Write(p []byte) (int, error) { return c.up.Write(p) }

func (c *stalledConn) Read(p []byte) (int, error) {
	n, err := c.down.Read(p)
	c.barrier.wait()
	return n, err
}

func (c *stalledConn) Close() error {
	c.up.end(net.ErrClosed)
	c.down.end(net.ErrClosed)
	return c.Conn.Close()
}

// backlog is bytes on their way. It has no bound: a simulation is short.
type backlog struct {
	mu   sync.Mutex
	more *sync.Cond
	data []byte
	err  error
}

func newBacklog() *backlog {
	b := &backlog{}
	b.more = sync.NewCond(&b.mu)
	return b
}

func (b *backlog) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return 0, b.err
	}
	b.data = append(b.data, p...)
	b.more.Broadcast()
	return len(p), nil
}

// Read waits for bytes, and fails when the end has come and all are read.
func (b *backlog) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.data) == 0 && b.err == nil {
		b.more.Wait()
	}
	if len(b.data) == 0 {
		return 0, b.err
	}
	n := copy(p, b.data)
	b.data = b.data[n:]
	return n, nil
}

func (b *backlog) end(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = err
	}
	b.more.Broadcast()
}
