package events

import (
	"crypto/sha256"
	"encoding/hex"
	"mime"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
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
	badInputName = "must be the name of a file: 1 to 128 characters of A-Z a-z 0-9 . _ -, the first none of . and -; " +
		"or an object: s3://bucket/key or azblob://container/key"
	// maxContentType bounds a media type, in bytes.
	maxContentType = 128
)

var (
	inputPattern  = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)
	sha256Pattern = regexp.MustCompile(`^[0-9a-f]{64}$`)
	bucketPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{2,62}$`)
)

// ValidInputName reports whether s can be the name of a file: 1 to 128 characters of A-Z, a-z, 0-9, ".", "_" and "-", the
// first no "." or "-".
func ValidInputName(s string) bool { return inputPattern.MatchString(s) }

// InputObject is the object in InputBucket of a project's file. Only requests of that project reach it.
func InputObject(project, name string) string { return project + "/" + name }

// maxObjectKey bounds the key of an object, in bytes, as S3 and Azure do.
const maxObjectKey = 1024

// ParseObjectURL reads the URL of an object in a bucket of S3 or a container of Azure, s3://bucket/key or
// azblob://container/key. The key is taken as it stands, without any escapes.
func ParseObjectURL(s string) (scheme, bucket, key string, ok bool) {
	scheme, rest, _ := strings.Cut(s, "://")
	bucket, key, _ = strings.Cut(rest, "/")
	dots := func(part string) bool { return part == "." || part == ".." }
	ok = (scheme == "s3" || scheme == "azblob") && bucketPattern.MatchString(bucket) && key != "" && len(key) <= maxObjectKey &&
		utf8.ValidString(key) && !strings.ContainsFunc(key, unicode.IsControl) && !slices.ContainsFunc(strings.Split(key, "/"), dots)
	return scheme, bucket, key, ok
}

// namesFile reports whether s can stand for a file: its name, or the URL of an object that is copied.
func namesFile(s string) bool {
	_, _, _, object := ParseObjectURL(s)
	return object || ValidInputName(s)
}

// CopyName is what the copy of an object is called in InputBucket: CopyPrefix, and behind it which bytes it had then, as
// the store tells by an ETag.
func CopyName(objectURL, etag string) string {
	name := CopyPrefix(objectURL) + shortSum(etag)
	if ext := strings.ToLower(path.Ext(objectURL)); extPattern.MatchString(ext) {
		name += ext
	}
	return name
}

// CopyPrefix is what the names of all copies of an object begin with.
func CopyPrefix(objectURL string) string { return "copy-" + shortSum(objectURL) + "-" }

var extPattern = regexp.MustCompile(`^\.[a-z0-9]{1,8}$`)

func shortSum(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:12])
}

// A CopyRequest asks for a copy of an object in InputBucket. Submitters ask so for what requests name.
type CopyRequest struct {
	// URL is as ParseObjectURL takes it.
	URL string `json:"url"`
}

// DecodeCopyRequest reads and checks a copy request. Its error is a FieldError.
func DecodeCopyRequest(data []byte) (CopyRequest, error) {
	var r CopyRequest
	err := DecodeStrict(data, "payload", map[string]any{"url": &r.URL})
	if err != nil {
		return r, err
	}
	if _, _, _, ok := ParseObjectURL(r.URL); !ok {
		return r, fieldError("url", "%.200q is not s3://bucket/key or azblob://container/key", r.URL)
	}
	return r, nil
}

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
