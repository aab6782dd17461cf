package bus

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/internal/chunk"
	"reelay/internal/objects"
)

// ErrNoInput says that a project has no file of a name, or no longer.
var ErrNoInput = errors.New("there is no such file")

// ErrFull says that the files that were handed in fill their bucket.
var ErrFull = errors.New("there is no room for the file")

// headerContentType is the header of an object that says what it is; `nats object put` takes it by --header.
const headerContentType = "Content-Type"

// PutObject stores a large value under a name that holds its digest. One that is there is not stored again.
func (b *Bus) PutObject(ctx context.Context, name string, value []byte) error {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	err := b.faults.Do(ctx, "object", func() error {
		if stored, err := b.objects[events.ObjectBucket].GetInfo(ctx, name); err == nil && stored.Size == uint64(len(value)) {
			return nil
		}
		_, err := b.objects[events.ObjectBucket].PutBytes(ctx, name, value)
		return err
	})
	if err != nil {
		return fmt.Errorf("object %s: %w", name, err)
	}
	return nil
}

// GetObject reads a large value.
func (b *Bus) GetObject(ctx context.Context, name string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	value, err := b.objects[events.ObjectBucket].GetBytes(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("object %s: %w", name, err)
	}
	return value, nil
}

// Input returns what is known of a project's file. It fails with ErrNoInput.
func (b *Bus) Input(ctx context.Context, project, name string) (events.Input, error) {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	info, err := b.inputInfo(ctx, project, name)
	if err != nil {
		return events.Input{}, inputError(project, name, err)
	}
	return inputOf(project, name, info)
}

// inputInfo is what the object store knows of a file. A link to another object, which may be another project's, is none.
func (b *Bus) inputInfo(ctx context.Context, project, name string) (*jetstream.ObjectInfo, error) {
	info, err := b.objects[events.InputBucket].GetInfo(ctx, events.InputObject(project, name))
	if err == nil && info.Opts != nil && info.Opts.Link != nil {
		err = jetstream.ErrObjectNotFound
	}
	return info, err
}

// OpenInput reads a project's file, until ctx ends. The reader fails at its end if the bytes are not those that were
// stored. It fails with ErrNoInput.
func (b *Bus) OpenInput(ctx context.Context, project, name string) (io.ReadCloser, error) {
	wait, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	info, err := b.inputInfo(wait, project, name)
	if err != nil {
		return nil, inputError(project, name, err)
	}
	r, err := b.readObject(ctx, events.InputBucket, info)
	if err != nil {
		return nil, inputError(project, name, err)
	}
	return r, nil
}

// OpenObject reads an object of any size, until ctx ends. The reader fails at its end if the bytes are not those that
// were stored.
func (b *Bus) OpenObject(ctx context.Context, name string) (io.ReadCloser, error) {
	wait, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	info, err := b.objects[events.ObjectBucket].GetInfo(wait, name)
	if err != nil {
		return nil, fmt.Errorf("object %s: %w", name, err)
	}
	r, err := b.readObject(ctx, events.ObjectBucket, info)
	if err != nil {
		return nil, fmt.Errorf("object %s: %w", name, err)
	}
	return r, nil
}

// readObject opens an object of a bucket.
func (b *Bus) readObject(ctx context.Context, of string, info *jetstream.ObjectInfo) (io.ReadCloser, error) {
	wait, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	stream, err := b.js.Stream(wait, bucket.ObjectStream(of))
	if err != nil {
		return nil, err
	}
	return objects.NewReader(ctx, stream, info), nil
}

// PutInput stores a project's file, in place of one of that name. An error of content leaves the file as it was. It fails
// with ErrFull where the bucket has more than events.MaxInputsBytes already, or where the broker has no room.
func (b *Bus) PutInput(ctx context.Context, project, name, contentType string, content io.Reader) (events.Input, error) {
	meta := jetstream.ObjectMeta{
		Name: events.InputObject(project, name), Opts: &jetstream.ObjectMetaOptions{ChunkSize: chunk.Bytes},
	}
	if contentType != "" {
		meta.Headers = nats.Header{headerContentType: {contentType}}
	}
	if err := b.checkRoom(ctx); err != nil {
		return events.Input{}, err
	}
	info, err := b.objects[events.InputBucket].Put(ctx, meta, chunk.Full{From: content})
	if err != nil {
		return events.Input{}, inputError(project, name, err)
	}
	return inputOf(project, name, info)
}

// checkRoom fails with ErrFull when the bucket of files has no room. A bound of the stream itself would reserve it, and a
// small disk could not start.
func (b *Bus) checkRoom(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	status, err := b.objects[events.InputBucket].Status(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", events.InputBucket, err)
	}
	if size := status.Size(); size > events.MaxInputsBytes {
		return fmt.Errorf("%w: %s has %d bytes, over the limit of %d", ErrFull, events.InputBucket, size, events.MaxInputsBytes)
	}
	return nil
}

// codeStreamFull is JetStream's error code for a message that has no room in its stream.
const codeStreamFull = 10077

func inputError(project, name string, err error) error {
	var api *jetstream.APIError
	switch {
	case errors.Is(err, jetstream.ErrObjectNotFound):
		err = ErrNoInput
	case errors.As(err, &api) && api.ErrorCode == codeStreamFull:
		err = fmt.Errorf("%w: %w", ErrFull, err)
	}
	return fmt.Errorf("%s: %w", events.InputObject(project, name), err)
}

// inputOf reads what the object store knows of a file.
func inputOf(project, name string, info *jetstream.ObjectInfo) (events.Input, error) {
	sum, err := base64.URLEncoding.DecodeString(strings.TrimPrefix(info.Digest, "SHA-256="))
	if err != nil {
		return events.Input{}, fmt.Errorf("%s: %w: its digest is %q", info.Name, ErrUnreadable, info.Digest)
	}
	return events.Input{
		Project: project, Name: name, Size: int64(info.Size), SHA256: hex.EncodeToString(sum),
		ContentType: info.Headers.Get(headerContentType), StoredAt: info.ModTime,
	}, nil
}
