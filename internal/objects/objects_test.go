package objects_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/internal/bus"
	"reelay/internal/objects"
	"reelay/internal/test/broker"
)

const chunkBytes = 1000

// content fills three messages and a part of a fourth.
var content = bytes.Repeat([]byte("a kite over dunes"), 200)

// put stores an object, and returns what reads it.
func put(t *testing.T, content []byte) (jetstream.ObjectStore, jetstream.Stream, *jetstream.ObjectInfo) {
	t.Helper()
	js := broker.Start(t).Open(bus.Options{}).JetStream()
	store, err := js.ObjectStore(t.Context(), events.InputBucket)
	if err != nil {
		t.Fatal(err)
	}
	info, err := store.Put(t.Context(), jetstream.ObjectMeta{
		Name: "demo/a.png", Opts: &jetstream.ObjectMetaOptions{ChunkSize: chunkBytes},
	}, bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), bucket.ObjectStream(events.InputBucket))
	if err != nil {
		t.Fatal(err)
	}
	return store, stream, info
}

// TestReader: what was stored is read, in parts of any size, whatever is stored beside it; and an empty object.
func TestReader(t *testing.T) {
	store, stream, info := put(t, content)
	if _, err := store.PutBytes(t.Context(), "demo/b.png", content[1:]); err != nil {
		t.Fatal(err)
	}
	if err := iotest.TestReader(objects.NewReader(t.Context(), stream, info), content); err != nil {
		t.Error(err)
	}
	empty, err := store.PutBytes(t.Context(), "demo/c.png", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(objects.NewReader(t.Context(), stream, empty)); err != nil || len(got) > 0 {
		t.Errorf("an empty object holds %q, %v", got, err)
	}
}

// TestDamaged: bytes that are not those that were stored fail at the end, and do not pass for the object.
func TestDamaged(t *testing.T) {
	_, stream, info := put(t, content)
	info.Digest = jetstream.GetObjectDigestValue(sha256.New())
	if _, err := io.ReadAll(objects.NewReader(t.Context(), stream, info)); !errors.Is(err, objects.ErrDigest) {
		t.Errorf("read with another digest: %v", err)
	}
}

// TestCutOff: reading ends when the object is deleted meanwhile, and with its context.
func TestCutOff(t *testing.T) {
	store, stream, info := put(t, content)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	deleted, cancelled := objects.NewReader(t.Context(), stream, info), objects.NewReader(ctx, stream, info)
	for _, r := range []io.Reader{deleted, cancelled} {
		if _, err := io.ReadFull(r, make([]byte, chunkBytes)); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if _, err := io.ReadAll(cancelled); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of the context: %v", err)
	}
	if err := store.Delete(t.Context(), "demo/a.png"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(deleted); !errors.Is(err, jetstream.ErrMsgNotFound) {
		t.Errorf("after the delete: %v", err)
	}
}
