// Package storeguard decides whether money may be spent.
//
// A paid request is safe only as long as the broker remembers what it acknowledged and the journal can be written. The
// guard checks both once a minute, every five seconds while something is wrong, and whenever the connection to the
// broker was lost and came back. Each of its reasons stops spending while it lasts:
//
//	store     the stream of task records is another one than before, or has forgotten some (see epoch.go), or was not seen yet
//	disk      there is little room on the journal's disk: under 10 % and under 1 GiB
//	journal   the journal's directory cannot be written
//	unsynced  a single broker acknowledges writes before they are on disk, and a provider is real
//
// Only spending stops: tasks wait; intake, polls, cancels and events go on. What the guard cannot know it does not hold
// against anybody: whether an outside server syncs is said once in the log, and no more.
package storeguard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/disk"
	"reelay/internal/failpoint"
)

// A Reason is why no money may be spent.
type Reason string

// The reasons, which are also the label values of the metric.
const (
	ReasonStore    Reason = "store"
	ReasonDisk     Reason = "disk"
	ReasonJournal  Reason = "journal"
	ReasonUnsynced Reason = "unsynced"
)

// Reasons lists every reason, those first that may be the cause of others.
func Reasons() []Reason { return []Reason{ReasonDisk, ReasonJournal, ReasonStore, ReasonUnsynced} }

// ErrStopped is matched by every error of Allowed.
var ErrStopped = errors.New("spending is stopped")

// A StoppedError says why no money may be spent, and what a person can do. It matches ErrStopped and its cause.
type StoppedError struct {
	Reason Reason
	Err    error
}

// Error returns "spending is stopped (<reason>): <cause>".
func (e *StoppedError) Error() string {
	return fmt.Sprintf("%v (%s): %v", ErrStopped, e.Reason, e.Err)
}

// Unwrap returns ErrStopped and the cause.
func (e *StoppedError) Unwrap() []error { return []error{ErrStopped, e.Err} }

const (
	// usualWait and troubledWait are the times between two checks.
	usualWait    = time.Minute
	troubledWait = 5 * time.Second
	// checkWait bounds the questions of one check to the broker.
	checkWait = 10 * time.Second
	// Below diskPercent and diskBytes of free disk nothing is submitted: the answers to come need room.
	diskPercent, diskBytes = 10, 1 << 30
)

var (
	errNotSeen  = errors.New("the broker's store has not been checked since the connection was made")
	errUnsynced = errors.New("a single broker with --sync interval forgets acknowledged writes in a power cut, and " +
		"what it forgets may be paid for twice; use --sync always, or accept it with --allow-unsynced-spending " +
		"(REELAY_ALLOW_UNSYNCED_SPENDING=true)")
	errDiskSpace = errors.New("little room on the journal's disk")
)

// A Sync is what is known of when the broker syncs its writes to disk.
type Sync string

const (
	// SyncUnknown asks the broker, which tells if it is reelay's own.
	SyncUnknown Sync = ""
	// SyncAlways acknowledges a write when it is on disk, SyncInterval before.
	SyncAlways   Sync = events.BrokerSyncAlways
	SyncInterval Sync = "interval"
)

// Options configure a Guard.
type Options struct {
	Bus *bus.Bus
	// Dir is the directory of the journal; the guard keeps what it remembers of the store in there.
	Dir string
	// Paid says that a provider is real. Without one the rule about syncing does not count.
	Paid bool
	Sync Sync
	// AcceptNewStore spends although the broker's store is another one than before, or has forgotten records.
	AcceptNewStore bool
	// AllowUnsyncedSpending spends although a single broker acknowledges writes before they are on disk.
	AllowUnsyncedSpending bool
	Log                   *slog.Logger
	Registerer            prometheus.Registerer
	// Faults is for simulations only.
	Faults failpoint.Plan
}

// A Guard knows whether money may be spent. It is safe for concurrent use.
type Guard struct {
	o       Options
	log     *slog.Logger
	epoch   epoch
	allowed *prometheus.GaugeVec
	kick    chan struct{}
	// accept is set until the store was seen for the first time.
	accept bool
	// unknown counts the checks at which nobody knew how the broker syncs.
	unknown int

	mu      sync.Mutex
	stopped map[Reason]error
	// connection counts the reconnects there were before the last check of the store.
	connection uint64
}

// Open returns a guard that has checked once. Trouble is no error: it is what Allowed tells. The metric is registered.
func Open(ctx context.Context, o Options) *Guard {
	g := &Guard{
		o: o, log: o.Log.With("component", "guard"), kick: make(chan struct{}, 1), stopped: map[Reason]error{},
		epoch: epoch{path: filepath.Join(o.Dir, epochFile), faults: o.Faults},
		allowed: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "reelay_spending_allowed",
			Help: "0 while this reason keeps paid requests from being sent: store, disk, journal, unsynced.",
		}, []string{"reason"}),
	}
	if o.Registerer != nil {
		o.Registerer.MustRegister(g.allowed)
	}
	for _, r := range Reasons() {
		g.allowed.WithLabelValues(string(r)).Set(1)
	}
	g.accept = o.AcceptNewStore
	g.check(ctx)
	return g
}

