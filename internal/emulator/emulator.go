// Package emulator is what the provider emulators share: the ledger that tells how often each task was paid for, the
// script by which a request asks for a fault, the media they serve as results.
//
// The emulators share no code with the pipeline, so that they can judge it. Their jobs need no goroutines: the state of
// a job is a function of the time since it was accepted.
package emulator

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"
)

// A Job is one accepted, and so paid, request.
type Job struct {
	Provider string    `json:"provider"`
	ID       string    `json:"id"`
	Model    string    `json:"model"`
	At       time.Time `json:"at"`
	// Correlation is what the client sent that tells its own task: the callback URL, else empty.
	Correlation string `json:"correlation,omitempty"`
	// BodySHA256 is the digest of the request body as received, in hex.
	BodySHA256 string `json:"body_sha256"`
	// Input is the request body; with At and CancelledAt it is all that the state of the job derives from.
	Input json.RawMessage `json:"input"`
	// Answered says whether the reply with the id was written to the client.
	Answered bool `json:"answered"`
	// CancelledAt is when a cancel took effect.
	CancelledAt *time.Time `json:"cancelled_at,omitempty"`
	// Extra is what the emulator itself wants to find again after a restart, such as request headers.
	Extra    map[string]string `json:"extra,omitempty"`
	PriceUSD float64           `json:"price_usd"`
}

// maxJobs bounds a ledger; beyond it the oldest tenth is forgotten.
const maxJobs = 100_000

// A Ledger remembers every accepted job and counts every call. With a file it remembers the jobs over a restart, as real
// providers do. It is safe for concurrent use; the zero Ledger keeps its jobs in memory only.
type Ledger struct {
	mu    sync.Mutex
	jobs  []Job
	index map[string]int
	calls map[string]int
	file  *os.File
}

// OpenLedger reads the jobs in the file at path, creating it if need be, and appends to it from then on. A last line cut off by
// a crash is ignored.
func OpenLedger(path string) (*Ledger, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	l := &Ledger{file: f}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var j Job
		if json.Unmarshal(lines.Bytes(), &j) == nil && j.ID != "" {
			l.put(j)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, errors.Join(fmt.Errorf("ledger %s: %w", path, err), f.Close())
	}
	if err := endLine(f); err != nil {
		return nil, errors.Join(fmt.Errorf("ledger: %w", err), f.Close())
	}
	return l, nil
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

// Accept records a paid job.
func (l *Ledger) Accept(j Job) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.put(j)
	return l.append(j)
}

// Update changes the job with an id, if there is one.
func (l *Ledger) Update(id string, change func(*Job)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, ok := l.index[id]
	if !ok {
		return nil
	}
	change(&l.jobs[i])
	return l.append(l.jobs[i])
}

// Job returns the job with an id.
func (l *Ledger) Job(id string) (Job, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, ok := l.index[id]
	if !ok {
		return Job{}, false
	}
	return l.jobs[i], true
}

// put stores j under its id; the caller holds the lock or is alone.
func (l *Ledger) put(j Job) {
	if l.index == nil {
		l.index = map[string]int{}
	}
	if i, ok := l.index[j.ID]; ok {
		l.jobs[i] = j
		return
	}
	if len(l.jobs) >= maxJobs {
		l.forget(maxJobs / 10)
	}
	l.index[j.ID] = len(l.jobs)
	l.jobs = append(l.jobs, j)
}

// forget drops the n oldest jobs, as a provider's retention would.
func (l *Ledger) forget(n int) {
	l.jobs = append([]Job(nil), l.jobs[n:]...)
	clear(l.index)
	for i, j := range l.jobs {
		l.index[j.ID] = i
	}
}

// append writes the newest state of j as one line.
func (l *Ledger) append(j Job) error {
	if l.file == nil {
		return nil
	}
	line, err := json.Marshal(j)
	if err != nil {
		return err
	}
	_, err = l.file.Write(append(line, '\n'))
	return err
}

// Call counts one call of a kind such as "submit", "status", "result" or "cancel".
func (l *Ledger) Call(kind string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.calls == nil {
		l.calls = map[string]int{}
	}
	l.calls[kind]++
}

// Jobs returns every accepted job, oldest first.
func (l *Ledger) Jobs() []Job {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Job(nil), l.jobs...)
}

// Calls returns how often each kind of call was made.
func (l *Ledger) Calls() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	calls := make(map[string]int, len(l.calls))
	for k, n := range l.calls {
		calls[k] = n
	}
	return calls
}

// ServeHTTP writes the ledger as JSON: {"jobs":[...],"calls":{...}}.
func (l *Ledger) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(struct {
		Jobs  []Job          `json:"jobs"`
		Calls map[string]int `json:"calls"`
	}{l.Jobs(), l.Calls()})
}
