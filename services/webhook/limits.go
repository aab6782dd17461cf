package webhook

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

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

// slots bound the bodies that are read at once, of one key and of all. While all are taken, whoever has been at it
// longest makes room, if that is long: so nobody who sends slowly keeps out who does not, by however many keys.
type slots[K comparable] struct {
	max, maxPerKey int
	long           time.Duration

	mu sync.Mutex
	// order are those under way, the oldest first.
	order []*slot[K]
	taken map[K]int
}

// A slot is one body under way.
type slot[K comparable] struct {
	key   K
	since time.Time
	cut   func()
	// lost says that it had to make room.
	lost bool
}

func newSlots[K comparable](most, mostPerKey int, long time.Duration) *slots[K] {
	return &slots[K]{max: most, maxPerKey: mostPerKey, long: long, taken: map[K]int{}}
}

// enter returns a slot, nil if there is none. cut ends the reading; it must be quick.
func (s *slots[K]) enter(key K, cut func()) *slot[K] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken[key] >= s.maxPerKey {
		return nil
	}
	now := time.Now()
	if len(s.order) >= s.max {
		oldest := s.order[0]
		if now.Sub(oldest.since) < s.long {
			return nil
		}
		oldest.lost = true
		s.remove(oldest)
		oldest.cut()
	}
	mine := &slot[K]{key: key, since: now, cut: cut}
	s.order = append(s.order, mine)
	s.taken[key]++
	return mine
}

// leave gives a slot back, and reports whether it was lost before.
func (s *slots[K]) leave(mine *slot[K]) (lost bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !mine.lost {
		s.remove(mine)
	}
	return mine.lost
}

// remove takes a slot out. The lock is held.
func (s *slots[K]) remove(gone *slot[K]) {
	i := slices.Index(s.order, gone)
	s.order = slices.Delete(s.order, i, i+1)
	if s.taken[gone.key]--; s.taken[gone.key] == 0 {
		delete(s.taken, gone.key)
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
