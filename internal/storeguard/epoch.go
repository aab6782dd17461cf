package storeguard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reelay/internal/failpoint"
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
	// ErrBadEpoch says that the file of what is remembered cannot be read.
	ErrBadEpoch = errors.New("what was remembered of the store of task records cannot be read")
)

// accepting tells a person the way out.
const accepting = "tasks that it does not know may be paid for already: compare with the provider's own list, then " +
	"start once with " +
	"--accept-new-store (REELAY_ACCEPT_NEW_STORE=true)"

// memory is what is kept of a store. A stream is known by the moment of its creation, which a restart, a change of its
// settings and a new leader leave alone, and the last sequence that it has acknowledged never goes back.
type memory struct {
	Stream       string    `json:"stream"`
	Created      time.Time `json:"created"`
	LastSequence uint64    `json:"last_sequence"`
	// ForgotTo is the sequence that was found once when it should have been LastSequence or more. It stays until a person
	// accepts, as new records would soon hide the loss.
	ForgotTo *uint64 `json:"forgot_to,omitempty"`
}

// An epoch is the memory on disk.
type epoch struct {
	path   string
	faults failpoint.Plan
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
func (g *Guard) remember(info *jetstream.StreamInfo, accept bool) error {
	now := memory{Stream: info.Config.Name, Created: info.Created.UTC(), LastSequence: info.State.LastSeq}
	old, err := g.epoch.read()
	if errors.Is(err, os.ErrNotExist) {
		now.LastSequence = g.epoch.sure(now.LastSequence)
		return g.epoch.write(now)
	}
	if err == nil {
		err = g.epoch.compare(old, now, info.Config.Replicas)
	}
	if err != nil && accept {
		g.log.Warn("the store is accepted as it is now; start without --accept-new-store from now on", "was", err,
			"stream", now.Stream, "created", now.Created, "last_sequence", now.LastSequence)
		g.epoch.behind = 0
		return g.epoch.write(now)
	}
	if err != nil {
		return fmt.Errorf("%w; %s", err, accepting)
	}
	now.LastSequence = max(old.LastSequence, g.epoch.sure(now.LastSequence))
	if old == now {
		return nil
	}
	return g.epoch.write(now)
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

// read returns what is remembered. It fails with os.ErrNotExist when there is nothing yet, and with ErrBadEpoch.
func (e *epoch) read() (memory, error) {
	var m memory
	info, err := os.Stat(e.path)
	if errors.Is(err, os.ErrNotExist) {
		return m, err
	}
	if err == nil && info.Size() > maxEpochBytes {
		return m, fmt.Errorf("%w: %s has %d bytes", ErrBadEpoch, e.path, info.Size())
	}
	text, err := os.ReadFile(e.path)
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err == nil && (m.Stream == "" || m.Created.IsZero()) {
		err = errors.New("it names no stream")
	}
	if err != nil {
		return m, fmt.Errorf("%w: %s: %w", ErrBadEpoch, e.path, err)
	}
	return m, nil
}

// write replaces the file, so that it holds the old memory or the new one whenever the power goes.
func (e *epoch) write(m memory) error {
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
