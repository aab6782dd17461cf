// Package journal is a submitter's own memory of its paid requests, on local disk and apart from the broker.
//
// A request is written down three times, synced each time: before its first byte (Begin), before its last (Gate), and
// when its answer is there (Answer), which is before the answer goes to the task record. So a broker that is away, or a
// process that dies, cannot lose an id that was paid for; and for an attempt that was begun and never passed its gate a
// later process can prove that nothing was sent. Done marks an outcome that has reached the record.
//
// An answer that is itself the result, a song say, is kept with its bytes until it is recorded; a large one has a file
// of its own beside the journal.
//
// Each process writes a file of its own, locked while it lives. Open takes over the files of processes that have died.
// An attempt that has passed its gate once is never begun again, even if the broker should have forgotten its intent
// (ErrClaimed).
package journal

import (
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
	// maxInlineBytes is the largest result kept in the journal itself; a larger one has a file of its own beside it.
	maxInlineBytes = 64 << 10

	suffix      = ".journal"
	largeSuffix = ".answer"
	// damagedSuffix is added to the name of a journal that was taken over and has lines that cannot be read.
	damagedSuffix = ".damaged"
	// lockName is the file whose lock serialises processes that create or remove journals, lockWait the longest wait for
	// it.
	lockName = "lock"
	lockWait = 10 * time.Second
)

// An Entry is what is known about one paid request.
type Entry struct {
	// Owner is the nonce of the attempt's intent.
	Owner   string `json:"owner"`
	Project string `json:"project"`
	TaskID  string `json:"task_id"`
	Attempt int    `json:"attempt"`
	// Lane is the lane that sends it.
	Lane string    `json:"lane,omitempty"`
	At   time.Time `json:"at"`
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
	// Result is what the answer has brought, where it is itself the result; see Journal.Result for one that Pending
	// returns.
	Result json.RawMessage `json:"result,omitempty"`
	// Large says that the result is in a file of its own.
	Large bool `json:"large,omitempty"`
}

// A Journal belongs to one process. It is safe for concurrent use: whoever writes while another one's sync is under way
// shares the next, and none returns before its own line is on the disk.
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
	round   *round            // the sync that covers what is written now; nil if nobody waits for one

	syncing sync.Mutex // held during a sync
}

