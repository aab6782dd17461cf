package storeguard

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// witnessBytes is the size of a witness file. It is written in place, in one write of less than a sector, as a new
	// file for each paid request would cost more than the request's own lines in the journal.
	witnessBytes = 512
	// witnessDirMode keeps others from telling a guard what it remembers.
	witnessDirMode = 0o700
)

// A witness is the second memory of a store, in a directory apart from the journal: one that was put back as a whole, by
// a copy or a snapshot of the disk, has an old journal and an old epoch file, which agree with each other. Each guard
// writes a file of its own, and all that speak of the same stream count.
type witness struct {
	// dir is empty where there is no witness, owner tells the guards of one directory apart.
	dir, owner string

	log *slog.Logger

	mu      sync.Mutex
	file    *os.File
	kept    memory
	failing bool
	// unreadable is set once it was told that a file cannot be read.
	unreadable atomic.Bool
}

// newWitness returns the witness of the guard of a journal.
func newWitness(dir, journal string, log *slog.Logger) *witness {
	if abs, err := filepath.Abs(journal); err == nil {
		journal = abs
	}
	sum := sha256.Sum256([]byte(journal))
	return &witness{dir: dir, owner: hex.EncodeToString(sum[:8]), log: log}
}

// path is the file of an owner that speaks of the stream that was made at a time.
func (w *witness) path(created time.Time, owner string) string {
	return filepath.Join(w.dir, created.UTC().Format("20060102T150405.000000000")+"-"+owner+".json")
}

// read returns what all files together know of the stream that was made at a time; false where there is none. One
// that cannot be read is told, and stops nothing.
func (w *witness) read(created time.Time) (all memory, ok bool) {
	if w.dir == "" {
		return all, false
	}
	paths, err := w.paths(created)
	for _, path := range paths {
		m, readErr := readMemory(path)
		if readErr == nil {
			all, ok = all.with(m), true
		}
		err = errors.Join(err, readErr)
	}
	if err != nil && !w.unreadable.Swap(true) {
		w.log.Warn("a second memory of the store cannot be read and does not count", "dir", w.dir, "error", err)
	}
	return all, ok
}

// paths returns the files that speak of the stream that was made at a time.
func (w *witness) paths(created time.Time) (paths []string, err error) {
	entries, err := os.ReadDir(w.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	prefix, suffix, _ := strings.Cut(filepath.Base(w.path(created, "*")), "*")
	for _, e := range entries {
		if name := e.Name(); strings.HasPrefix(name, prefix) && strings.HasSuffix(name, suffix) {
			paths = append(paths, filepath.Join(w.dir, name))
		}
	}
	return paths, err
}

// write keeps what is known of a stream. It is not synced: a power cut that loses it loses as much of the store. A
// witness that cannot be written is told, and stops nothing: it is the second one.
func (w *witness) write(m memory) {
	if w.dir == "" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told(w.put(m))
}

// reached takes in that the stream has acknowledged a sequence.
func (w *witness) reached(sequence uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file == nil || sequence <= w.kept.LastSequence {
		return
	}
	m := w.kept
	m.LastSequence = sequence
	w.told(w.put(m))
}

// told logs what is wrong when that begins. The lock is held.
func (w *witness) told(err error) {
	if err != nil && !w.failing {
		w.log.Warn("the second memory of the store cannot be kept: a store that is put back from a copy may go unnoticed; "+
			"set --epoch-dir (REELAY_EPOCH_DIR)", "dir", w.dir, "error", err)
	}
	w.failing = err != nil
}

// put writes the file: a new one whole under its name, and then in place. The lock is held.
func (w *witness) put(m memory) error {
	m.Lanes, m.Caps = settings{}, settings{}
	if w.file != nil && m == w.kept {
		return nil
	}
	if w.file != nil && !m.Created.Equal(w.kept.Created) {
		if err := w.close(); err != nil {
			return err
		}
	}
	text, err := json.Marshal(m)
	if err == nil && len(text) >= witnessBytes {
		err = fmt.Errorf("it has %d bytes, and %d fit", len(text), witnessBytes-1)
	}
	line := bytes.Repeat([]byte(" "), witnessBytes)
	copy(line, text)
	line[witnessBytes-1] = '\n'
	switch {
	case err != nil:
	case w.file == nil:
		err = w.create(line, w.path(m.Created, w.owner))
	default:
		_, err = w.file.WriteAt(line, 0)
	}
	if err != nil {
		return fmt.Errorf("second memory of the store: %w", err)
	}
	w.kept = m
	return nil
}

// create makes the file with a line, which is on the disk before the file has its name. The lock is held.
func (w *witness) create(line []byte, path string) error {
	if err := os.MkdirAll(w.dir, witnessDirMode); err != nil {
		return err
	}
	f, err := os.CreateTemp(w.dir, ".witness-*")
	if err != nil {
		return err
	}
	if _, err = f.Write(line); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	w.file = f
	return nil
}

// accept has the other files of a stream agree with m: a person has accepted the store for all of them.
func (w *witness) accept(m memory) {
	if w.dir == "" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	paths, err := w.paths(m.Created)
	for _, path := range paths {
		if path != w.path(m.Created, w.owner) {
			err = errors.Join(err, os.Remove(path))
		}
	}
	w.told(errors.Join(err, w.put(m)))
}

// known returns what was written last.
func (w *witness) known() memory {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.kept
}

func (w *witness) close() error {
	if w.file == nil {
		return nil
	}
	err := w.file.Close()
	w.file, w.kept = nil, memory{}
	return err
}

// Close closes the file.
func (w *witness) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.close()
}

// with returns what two memories of one stream know together.
func (m memory) with(other memory) memory {
	if m.Created.IsZero() {
		return other
	}
	m.LastSequence = max(m.LastSequence, other.LastSequence)
	m.Restored = max(m.Restored, other.Restored)
	if other.Accepted.After(m.Accepted) {
		m.Accepted = other.Accepted
	}
	if m.ForgotTo == nil {
		m.ForgotTo = other.ForgotTo
	}
	return m
}
