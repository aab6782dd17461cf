package emulator

import (
	"encoding/json"
	"maps"
	"math"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"
)

const (
	// MaxJobs bounds a ledger; beyond it the oldest tenth is forgotten.
	MaxJobs = 100_000
	// maxSubmits and maxLimits bound the other lists of a ledger in the same way.
	maxSubmits = 100_000
	maxLimits  = 1000
)

// A Ledger remembers every accepted job and counts every call. With a file it remembers the jobs over a restart, as
// real providers do. It is safe for concurrent use; the zero Ledger keeps its jobs in memory only.
type Ledger struct {
	mu      sync.Mutex
	jobs    []Job
	index   map[string]int
	seq     uint64
	submits []Submit
	limits  []Concurrency
	uploads []Upload
	calls   map[string]int
	charge  func(Job) float64
	file    *os.File
}

// A Submit is one paid request that arrived. They are kept in memory only, the newest 100,000; the times of the
// accepted ones are those of the jobs as well.
type Submit struct {
	At time.Time `json:"at"`
	// API is the generation of the API, where a provider has several.
	API string `json:"api,omitempty"`
	// Accepted says that it became a job.
	Accepted bool `json:"accepted"`
	// Code is what a refused one was answered with: an HTTP status or a code of the provider's; 0 for no answer.
	Code int `json:"code,omitempty"`
}

// Concurrency is how many jobs run at once from a moment on; 0 is no limit.
type Concurrency struct {
	At    time.Time `json:"at"`
	Limit int       `json:"limit"`
}

// Accept records a paid job and returns it with its number.
func (l *Ledger) Accept(j Job) (Job, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	j.Seq = l.seq
	l.put(j)
	l.submitted(Submit{At: j.At, API: j.Extra[ExtraAPI], Accepted: true})
	return j, l.append(line{Job: j})
}

// ExtraAPI is where in Job.Extra the generation of the API is, if the provider has several.
const ExtraAPI = "api"

// Refuse records a paid request that was refused, as a call "submit_refused" as well.
func (l *Ledger) Refuse(s Submit) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.Accepted = false
	l.submitted(s)
	l.count("submit_refused")
}

// submitted stores s; the caller holds the lock.
func (l *Ledger) submitted(s Submit) { l.submits = appendBounded(l.submits, s, maxSubmits) }

// appendBounded appends v. At the bound the oldest tenth is forgotten first.
func appendBounded[T any](all []T, v T, bound int) []T {
	if len(all) >= bound {
		all = slices.Clone(all[bound/10:])
	}
	return append(all, v)
}

// Submits returns the paid requests that arrived, oldest first.
func (l *Ledger) Submits() []Submit {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.submits)
}

// SetConcurrency records that another limit holds from a moment on. The start times of jobs derive from it.
func (l *Ledger) SetConcurrency(c Concurrency) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limit(c)
	return l.append(line{Concurrency: &c})
}

func (l *Ledger) limit(c Concurrency) { l.limits = appendBounded(l.limits, c, maxLimits) }

// Concurrencies returns the limits that held, oldest first.
func (l *Ledger) Concurrencies() []Concurrency {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.limits)
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
	return l.append(line{Job: l.jobs[i]})
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
	l.seq = max(l.seq, j.Seq)
	if i, ok := l.index[j.ID]; ok {
		l.jobs[i] = j
		return
	}
	if len(l.jobs) >= MaxJobs {
		l.forget(MaxJobs / 10)
	}
	l.index[j.ID] = len(l.jobs)
	l.jobs = append(l.jobs, j)
}

// forget drops the n oldest jobs, as a provider's retention would.
func (l *Ledger) forget(n int) {
	l.jobs = slices.Clone(l.jobs[n:])
	clear(l.index)
	for i, j := range l.jobs {
		l.index[j.ID] = i
	}
}

// Call counts one call of a kind such as "submit", "status", "result" or "cancel".
func (l *Ledger) Call(kind string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count(kind)
}

func (l *Ledger) count(kind string) {
	if l.calls == nil {
		l.calls = map[string]int{}
	}
	l.calls[kind]++
}

// Jobs returns every accepted job, oldest first.
func (l *Ledger) Jobs() []Job {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.jobs)
}

// Calls returns how often each kind of call was made.
func (l *Ledger) Calls() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	calls := maps.Clone(l.calls)
	if calls == nil {
		calls = map[string]int{}
	}
	return calls
}

// ChargeBy tells the ledger how to find what a job was charged for so far, in US dollars; the emulator of the provider
// knows.
func (l *Ledger) ChargeBy(charge func(Job) float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.charge = charge
}

// BilledUSD is what the provider has charged so far for all the jobs in the ledger; see Charged.
func (l *Ledger) BilledUSD() float64 {
	total := 0.0
	for _, j := range l.Jobs() {
		total += l.Charged(j)
	}
	return math.Round(total*1e9) / 1e9 // sums of cents are cents
}

// Charged is what the provider has charged so far for a job, in US dollars: nothing before it has ended, and nothing at
// all for most that fail. Without ChargeBy it is the price.
func (l *Ledger) Charged(j Job) float64 {
	l.mu.Lock()
	charge := l.charge
	l.mu.Unlock()
	if charge == nil {
		return j.PriceUSD
	}
	return charge(j)
}

// ServeHTTP writes the ledger as JSON: {"jobs":[...],"calls":{...},"submits":[...],"uploads":[...],"billed_usd":0}; a job
// has its own "billed_usd" too.
func (l *Ledger) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	type billed struct {
		Job
		BilledUSD float64 `json:"billed_usd"`
	}
	body := struct {
		Jobs      []billed       `json:"jobs"`
		Calls     map[string]int `json:"calls"`
		Submits   []Submit       `json:"submits"`
		Uploads   []Upload       `json:"uploads,omitempty"`
		BilledUSD float64        `json:"billed_usd"`
	}{Jobs: []billed{}, Calls: l.Calls(), Submits: l.Submits(), Uploads: l.Uploads(), BilledUSD: l.BilledUSD()}
	for _, j := range l.Jobs() {
		body.Jobs = append(body.Jobs, billed{j, l.Charged(j)})
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body)
}
