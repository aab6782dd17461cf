package events

import (
	"bytes"
	"time"
)

// StreamArtifacts is the queue of the archiver: one message, without a body, for each task that has outputs which are
// neither stored nor given up.
const StreamArtifacts = "REELAY_ARTIFACTS"

// ConsumerArtifacts is the queue's consumer, which all archivers share.
const ConsumerArtifacts = "archiver"

const artifactPrefix = "reelay.artifact."

// ArtifactSubject holds the message that has the outputs of a task fetched and stored.
func ArtifactSubject(k Key) string { return artifactPrefix + k.String() }

// ParseArtifactSubject reads the task of an archiver's message.
func ParseArtifactSubject(subject string) (Key, error) { return parseKeyAfter(subject, artifactPrefix) }

// ArtifactConsumer is the queue of the tasks whose outputs are to be stored. One that is tried again later counts as
// pending.
func ArtifactConsumer() Consumer {
	return Consumer{
		Stream: StreamArtifacts, Durable: ConsumerArtifacts, Description: "archiver: outputs that are to be stored",
		AckWait: ackWait, MaxAckPending: 100_000,
	}
}

// Keep says whether the end of a task waits until its outputs are stored.
type Keep string

// KeepRequired has a task complete only when the archiver is done with its outputs, in PhaseStoring until then. Without
// it a task completes as soon as the provider's result is known, and stored follows.
const KeepRequired Keep = "required"

// An Output is one media file.
type Output struct {
	// URL is the provider's link, which dies at ExpiresAt.
	URL string `json:"url"`
	// ContentType and FileName are as the provider says; once the file is stored ContentType is what its bytes say, where
	// they say it.
	ContentType string `json:"content_type,omitempty"`
	FileName    string `json:"file_name,omitempty"`
	// Size in bytes; 0 where the provider does not say and the file is not stored.
	Size int64 `json:"size,omitempty"`
	// SHA256 of the file, in hex.
	SHA256 string `json:"sha256,omitempty"`
	// Width and Height in pixels, as they are shown, and DurationS in seconds, of a stored file that says them itself.
	Width     int     `json:"width,omitempty"`
	Height    int     `json:"height,omitempty"`
	DurationS float64 `json:"duration_s,omitempty"`
	// ExpiresAt is when the provider's link dies, as far as its documentation tells.
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
	// Object names the object in ObjectBucket that holds the file, where the provider has sent it as a data: URL too long
	// for a record.
	Object string `json:"object,omitempty"`
	// Stored says whether reelay's own store has the file. It is left out as long as that is tried; false says that it
	// was given up. StoreError says why, or of what kind the last failure was while it is tried.
	Stored *bool `json:"stored,omitempty"`
	// StoredURL is the place in the store, which lasts: the URL of the store and the name in it. The links verb gives a
	// link for whoever may not read the store itself.
	StoredURL  string `json:"stored_url,omitempty"`
	StoreError *Error `json:"store_error,omitempty"`
}

// IsStored reports whether reelay's own store has the file.
func (o Output) IsStored() bool { return o.Stored != nil && *o.Stored }

const (
	// DefaultLinkAge and MaxLinkAge bound how long a link of the links verb works.
	DefaultLinkAge = time.Hour
	MaxLinkAge     = 7 * 24 * time.Hour
)

// A LinksRequest asks for links to the stored outputs of a task; an empty payload asks for DefaultLinkAge.
type LinksRequest struct {
	// ExpiresIn is how long the links work, 1s to MaxLinkAge.
	ExpiresIn Duration `json:"expires_in,omitempty"`
}

// DecodeLinksRequest reads and checks a links request. Its error is a FieldError.
func DecodeLinksRequest(data []byte) (LinksRequest, error) {
	var r LinksRequest
	if len(bytes.TrimSpace(data)) > 0 {
		if err := DecodeStrict(data, "payload", map[string]any{"expires_in": &r.ExpiresIn}); err != nil {
			return r, err
		}
	}
	if r.ExpiresIn == 0 {
		r.ExpiresIn = Duration(DefaultLinkAge)
	}
	if age := time.Duration(r.ExpiresIn); age < time.Second || age > MaxLinkAge {
		return r, fieldError("expires_in", "%v is not between %v and %v", age, time.Second, MaxLinkAge)
	}
	return r, nil
}

// LinksReply answers links, by the order of the outputs. An output that is not stored has no link.
type LinksReply struct {
	Links []Link `json:"links"`
}

// A Link is a pass to one stored file: whoever has it can read the file by HTTP, without any key, until it expires.
type Link struct {
	// Output is the index of the output in the record, from 0.
	Output    int       `json:"output"`
	URL       string    `json:"url"`
	ExpiresAt time.Time `json:"expires_at"`
	// FileName is a name for the file: the task and an ending by the bytes.
	FileName    string `json:"file_name"`
	ContentType string `json:"content_type,omitempty"`
	Size        int64  `json:"size"`
	SHA256      string `json:"sha256"`
}
