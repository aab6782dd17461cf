// Package backup copies the streams of a broker into a directory and back, by JetStream's snapshots, as `nats stream
// backup` does: each stream has a folder that the nats CLI can restore by itself.
//
// A restored store has forgotten what was sent since the backup was taken, and would send it again. So a restore marks
// the stream of task records with both times. A submitter that finds the mark takes each older task that waits for one
// that may have been sent: what its journal or the provider's list shows is adopted, what a complete list does not show
// is sent, and about the rest a person decides.
package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/jsm.go"
	"github.com/nats-io/jsm.go/api"
	"github.com/nats-io/nats.go"

	"reelay/events"
	"reelay/events/bucket"
)

const (
	// manifest is the file that says what a backup holds. It is written last, so a backup with one is whole.
	manifest = "reelay-backup.json"
	// maxManifestBytes bounds what is read back.
	maxManifestBytes = 1 << 20
	// askWait bounds each question to the broker; a snapshot takes as long as it takes.
	askWait = 15 * time.Second
)

var (
	// ErrNoBackup says that a directory holds no whole backup.
	ErrNoBackup = errors.New("there is no whole backup")
	// ErrNotEmpty says that something is there already that a backup would be mixed with.
	ErrNotEmpty = errors.New("it is not empty")
	// ErrInUse says that a service takes requests from the store that is to be restored.
	ErrInUse = errors.New("a submitter is at work on it")
)

// A Content is what a backup holds.
type Content struct {
	Version int `json:"version"`
	// Taken is when the snapshot of the task records was begun: what was sent later, they do not know.
	Taken   time.Time `json:"taken"`
	Streams []Stream  `json:"streams"`
}

// A Stream is one stream of a backup.
type Stream struct {
	Name     string `json:"name"`
	Messages uint64 `json:"messages"`
	Bytes    uint64 `json:"bytes"`
}

// version is that of the manifest.
const version = 1

// A Broker is where streams are copied from and to.
type Broker struct {
	manager *jsm.Manager
	now     func() time.Time
}

// New returns the broker behind a connection. prefix is that of JetStream's API; empty for the usual one.
func New(nc *nats.Conn, prefix string) (*Broker, error) {
	options := []jsm.Option{jsm.WithTimeout(askWait)}
	if prefix != "" {
		options = append(options, jsm.WithAPIPrefix(strings.TrimSuffix(prefix, ".")))
	}
	m, err := jsm.New(nc, options...)
	if err != nil {
		return nil, fmt.Errorf("jetstream: %w", err)
	}
	return &Broker{manager: m, now: time.Now}, nil
}

// streams lists what a backup holds, in the order in which it is copied. No copy is of one moment, so requests come
// before the records that are made of them, and events after the records that they tell of: what is in both is known
// for what it is, and what is in neither would be lost. Leases live for seconds.
func streams() []string {
	names := []string{events.StreamRequests, events.StreamTasks}
	for _, s := range events.Streams() {
		if !slices.Contains(names, s.Name) {
			names = append(names, s.Name)
		}
	}
	for _, b := range bucket.All() {
		switch {
		case b.Name == bucket.Leases:
		case b.Objects:
			names = append(names, bucket.ObjectStream(b.Name))
		default:
			names = append(names, bucket.Stream(b.Name))
		}
	}
	return names
}

// Take copies every stream into a directory, which is made and has to be empty. Services may be at work meanwhile.
func (b *Broker) Take(ctx context.Context, dir string) (Content, error) {
	c := Content{Version: version}
	ctx, cancel := context.WithCancel(ctx) // which ends what watches the progress
	defer cancel()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return c, fmt.Errorf("backup: %w", err)
	}
	if found, err := os.ReadDir(dir); err != nil || len(found) > 0 {
		return c, errors.Join(fmt.Errorf("backup: %s: %w", dir, ErrNotEmpty), err)
	}
	for _, name := range streams() {
		if name == events.StreamTasks {
			c.Taken = b.now().UTC().Truncate(time.Second)
		}
		s, err := b.manager.LoadStream(name)
		if jsm.IsNatsError(err, codeNoStream) && name != events.StreamTasks {
			continue // it was never made, or will be anew
		}
		if err != nil {
			return c, fmt.Errorf("backup: stream %s: %w", name, err)
		}
		if _, err := s.SnapshotToDirectory(ctx, filepath.Join(dir, name), jsm.SnapshotConsumers()); err != nil {
			return c, fmt.Errorf("backup: stream %s: %w", name, err)
		}
		request, err := readRequest(filepath.Join(dir, name))
		if err != nil {
			return c, err
		}
		c.Streams = append(c.Streams, Stream{Name: name, Messages: request.State.Msgs, Bytes: request.State.Bytes})
	}
	text, err := json.MarshalIndent(c, "", "  ")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, manifest), append(text, '\n'), 0o600)
	}
	if err != nil {
		return c, fmt.Errorf("backup: %w", err)
	}
	return c, nil
}