// Run checks again and again until ctx ends.
func (g *Guard) Run(ctx context.Context) error {
	// The second check comes soon: a broker that was started at the same time may have told nothing of itself at the
	// first.
	for wait := troubledWait; ; wait = usualWait {
		if g.Allowed() != nil {
			wait = troubledWait
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-g.kick:
		case <-timer.C:
		}
		timer.Stop()
		g.check(ctx)
	}
}

// Allowed says whether money may be spent now. Its error is a *StoppedError. It asks nobody, and takes no time.
func (g *Guard) Allowed() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range Reasons() {
		if err := g.stopped[r]; err != nil {
			return &StoppedError{r, err}
		}
	}
	if g.reconnects() != g.connection {
		// Another store may stand behind the new connection.
		select {
		case g.kick <- struct{}{}:
		default:
		}
		return &StoppedError{ReasonStore, errNotSeen}
	}
	return nil
}

func (g *Guard) reconnects() uint64 { return g.o.Bus.Conn().Stats().Reconnects }

// check asks the broker, the disk and the journal, and lets others know.
func (g *Guard) check(life context.Context) {
	ctx, cancel := context.WithTimeout(life, checkWait)
	defer cancel()
	connection := g.reconnects() // first: what is lost meanwhile is to be checked again
	info, err := g.stream(ctx, events.StreamTasks)
	if life.Err() != nil {
		return
	}
	if err == nil {
		err = g.remember(info, g.accept)
		g.accept = false
	}
	g.set(ReasonStore, err)
	g.set(ReasonDisk, g.disk())
	g.set(ReasonJournal, g.journal())
	if info != nil {
		g.set(ReasonUnsynced, g.unsynced(ctx, info.Config.Replicas))
	}
	g.mu.Lock()
	g.connection = connection
	g.mu.Unlock()
}

// set notes whether a reason holds, and says so when that changes.
func (g *Guard) set(r Reason, err error) {
	g.mu.Lock()
	old := g.stopped[r]
	g.stopped[r] = err
	g.mu.Unlock()
	switch {
	case err != nil && (old == nil || cause(old).Error() != cause(err).Error()):
		g.log.Error("no money is spent", "reason", r, "error", err)
	case err == nil && old != nil:
		g.log.Info("money may be spent again", "reason", r)
	}
	value := 1.0
	if err != nil {
		value = 0
	}
	g.allowed.WithLabelValues(string(r)).Set(value)
}

// cause is the innermost error, which does not change with the names of temporary files.
func cause(err error) error {
	for {
		switch e := any(err).(type) { // this very error, not one that it wraps
		case interface{ Unwrap() []error }:
			err = e.Unwrap()[0]
		case interface{ Unwrap() error }:
			next := e.Unwrap()
			if next == nil {
				return err
			}
			err = next
		default:
			return err
		}
	}
}

// disk fails when there is little room for the journal.
func (g *Guard) disk() error {
	switch disk, err := disk.Space(g.o.Dir); {
	case errors.Is(err, errors.ErrUnsupported):
		return nil
	case err != nil:
		return err
	case disk.Under(diskPercent, diskBytes):
		return fmt.Errorf("%w (%s)", errDiskSpace, g.o.Dir)
	}
	return nil
}

// journal fails when the journal's directory cannot be written.
func (g *Guard) journal() error {
	if err := disk.Probe(g.o.Dir); err != nil {
		return fmt.Errorf("the journal's directory cannot be written: %w", err)
	}
	return nil
}

// unsynced fails when the broker may forget what it acknowledged. A store that is kept by several servers is taken to
// outlive the power cut of one.
func (g *Guard) unsynced(ctx context.Context, replicas int) error {
	if !g.o.Paid || replicas > 1 {
		return nil
	}
	sync := g.o.Sync
	if sync == SyncUnknown {
		sync = g.ask(ctx)
	}
	switch sync {
	case SyncAlways:
		return nil
	case SyncUnknown:
		if g.unknown++; g.unknown == 2 {
			g.log.Warn("the task records are kept by one server, and nobody can ask it whether it syncs each write; "+
				"set sync_interval to always there, or use three replicas", "stream", events.StreamTasks)
		}
		return nil
	}
	if g.o.AllowUnsyncedSpending {
		return nil
	}
	return errUnsynced
}

// ask returns what the broker says of itself, which only reelay's own does.
func (g *Guard) ask(ctx context.Context) Sync {
	info, err := g.stream(ctx, events.StreamBroker)
	if err != nil || time.Since(info.State.LastTime) > events.BrokerFresh {
		return SyncUnknown
	}
	return Sync(info.Config.Metadata[events.BrokerSyncKey])
}

func (g *Guard) stream(ctx context.Context, name string) (*jetstream.StreamInfo, error) {
	s, err := g.o.Bus.JetStream().Stream(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", name, err)
	}
	return s.CachedInfo(), nil
}
