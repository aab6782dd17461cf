package spend

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"reelay/events/bucket"
	"reelay/internal/bus"
)

const (
	// maxTries bounds the reads and writes of one change of a counter against others who change the same one.
	maxTries = 20
	// freshFor is how long after a reservation its money may be spent.
	freshFor = Horizon / 2
	// readWait is how long a reservation waits for the caps to be read.
	readWait = 5 * time.Second
)

var (
	// ErrOver is matched by every OverError.
	ErrOver = errors.New("the budget is used up")
	// ErrUncounted says that a cap is new, and what was spent today has not been counted yet.
	ErrUncounted = errors.New("what was spent today has not been counted yet; the status service does that")
	// ErrUnknown says that the caps have not been read yet.
	ErrUnknown = errors.New("the caps have not been read yet")
	// ErrStale says that a reservation is too old to be spent.
	ErrStale = errors.New("the reservation of its money is too old")
)

// An OverError says which cap keeps an attempt from being paid.
type OverError struct {
	Scope bucket.Scope
	Cap   bucket.Cap
	// TakenUSD is what is taken of the cap already, WantedUSD what the attempt may cost.
	TakenUSD, WantedUSD float64
	// Until is when the next day begins.
	Until time.Time
}

// Error returns "the budget is used up: <scope>: <taken> of <cap> USD ... ".
func (e *OverError) Error() string {
	return fmt.Sprintf("%v: %s: %.6g of %.6g USD are taken today and this may cost %.6g", ErrOver, e.Scope, e.TakenUSD,
		e.Cap.DailyUSD, e.WantedUSD)
}

// Is matches ErrOver.
func (e *OverError) Is(target error) bool { return target == ErrOver }

// A Reserver reserves money. It is safe for concurrent use.
type Reserver struct {
	bus  *bus.Bus
	log  *slog.Logger
	over *prometheus.CounterVec

	// known closes when the caps have been read.
	known chan struct{}
	mu    sync.Mutex
	caps  map[bucket.Scope]bucket.Cap
}

// New returns a Reserver whose metrics are registered with reg. It knows no caps before Watch has read them.
func New(b *bus.Bus, log *slog.Logger, reg prometheus.Registerer) *Reserver {
	k := &Reserver{
		bus: b, log: log, caps: map[bucket.Scope]bucket.Cap{}, known: make(chan struct{}),
		over: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "reelay_cap_exceeded_total",
			Help: "Attempts that were not paid because a cap of the day was used up, by lane.",
		}, []string{"lane"}),
	}
	reg.MustRegister(k.over)
	return k
}

// Watch keeps the caps as they are set, until ctx ends.
func (b *Reserver) Watch(ctx context.Context) error {
	bus.KeepWatching(ctx, b.log, "the watch of the caps was interrupted",
		func(ctx context.Context) error { return WatchCaps(ctx, b.bus, b.log, b.set) })
	return nil
}

func (b *Reserver) set(s bucket.Scope, c *bucket.Cap) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case s != "" && c != nil:
		b.caps[s] = *c
		b.log.Info("a cap on spending is set", "scope", s.String(), "daily_usd", c.DailyUSD, "by", c.By)
	case s != "":
		delete(b.caps, s)
		b.log.Info("a cap on spending was removed", "scope", s.String())
	case !b.read():
		close(b.known)
	}
}

func (b *Reserver) read() bool {
	select {
	case <-b.known:
		return true
	default:
		return false
	}
}

// An Ask is the money for one attempt.
type Ask struct {
	Project, Lane string
	// At is the time of the attempt's intent; its day in UTC is the one that counts.
	At time.Time
	// USD is what it may cost; nil if nobody knows, then each cap says what it counts for.
	USD *float64
}

// A Reservation is money set aside for one attempt. A nil Reservation is of an attempt that no cap covers.
type Reservation struct {
	// at is the time of the attempt, made that of the reservation, by both clocks.
	at, made time.Time
	parts    []part
}

// part is what is taken of one cap.
type part struct {
	scope  bucket.Scope
	amount micros
}

// Fresh returns ErrStale if the money may not be spent any more.
func (h *Reservation) Fresh() error {
	if h == nil {
		return nil
	}
	// By both clocks: one stands still while the machine sleeps, the other can be set.
	if now := time.Now(); now.Sub(h.made) > freshFor || now.Round(0).Sub(h.at.Round(0)) > freshFor {
		return ErrStale
	}
	return nil
}

// scopes returns what an attempt counts for, the special before the general.
func scopes(a Ask) []bucket.Scope {
	return []bucket.Scope{bucket.ProjectScope(a.Project), bucket.LaneScope(a.Lane), bucket.AllScope}
}

