package client

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
)

// ErrNotStored says that reelay's store holds nothing under a name, or no longer.
var ErrNotStored = errors.New("it is not in the store")

// OpenStored reads what reelay keeps in its own store: an Output's Object, a Result's RawRef, a Task's InputRef. The
// reader ends with an error if what came is not what was stored, or when ctx ends; its caller closes it. It fails with
// ErrNotStored. Programs in other languages read the object store bucket events.ObjectBucket.
func (c *Client) OpenStored(ctx context.Context, name string) (io.ReadCloser, error) {
	js, err := c.jetStream()
	if err != nil {
		return nil, err
	}
	store, err := js.ObjectStore(ctx, events.ObjectBucket)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", events.ObjectBucket, err)
	}
	object, err := store.Get(ctx, name)
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return nil, fmt.Errorf("%s: %w", name, ErrNotStored)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return object, nil
}
