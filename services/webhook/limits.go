package webhook

import (
	"net"
	"net/netip"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
)

// maxBuckets is how many addresses or URLs are told apart by a rate limit.
const maxBuckets = 20_000

// buckets are token buckets by key. There are never more than maxBuckets: when half of them have been used since the
// last time, the others are forgotten, and begin anew if they come again.
type buckets[K comparable] struct {
	perSecond rate.Limit
	burst     int

	mu         sync.Mutex
	young, old map[K]*rate.Limiter
}

func newBuckets[K comparable](perSecond float64, burst int) *buckets[K] {
	return &buckets[K]{perSecond: rate.Limit(perSecond), burst: burst, young: map[K]*rate.Limiter{}}
}

// allow takes one token of a key's bucket, if there is one.
func (b *buckets[K]) allow(key K) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	limiter := b.young[key]
	if limiter == nil {
		if len(b.young) >= maxBuckets/2 {
			b.old, b.young = b.young, map[K]*rate.Limiter{}
		}
		if limiter = b.old[key]; limiter == nil {
			limiter = rate.NewLimiter(b.perSecond, b.burst)
		}
		b.young[key] = limiter
	}
	return limiter.Allow()
}

// slots bound what is under way at once, of one key and of all.
type slots[K comparable] struct {
	max, maxPerKey int

	mu    sync.Mutex
	total int
	taken map[K]int
}

func newSlots[K comparable](most, mostPerKey int) *slots[K] {
	return &slots[K]{max: most, maxPerKey: mostPerKey, taken: map[K]int{}}
}

func (s *slots[K]) enter(key K) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.total >= s.max || s.taken[key] >= s.maxPerKey {
		return false
	}
	s.total++
	s.taken[key]++
	return true
}

func (s *slots[K]) leave(key K) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total--
	if s.taken[key]--; s.taken[key] == 0 {
		delete(s.taken, key)
	}
}

// limitedListener closes connections over a limit as soon as they are accepted, instead of leaving them to wait: those
// who hold on to theirs must not keep others out.
type limitedListener struct {
	net.Listener
	max, maxPerAddress int
	proxies            []netip.Prefix
	refused            prometheus.Counter

	mu    sync.Mutex
	total int
	open  map[netip.Addr]int
}

// Accept returns the next connection within the limits.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		address := parseAddress(c.RemoteAddr().String())
		// An address that cannot be read is no address; behind a proxy all strangers have the proxy's.
		alone := address.IsValid() && !trusted(l.proxies, address)
		address = site(address)
		if l.enter(address, alone) {
			return &limitedConn{Conn: c, leave: sync.OnceFunc(func() { l.leave(address) })}, nil
		}
		l.refused.Inc()
		_ = c.Close()
	}
}

func (l *limitedListener) enter(address netip.Addr, alone bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total >= l.max || alone && l.open[address] >= l.maxPerAddress {
		return false
	}
	l.total++
	l.open[address]++
	return true
}

func (l *limitedListener) leave(address netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
	if l.open[address]--; l.open[address] == 0 {
		delete(l.open, address)
	}
}

type limitedConn struct {
	net.Conn
	leave func()
}

// Close makes room for another connection.
func (c *limitedConn) Close() error {
	c.leave()
	return c.Conn.Close()
}
