// Package bus is JetStream in reelay's terms: streams made from the contract's tables, task records changed by
// compare-and-set only, events stored once, messages acknowledged last.
//
// Nothing here decides anything about a task. What a write means when its acknowledgement is lost is the caller's to
// know: every error that is not ErrConflict leaves open whether the write happened.
package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/internal/failpoint"
)

var (
	// ErrOldServer says that the NATS server lacks what reelay needs.
	ErrOldServer = errors.New("nats-server 2.15 or newer is needed")
	// ErrOtherBuild says that another build of reelay has written the store, and that this one cannot go on with it.
	ErrOtherBuild = errors.New("the store was written by another build of reelay")
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
	nc      *nats.Conn
	js      jetstream.JetStream
	objects jetstream.ObjectStore
	// buckets are the KV buckets by name, to watch them.
	buckets map[string]jetstream.KeyValue
	log     *slog.Logger
	faults  failpoint.Plan
	dead    *prometheus.CounterVec
}

// Options configure Open.
type Options struct {
	// Replicas of streams that do not exist yet, 1 to 5. Those that do keep theirs.
	Replicas int
	Log      *slog.Logger
	// Registerer takes the bus's metrics; nil for none.
	Registerer prometheus.Registerer
	// Faults is for simulations only.
	Faults failpoint.Plan
}

// Open checks the server, creates or updates every stream, and returns the bus. It never deletes or recreates a stream.
// It fails with ErrOldServer, with ErrOtherBuild, or with an error that names the stream.
func Open(ctx context.Context, nc *nats.Conn, o Options) (*Bus, error) {
	if !nc.IsConnected() {
		return nil, nats.ErrDisconnected
	}
	if err := checkVersion(nc.ConnectedServerVersion()); err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(writeWait))
	if err != nil {
		return nil, fmt.Errorf("jetstream: %w", err)
	}
	b := &Bus{
		nc: nc, js: js, buckets: map[string]jetstream.KeyValue{}, log: o.Log, faults: o.Faults, dead: newDeadLetters(),
	}
	if err := b.provision(ctx, max(1, o.Replicas)); err != nil {
		return nil, err
	}
	if o.Registerer != nil { // only now: a failed Open may be repeated
		o.Registerer.MustRegister(b.dead)
	}
	return b, nil
}

