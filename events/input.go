package events

import (
	"mime"
	"regexp"
	"time"
)

const (
	// InputBucket is the object store bucket of the files that requests name. The object of a file is InputObject.
	InputBucket = "reelay_inputs"
	// MaxInputBytes bounds one file.
	MaxInputBytes = 256 << 20
	// MaxInputsBytes bounds all of them together that come by links; the bucket itself reserves no disk. InputAge is how long
	// each is kept.
	MaxInputsBytes = 1 << 30
	InputAge       = 7 * 24 * time.Hour
	// UploadAge is how long the link of the upload verb works.
	UploadAge = 15 * time.Minute

	// badInputName says what ValidInputName wants.
	badInputName = "must be the name of a file: 1 to 128 characters of A-Z a-z 0-9 . _ -, the first none of . and -"
	// maxContentType bounds a media type, in bytes.
	maxContentType = 128
)

var (
	inputPattern  = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)
	sha256Pattern = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// ValidInputName reports whether s can be the name of a file: 1 to 128 characters of A-Z, a-z, 0-9, ".", "_" and "-", the
// first no "." or "-".
func ValidInputName(s string) bool { return inputPattern.MatchString(s) }

// InputObject is the object in InputBucket of a project's file. Only requests of that project reach it.
func InputObject(project, name string) string { return project + "/" + name }

// An UploadRequest asks for a link by which one file is handed in.
type UploadRequest struct {
	// Name is what requests call the file. One that is there already is replaced.
	Name string `json:"name"`
	// Size in bytes and SHA256 in hex are checked against what comes, where they are given.
	Size   int64  `json:"size,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
	// ContentType counts only where the bytes do not tell what they are.
	ContentType string `json:"content_type,omitempty"`
}

// DecodeUploadRequest reads and checks an upload request. Its error is a FieldError.
func DecodeUploadRequest(data []byte) (UploadRequest, error) {
	var r UploadRequest
	err := DecodeStrict(data, "payload", map[string]any{
		"name": &r.Name, "size": &r.Size, "sha256": &r.SHA256, "content_type": &r.ContentType,
	})
	if err != nil {
		return r, err
	}
	return r, r.Validate()
}

// Validate checks every field against its limit. Its error is a FieldError.
func (r UploadRequest) Validate() error {
	switch {
	case !ValidInputName(r.Name):
		return fieldError("name", "%s", badInputName)
	case r.Size < 0 || r.Size > MaxInputBytes:
		return fieldError("size", "%d is not between 0 and %d bytes", r.Size, MaxInputBytes)
	case r.SHA256 != "" && !sha256Pattern.MatchString(r.SHA256):
		return fieldError("sha256", "is not 64 digits of hex in small letters")
	}
	if _, _, err := mime.ParseMediaType(r.ContentType); r.ContentType != "" && (err != nil || len(r.ContentType) > maxContentType) {
		return fieldError("content_type", "%.80q is not a media type", r.ContentType)
	}
	return nil
}

// UploadReply answers upload: where the bytes are to be sent, as the body of one HTTP request, without any key.
type UploadReply struct {
	URL       string    `json:"url"`
	Method    string    `json:"method"`
	ExpiresAt time.Time `json:"expires_at"`
	// MaxBytes bounds the body.
	MaxBytes int64 `json:"max_bytes"`
}

// An Input is a file that was handed in. It is what the upload link answers.
type Input struct {
	Project string `json:"project"`
	Name    string `json:"name"`
	Size    int64  `json:"size"`
	SHA256  string `json:"sha256"`
	// ContentType is what was said of it when it was handed in; empty where nothing was said.
	ContentType string `json:"content_type,omitempty"`
	// StoredAt is when it came; it is kept for InputAge.
	StoredAt time.Time `json:"stored_at"`
}
