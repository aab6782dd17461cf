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
//	settings  a stream or the server has settings that break the contract, and that cannot be mended (package layout)
//	full      the stream of task records is near a limit beyond which the broker drops them
//
// What can be mended it mends, and it makes a stream anew that was removed, but for that of the task records. Only
// spending stops: tasks wait; polls, cancels and events go on, and so does intake until the records are full. What the guard cannot know it does not hold
// against anybody: whether an outside server syncs is said once in the log, and no more.
package storeguard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/disk"
	"reelay/internal/failpoint"
	"reelay/internal/layout"
)

// A Reason is why no money may be spent.
type Reason string

// The reasons, which are also the label values of the metric.
const (
	ReasonStore    Reason = "store"
	ReasonDisk     Reason = "disk"
	ReasonJournal  Reason = "journal"
	ReasonUnsynced Reason = "unsynced"
	ReasonSettings Reason = "settings"
	ReasonFull     Reason = "full"
)

// Reasons lists every reason, those first that may be the cause of others.
func Reasons() []Reason {
	return []Reason{ReasonDisk, ReasonJournal, ReasonStore, ReasonSettings, ReasonFull, ReasonUnsynced}
}

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
	// noteWait is how often the witness learns how far the store has come; restWait bounds that at a stop, and restFlush is
	// longer than a broker holds a write back that it has not acknowledged.
	noteWait, restWait, restFlush = 5 * time.Second, 5 * time.Second, 50 * time.Millisecond
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
	// EpochDir is where it keeps the same once more, apart from the journal and the store, so that it notices when both
	// were put back from a copy; empty for nowhere.
	EpochDir string
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
	// restored is when a person has restored the store, and when its backup was taken.
	restored atomic.Pointer[[2]time.Time]
	// unknown counts the checks at which nobody knew how the broker syncs.
	unknown int
	// changed is set when the broker says that the records' stream was.
	changed atomic.Bool
	// mended is when the streams were mended last.
	mended time.Time
	// vanished says that acknowledged tasks have no record; nil while that is not known.
	vanished error
	// warned is set while the records are so many that a person should know.
	warned bool

	mu      sync.Mutex
	stopped map[Reason]error
	// connection counts the reconnects there were before the last check of the store.
	connection uint64
}

// Open returns a guard that has checked once. Trouble is no error: it is what Allowed tells. The metric is registered.
func Open(ctx context.Context, o Options) *Guard {
	g := &Guard{
		o: o, log: o.Log.With("component", "guard"), kick: make(chan struct{}, 1), stopped: map[Reason]error{},
		epoch: epoch{path: filepath.Join(o.Dir, epochFile), witness: newWitness(o.EpochDir, o.Dir, o.Log), faults: o.Faults},
		allowed: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "reelay_spending_allowed",
			Help: "0 while this reason keeps paid requests from being sent: store, disk, journal, unsynced, settings, full.",
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

// Run checks again and again until ctx ends, and then notes how far the store has come.
func (g *Guard) Run(ctx context.Context) error {
	defer g.hear()()
	defer g.rest(context.WithoutCancel(ctx))
	g.compare(ctx)
	notes := time.NewTicker(noteWait)
	defer notes.Stop()
	// The second check comes soon: a broker that was started at the same time may have told nothing of itself at the
	// first.
	for wait := troubledWait; ; wait = usualWait {
		if g.Allowed() != nil {
			wait = troubledWait
		}
		if !g.noteUntil(ctx, notes.C, time.After(wait)) {
			return nil
		}
		g.check(ctx)
	}
}

// noteUntil notes how far the store has come until a check is due; false says that ctx has ended.
func (g *Guard) noteUntil(ctx context.Context, notes, due <-chan time.Time) bool {
	for {
		select {
		case <-ctx.Done():
			return false
		case <-g.kick:
			return true
		case <-due:
			return true
		case <-notes:
			if !g.note(ctx) {
				return true
			}
		}
	}
}

// note has the witness remember how far the store has come; false says that the store is to be checked now.
func (g *Guard) note(ctx context.Context) bool {
	if g.epoch.witness.dir == "" || g.Allowed() != nil {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, noteWait)
	defer cancel()
	info, err := g.stream(ctx, events.StreamTasks)
	if err != nil {
		return true // the next check says so if it lasts
	}
	if kept := g.epoch.witness.known(); !kept.Created.Equal(info.Created) || info.State.LastSeq < kept.LastSequence {
		return false
	}
	g.Sending(g.epoch.sure(info.State.LastSeq))
	return true
}

// compare looks once for tasks that were acknowledged and have vanished, as a broker's damaged file loses them: without a
// word, in the middle of a stream whose last sequence is what it was.
func (g *Guard) compare(ctx context.Context) {
	old, err := g.epoch.read(memory{})
	if err != nil {
		return // what is wrong is told, or nothing is known yet
	}
	gone, err := g.o.Bus.Vanished(ctx, old.Accepted)
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		g.log.Warn("nobody can say whether the broker has lost tasks", "error", err)
	case len(gone) > 0:
		g.vanished = fmt.Errorf("%w: %d tasks that were announced as queued have no record: %s", ErrForgetful, len(gone), some(gone))
		g.check(ctx)
	}
}

// some names a few tasks.
func some(keys []events.Key) string {
	const named = 10
	slices.SortFunc(keys, func(a, b events.Key) int { return cmp.Compare(a.String(), b.String()) })
	names := make([]string, 0, named+1)
	for _, k := range keys[:min(named, len(keys))] {
		names = append(names, k.String())
	}
	if len(keys) > named {
		names = append(names, "...")
	}
	return strings.Join(names, ", ")
}

// rest notes at a clean stop how far the store has come: what it shows twice, restFlush apart, is no longer on its way
// to the broker's disk.
func (g *Guard) rest(ctx context.Context) {
	defer g.epoch.witness.Close()
	if g.Allowed() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, restWait)
	defer cancel()
	first, err := g.stream(ctx, events.StreamTasks)
	if err != nil {
		return
	}
	time.Sleep(restFlush)
	second, err := g.stream(ctx, events.StreamTasks)
	old, oldErr := g.epoch.read(memory{Created: first.Created.UTC()})
	if err != nil || oldErr != nil || !second.Created.Equal(old.Created) || second.State.LastSeq < first.State.LastSeq {
		return
	}
	if old.LastSequence = max(old.LastSequence, first.State.LastSeq); g.epoch.write(old) != nil {
		g.log.Warn("how far the store has come could not be noted at the stop", "stream", events.StreamTasks)
	}
}

