package storeguard

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/internal/failpoint"
	"reelay/internal/layout"
)

// epochFile lies beside the journal, on another disk than the broker's where there are two.
const epochFile = "epoch.json"

// maxEpochBytes bounds what is read back.
const maxEpochBytes = 64 << 10

// sureAfter is how many checks in a row must find fewer records before they count as lost where several servers keep
// the stream: one that has just taken over may still be catching up.
const sureAfter = 3

var (
	// ErrNewStore says that the stream of task records is another one than before.
	ErrNewStore = errors.New("the store of task records is not the one that was spent against before")
	// ErrForgetful says that the stream of task records has lost what it had acknowledged.
	ErrForgetful = errors.New("the store of task records has forgotten what it had acknowledged")
	// ErrSettingsLost says that pauses, limits or caps have vanished with their bucket.
	ErrSettingsLost = errors.New("what people had set has vanished with its bucket")
	// ErrBadEpoch says that the file of what is remembered cannot be read.
	ErrBadEpoch = errors.New("what was remembered of the store of task records cannot be read")
)

// accepting tells a person the way out.
const accepting = "tasks that it does not know may be paid for already: after a copy was put back, stop the services and run " +
	"`reelay restore`, by which they are compared with what was sent; or compare with the provider's own list yourself, and " +
	"start once with --accept-new-store (REELAY_ACCEPT_NEW_STORE=true)"

// memory is what is kept of a store. A stream is known by the moment of its creation, which a restart, a change of its
// settings and a new leader leave alone, and the last sequence that it has acknowledged never goes back.
type memory struct {
	Stream       string    `json:"stream"`
	Created      time.Time `json:"created"`
	LastSequence uint64    `json:"last_sequence"`
	// ForgotTo is the sequence that was found once when it should have been LastSequence or more. It stays until a person
	// accepts, as new records would soon hide the loss.
	ForgotTo *uint64 `json:"forgot_to,omitempty"`
	// Lanes and Caps are the buckets of what people have set: pauses, limits and caps vanish with them.
	Lanes settings `json:"lanes,omitzero"`
	Caps  settings `json:"caps,omitzero"`
	// Restored is the newest restore of the stream that is known of, as events.RecordsRestoredKey has it.
	Restored string `json:"restored,omitempty"`
	// Accepted is when a person has accepted the store as it was last.
	Accepted time.Time `json:"accepted,omitzero"`
}

// settings is what is kept of a bucket of settings: when it was made, and how many keys it held.
type settings struct {
	Created time.Time `json:"created"`
	Keys    int       `json:"keys"`
}

// An epoch is the memory on disk: a file beside the journal, and a witness elsewhere.
type epoch struct {
	path    string
	witness *witness
	faults  failpoint.Plan
	// behind counts the checks in a row that found fewer records.
	behind int
	// seen is the last sequence of the check before, at seenAt.
	seen   uint64
	seenAt time.Time
}

// settled is how old a sequence must be to be held against a store. A younger one may be of messages that the server
// had not acknowledged when it was killed, and was free to forget.
const settled = 5 * time.Second

// sure returns the last sequence that is known to have been acknowledged, and takes in the one of this check.
func (e *epoch) sure(last uint64) uint64 {
	sure := uint64(0)
	if !e.seenAt.IsZero() && time.Since(e.seenAt) >= settled {
		sure = min(e.seen, last)
	}
	if e.seenAt.IsZero() || time.Since(e.seenAt) >= settled {
		e.seen, e.seenAt = last, time.Now()
	}
	return sure
}

// remember compares the stream with what was remembered, and remembers it as it is now if it is the same, or if accept
// is set.
func (g *Guard) remember(ctx context.Context, info *jetstream.StreamInfo, accept bool) error {
	now := memory{
		Stream: info.Config.Name, Created: info.Created.UTC(), LastSequence: info.State.LastSeq,
		Restored: info.Config.Metadata[events.RecordsRestoredKey],
	}
	g.restored.Store(restoredOf(info.Config.Metadata))
	old, err := g.epoch.read(now)
	if now.Restored != "" && err == nil && g.epoch.restoredSince(now, old) {
		accept = true // a person has restored it
	}
	now.Lanes, now.Caps = g.settings(ctx, bucket.Lanes, old.Lanes), g.settings(ctx, bucket.Caps, old.Caps)
	if now.Accepted = old.Accepted; accept {
		now.Accepted = time.Now().UTC()
	}
	evicted := evictedBy(info)
	first := errors.Is(err, os.ErrNotExist)
	if first && evicted == "" {
		now.LastSequence = g.epoch.sure(now.LastSequence)
		return g.epoch.write(now)
	}
	if first {
		err = nil
	} else if err == nil {
		err = g.epoch.compare(old, now, info.Config.Replicas)
	}
	if err == nil && evicted != "" {
		err = fmt.Errorf("%w: it had a limit by which the broker drops records (%s)", ErrForgetful, evicted)
	}
	if err == nil {
		err = cmp.Or(now.Lanes.lost(bucket.Lanes, old.Lanes), now.Caps.lost(bucket.Caps, old.Caps), g.vanished)
	}
	if err != nil && accept {
		g.log.Warn("the store is accepted as it is now; start without --accept-new-store from now on", "was", err,
			"stream", now.Stream, "created", now.Created, "last_sequence", now.LastSequence, "restored", now.Restored)
		g.epoch.behind = 0
		if evicted != "" {
			if err := g.o.Bus.AcceptEvicted(ctx); err != nil {
				return err
			}
		}
		g.epoch.witness.accept(now)
		return g.epoch.write(now)
	}
	if err != nil {
		return fmt.Errorf("%w; %s", err, accepting)
	}
	now.LastSequence = max(old.LastSequence, g.epoch.sure(now.LastSequence))
	if old == now {
		g.epoch.witness.write(now)
		return nil
	}
	return g.epoch.write(now)
}

