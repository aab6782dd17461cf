package bus

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
)

const (
	// rejectionsHeartbeat is how often the server says, while nothing is rejected, that it is there.
	rejectionsHeartbeat = 15 * time.Second
	// rejectionsAhead is how many events are fetched before they are handled.
	rejectionsAhead = 500
)

// WatchRejections calls handle with every rejected event that is still kept, oldest first, then with nil, and then with
// every new one, until ctx ends. It fails when it cannot go on. handle must be quick. An event that cannot be read is
// logged and left out.
func (b *Bus) WatchRejections(ctx context.Context, handle func(*events.Event)) error {
	filter := events.EventFilter(events.EventRejected)
	consumer, err := b.js.OrderedConsumer(ctx, events.StreamEvents, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{filter}, MaxResetAttempts: 1, // whoever watches begins anew
	})
	if err != nil {
		return fmt.Errorf("consumer of %s: %w", filter, err)
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(rejectionsAhead),
		jetstream.PullHeartbeat(rejectionsHeartbeat))
	if err != nil {
		return fmt.Errorf("read of %s: %w", filter, err)
	}
	defer messages.Stop()
	for left := consumer.CachedInfo().NumPending; left > 0; left-- {
		msg, err := nextWithin(ctx, messages)
		if err != nil {
			return unlessOver(ctx, fmt.Errorf("read of %s, %d are left: %w", filter, left, err))
		}
		b.rejected(msg, handle)
	}
	handle(nil)
	for {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return unlessOver(ctx, fmt.Errorf("read of %s: %w", filter, err))
		}
		b.rejected(msg, handle)
	}
}

// nextWithin waits for a message that was stored already when it was counted. One that has expired meanwhile does not
// come.
func nextWithin(ctx context.Context, messages jetstream.MessagesContext) (jetstream.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	return messages.Next(jetstream.NextContext(ctx))
}

// unlessOver is err, or nil once ctx has ended.
func unlessOver(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (b *Bus) rejected(msg jetstream.Msg, handle func(*events.Event)) {
	e, err := events.DecodeEvent(msg.Headers().Get(events.HeaderType), msg.Data())
	if err != nil {
		b.log.Error("a rejected event could not be read and is left out", "subject", msg.Subject(), "error", err)
		return
	}
	handle(&e)
}

// DropRejections drops the rejected events of a project but the newest ones.
func (b *Bus) DropRejections(ctx context.Context, project string, keep uint64) error {
	return b.purge(ctx, events.StreamEvents, events.RejectedFilter(project), jetstream.WithPurgeKeep(keep))
}

// Rejection returns the last rejected event of a task id that is kept; nil for none.
func (b *Bus) Rejection(ctx context.Context, k events.Key) (*events.Event, error) {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	last, err := b.last(ctx, events.StreamEvents, events.EventSubject(k, events.EventRejected))
	if err != nil || last.sequence == 0 {
		return nil, err
	}
	e, err := events.DecodeEvent(last.header.Get(events.HeaderType), last.data)
	return &e, err
}
