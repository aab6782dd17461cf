// Package bus is JetStream in reelay's terms: streams made from the contract's tables, task records changed by
// compare-and-set only, events stored once, messages acknowledged last.
//
// Nothing here decides anything about a task. What a write means when its acknowledgement is lost is the caller's to
// know: every error that is not ErrConflict leaves open whether the write happened.
package bus

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/internal/failpoint"
	"reelay/internal/layout"
	"reelay/internal/written"
)

var (
	// ErrOldServer says that the NATS server lacks what reelay needs.
	ErrOldServer = errors.New("nats-server 2.15 or newer is needed")
	// ErrOtherBuild says that another build of reelay has written the store, and that this one cannot go on with it.
	ErrOtherBuild = errors.New("the store was written by another build of reelay")
	// ErrOtherWorld says that the task records are those of real providers, and this process has emulators, or the other
	// way round.
	ErrOtherWorld = errors.New("the task records are of another world")
	// ErrConflict says that a record changed since it was read, or that it exists already.
	ErrConflict = errors.New("it was changed by somebody else")
	// ErrUnreadable says that a stored value is not what this build stores there. Reading it again does not help.
	ErrUnreadable = errors.New("the stored value cannot be read")
	// ErrNotFound says that there is no such record.
	ErrNotFound = errors.New("no such task")
)

const (
	// minMajor and minMinor are the oldest server: message schedules with @every need 2.14, their fixes 2.15.
	minMajor, minMinor = 2, 15

	// writeWait bounds one write or read. A cluster may need about ten seconds for an election.
	writeWait = 15 * time.Second
)

// A Bus is a connection with every stream of the contract in place.
type Bus struct {
	nc *nats.Conn
	js jetstream.JetStream
	// apiPrefix is that of JetStream's API, with its last dot.
	apiPrefix string
	// objects are the object stores by name.
	objects map[string]jetstream.ObjectStore
	// sole says that the stream of records has one replica.
	sole bool
	// wholeRecords says that records without a summary were seen.
	wholeRecords atomic.Bool
	// buckets are the KV buckets by name, to watch them.
	buckets map[string]jetstream.KeyValue
	// replicas and maxBytes are what streams are made with.
	replicas int
	maxBytes StreamBytes
	log      *slog.Logger
	faults   failpoint.Plan
	dead     *prometheus.CounterVec
	// consuming are the consumers that this process takes messages from.
	consuming consumers
	own       written.Records
}

// Options configure Open.
type Options struct {
	// APIPrefix is where JetStream's API answers; $JS.API where it is empty, $JS.<domain>.API for another domain.
	APIPrefix string
	// Replicas of streams that do not exist yet, 1 to 5. Those that do keep theirs.
	Replicas int
	// World is that of the process's lanes; empty for a process without lanes. JoinWorld has it work on records of the
	// other one.
	World     events.World
	JoinWorld bool
	// MaxBytes bounds streams that do not exist yet. An account may require that.
	MaxBytes StreamBytes
	Log      *slog.Logger
	// Registerer takes the bus's metrics; nil for none.
	Registerer prometheus.Registerer
	// Faults is for simulations only.
	Faults failpoint.Plan
}

// Open checks the server, creates or updates every stream, and returns the bus. It never deletes or recreates a stream.
// It fails with ErrOldServer, ErrOtherBuild or ErrOtherWorld, or with an error that names the stream.
func Open(ctx context.Context, nc *nats.Conn, o Options) (*Bus, error) {
	if !nc.IsConnected() {
		return nil, nats.ErrDisconnected
	}
	if err := checkVersion(nc.ConnectedServerVersion()); err != nil {
		return nil, err
	}
	prefix := cmp.Or(o.APIPrefix, jetstream.DefaultAPIPrefix)
	js, err := jetstream.NewWithAPIPrefix(nc, prefix, jetstream.WithDefaultTimeout(writeWait))
	if err != nil {
		return nil, fmt.Errorf("jetstream: %w", err)
	}
	b := &Bus{
		nc: nc, js: js, apiPrefix: strings.TrimSuffix(prefix, ".") + ".", buckets: map[string]jetstream.KeyValue{},
		objects: map[string]jetstream.ObjectStore{}, replicas: max(1, o.Replicas), maxBytes: o.MaxBytes, log: o.Log,
		faults: o.Faults, dead: newDeadLetters(),
	}
	if err := b.provision(ctx); err != nil {
		return nil, err
	}
	err = step(ctx, "stream "+events.StreamTasks, func(ctx context.Context) error { return b.enter(ctx, o.World, o.JoinWorld) })
	if err != nil {
		return nil, err
	}
	if o.Registerer != nil { // only now: a failed Open may be repeated
		o.Registerer.MustRegister(b.dead)
	}
	return b, nil
}

