// Package journal is a submitter's own memory of its paid requests, on local disk and apart from the broker.
//
// A request is written down three times, synced each time: before its first byte (Begin), before its last (Gate), and
// when its answer is there (Answer), which is before the answer goes to the task record. So a broker that is away, or a
// process that dies, cannot lose an id that was paid for; and for an attempt that was begun and never passed its gate a
// later process can prove that nothing was sent. Done marks an outcome that has reached the record.
//
// Each process writes a file of its own, locked while it lives. Open takes over the files of processes that have died.
// An attempt that has passed its gate once is never begun again, even if the broker should have forgotten its intent
// (ErrClaimed).
package journal

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/nats-io/nuid"

	"reelay/events"
	"reelay/internal/failpoint"
)

// ErrClaimed says that a request may have left for this attempt before.
var ErrClaimed = errors.New("a paid request may have left for this attempt before")

const (
	// ClaimAge is how long an attempt is remembered after it was begun, and at least until it is done.
	ClaimAge = 24 * time.Hour
	// A journal is rewritten without what is no longer needed when it has grown by minGrowthBytes and to twice its size.
	minGrowthBytes = 8 << 20
	// maxLineBytes bounds one line read back.
	maxLineBytes = 1 << 20

	suffix = ".journal"
	// lockName is the file whose lock serialises processes that create or remove journals, lockWait the longest wait for
	// it.
	lockName = "lock"
	lockWait = 10 * time.Second
)

// An Entry is what is known about one paid request.
type Entry struct {
	// Owner is the nonce of the attempt's intent.
	Owner   string    `json:"owner"`
	Project string    `json:"project"`
	TaskID  string    `json:"task_id"`
	Attempt int       `json:"attempt"`
	At      time.Time `json:"at"`
	// Gated says that the last byte may have left.
	Gated bool `json:"gated,omitempty"`
	// Answer is what came back.
	Answer *Answer `json:"answer,omitempty"`
	// Done says that the outcome is in the task record.
	Done bool `json:"done,omitempty"`
}

// Key returns the task's key.
func (e Entry) Key() events.Key { return events.Key{Project: e.Project, ID: e.TaskID} }

// NotSent is the outcome of a request that provably did not leave in full. Its attempt may be begun again.
const NotSent = "not_sent"

// An Answer is the outcome of a paid request as it was classified: accepted, refused, in_doubt or not_sent.
type Answer struct {
	Outcome string          `json:"outcome"`
	Ref     json.RawMessage `json:"ref,omitempty"`
	ID      string          `json:"id,omitempty"`
	Error   *events.Error   `json:"error,omitempty"`
	// Wait is how long the task is held back after a refusal.
	Wait time.Duration `json:"wait,omitempty"`
	// WithoutCallback is that of task.Refused.
	WithoutCallback bool `json:"without_callback,omitempty"`
	// Body is that of task.Doubt.
	Body string `json:"body,omitempty"`
}

// A Journal belongs to one process. It is safe for concurrent use.
type Journal struct {
	dir    string
	log    *slog.Logger
	faults failpoint.Plan

	mu      sync.Mutex
	file    *os.File
	lock    *flock.Flock
	size    int64
	floor   int64 // size after the last rewrite
	torn    bool  // a write has failed: how the file ends is not known
	closed  bool
	entries map[string]*Entry // by owner
	claims  map[string]string // owner by task and attempt; one whose request may have left before all others
}

// Open opens a new journal in dir and takes over those of processes that have died. Pending then returns what they left
// open. faults is for simulations and nil elsewhere.
func Open(dir string, log *slog.Logger, faults failpoint.Plan) (*Journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	j := &Journal{dir: dir, log: log, faults: faults, entries: map[string]*Entry{}, claims: map[string]string{}}
	if err := j.alone(j.takeOver); err != nil {
		return nil, err
	}
	return j, nil
}

// takeOver begins a new journal with what those of dead processes hold, and removes them.
func (j *Journal) takeOver() error {
	old, err := filepath.Glob(filepath.Join(j.dir, "*"+suffix))
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	var acquired []*flock.Flock
	for _, path := range old {
		lock := flock.New(path)
		ok, err := lock.TryLock()
		if err != nil {
			return fmt.Errorf("journal: %w", err)
		}
		if !ok {
			continue // its process lives
		}
		if err := j.read(path); err != nil {
			return err
		}
		acquired = append(acquired, lock)
	}
	if err := j.rewrite(); err != nil {
		return err
	}
	for _, lock := range acquired { // only now: what they held is in the new file
		if err := errors.Join(os.Remove(lock.Path()), lock.Unlock()); err != nil {
			return fmt.Errorf("journal: %w", err)
		}
	}
	return nil
}

// Pending returns every request whose outcome has not reached its record.
func (j *Journal) Pending() []Entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	var all []Entry
	for _, e := range j.entries {
		if !e.Done {
			all = append(all, *e)
		}
	}
	return all
}

// Begin writes down that a request is about to be sent. It fails with ErrClaimed if a request may have left for the
// attempt before, by this process or one whose journal was taken over; any other error means that nothing may be sent.
func (j *Journal) Begin(e Entry) error {
	return j.faults.Do(context.Background(), "journal.begin", func() error {
		j.mu.Lock()
		defer j.mu.Unlock()
		if j.claimed(e.claim()) {
			return fmt.Errorf("%w: %s attempt %d", ErrClaimed, e.Key(), e.Attempt)
		}
		return j.put(e, true)
	})
}

