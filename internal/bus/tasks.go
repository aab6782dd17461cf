package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
)

// JetStream's error codes for a failed compare-and-set: 10071 everywhere, 10164 as well on replicated streams.
const (
	codeWrongLastSequence         = 10071
	codeWrongLastSequenceConstant = 10164
	// codeStoreFailed is the refusal of a second message on a create-only subject, with textPerSubjectFull in its text,
	// and of every message that cannot be written.
	codeStoreFailed    = 10077
	textPerSubjectFull = "maximum messages per subject"

	// storeWait is the pause before an event is asked for that was refused because a duplicate of it is in flight.
	storeWait = 20 * time.Millisecond
)

// Get reads a record and its revision, as the leader of the stream has it. It fails with ErrNotFound or ErrUnreadable.
// The answer may be old by the time it is here; only Put decides.
func (b *Bus) Get(ctx context.Context, k events.Key) (events.Task, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	entry, err := b.key(ctx, events.TaskBucket, k.String())
	if err != nil {
		return events.Task{}, 0, fmt.Errorf("read of %s: %w", k, err)
	}
	if !entry.Present {
		return events.Task{}, 0, fmt.Errorf("%w: %s", ErrNotFound, k)
	}
	t, err := events.DecodeTask(entry.Value)
	if err != nil {
		err = fmt.Errorf("%w: record %s: %w", ErrUnreadable, k, err)
	}
	return t, entry.Revision, err
}

// A Put is one write of a record. Its heartbeat and its lifetime are part of the same message, so they change together
// with the state or not at all.
type Put struct {
	Task events.Task
	// Revision is that of the record read; 0 creates.
	Revision uint64
	// Heartbeat is the interval of heartbeats, in whole seconds; 0 stops them.
	Heartbeat time.Duration
	// TTL is how long the record stays; 0 for ever.
	TTL time.Duration
}

// Put writes a record if it has not changed since it was read, and returns its new revision. ErrConflict means that
// nothing was written; after any other error the write may or may not have happened.
func (b *Bus) Put(ctx context.Context, p Put) (uint64, error) {
	value, err := events.Marshal(p.Task)
	if err != nil {
		return 0, fmt.Errorf("record %s: %w", p.Task.Key(), err)
	}
	opts := []jetstream.PublishOpt{jetstream.WithExpectLastSequencePerSubject(p.Revision)}
	if p.Heartbeat > 0 {
		opts = append(
			opts,
			jetstream.WithScheduleEvery(p.Heartbeat),
			jetstream.WithScheduleTarget(events.HeartbeatSubject(p.Task.Key())),
			// Longer than the interval: each heartbeat replaces the one before, and only the last leaves a delete marker.
			jetstream.WithScheduleTTL(2*p.Heartbeat+time.Minute),
		)
	}
	if p.TTL > 0 {
		opts = append(opts, jetstream.WithMsgTTL(p.TTL))
	}
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	var ack *jetstream.PubAck
	err = b.faults.Do(ctx, "put/"+string(p.Task.Phase), func() (err error) {
		ack, err = b.js.PublishMsg(ctx, &nats.Msg{Subject: events.RecordSubject(p.Task.Key()), Data: value}, opts...)
		return err
	})
	if isConflict(err) {
		return 0, fmt.Errorf("%w: %s", ErrConflict, p.Task.Key())
	}
	if err != nil {
		return 0, fmt.Errorf("write of %s: %w", p.Task.Key(), err)
	}
	return ack.Sequence, nil
}

func isConflict(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) &&
		(api.ErrorCode == codeWrongLastSequence || api.ErrorCode == codeWrongLastSequenceConstant)
}

// An Update is one change of a record as WatchTasks sees it.
type Update struct {
	Key      events.Key
	Revision uint64
	// Task is nil when the record is gone. The zero Key is that of a record which cannot be read.
	Task *events.Task
	// Ready marks the end of the records that existed when WatchTasks began; it carries no record.
	Ready bool
}

// WatchTasks calls handle with every record that exists and then with every change, until ctx ends. handle must be
// quick. Of a record that cannot be read, which is logged, it hears the revision only.
func (b *Bus) WatchTasks(ctx context.Context, handle func(Update)) error {
	return b.Bucket(events.TaskBucket, "").Watch(ctx, func(entry *Entry) {
		if entry == nil {
			handle(Update{Ready: true})
			return
		}
		handle(b.update(*entry))
	})
}

func (b *Bus) update(entry Entry) Update {
	k, err := events.ParseKey(entry.Key)
	if err != nil {
		b.log.Error("a key of the task bucket is no task and is left out", "key", entry.Key)
		return Update{Revision: entry.Revision}
	}
	u := Update{Key: k, Revision: entry.Revision}
	if entry.Present {
		t, err := events.DecodeTask(entry.Value)
		if err != nil {
			b.log.Error("a task record could not be read and is left out", "task", k, "error", err)
			return Update{Revision: entry.Revision}
		}
		u.Task = &t
	}
	return u
}