// codeNoStream is the code of a stream that does not exist.
const codeNoStream = 10059

// Read returns what a backup holds. It fails with ErrNoBackup.
func Read(dir string) (c Content, err error) {
	path := filepath.Join(dir, manifest)
	info, err := os.Stat(path)
	if err == nil && info.Size() > maxManifestBytes {
		err = fmt.Errorf("%d bytes", info.Size())
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(path)
	}
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err == nil && (c.Version != version || c.Taken.IsZero()) {
		err = fmt.Errorf("version %d, and this build reads %d", c.Version, version)
	}
	known := streams()
	for _, s := range c.Streams {
		if err == nil && !slices.Contains(known, s.Name) {
			err = fmt.Errorf("%q is no stream of reelay", s.Name)
		}
	}
	if err != nil {
		return c, fmt.Errorf("%w in %s: %w", ErrNoBackup, dir, err)
	}
	return c, nil
}

// Restore makes the streams of a backup, and marks the task records as restored. Where the broker has streams of reelay
// it fails with ErrNotEmpty, unless replace is set: then they are removed. It fails with ErrInUse while a submitter is at
// work. After any other error the broker has a part of the streams: run it again with replace.
func (b *Broker) Restore(ctx context.Context, dir string, replace bool) (Content, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c, err := Read(dir)
	if err != nil {
		return c, err
	}
	if err := b.idle(); err != nil {
		return c, err
	}
	if err := b.clear(replace); err != nil {
		return c, err
	}
	for _, s := range c.Streams {
		from := filepath.Join(dir, s.Name)
		request, err := readRequest(from)
		if err != nil {
			return c, err
		}
		if s.Name == events.StreamTasks {
			b.mark(&request.Config, c.Taken)
		}
		if _, _, err = b.manager.RestoreSnapshotFromDirectory(ctx, s.Name, from, jsm.RestoreConfiguration(request.Config)); err != nil {
			return c, fmt.Errorf("restore: stream %s: %w", s.Name, err)
		}
	}
	return c, nil
}

// Mark marks task records that were put back by other means, by a copy of the broker's directory or a snapshot of its
// disk, as Restore marks those of a backup. Nobody knows when the copy was made, so each task may have been sent at any
// time since it was asked for.
func (b *Broker) Mark() error {
	if err := b.idle(); err != nil {
		return err
	}
	s, err := b.manager.LoadStream(events.StreamTasks)
	if err == nil {
		c := s.Configuration()
		b.mark(&c, time.Time{})
		err = s.UpdateConfiguration(c)
	}
	if err != nil {
		return fmt.Errorf("restore: stream %s: %w", events.StreamTasks, err)
	}
	return nil
}

// mark adds to the settings of the record stream when it was restored, and when the backup was taken; zero where nobody
// knows.
func (b *Broker) mark(c *api.StreamConfig, taken time.Time) {
	c.Metadata = maps.Clone(c.Metadata)
	if c.Metadata == nil {
		c.Metadata = map[string]string{}
	}
	c.Metadata[events.RecordsRestoredKey] = b.now().UTC().Format(time.RFC3339)
	delete(c.Metadata, events.RecordsTakenKey)
	if !taken.IsZero() {
		c.Metadata[events.RecordsTakenKey] = taken.UTC().Format(time.RFC3339)
	}
}

// idle fails with ErrInUse while somebody waits for requests.
func (b *Broker) idle() error {
	intake := events.IntakeConsumer()
	c, err := b.manager.LoadConsumer(intake.Stream, intake.Durable)
	if err != nil {
		return nil // there is none, so nobody waits
	}
	waiting, err := c.WaitingClientPulls()
	if err == nil && waiting > 0 {
		err = fmt.Errorf("%w: stop every service first", ErrInUse)
	}
	return err
}

// clear removes reelay's streams, or fails with ErrNotEmpty where there are some and they are not to be replaced.
func (b *Broker) clear(replace bool) error {
	for _, name := range append(streams(), bucket.Stream(bucket.Leases)) {
		s, err := b.manager.LoadStream(name)
		switch {
		case jsm.IsNatsError(err, codeNoStream):
			continue
		case err == nil && !replace:
			err = fmt.Errorf("%w: it is replaced only if that is asked for", ErrNotEmpty)
		case err == nil:
			err = s.Delete()
		}
		if err != nil {
			return fmt.Errorf("restore: stream %s: %w", name, err)
		}
	}
	return nil
}

// readRequest reads with which settings a stream was copied.
func readRequest(dir string) (r api.JSApiStreamRestoreRequest, err error) {
	text, err := os.ReadFile(filepath.Join(dir, jsm.SnapshotMetaFile))
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		return r, fmt.Errorf("backup: %s: %w", dir, err)
	}
	return r, nil
}