// Sending notes that a revision of the record stream was acknowledged, on which a paid request is about to leave: a
// store that does not have it has forgotten that it was sent.
func (g *Guard) Sending(revision uint64) {
	g.epoch.witness.reached(revision)
}

// Restored is when a person has restored the store, and when the backup was taken; zero for never.
func (g *Guard) Restored() (at, taken time.Time) {
	if r := g.restored.Load(); r != nil {
		return r[0], r[1]
	}
	return at, taken
}

// restoredOf reads what the metadata of the record stream says of a restore. A time that cannot be read is zero: then
// everything since the records were made may be forgotten.
func restoredOf(metadata map[string]string) *[2]time.Time {
	var r [2]time.Time
	for i, key := range []string{events.RecordsRestoredKey, events.RecordsTakenKey} {
		if at, err := time.Parse(time.RFC3339, metadata[key]); err == nil {
			r[i] = at
		}
	}
	return &r
}

// hear has the streams checked at once when the broker says that the records' was changed or removed: a limit drops
// records with every write. Where that is not heard, the minute counts.
func (g *Guard) hear() (stop func()) {
	var subs []*nats.Subscription
	for _, subject := range events.StreamChanges(events.StreamTasks) {
		sub, err := g.o.Bus.Conn().Subscribe(subject, func(*nats.Msg) {
			g.changed.Store(true)
			g.wake()
		})
		if err == nil { // it is closed otherwise, and so is everything
			subs = append(subs, sub)
		}
	}
	return func() {
		for _, sub := range subs {
			_ = sub.Unsubscribe()
		}
	}
}

func (g *Guard) wake() {
	select {
	case g.kick <- struct{}{}:
	default:
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
		g.wake()
		return &StoppedError{ReasonStore, errNotSeen}
	}
	return nil
}

// Intake says whether new tasks may be taken in. Its error is a *StoppedError.
func (g *Guard) Intake() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.stopped[ReasonFull]; err != nil {
		return &StoppedError{ReasonFull, err}
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
		err = g.remember(ctx, info, g.accept)
		g.accept = false
		g.set(ReasonFull, g.room(info))
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
	g.mend(life)
}

// mend mends the streams, about once a minute; what it cannot mend is a reason.
func (g *Guard) mend(ctx context.Context) {
	if !g.changed.Swap(false) && time.Since(g.mended) < usualWait-troubledWait {
		return
	}
	g.mended = time.Now()
	ctx, cancel := context.WithTimeout(ctx, checkWait)
	defer cancel()
	faults, err := g.o.Bus.Mend(ctx)
	small := layout.Payload(g.o.Bus.Conn().MaxPayload())
	switch {
	case small != nil:
		g.set(ReasonSettings, small)
	case len(faults) > 0:
		g.set(ReasonSettings, faults[0])
	case err == nil:
		g.set(ReasonSettings, nil)
	default: // the broker is away, or lets this process change no stream: then others have to
		g.log.Debug("the streams could not be checked", "error", err)
	}
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

// room fails when the records are near a limit beyond which the broker drops them.
func (g *Guard) room(info *jetstream.StreamInfo) error {
	percent, warn, full := layout.Room(info)
	if full {
		return layout.FullError(percent, info.Config.MaxBytes)
	}
	if warn && !g.warned {
		g.log.Warn("the task records fill much of the limit of their stream; no money is spent when they fill more",
			"stream", events.StreamTasks, "percent", percent)
	}
	g.warned = warn
	return nil
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