// covering returns the caps that count for a.
func (b *Reserver) covering(ctx context.Context, a Ask) (map[bucket.Scope]bucket.Cap, error) {
	select {
	case <-b.known:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-time.After(readWait):
		return nil, ErrUnknown
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	caps := map[bucket.Scope]bucket.Cap{}
	for _, s := range scopes(a) {
		if c, ok := b.caps[s]; ok {
			caps[s] = c
		}
	}
	return caps, nil
}

// Reserve takes the money for one attempt out of every cap that covers it, or out of none: it fails with an *OverError,
// with ErrUncounted, ErrUnknown, or an error of the broker. After the last, money may be reserved that nobody spends,
// for Horizon.
func (b *Reserver) Reserve(ctx context.Context, a Ask) (*Reservation, error) {
	h := &Reservation{at: a.At, made: time.Now()}
	caps, err := b.covering(ctx, a)
	if err != nil || len(caps) == 0 {
		return nil, err
	}
	for _, s := range scopes(a) { // in this order always: where more than one is used up, the first is told
		c, ok := caps[s]
		if !ok {
			continue
		}
		amount := toMicros(c.UnknownUSD)
		if a.USD != nil {
			amount = toMicros(*a.USD)
		}
		if err := b.reserve(ctx, s, c, a.At, amount); err != nil {
			b.Return(ctx, h)
			if errors.Is(err, ErrOver) {
				b.over.WithLabelValues(a.Lane).Inc()
			}
			return nil, err
		}
		h.parts = append(h.parts, part{s, amount})
	}
	return h, nil
}

func (b *Reserver) reserve(ctx context.Context, s bucket.Scope, c bucket.Cap, at time.Time, amount micros) error {
	return change(ctx, b.bus, s, day(at), func(n *counter, exists bool) (bool, error) {
		switch {
		case !exists && day(c.SetAt) < day(at):
			n.Cap = c.Revision // whatever was paid on this day was reserved
		case n.Cap != c.Revision:
			return false, fmt.Errorf("%w: %s", ErrUncounted, s)
		}
		if taken := n.Total(); taken+amount > toMicros(c.DailyUSD) {
			return false, &OverError{Scope: s, Cap: c, TakenUSD: taken.USD(), WantedUSD: amount.USD(), Until: nextDay(at)}
		}
		n.add(at, amount)
		return true, nil
	})
}

// Return gives money back that was not spent. It is called once for a Reservation at most. What cannot be given back
// now counts for Horizon.
func (b *Reserver) Return(ctx context.Context, h *Reservation) {
	if h == nil {
		return
	}
	for _, p := range h.parts {
		err := change(ctx, b.bus, p.scope, day(h.at), func(n *counter, exists bool) (bool, error) {
			n.add(h.at, -p.amount)
			return exists, nil
		})
		if err != nil {
			b.log.Warn("money that was not spent could not be given back; it counts for a while", "scope", p.scope.String(),
				"error", err)
		}
	}
}

// Count replaces what is reserved by what the records say. It changes nothing where that is no news.
func Count(ctx context.Context, b *bus.Bus, s bucket.Scope, c bucket.Cap, at time.Time,
	r *Records,
) (bucket.SpendCounter, error) {
	var last bucket.SpendCounter
	err := change(ctx, b, s, day(at), func(n *counter, _ bool) (bool, error) {
		news := n.count(c.Revision, r)
		last = n.SpendCounter
		return news, nil
	})
	return last, err
}

// keptChanges is how many of its last changes a counter names.
const keptChanges = 16

// change reads, changes and writes a counter by compare-and-set. step says whether there is anything to write. The
// client library may send a write twice, which is then in conflict with itself: the counter names its last changes, so
// that nothing is added or given back twice.
func change(ctx context.Context, b *bus.Bus, s bucket.Scope, day string,
	step func(n *counter, exists bool) (bool, error),
) error {
	id := crand.Text()
	for try := range maxTries {
		stored, revision, err := readCounter(ctx, b, s, day)
		n := counter{stored}
		switch {
		case err == nil && slices.Contains(stored.Changes, id):
			return nil
		case errors.Is(err, bus.ErrUnreadable), err == nil && !n.valid():
			n = counter{} // of no cap: nothing is reserved in it before the records are counted into it
		case err != nil:
			return err
		}
		write, err := step(&n, revision > 0)
		if err != nil || !write {
			return err
		}
		n.Changes = append(stored.Changes[max(0, len(stored.Changes)-keptChanges+1):], id)
		if err = writeCounter(ctx, b, s, day, n.SpendCounter, revision); !errors.Is(err, bus.ErrConflict) {
			return err
		}
		pause(ctx, try)
	}
	return fmt.Errorf("%w: the counter of %s, %d times in a row", bus.ErrConflict, s, maxTries)
}

// pause waits a little longer each time, at random, before the counter is read again.
func pause(ctx context.Context, try int) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Duration(rand.Int64N(int64(2*time.Millisecond) << min(try, 7)))):
	}
}

// day is the day of a time in UTC, as it stands in the key of a counter.
func day(at time.Time) string { return at.UTC().Format(time.DateOnly) }

func nextDay(at time.Time) time.Time { return at.UTC().Truncate(24 * time.Hour).Add(24 * time.Hour) }
