package cloud

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"gocloud.dev/blob"

	"reelay/events"
	"reelay/internal/artifact"
)

// Objects reads objects of the buckets that an operator allows. It is safe for concurrent use.
type Objects struct{ allowed []allowed }

// allowed is a bucket, or what of it has keys that begin with a prefix.
type allowed struct {
	scheme, name, prefix string
	bucket               *blob.Bucket
}

// OpenObjects opens the buckets of URLs as Open takes them. No store is asked before an object is.
func OpenObjects(ctx context.Context, urls []*url.URL) (*Objects, error) {
	o := &Objects{}
	for _, u := range urls {
		a := allowed{scheme: u.Scheme, name: u.Host, prefix: strings.Trim(u.Path, "/")}
		if a.prefix != "" {
			a.prefix += "/"
		}
		var err error
		if a.bucket, err = openBucket(ctx, *u); err != nil {
			return nil, fmt.Errorf("bucket %s: %w", u.Host, plain(err))
		}
		o.allowed = append(o.allowed, a)
	}
	return o, nil
}

// find returns the bucket of an object, and its key there. It fails with artifact.ErrNotAllowed.
func (o *Objects) find(object string) (*blob.Bucket, string, error) {
	scheme, name, key, ok := events.ParseObjectURL(object)
	for _, a := range o.allowed {
		if ok && a.scheme == scheme && a.name == name && strings.HasPrefix(key, a.prefix) {
			return a.bucket, key, nil
		}
	}
	return nil, "", artifact.ErrNotAllowed
}

// Stat returns what is known of an object. It fails with artifact.ErrNotAllowed, ErrNotFound or ErrRefused, or with an error
// that may pass.
func (o *Objects) Stat(ctx context.Context, object string) (artifact.Object, error) {
	bucket, key, err := o.find(object)
	if err != nil {
		return artifact.Object{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	a, err := bucket.Attributes(ctx, key)
	if err != nil {
		return artifact.Object{}, unreadable(err)
	}
	if a.ETag == "" { // of some servers that stand before a file system
		a.ETag = fmt.Sprintf("%d bytes at %v", a.Size, a.ModTime)
	}
	return artifact.Object{Size: a.Size, ETag: a.ETag, ContentType: a.ContentType}, nil
}

// Open reads an object, until ctx ends. It fails as Stat does.
func (o *Objects) Open(ctx context.Context, object string) (io.ReadCloser, error) {
	bucket, key, err := o.find(object)
	if err != nil {
		return nil, err
	}
	r, err := bucket.NewReader(ctx, key, nil)
	if err != nil {
		return nil, unreadable(err)
	}
	return r, nil
}

// unreadable says why an object cannot be read.
func unreadable(err error) error {
	if status, _ := refusal(err); status == http.StatusForbidden || status == http.StatusUnauthorized {
		return fmt.Errorf("%w: %w", artifact.ErrRefused, plain(err))
	}
	return plain(err)
}