// Gate writes down that the last byte may leave.
func (j *Journal) Gate(owner string) error {
	return j.change("journal.gate", owner, true, func(e *Entry) { e.Gated = true })
}

// Answer writes down what came back.
func (j *Journal) Answer(owner string, a Answer) error {
	return j.change("journal.answer", owner, true, func(e *Entry) { e.Answer = &a })
}

// Done writes down that the outcome is in the task record. It is not synced: repeating it is harmless.
func (j *Journal) Done(owner string) error {
	return j.change("journal.done", owner, false, func(e *Entry) { e.Done = true })
}

// Close closes the journal. What is pending is taken over by the next Open.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed = true
	return errors.Join(j.file.Close(), j.lock.Unlock())
}

// mayHaveLeft reports whether the provider may have got the whole request.
func (e Entry) mayHaveLeft() bool {
	return e.Gated && (e.Answer == nil || e.Answer.Outcome != NotSent)
}

func (e Entry) claim() string { return fmt.Sprintf("%s.%d", e.Key(), e.Attempt) }

func (j *Journal) change(point, owner string, sync bool, f func(*Entry)) error {
	return j.faults.Do(context.Background(), point, func() error {
		j.mu.Lock()
		defer j.mu.Unlock()
		old, ok := j.entries[owner]
		if !ok {
			return fmt.Errorf("journal: no request of owner %s", owner)
		}
		e := *old
		f(&e)
		return j.put(e, sync)
	})
}

// put appends the current state of an entry and remembers it once it is written.
func (j *Journal) put(e Entry, sync bool) error {
	if j.closed {
		return fmt.Errorf("journal: %w", os.ErrClosed)
	}
	if j.torn || j.size > 2*j.floor+minGrowthBytes {
		if err := j.alone(j.rewrite); err != nil {
			if j.torn {
				return err // a line after half a line would be lost with it
			}
			j.log.Warn("the submit journal could not be rewritten yet", "error", err)
		}
	}
	if err := j.append(e, sync); err != nil {
		j.torn = true
		return err
	}
	j.remember(e)
	return nil
}

func (j *Journal) remember(e Entry) {
	j.entries[e.Owner] = &e
	if !j.claimed(e.claim()) { // journals of several processes are read in any order
		j.claims[e.claim()] = e.Owner
	}
}

// claimed reports whether a request may have left for a task and attempt.
func (j *Journal) claimed(claim string) bool {
	e, ok := j.entries[j.claims[claim]]
	return ok && e.mayHaveLeft()
}

func (j *Journal) append(e Entry, sync bool) error {
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if len(line) >= maxLineBytes { // it could not be read back, nor what comes after it
		return fmt.Errorf("journal: a line of %d bytes; at most %d can be read", len(line), maxLineBytes)
	}
	n, err := j.file.Write(append(line, '\n'))
	j.size += int64(n)
	if err == nil && sync {
		err = j.file.Sync()
	}
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

// read takes in a journal. A last line that a crash has cut off was never acted on and is left out.
func (j *Journal) read(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, maxLineBytes)
	for lines.Scan() {
		var e Entry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil || e.Owner == "" {
			j.log.Warn("a line of a submit journal could not be read and is left out", "file", path)
			continue
		}
		j.remember(e)
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("journal %s: %w", path, err)
	}
	return nil
}

// alone does f while no other process creates or removes a journal in the directory: a new file has a name before it
// has a lock, and one that is taken over is read before its name is gone.
func (j *Journal) alone(f func() error) error {
	ctx, cancel := context.WithTimeout(context.Background(), lockWait)
	defer cancel()
	lock := flock.New(filepath.Join(j.dir, lockName), flock.SetPermissions(0o600))
	if _, err := lock.TryLockContext(ctx, 5*time.Millisecond); err != nil {
		return fmt.Errorf("journal: lock of %s: %w", j.dir, err)
	}
	return errors.Join(f(), lock.Unlock())
}

// rewrite begins a new file with everything that still matters, and gives up the old one.
func (j *Journal) rewrite() error {
	path := filepath.Join(j.dir, "submit-"+nuid.Next()+suffix)
	lock := flock.New(path, flock.SetFlag(os.O_CREATE|os.O_RDWR), flock.SetPermissions(0o600))
	if ok, err := lock.TryLock(); err != nil || !ok {
		return fmt.Errorf("journal: lock of %s: %w", path, err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return errors.Join(fmt.Errorf("journal: %w", err), lock.Unlock())
	}
	oldFile, oldLock, oldSize := j.file, j.lock, j.size
	j.file, j.lock, j.size = f, lock, 0
	if err := j.carryOver(); err != nil {
		// The old file goes on.
		j.file, j.lock, j.size = oldFile, oldLock, oldSize
		return errors.Join(err, os.Remove(path), f.Close(), lock.Unlock())
	}
	j.floor, j.torn = j.size, false
	if oldFile == nil {
		return nil
	}
	return errors.Join(os.Remove(oldFile.Name()), oldFile.Close(), oldLock.Unlock())
}

// carryOver writes everything that still matters into a new file.
func (j *Journal) carryOver() error {
	for owner, e := range j.entries {
		if e.Done && time.Since(e.At) > ClaimAge {
			delete(j.entries, owner)
			if j.claims[e.claim()] == owner {
				delete(j.claims, e.claim())
			}
			continue
		}
		if err := j.append(*e, false); err != nil {
			return err
		}
	}
	if err := errors.Join(j.file.Sync(), syncDir(j.dir)); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

// syncDir makes the name of a new file outlive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
