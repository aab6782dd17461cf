package emulator

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

const (
	// maxUploads bounds the uploads of a ledger; beyond it the oldest tenth is forgotten.
	maxUploads = 10_000
	// maxKeptText bounds the texts of a body in a ledger: a file may be part of it.
	maxKeptText = 64 << 10
)

// An Upload is a file that a client has handed in for requests. Its bytes are not kept.
type Upload struct {
	ID string `json:"upload_id"`
	// URL is what requests call it.
	URL         string    `json:"url"`
	Name        string    `json:"name"`
	Purpose     string    `json:"purpose,omitempty"`
	ContentType string    `json:"content_type,omitempty"`
	Size        int64     `json:"size"`
	SHA256      string    `json:"sha256"`
	At          time.Time `json:"at"`
	ExpiresAt   time.Time `json:"expires_at"`
}

// AddUpload records an upload that is complete.
func (l *Ledger) AddUpload(u Upload) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.putUpload(u)
	return l.append(line{Upload: &u})
}

// putUpload stores u; the caller holds the lock or is alone.
func (l *Ledger) putUpload(u Upload) { l.uploads = appendBounded(l.uploads, u, maxUploads) }

// Uploads returns every upload, oldest first.
func (l *Ledger) Uploads() []Upload {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.uploads)
}

// Upload returns the upload that requests call url and that has not expired.
func (l *Ledger) Upload(url string, now time.Time) (Upload, bool) {
	all := l.Uploads()
	i := slices.IndexFunc(all, func(u Upload) bool { return u.URL == url })
	if i < 0 || !now.Before(all[i].ExpiresAt) {
		return Upload{}, false
	}
	return all[i], true
}

// Texts calls visit with every text inside a JSON value.
func Texts(body []byte, visit func(string)) {
	var v any
	if json.Unmarshal(body, &v) == nil {
		eachText(v, visit)
	}
}

func eachText(v any, visit func(string)) {
	switch v := v.(type) {
	case string:
		visit(v)
	case map[string]any:
		for _, member := range v {
			eachText(member, visit)
		}
	case []any:
		for _, item := range v {
			eachText(item, visit)
		}
	}
}

// KeptBody returns a body as a ledger keeps it: without the files that are part of it as data: URLs.
func KeptBody(body []byte) []byte {
	long := []string{}
	Texts(body, func(s string) {
		if len(s) > maxKeptText && strings.HasPrefix(s, "data:") {
			long = append(long, s)
		}
	})
	kept := string(body)
	for _, s := range long {
		head, _, _ := strings.Cut(s, ",")
		kept = strings.ReplaceAll(kept, s, head+",")
	}
	return []byte(kept)
}
