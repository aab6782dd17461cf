package emulator

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

const (
	// maxLineBytes bounds a line of a ledger's file; the body of a request is far below.
	maxLineBytes = 4 << 20
	// spareLines is how many lines a file may have beyond twice of what is in it before it is written anew.
	spareLines = 64
)

// A line of the file is the newest state of a job, a limit, or an upload.
type line struct {
	Job
	Concurrency *Concurrency `json:"concurrency,omitempty"`
	Upload      *Upload      `json:"upload,omitempty"`
}

// MarshalJSON leaves out the empty job of a line with a limit or an upload.
func (l line) MarshalJSON() ([]byte, error) {
	if l.Concurrency == nil && l.Upload == nil {
		return json.Marshal(l.Job)
	}
	return json.Marshal(struct {
		Concurrency *Concurrency `json:"concurrency,omitempty"`
		Upload      *Upload      `json:"upload,omitempty"`
	}{l.Concurrency, l.Upload})
}

// OpenLedger reads the jobs in the file at path, creating it if need be, and appends to it from then on. A last line
// cut off by a crash is ignored. A file that holds mostly former states of its jobs is written anew first, in one step.
func OpenLedger(path string) (*Ledger, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	l := &Ledger{file: f}
	n, err := l.read(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("ledger %s: %w", path, err), f.Close())
	}
	if n > 2*(len(l.jobs)+len(l.limits)+len(l.uploads))+spareLines {
		err = l.compact(path)
	} else {
		err = endLine(f)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("ledger: %w", err), l.file.Close())
	}
	return l, nil
}

// read returns how many lines there were.
func (l *Ledger) read(r io.Reader) (int, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLineBytes)
	n := 0
	for ; lines.Scan(); n++ {
		var read line
		if json.Unmarshal(lines.Bytes(), &read) != nil {
			continue
		}
		switch {
		case read.Concurrency != nil:
			l.limit(*read.Concurrency)
		case read.Upload != nil:
			l.putUpload(*read.Upload)
		case read.ID != "":
			l.put(read.Job)
		}
	}
	return n, lines.Err()
}

// compact replaces the file by one with a line for each job. A crash leaves either the one or the other.
func (l *Ledger) compact(path string) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err = errors.Join(l.writeTo(f), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	fresh, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	err = l.file.Close()
	l.file = fresh
	return err
}

func (l *Ledger) writeTo(f *os.File) error {
	w := bufio.NewWriter(f)
	e := json.NewEncoder(w)
	for i := range l.limits {
		if err := e.Encode(line{Concurrency: &l.limits[i]}); err != nil {
			return err
		}
	}
	for i := range l.uploads {
		if err := e.Encode(line{Upload: &l.uploads[i]}); err != nil {
			return err
		}
	}
	for _, j := range l.jobs {
		if err := e.Encode(line{Job: j}); err != nil {
			return err
		}
	}
	return errors.Join(w.Flush(), f.Sync())
}

// endLine ends a last line that a crash has cut off, so that the next job does not become part of it.
func endLine(f *os.File) error {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	last := make([]byte, 1)
	if _, err := f.ReadAt(last, info.Size()-1); err != nil {
		return err
	}
	if last[0] != '\n' {
		_, err = f.WriteString("\n")
	}
	return err
}

// Close closes the ledger's file, if it has one.
func (l *Ledger) Close() error {
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}

// append writes one line; the caller holds the lock.
func (l *Ledger) append(written line) error {
	if l.file == nil {
		return nil
	}
	text, err := json.Marshal(written)
	if err != nil {
		return err
	}
	_, err = l.file.Write(append(text, '\n'))
	return err
}