// provision creates or mends every stream and bucket. It is idempotent; services may race.
func (b *Bus) provision(ctx context.Context) error {
	for _, need := range layout.All() {
		err := step(ctx, need.About, func(ctx context.Context) error {
			faults, err := b.provisionStream(ctx, need, true)
			for _, f := range faults {
				b.log.Error("a stream breaks the contract, and money is not spent until that is mended", "error", f)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	err := step(ctx, "bucket "+events.TaskBucket, func(ctx context.Context) (err error) {
		if b.buckets[events.TaskBucket], err = b.js.KeyValue(ctx, events.TaskBucket); err != nil {
			return err
		}
		stream, err := b.js.Stream(ctx, events.StreamTasks)
		if err != nil {
			return err
		}
		b.sole = stream.CachedInfo().Config.Replicas == 1
		return b.checkSchema(ctx)
	})
	if err != nil {
		return err
	}
	for _, c := range bucket.All() {
		err := step(ctx, "bucket "+c.Name, func(ctx context.Context) (err error) {
			if c.Objects {
				b.objects[c.Name], err = b.js.ObjectStore(ctx, c.Name)
				return err
			}
			b.buckets[c.Name], err = b.js.KeyValue(ctx, c.Name)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// step makes one stream, or asks about it, as often as it takes a cluster to choose a leader.
func step(ctx context.Context, what string, make func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	if err := retry(ctx, make); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// OpenRetrying is Open for a service that may be started before its broker: it waits, saying so, until it succeeds,
// until ctx ends or until the server turns out to be too old, or the store to be another build's or world's. What waiting alone
// does not mend is said as an error, with the way out.
func OpenRetrying(ctx context.Context, nc *nats.Conn, o Options) (*Bus, error) {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		b, err := Open(ctx, nc, o)
		if err == nil || errors.Is(err, ErrOldServer) || errors.Is(err, ErrOtherBuild) || errors.Is(err, ErrOtherWorld) {
			return b, err
		}
		if advice := provisionAdvice(err); advice != "" {
			o.Log.Error("the streams cannot be made as the server is configured; it is tried again", "error", err,
				"advice", advice)
		} else {
			o.Log.Info("waiting for the broker", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

// JetStream's error codes for a stream that cannot be made until a person changes something.
const (
	codeStorageResources  = 10047 // also where the account's limit is reached
	codeMemoryResources   = 10028
	codeMaxStreamBytes    = 10122
	codeInvalidConfig     = 10052
	codeSubjectOverlap    = 10065
	codeBytesRequired     = 10113
	codeNotEnabled        = 10076
	codeNotEnabledAccount = 10039
	codeStreamLimit       = 10027
	codeReplicas          = 10074
	codeNoPeers           = 10005
)

// provisionAdvice says what a person can do about a stream that cannot be made; empty where waiting may mend it.
func provisionAdvice(err error) string {
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return ""
	}
	switch api.ErrorCode {
	case codeStorageResources, codeMemoryResources, codeMaxStreamBytes:
		return "give JetStream more storage: max_file of the server, or the account's disk limit"
	case codeBytesRequired:
		return "the account requires max_bytes on every stream: give each a bound with REELAY_STREAM_MAX_BYTES, or lift that rule " +
			"for this account"
	case codeSubjectOverlap:
		return "another stream of this account stores subjects of reelay: find it with `nats stream report`, and take them " +
			"out of it"
	case codeStreamLimit:
		return "the account may have no more streams: raise its limit"
	case codeReplicas, codeNoPeers:
		return "the servers cannot keep that many replicas: see REELAY_REPLICAS and `nats server report jetstream`"
	case codeNotEnabled, codeNotEnabledAccount:
		return "enable JetStream on the server and for this account"
	case codeInvalidConfig:
		return "an existing stream has settings that reelay cannot keep: see `reelay doctor`"
	}
	return ""
}

// keySubject returns where a message on a KV bucket's subject is published. A server passes $KV to no other domain and
// no other account; there its API takes the message below its prefix.
func (b *Bus) keySubject(subject string) string {
	if b.apiPrefix == jetstream.DefaultAPIPrefix {
		return subject
	}
	return b.apiPrefix + subject
}

// Conn returns the NATS connection.
func (b *Bus) Conn() *nats.Conn { return b.nc }

// JetStream returns the JetStream context.
func (b *Bus) JetStream() jetstream.JetStream { return b.js }

// Connected reports whether the connection is up.
func (b *Bus) Connected() bool { return b.nc.IsConnected() }

func checkVersion(version string) error {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(parts) < 2 {
		return fmt.Errorf("%w: the server says %q", ErrOldServer, version)
	}
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	if err1 != nil || err2 != nil || major < minMajor || major == minMajor && minor < minMinor {
		return fmt.Errorf("%w: the server is %s", ErrOldServer, version)
	}
	return nil
}

// checkSchema refuses records of another schema, by the last one that was written.
func (b *Bus) checkSchema(ctx context.Context) error {
	last, err := b.last(ctx, events.StreamTasks, events.RecordFilter())
	if err != nil {
		return err
	}
	var record struct {
		Schema int `json:"schema"`
	}
	if json.Unmarshal(last.data, &record) == nil && record.Schema != 0 && record.Schema != events.TaskSchema {
		return otherBuild(fmt.Sprintf("a task record has schema %d, and this build reads %d", record.Schema,
			events.TaskSchema))
	}
	return nil
}

// Send stores a message as it is: a request or a command that somebody has handed in. After an error it may or may not
// be stored.
func (b *Bus) Send(ctx context.Context, msg *nats.Msg) error {
	return b.faults.Do(ctx, "send", func() error {
		_, err := b.js.PublishMsg(ctx, msg)
		return err
	})
}

// Drain lets a connection finish what it is sending and closes it. It takes nats.go's drain timeout at most.
func Drain(nc *nats.Conn) error {
	closed := nc.StatusChanged(nats.CLOSED)
	if err := nc.Drain(); err != nil {
		nc.Close() // not connected: there is nothing to drain
		return nil
	}
	if !nc.IsClosed() {
		<-closed
	}
	return nil
}
