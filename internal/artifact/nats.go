package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reelay/events/bucket"
	"reelay/internal/chunk"
	"reelay/internal/objects"
)

// natsWait bounds one question to the object store; reading and writing content takes as long as it does.
const natsWait = 30 * time.Second

// Objects keeps files in a bucket of NATS' object store. A bucket has a stream of its own, with a bound, so that it
// cannot take the room of the task records.
type Objects struct {
	bucket jetstream.ObjectStore
	js     jetstream.JetStream
	stream string
}

// A Bucket is the bucket of Objects, as it is created.
type Bucket struct {
	Name     string
	MaxBytes int64
	Replicas int
}

// OpenObjects returns the store of a bucket, which is created if need be.
func OpenObjects(ctx context.Context, js jetstream.JetStream, b Bucket) (*Objects, error) {
	ctx, cancel := context.WithTimeout(ctx, natsWait)
	defer cancel()
	store, err := js.ObjectStore(ctx, b.Name)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		store, err = js.CreateObjectStore(ctx, jetstream.ObjectStoreConfig{
			Bucket: b.Name, Description: "stored outputs of tasks", MaxBytes: b.MaxBytes, Storage: jetstream.FileStorage,
			Replicas: max(1, b.Replicas),
		})
		if errors.Is(err, jetstream.ErrBucketExists) { // another archiver was faster
			store, err = js.ObjectStore(ctx, b.Name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("object store %s: %w", b.Name, err)
	}
	return &Objects{store, js, bucket.ObjectStream(b.Name)}, nil
}

// Put implements Driver.
func (o *Objects) Put(ctx context.Context, name string, content io.Reader) error {
	if _, _, err := o.Stat(ctx, name); !errors.Is(err, ErrNotFound) {
		if err == nil {
			err = ErrExists
		}
		return err
	}
	_, err := o.bucket.Put(ctx, jetstream.ObjectMeta{
		Name: name, Opts: &jetstream.ObjectMetaOptions{ChunkSize: chunk.Bytes},
	}, chunk.Full{From: content})
	return err
}

// Open implements Driver. An object can be read from its beginning only: what is before the offset is read and dropped.
func (o *Objects) Open(ctx context.Context, name string, offset int64) (io.ReadCloser, error) {
	wait, cancel := context.WithTimeout(ctx, natsWait)
	defer cancel()
	info, err := o.bucket.GetInfo(wait, name)
	if err != nil {
		return nil, noObject(err)
	}
	stream, err := o.js.Stream(wait, o.stream)
	if err != nil {
		return nil, err
	}
	r := objects.NewReader(ctx, stream, info)
	if _, err := io.CopyN(io.Discard, r, offset); err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// Stat implements Driver.
func (o *Objects) Stat(ctx context.Context, name string) (int64, time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, natsWait)
	defer cancel()
	info, err := o.bucket.GetInfo(ctx, name)
	if err != nil {
		return 0, time.Time{}, noObject(err)
	}
	return int64(info.Size), info.ModTime, nil
}

// Delete implements Driver.
func (o *Objects) Delete(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, natsWait)
	defer cancel()
	if err := noObject(o.bucket.Delete(ctx, name)); err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	return nil
}

// List implements Driver.
func (o *Objects) List(ctx context.Context, prefix string,
	visit func(name string, size int64, storedAt time.Time) error,
) error {
	all, err := o.bucket.List(ctx)
	if errors.Is(err, jetstream.ErrNoObjectsFound) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, info := range all {
		if !strings.HasPrefix(info.Name, prefix) {
			continue
		}
		if err := visit(info.Name, int64(info.Size), info.ModTime); err != nil {
			return err
		}
	}
	return nil
}

func noObject(err error) error {
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return ErrNotFound
	}
	return err
}
