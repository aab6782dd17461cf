// Package all opens the store that a URL names. It links the driver of every kind of store, so only what opens stores
// imports it.
package all

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"reelay/events/bucket"
	"reelay/internal/artifact"
	"reelay/internal/artifact/cloud"
)

// DefaultMaxBytes bounds the bucket of a nats:// store that names no bound.
const DefaultMaxBytes = 4 << 30

// ErrURL says that a URL names no store. The text holds no credentials.
var ErrURL = errors.New("it is not file:///path, nats://bucket, s3://bucket?region=NAME or azblob://container")

var errInputURL = fmt.Errorf("%w; inputs come from s3:// and azblob:// alone", ErrURL)

// paramLinks says whose links are given out: those of the store, or those of the archiver, for a store that cannot be
// reached from where files are read.
const paramLinks = "links"

// Check reads a URL without opening anything. It fails with ErrURL.
func Check(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.User != nil || u.Fragment != "" {
		return nil, ErrURL
	}
	switch {
	case u.Scheme == "file" && u.Host == "" && filepath.IsAbs(u.Path):
	case u.Scheme == "nats" && u.Path == "":
	case (u.Scheme == "s3" || u.Scheme == "azblob") && u.Host != "":
	default:
		return nil, ErrURL
	}
	return u, nil
}

// Open opens the store of a URL:
//
//	file:///path                                a directory, created if need be
//	nats://bucket?max_bytes=N&replicas=N        a bucket of the object store of js, created if need be
//	s3://bucket/prefix?region=NAME              a bucket of S3, with endpoint=URL&use_path_style=true of one beside AWS
//	azblob://container/prefix                   a container of Azure; see package cloud for both
//
// S3 and Azure hand files out by links of their own unless links=archiver says otherwise. It fails with ErrURL, or with an
// error of the store.
func Open(ctx context.Context, raw string, js jetstream.JetStream) (*artifact.Store, error) {
	u, err := Check(raw)
	if err != nil {
		return nil, err
	}
	place := u.Scheme + "://" + u.Host + u.Path
	switch u.Scheme {
	case "file":
		dir, err := artifact.OpenDir(filepath.FromSlash(u.Path))
		if err != nil {
			return nil, err
		}
		return artifact.New(place, dir), nil
	case "nats":
		b, err := bucketOf(u)
		if err != nil {
			return nil, err
		}
		objects, err := artifact.OpenObjects(ctx, js, b)
		if err != nil {
			return nil, err
		}
		return artifact.New("nats://"+b.Name, objects), nil
	}
	return openCloud(ctx, *u, place)
}

// OpenInputs opens the buckets whose objects may be inputs of tasks, by URLs as Open takes them for S3 and Azure; a prefix
// allows the keys that begin with it. It fails with ErrURL.
func OpenInputs(ctx context.Context, list []string) (*cloud.Objects, error) {
	var urls []*url.URL
	for _, raw := range list {
		u, err := Check(strings.TrimSpace(raw))
		if err != nil || u.Scheme != "s3" && u.Scheme != "azblob" {
			return nil, errInputURL
		}
		urls = append(urls, u)
	}
	return cloud.OpenObjects(ctx, urls)
}

func openCloud(ctx context.Context, u url.URL, place string) (*artifact.Store, error) {
	q := u.Query()
	whose := q.Get(paramLinks)
	if whose != "" && whose != "archiver" && whose != "store" {
		return nil, fmt.Errorf("%w: %s is archiver or store", ErrURL, paramLinks)
	}
	q.Del(paramLinks)
	u.RawQuery = q.Encode()
	blobs, err := cloud.Open(ctx, u)
	if err != nil {
		return nil, err
	}
	if whose == "archiver" {
		return artifact.New(place, struct {
			artifact.Driver
			artifact.Adopter
		}{blobs, blobs}), nil
	}
	return artifact.New(place, blobs), nil
}

// bucketOf reads the URL of a bucket of NATS.
func bucketOf(u *url.URL) (artifact.Bucket, error) {
	b := artifact.Bucket{Name: u.Host, MaxBytes: DefaultMaxBytes, Replicas: 1}
	if b.Name == "" {
		b.Name = bucket.Artifacts
	}
	for name, values := range u.Query() {
		n, err := strconv.ParseInt(values[0], 10, 64)
		switch {
		case err != nil || n < 1:
			return b, fmt.Errorf("%w: %s is not a number above 0", ErrURL, name)
		case name == "max_bytes":
			b.MaxBytes = n
		case name == "replicas":
			b.Replicas = int(n)
		default:
			return b, fmt.Errorf("%w: there is no parameter %s", ErrURL, name)
		}
	}
	return b, nil
}
