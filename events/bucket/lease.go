package bucket

import "reelay/events"

import "time"

const (
	// Leases is the KV bucket of who dispatches which lane: the key <lane> holds a Holder, with a lifetime of its
	// own, the key CandidateKey(lane) one that waits for it, and the key HandOverKey(lane) holds a HandOver. A FileLease
	// stands under the FileLeaseKey of a file.
	Leases = "reelay_leases"
	// LeaseTTL is how long a lease lives that nobody renews, unless it was configured otherwise.
	LeaseTTL = 6 * time.Second
	// leaseMarkerAge is how long the marker of a lease stays that has ended.
	leaseMarkerAge = time.Minute

	handOverSuffix  = ".handover"
	candidateSuffix = ".candidate"
	filePrefix      = "file."
)

// HandOverKey is the key in Leases of what the dispatchers of a lane leave for each other.
func HandOverKey(lane string) string { return lane + handOverSuffix }

// CandidateKey is the key in Leases of a Holder that waits for the lease of a lane. It lives as long as a lease that
// nobody renews, and those that wait take turns.
func CandidateKey(lane string) string { return lane + candidateSuffix }

// A Holder is the value of a lease, as JSON.
type Holder struct {
	// Name tells one process from another, in each of its lives.
	Name  string    `json:"holder"`
	Since time.Time `json:"since"`
	// TTL is the lifetime that each renewal gives it; LeaseTTL where it is left out.
	TTL events.Duration `json:"ttl,omitempty"`
}

// A HandOver is what the next dispatcher of a lane should know and no record tells. Losing it costs refusals and an
// event that is published again, nothing else.
type HandOver struct {
	// Groups is what was learned of the provider, by limit group.
	Groups map[string]LearnedLimits `json:"groups,omitempty"`
	// Paused is the state that the last paused or resumed event of the lane tells, Version the version of that event.
	Paused  bool   `json:"paused,omitempty"`
	Version uint64 `json:"version,omitempty"`
}

// LearnedLimits is what was learned of the provider for one limit group.
type LearnedLimits struct {
	// Rate limits the requests in a window, Concurrency the tasks in flight.
	Rate        AdaptiveLimit `json:"rate,omitzero"`
	Concurrency AdaptiveLimit `json:"concurrency,omitzero"`
	// PausedUntil: no task of the group is sent before.
	PausedUntil time.Time `json:"paused_until,omitzero"`
}

// An AdaptiveLimit is the state of a limit that is learned from what the provider accepts and refuses. The zero value
// has learned nothing.
type AdaptiveLimit struct {
	// Limit is what may be used; 0 for no limit but the configured one.
	Limit int `json:"limit,omitempty"`
	// Refused is what was seen to be too much; 0 if that is not known.
	Refused int `json:"refused,omitempty"`
	// Accepted counts the requests accepted since the last change while the limit was in full use.
	Accepted int `json:"accepted,omitempty"`
	// Step is by how much the limit is raised next, Patience how often as much as usual is waited before Refused is tried
	// again.
	Step     int `json:"step,omitempty"`
	Patience int `json:"patience,omitempty"`
	// Streak counts the refusals since the last acceptance.
	Streak int `json:"streak,omitempty"`
}

const (
	// KeepFileTTL is how long a file is kept for a task that is about to name it, DeleteFileTTL how long a deletion takes at
	// most.
	KeepFileTTL   = 24 * time.Hour
	DeleteFileTTL = 10 * time.Minute
)

// FileLeaseKey is the key in Leases of a stored output, by its project and the SHA-256 of its bytes.
func FileLeaseKey(project, sha256 string) string { return filePrefix + project + "." + sha256 }

// A FileLease, as JSON, keeps a file that was stored for an earlier task from being deleted while another task with the
// same bytes is about to name it, or from being named while it is deleted. It has a lifetime of its own.
type FileLease struct {
	// Task is what is about to name the file; empty while the file is deleted.
	Task string `json:"task,omitempty"`
}