// settings returns what there is of a bucket; what there was if nobody can say, and while it is missing.
func (g *Guard) settings(ctx context.Context, name string, old settings) settings {
	info, err := g.stream(ctx, bucket.Stream(name))
	if err != nil {
		return old
	}
	return settings{Created: info.Created.UTC(), Keys: int(info.State.NumSubjects)}
}

// lost fails with ErrSettingsLost if old held keys and is another bucket.
func (s settings) lost(name string, old settings) error {
	if old.Keys == 0 || s.Created.Equal(old.Created) {
		return nil
	}
	return fmt.Errorf("%w: %s held %d keys; set them again with `reelay lanes` and `reelay spend cap`", ErrSettingsLost, name,
		old.Keys)
}

// evictedBy says by which limit the broker may have dropped records that were accepted; empty for none.
func evictedBy(info *jetstream.StreamInfo) string {
	for _, f := range layout.Of(events.StreamTasks).Faults(info.Config) {
		if f.Evicts() && info.State.Msgs > 0 {
			return layout.MarkEvicted(f, time.Now())
		}
	}
	return info.Config.Metadata[events.RecordsEvictedKey]
}

// compare says what is wrong with the store as it is now.
func (e *epoch) compare(old, now memory, replicas int) error {
	if old.Stream != now.Stream || !old.Created.Equal(now.Created) {
		return fmt.Errorf("%w: %s was made at %s, and %s at %s is expected (%s)", ErrNewStore, now.Stream,
			now.Created.Format(time.RFC3339Nano), old.Stream, old.Created.Format(time.RFC3339Nano), e.path)
	}
	if old.ForgotTo != nil {
		return forgetful(old, *old.ForgotTo)
	}
	if now.LastSequence >= old.LastSequence {
		e.behind = 0
		return nil
	}
	if e.behind++; replicas == 1 || e.behind >= sureAfter {
		old.ForgotTo = &now.LastSequence
		if err := e.write(old); err != nil {
			return errors.Join(forgetful(old, now.LastSequence), err)
		}
	}
	return forgetful(old, now.LastSequence)
}

func forgetful(old memory, found uint64) error {
	return fmt.Errorf("%w: its last sequence was %d, and %d or more is expected", ErrForgetful, found, old.LastSequence)
}

// read returns what is remembered of a stream, or of another one where that was expected. It fails with os.ErrNotExist
// when there is nothing yet, and with ErrBadEpoch.
func (e *epoch) read(now memory) (memory, error) {
	m, err := readMemory(e.path)
	none := errors.Is(err, os.ErrNotExist)
	if err != nil && !none {
		return m, err
	}
	seen, ok := e.witness.read(now.Created)
	switch {
	case ok && none:
		return seen, nil
	case ok && m.Created.Equal(now.Created):
		return m.with(seen), nil
	}
	return m, err
}

// restoredSince reports whether a person has restored the stream since the file beside this journal was written; where
// there is none, since old. Another guard that has accepted the restore has done so for itself. The mark of another stream
// counts if it is newer than all that is remembered: else it is that of another broker.
func (e *epoch) restoredSince(now, old memory) bool {
	if own, err := readMemory(e.path); err == nil {
		old.Restored = own.Restored
	}
	if now.Restored == old.Restored || old.Created.Equal(now.Created) {
		return now.Restored != old.Restored
	}
	at, err := time.Parse(time.RFC3339, now.Restored)
	file, statErr := os.Stat(e.path)
	return err == nil && statErr == nil && at.After(file.ModTime())
}

// readMemory reads one file.
func readMemory(path string) (memory, error) {
	var m memory
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return m, err
	}
	if err == nil && info.Size() > maxEpochBytes {
		return m, fmt.Errorf("%w: %s has %d bytes", ErrBadEpoch, path, info.Size())
	}
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err == nil && (m.Stream == "" || m.Created.IsZero()) {
		err = errors.New("it names no stream")
	}
	if err != nil {
		return m, fmt.Errorf("%w: %s: %w", ErrBadEpoch, path, err)
	}
	return m, nil
}

// write replaces the file, so that it holds the old memory or the new one whenever the power goes, and tells the
// witness.
func (e *epoch) write(m memory) error {
	e.witness.write(m)
	return e.writeFile(m)
}

func (e *epoch) writeFile(m memory) error {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("memory of the store: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(e.path), ".epoch-*")
	if err != nil {
		return fmt.Errorf("memory of the store: %w", err)
	}
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = e.faults.Do(context.Background(), "epoch", func() error { return os.Rename(f.Name(), e.path) })
	}
	if err != nil {
		return fmt.Errorf("memory of the store: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}