// A round is one sync, for all who have written before it began.
type round struct {
	done chan struct{} // closed at its end
	err  error
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

// takeOver begins a new journal with what those of dead processes hold, and removes them, but for the damaged ones.
func (j *Journal) takeOver() error {
	old, err := filepath.Glob(filepath.Join(j.dir, "*"+suffix))
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	var acquired []*flock.Flock
	damaged := map[string]bool{}
	for _, path := range old {
		lock := flock.New(path)
		ok, err := lock.TryLock()
		if err != nil {
			return fmt.Errorf("journal: %w", err)
		}
		if !ok {
			continue // its process lives
		}
		whole, err := j.read(path)
		if err != nil {
			return err
		}
		if !whole {
			damaged[path] = true
		}
		acquired = append(acquired, lock)
	}
	for owner, e := range j.entries {
		if a, err := j.readLarge(owner); err == nil && e.Answer == nil { // a crash has come before its line
			a.Result, a.Large = nil, true
			e.Answer = &a
		}
	}
	if err := j.rewrite(); err != nil {
		return err
	}
	for owner, e := range j.entries {
		if e.Done {
			j.removeLarge(owner)
		}
	}
	for _, lock := range acquired { // only now: what they held is in the new file
		gone := os.Remove
		if damaged[lock.Path()] { // a person may still read in it what was paid for
			gone = func(path string) error { return os.Rename(path, path+damagedSuffix) }
		}
		if err := errors.Join(gone(lock.Path()), lock.Unlock()); err != nil {
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
		return j.put(true, func() (Entry, error) {
			if j.claimed(e.claim()) {
				return e, fmt.Errorf("%w: %s attempt %d", ErrClaimed, e.Key(), e.Attempt)
			}
			return e, nil
		})
	})
}

// Sent returns the entry of an attempt for which a request may have left before; false where none has, as far as is
// known here.
func (j *Journal) Sent(k events.Key, attempt int) (Entry, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	e, ok := j.entries[j.claims[Entry{Project: k.Project, TaskID: k.ID, Attempt: attempt}.claim()]]
	if !ok || !e.mayHaveLeft() {
		return Entry{}, false
	}
	return *e, true
}

// Gate writes down that the last byte may leave.
func (j *Journal) Gate(owner string) error {
	return j.change("journal.gate", owner, true, func(e *Entry) { e.Gated = true })
}

// Answer writes down what came back. One with a large result goes into a file of its own first, so that no line speaks
// of one that is not there.
func (j *Journal) Answer(owner string, a Answer) error {
	return j.faults.Do(context.Background(), "journal.answer", func() error {
		line := a
		if len(a.Result) > maxInlineBytes {
			if err := j.writeLarge(owner, a); err != nil {
				return err
			}
			line.Result, line.Large = nil, true
		}
		return j.update(owner, true, func(e *Entry) { e.Answer = &line })
	})
}

// Result returns what the answer to a pending request has brought; nil where it was not itself the result.
func (j *Journal) Result(e Entry) (json.RawMessage, error) {
	switch {
	case e.Answer == nil:
		return nil, nil
	case !e.Answer.Large:
		return e.Answer.Result, nil
	}
	a, err := j.readLarge(e.Owner)
	if err != nil {
		return nil, fmt.Errorf("journal: answer to owner %s: %w", e.Owner, err)
	}
	return a.Result, nil
}

// Done writes down that the outcome is in the task record. It is not synced: repeating it is harmless.
func (j *Journal) Done(owner string) error {
	large := false
	err := j.change("journal.done", owner, false, func(e *Entry) {
		e.Done = true
		large = e.Answer != nil && e.Answer.Large
	})
	if err == nil && large {
		j.removeLarge(owner)
	}
	return err
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
	return j.faults.Do(context.Background(), point, func() error { return j.update(owner, sync, f) })
}

// update writes an entry anew.
func (j *Journal) update(owner string, sync bool, f func(*Entry)) error {
	return j.put(sync, func() (Entry, error) {
		old, ok := j.entries[owner]
		if !ok {
			return Entry{}, fmt.Errorf("journal: no request of owner %s", owner)
		}
		e := *old
		f(&e)
		return e, nil
	})
}

// put writes what next makes of an entry, and returns when it is on the disk if it is to be synced. next holds the lock.
func (j *Journal) put(sync bool, next func() (Entry, error)) error {
	j.mu.Lock()
	if err := j.write(next); err != nil || !sync {
		j.mu.Unlock()
		return err
	}
	r := j.round
	if r != nil {
		j.mu.Unlock()
		<-r.done
		return r.err
	}
	r = &round{done: make(chan struct{})}
	j.round = r
	j.mu.Unlock()
	j.sync(r)
	return r.err
}

// sync does a round as soon as the one before is over; until then others join it.
func (j *Journal) sync(r *round) {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	defer close(r.done)
	j.mu.Lock()
	f := j.file
	j.round = nil
	j.mu.Unlock()
	err := f.Sync()
	if err == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file != f { // it was rewritten meanwhile, which has synced all
		return
	}
	j.torn = true
	r.err = fmt.Errorf("journal: %w", err)
}

// write appends what next makes of an entry, and remembers it. The lock is held.
func (j *Journal) write(next func() (Entry, error)) error {
	e, err := next()
	if err != nil {
		return err
	}
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
	if err := j.append(e); err != nil {
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

func (j *Journal) append(e Entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	n, err := j.file.Write(seal(line))
	j.size += int64(n)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
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
		if err := j.append(*e); err != nil {
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