// LastChange returns the revision of the last change of any record, as the leader of the stream knows it: whoever has
// watched that far knows all that was acknowledged before.
func (b *Bus) LastChange(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	last, err := b.last(ctx, events.StreamTasks, events.RecordFilter())
	if err != nil {
		return 0, fmt.Errorf("last change of a record: %w", err)
	}
	return last.sequence, nil
}

// Publish stores the events of one task, lane or batch in order, each only when those before it are stored. Core
// subscribers hear whatever is published, also what the stream refuses as stored; so what an earlier step may have
// published (Repair) is asked for first, and only what is missing is published. After an error any number of the
// events, from the first on, may be stored.
func (b *Bus) Publish(ctx context.Context, all ...events.Event) error {
	if len(all) == 0 {
		return nil
	}
	return b.faults.Do(ctx, "publish/"+string(all[len(all)-1].Type), func() error {
		ctx, cancel := context.WithTimeout(ctx, writeWait)
		defer cancel()
		missing, err := b.missing(ctx, all)
		if err != nil {
			return err
		}
		for _, e := range missing {
			if err := b.store(ctx, e); err != nil {
				return fmt.Errorf("event %s: %w", e.Subject(), err)
			}
		}
		return nil
	})
}

// missing returns the events from the first on that may not be stored: one that is stored vouches for those before it.
func (b *Bus) missing(ctx context.Context, all []events.Event) ([]events.Event, error) {
	for i, e := range slices.Backward(all) {
		if !e.Repair {
			continue
		}
		stored, err := b.Stored(ctx, e)
		if err != nil {
			return nil, err
		}
		if stored {
			return all[i+1:], nil
		}
	}
	return all, nil
}

// isStored reports whether the stream would refuse an event as stored, as its leader knows it.
func (b *Bus) isStored(ctx context.Context, e events.Event) (bool, error) {
	last, err := b.last(ctx, events.StreamEvents, e.Subject())
	if err != nil || last.sequence == 0 {
		return false, err
	}
	return e.Once || last.header.Get(events.HeaderID) == e.ID() && time.Since(last.at) < events.EventDuplicates, nil
}

// Stored reports whether an event that happens once is stored, as the leader of the stream knows it.
func (b *Bus) Stored(ctx context.Context, e events.Event) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	stored, err := b.isStored(ctx, e)
	if err != nil {
		return false, fmt.Errorf("read of event %s: %w", e.Subject(), err)
	}
	return stored, nil
}

// OldestEvent returns when the oldest event was stored that is kept; the zero time where there is none.
func (b *Bus) OldestEvent(ctx context.Context) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	stream, err := b.js.Stream(ctx, events.StreamEvents)
	if err != nil {
		return time.Time{}, fmt.Errorf("stream %s: %w", events.StreamEvents, err)
	}
	return stream.CachedInfo().State.FirstTime, nil
}

// store publishes an event until it is stored. A cluster refuses one that is stored once (10164) also while a duplicate
// is in flight, of a poller that has seen the same; but a leader that is lost now takes that duplicate along.
func (b *Bus) store(ctx context.Context, e events.Event) error {
	msg, opts, err := eventMessage(e)
	if err != nil {
		return err
	}
	for {
		err := b.publish(ctx, msg, opts)
		switch {
		case err == nil || isRefusedAsStored(err):
			return nil
		case !isConflict(err):
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(storeWait):
		}
		if stored, err := b.isStored(ctx, e); stored || err != nil {
			return err
		}
	}
}

// publish waits no longer than for an answer: while a leader is elected none comes, and where a core subscriber listens
// the server does not say that nobody else does.
func (b *Bus) publish(ctx context.Context, msg *nats.Msg, opts []jetstream.PublishOpt) error {
	ctx, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	_, err := b.js.PublishMsg(ctx, msg, opts...)
	return err
}

// isRefusedAsStored reports whether an event that is stored once was refused because it stands there.
func isRefusedAsStored(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == codeWrongLastSequence
}

func eventMessage(e events.Event) (*nats.Msg, []jetstream.PublishOpt, error) {
	data, err := events.Marshal(e)
	if err != nil {
		return nil, nil, fmt.Errorf("event %s: %w", e.Subject(), err)
	}
	msg := &nats.Msg{Subject: e.Subject(), Data: data, Header: nats.Header{}}
	for k, v := range e.Header() {
		msg.Header.Set(k, v)
	}
	if e.Once {
		return msg, []jetstream.PublishOpt{jetstream.WithExpectLastSequencePerSubject(0)}, nil
	}
	return msg, []jetstream.PublishOpt{jetstream.WithMsgID(e.ID())}, nil
}

// EnsurePollTicket makes sure that the poll ticket of a task exists.
func (b *Bus) EnsurePollTicket(ctx context.Context, lane string, k events.Key) error {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	err := b.faults.Do(ctx, "watch", func() error {
		_, err := b.js.Publish(ctx, events.PollSubject(lane, k), nil)
		return err
	})
	if isOccupied(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("poll ticket of %s: %w", k, err)
	}
	return nil
}

// isOccupied reports whether a message was refused because its create-only subject has one.
func isOccupied(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == codeStoreFailed &&
		strings.Contains(api.Description, textPerSubjectFull)
}
