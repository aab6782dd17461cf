package bus

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/internal/chunk"
)

// EnsureWork makes sure that the message exists that has the work of a task done.
func (b *Bus) EnsureWork(ctx context.Context, op string, k events.Key) error {
	if err := b.ensure(ctx, "work", &nats.Msg{Subject: events.WorkSubject(op, k)}); err != nil {
		return fmt.Errorf("work message of %s: %w", k, err)
	}
	return nil
}

// HasWork reports whether the work of a task is still to be done, or under way.
func (b *Bus) HasWork(ctx context.Context, op string, k events.Key) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	m, err := b.last(ctx, events.StreamWork, events.WorkSubject(op, k))
	return m.sequence > 0, err
}

// DropWork takes the work of a task out of the queue, if it is there; whoever is at it goes on. It fails too if the
// work was done at the same moment. A purge would not do: with it the server forgets the redeliveries of all others.
func (b *Bus) DropWork(ctx context.Context, op string, k events.Key) error {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	m, err := b.last(ctx, events.StreamWork, events.WorkSubject(op, k))
	if err == nil && m.sequence > 0 {
		var stream jetstream.Stream
		if stream, err = b.js.Stream(ctx, events.StreamWork); err == nil {
			err = stream.DeleteMsg(ctx, m.sequence)
		}
	}
	if err != nil {
		return fmt.Errorf("work message of %s: %w", k, err)
	}
	return nil
}

// HasWorkers reports whether anybody takes work: waits for some, or is at it.
func (b *Bus) HasWorkers(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	info, err := b.consumer(ctx, events.WorkConsumer())
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return info.NumWaiting+info.NumAckPending > 0, nil
}

// PutFile stores a file of any size under a name. What the name held is replaced.
func (b *Bus) PutFile(ctx context.Context, name string, from io.Reader) error {
	err := b.faults.Do(ctx, "object", func() error {
		meta := jetstream.ObjectMeta{Name: name, Opts: &jetstream.ObjectMetaOptions{ChunkSize: chunk.Bytes}}
		_, err := b.objects[events.ObjectBucket].Put(ctx, meta, chunk.Full{From: from})
		return err
	})
	if err != nil {
		return fmt.Errorf("object %s: %w", name, err)
	}
	return nil
}

// DeleteObject deletes an object. One that is not there is no error.
func (b *Bus) DeleteObject(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	err := b.objects[events.ObjectBucket].Delete(ctx, name)
	if err != nil && !errors.Is(err, jetstream.ErrObjectNotFound) {
		return fmt.Errorf("object %s: %w", name, err)
	}
	return nil
}