// provision creates or updates every stream and bucket. It is idempotent; services may race.
func (b *Bus) provision(ctx context.Context, replicas int) error {
	step := func(what string, make func(context.Context) error) error {
		ctx, cancel := context.WithTimeout(ctx, writeWait)
		defer cancel()
		if err := retry(ctx, make); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	}
	for _, s := range events.Streams() {
		err := step("stream "+s.Name, func(ctx context.Context) error { return b.provisionStream(ctx, s, replicas) })
		if err != nil {
			return err
		}
	}
	err := step("bucket "+events.TaskBucket, func(ctx context.Context) (err error) {
		if b.buckets[events.TaskBucket], err = b.js.KeyValue(ctx, events.TaskBucket); err != nil {
			return err
		}
		return b.checkSchema(ctx)
	})
	if err != nil {
		return err
	}
	for _, c := range bucket.All() {
		err := step("bucket "+c.Name, func(ctx context.Context) (err error) {
			if c.Objects {
				b.objects, err = b.provisionObjects(ctx, c, replicas)
				return err
			}
			b.buckets[c.Name], err = b.provisionBucket(ctx, c, replicas)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// OpenRetrying is Open for a service that may be started before its broker: it waits, saying so, until it succeeds,
// until ctx ends or until the server turns out to be too old, or the store to be another build's.
func OpenRetrying(ctx context.Context, nc *nats.Conn, o Options) (*Bus, error) {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		b, err := Open(ctx, nc, o)
		if err == nil || errors.Is(err, ErrOldServer) || errors.Is(err, ErrOtherBuild) {
			return b, err
		}
		o.Log.Info("waiting for the broker", "error", err)
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(wait):
		}
	}
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

// provisionStream creates s, or brings an existing stream to the table's settings and leaves the operator's (replicas,
// placement, size limits, description) alone.
func (b *Bus) provisionStream(ctx context.Context, s events.Stream, replicas int) error {
	old, err := b.js.Stream(ctx, s.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		// Several services may do this at once: creating the same stream twice is no error.
		_, err = b.js.CreateStream(ctx, configure(jetstream.StreamConfig{
			Name: s.Name, Description: s.Description, Storage: jetstream.FileStorage, Replicas: replicas,
		}, s))
		return err
	}
	if err != nil {
		return err
	}
	if err := checkLayout(old.CachedInfo().Config, s); err != nil {
		return err
	}
	if n := old.CachedInfo().Config.Replicas; n < replicas {
		b.log.Warn("a stream has fewer replicas than were asked for, and keeps them until a person changes that",
			"stream", s.Name, "replicas", n, "wanted", replicas)
	}
	wanted := configure(old.CachedInfo().Config, s)
	if reflect.DeepEqual(wanted, old.CachedInfo().Config) {
		return nil
	}
	_, err = b.js.UpdateStream(ctx, wanted)
	return err
}

// checkLayout refuses a stream with subjects, or a retention, that this build does not give it. It would leave unread
// what is stored there.
func checkLayout(c jetstream.StreamConfig, s events.Stream) error {
	for _, subject := range c.Subjects {
		if !slices.Contains(s.Subjects, subject) {
			return otherBuild("it stores %s", subject)
		}
	}
	if workQueue := c.Retention == jetstream.WorkQueuePolicy; workQueue != (s.Retention == events.WorkQueue) {
		return otherBuild("its retention is %s", c.Retention)
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
		return otherBuild("a task record has schema %d, and this build reads %d", record.Schema, events.TaskSchema)
	}
	return nil
}

func otherBuild(format string, args ...any) error {
	return fmt.Errorf("%w (%s): let the tasks end with that build, or use another store directory", ErrOtherBuild,
		fmt.Sprintf(format, args...))
}

func configure(c jetstream.StreamConfig, s events.Stream) jetstream.StreamConfig {
	c.Subjects, c.MaxAge, c.Duplicates = s.Subjects, s.MaxAge, s.Duplicates
	c.MaxMsgsPerSubject = -1
	if s.MaxMsgsPerSubject > 0 {
		c.MaxMsgsPerSubject = s.MaxMsgsPerSubject
	}
	if s.Retention == events.WorkQueue {
		c.Retention = jetstream.WorkQueuePolicy
	}
	c.Discard = jetstream.DiscardOld
	if s.DiscardNew {
		c.Discard = jetstream.DiscardNew
		c.DiscardNewPerSubject = s.MaxMsgsPerSubject > 0
	}
	if s.KeyValue {
		c.AllowDirect, c.AllowRollup, c.AllowMsgTTL, c.AllowMsgSchedules = true, true, true, true
		c.SubjectDeleteMarkerTTL = events.MarkerAge
	}
	return c
}

// provisionBucket binds to a KV bucket and creates it if need be. The settings of one that exists are the operator's.
func (b *Bus) provisionBucket(ctx context.Context, c bucket.Bucket, replicas int) (jetstream.KeyValue, error) {
	kv, err := b.js.KeyValue(ctx, c.Name)
	if err == nil || !errors.Is(err, jetstream.ErrBucketNotFound) {
		return kv, err
	}
	kv, err = b.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: c.Name, Description: c.Description, History: c.History, TTL: c.TTL, MaxValueSize: c.MaxValueBytes,
		LimitMarkerTTL: c.MarkerAge, Storage: jetstream.FileStorage, Replicas: replicas,
	})
	if errors.Is(err, jetstream.ErrBucketExists) { // another service was faster
		return b.js.KeyValue(ctx, c.Name)
	}
	return kv, err
}

// provisionObjects is provisionBucket for an object store.
func (b *Bus) provisionObjects(ctx context.Context, c bucket.Bucket, replicas int) (jetstream.ObjectStore, error) {
	store, err := b.js.ObjectStore(ctx, c.Name)
	if err == nil || !errors.Is(err, jetstream.ErrBucketNotFound) {
		return store, err
	}
	store, err = b.js.CreateObjectStore(ctx, jetstream.ObjectStoreConfig{
		Bucket: c.Name, Description: c.Description, TTL: c.TTL, Storage: jetstream.FileStorage, Replicas: replicas,
	})
	if errors.Is(err, jetstream.ErrBucketExists) { // another service was faster
		return b.js.ObjectStore(ctx, c.Name)
	}
	return store, err
}

// Send stores a message as it is: a request or a command that somebody has handed in. After an error it may or may not
// be stored.
func (b *Bus) Send(ctx context.Context, msg *nats.Msg) error {
	return b.faults.Do(ctx, "send", func() error {
		_, err := b.js.PublishMsg(ctx, msg)
		return err
	})
}

// PutObject stores a large value under its digest. Storing it again is no error.
func (b *Bus) PutObject(ctx context.Context, name string, value []byte) error {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	err := b.faults.Do(ctx, "object", func() error {
		_, err := b.objects.PutBytes(ctx, name, value)
		return err
	})
	if err != nil {
		return fmt.Errorf("object %s: %w", name, err)
	}
	return nil
}

// GetObject reads a large value.
func (b *Bus) GetObject(ctx context.Context, name string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	value, err := b.objects.GetBytes(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("object %s: %w", name, err)
	}
	return value, nil
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
