package operator

import (
	"bytes"
	"regexp"
	"time"

	"reelay/events"
)

// The verbs of the store of outputs. The archiver answers them, a page at a time, by the order of the files' names.
const (
	VerbArtifacts       events.Verb = "artifacts"        // an ArtifactsRequest in, an ArtifactsReply out
	VerbArtifactsVerify events.Verb = "artifacts-verify" // an ArtifactsRequest in, a VerifyReply out
	VerbArtifactsGC     events.Verb = "artifacts-gc"     // a GCRequest in, a GCReply out
)

const (
	// MaxArtifactsLimit is the most files of one page.
	MaxArtifactsLimit = 1000
	// MinArtifactAge is the least age of a file that is ever collected: a younger one may be of a task that is about to name
	// it.
	MinArtifactAge = 24 * time.Hour
	// MaxVerifyWait bounds one page. A page of artifacts-verify ends early, behind any file, after some seconds.
	MaxVerifyWait = 10 * time.Minute
)

// An ArtifactsRequest asks for the files of the store. An empty payload asks for the first page of all projects.
type ArtifactsRequest struct {
	// Project asks for the files of one project only.
	Project string `json:"project,omitempty"`
	// Limit is how many are taken at most, MaxArtifactsLimit where it is left out; After goes on behind an earlier answer.
	Limit int    `json:"limit,omitempty"`
	After string `json:"after,omitempty"`
}

// artifactName is what After can be: the name of a file.
var artifactName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}/[0-9a-f]{64}(\.[a-z0-9]{1,12})?$`)

// DecodeArtifactsRequest reads and checks what artifacts and artifacts-verify are asked. Its error is a FieldError.
func DecodeArtifactsRequest(data []byte) (ArtifactsRequest, error) {
	var r ArtifactsRequest
	if len(bytes.TrimSpace(data)) > 0 {
		err := events.DecodeStrict(data, "payload", map[string]any{"project": &r.Project, "limit": &r.Limit, "after": &r.After})
		if err != nil {
			return r, err
		}
	}
	return r, r.check()
}

// check also fills in the default.
func (r *ArtifactsRequest) check() error {
	switch {
	case r.Project != "" && !events.ValidToken(r.Project):
		return events.NewFieldError("project", "%q is not 1 to %d characters of A-Z a-z 0-9 _ -", r.Project, events.MaxTokenBytes)
	case r.Limit < 0 || r.Limit > MaxArtifactsLimit:
		return events.NewFieldError("limit", "%d is not between 1 and %d", r.Limit, MaxArtifactsLimit)
	case r.After != "" && !artifactName.MatchString(r.After):
		return events.NewFieldError("after", "%q is no name of a file", r.After)
	}
	if r.Limit == 0 {
		r.Limit = MaxArtifactsLimit
	}
	return nil
}

// An ArtifactFile is one file of the store.
type ArtifactFile struct {
	// Name is its name in the store: <project>/<sha256><ending>.
	Name     string    `json:"name"`
	Size     int64     `json:"size"`
	StoredAt time.Time `json:"stored_at"`
	// Task is one whose record names the file; empty where none does.
	Task string `json:"task,omitempty"`
}

// An ArtifactsReply answers artifacts.
type ArtifactsReply struct {
	Files []ArtifactFile `json:"files"`
	// NextAfter is the After of the next page; empty on the last.
	NextAfter string `json:"next_after"`
}

// ArtifactFault says what is wrong with a file.
type ArtifactFault string

// What can be wrong.
const (
	FaultMissing    ArtifactFault = "missing"    // a record names it, and the store does not have it
	FaultDamaged    ArtifactFault = "damaged"    // its bytes do not have the SHA-256 of its name
	FaultUnreadable ArtifactFault = "unreadable" // the store could not read it now
)

// A FaultyArtifact is a file with which something is wrong.
type FaultyArtifact struct {
	Name  string        `json:"name"`
	Fault ArtifactFault `json:"fault"`
	// Detail says it in words, for people.
	Detail string `json:"detail,omitempty"`
	// Task is one whose record names the file; empty where none does.
	Task string `json:"task,omitempty"`
}

// A VerifyReply answers artifacts-verify: every file of the page was read and hashed.
type VerifyReply struct {
	Files  int              `json:"files"`
	Bytes  int64            `json:"bytes"`
	Faults []FaultyArtifact `json:"faults"`
	// NextAfter is as in ArtifactsReply.
	NextAfter string `json:"next_after"`
}

// A GCRequest asks to have files collected: deleted, where no record names them any more. What a record names stays, be
// it as old as it may, unless the retention of its project is over: then the record is told first.
type GCRequest struct {
	ArtifactsRequest
	// OlderThan collects files of that age, MinArtifactAge or more, also of projects whose files are kept for ever. Where it
	// is left out, the retention of each project counts.
	OlderThan events.Duration `json:"older_than,omitempty"`
	// DryRun only says what would be done.
	DryRun bool `json:"dry_run,omitempty"`
}

// DecodeGCRequest reads and checks what artifacts-gc is asked. Its error is a FieldError.
func DecodeGCRequest(data []byte) (GCRequest, error) {
	var r GCRequest
	if len(bytes.TrimSpace(data)) > 0 {
		err := events.DecodeStrict(data, "payload", map[string]any{
			"project": &r.Project, "limit": &r.Limit, "after": &r.After, "older_than": &r.OlderThan, "dry_run": &r.DryRun,
		})
		if err != nil {
			return r, err
		}
	}
	if age := time.Duration(r.OlderThan); age != 0 && age < MinArtifactAge {
		return r, events.NewFieldError("older_than", "%v is under the limit of %v: a younger file may be of a task that is about "+
			"to name it", age, MinArtifactAge)
	}
	return r, r.check()
}

// A GCReply answers artifacts-gc.
type GCReply struct {
	// Deleted are the files of the page that are gone, or would be.
	Deleted []ArtifactFile `json:"deleted"`
	// Expired counts the outputs whose records say, or would say, that their retention is over. It is in the first page's
	// answer; files that are named by nobody else are then collected.
	Expired int `json:"expired"`
	// Unnamed counts the files of the page that no record names and that stay: they are too young, or of projects whose
	// files are kept for ever.
	Unnamed int `json:"unnamed"`
	// NextAfter is as in ArtifactsReply.
	NextAfter string `json:"next_after"`
}
