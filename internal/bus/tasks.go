package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/internal/trace"
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

// Get reads a record and its revision, as the leader of the stream has it. It fails with ErrNotFound, with the revision
// of the marker that an expired or deleted record has left, over which Put creates; or with ErrUnreadable. The answer
// may be old by the time it is here; only Put decides. Where the stream had one replica at the start, that is asked as
// its leader: a stream that is given more needs its services started anew.
func (b *Bus) Get(ctx context.Context, k events.Key) (events.Task, uint64, error) {
	return decoded(b.GetStored(ctx, k))
}

// GetFromLeader is Get, of the leader in any case.
func (b *Bus) GetFromLeader(ctx context.Context, k events.Key) (events.Task, uint64, error) {
	return decoded(b.stored(ctx, k, b.last))
}

// GetStored is Get of the bytes of a record. It fails with ErrNotFound as Get does.
func (b *Bus) GetStored(ctx context.Context, k events.Key) (Entry, error) {
	if !b.sole {
		return b.stored(ctx, k, b.last)
	}
	return b.stored(ctx, k, b.lastDirect)
}

func (b *Bus) stored(ctx context.Context, k events.Key,
	last func(ctx context.Context, stream, subject string) (message, error),
) (Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	m, err := last(ctx, events.StreamTasks, events.RecordSubject(k))
	if err != nil {
		return Entry{}, fmt.Errorf("read of %s: %w", k, err)
	}
	entry := m.entry(k.String())
	if !entry.Present {
		return entry, fmt.Errorf("%w: %s", ErrNotFound, k)
	}
	return entry, nil
}

func decoded(e Entry, err error) (events.Task, uint64, error) {
	if err != nil {
		return events.Task{}, e.Revision, err
	}
	t, err := e.Task()
	return t, e.Revision, err
}

// Task reads the entry of a record. It fails with ErrUnreadable.
func (e Entry) Task() (events.Task, error) {
	t, err := events.DecodeTask(e.Value)
	if err != nil {
		err = fmt.Errorf("%w: record %s: %w", ErrUnreadable, e.Key, err)
	}
	return t, err
}

// A Put is one write of a record. Its heartbeat and its lifetime are part of the same message, so they change together
// with the state or not at all.
type Put struct {
	Task events.Task
	// Value is the record as it is stored; nil has it made of Task.
	Value []byte
	// Revision is that of the record or marker read; 0 creates where neither is.
	Revision uint64
	// Heartbeat is the interval of heartbeats, in whole seconds; 0 stops them.
	Heartbeat time.Duration
	// TTL is how long the record stays; 0 for ever.
	TTL time.Duration
}

// Put writes a record if it has not changed since it was read, and returns its new revision. ErrConflict means that
// nothing was written; after any other error the write may or may not have happened.
func (b *Bus) Put(ctx context.Context, p Put) (uint64, error) {
	value, err := p.Value, error(nil)
	if value == nil {
		value, err = events.Marshal(p.Task)
	}
	if err != nil {
		return 0, fmt.Errorf("record %s: %w", p.Task.Key(), err)
	}
	summary, err := events.Marshal(Summarize(&p.Task))
	if err != nil {
		return 0, fmt.Errorf("summary of %s: %w", p.Task.Key(), err)
	}
	header := nats.Header{headerSummary: {string(summary)}}
	b.own.Put(p.Task, value)
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
		subject := b.keySubject(events.RecordSubject(p.Task.Key()))
		ack, err = b.js.PublishMsg(ctx, &nats.Msg{Subject: subject, Header: header, Data: value}, opts...)
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
	b.own.Watch()
	return b.watchTasks(ctx, jetstream.AllKeys, handle)
}

func (b *Bus) watchTasks(ctx context.Context, filter string, handle func(Update)) error {
	return b.Bucket(events.TaskBucket, "").watchKeys(ctx, filter, func(entry *Entry) {
		if entry == nil {
			handle(Update{Ready: true})
			return
		}
		handle(b.update(*entry))
	})
}

// maxReadWait bounds one reading of all records.
const maxReadWait = time.Minute

// ReadTasks calls handle with every record that exists. It takes a minute at most, and costs as much as the start of a
// status service. Records that cannot be read are left out and logged.
func (b *Bus) ReadTasks(ctx context.Context, handle func(events.Task)) error {
	return b.readTasks(ctx, jetstream.AllKeys, false, handle)
}

// ReadProject is ReadTasks of a project, or of all for "". It fails with ErrUnreadable where a record cannot be read:
// what is decided by what no record says must not be decided by a record that was left out.
func (b *Bus) ReadProject(ctx context.Context, project string, handle func(events.Task)) error {
	filter := jetstream.AllKeys
	if project != "" {
		filter = events.Key{Project: project, ID: "*"}.String()
	}
	return b.readTasks(ctx, filter, true, handle)
}

func (b *Bus) readTasks(ctx context.Context, filter string, all bool, handle func(events.Task)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, maxReadWait, errors.New("the records could not be read in time"))
	defer cancel()
	ready, unreadable := false, false
	err := b.watchTasks(ctx, filter, func(u Update) {
		switch {
		case ready:
		case all && u.Key == events.Key{} && !u.Ready:
			unreadable = true
			cancel()
		case u.Ready:
			ready = true
			cancel()
		case u.Task != nil:
			handle(*u.Task)
		}
	})
	switch {
	case unreadable:
		err = fmt.Errorf("%w: a task record, which the log names", ErrUnreadable)
	case err == nil && !ready:
		err = context.Cause(ctx)
	}
	return err
}

func (b *Bus) update(entry Entry) Update {
	k, err := events.ParseKey(entry.Key)
	if err != nil {
		b.log.Error("a key of the task bucket is no task and is left out", "key", entry.Key)
		return Update{Revision: entry.Revision}
	}
	u := Update{Key: k, Revision: entry.Revision}
	if entry.Present {
		t, err := b.own.Decode(k, entry.Value)
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

// PurgeTask deletes the events of a task and the callbacks of its provider.
func (b *Bus) PurgeTask(ctx context.Context, k events.Key) error {
	for stream, subject := range map[string]string{
		events.StreamEvents: events.EventSubject(k, "*"), events.StreamCallbacks: events.CallbackSubject("*", k),
	} {
		if err := b.purge(ctx, stream, subject); err != nil {
			return fmt.Errorf("purge of %s: %w", subject, err)
		}
	}
	return nil
}

func (b *Bus) purge(ctx context.Context, stream, subject string, opts ...jetstream.StreamPurgeOpt) error {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	s, err := b.js.Stream(ctx, stream)
	if err != nil {
		return err
	}
	return s.Purge(ctx, append(opts, jetstream.WithPurgeSubject(subject))...)
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
	if inOrder(e) {
		return b.storeInOrder(ctx, e, msg, opts)
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

// inOrder reports whether an event of a task is stored only where none of a later version is. Those that happen once are
// stored by whoever publishes a later one. Progress comes too often to ask, and says itself of which version it is.
func inOrder(e events.Event) bool {
	return e.Transition != nil && !e.Once && e.Type != events.EventProgress
}

// storeInOrder stores an event of a task that may happen again, such as in_doubt, unless one of a later version is
// stored: its publisher has stalled meanwhile, and it is overtaken.
func (b *Bus) storeInOrder(ctx context.Context, e events.Event, msg *nats.Msg, opts []jetstream.PublishOpt) error {
	all := events.EventSubject(events.Key{Project: e.Project, ID: e.TaskID}, "*")
	for {
		last, err := b.last(ctx, events.StreamEvents, all)
		if err != nil {
			return err
		}
		var stored struct {
			Version uint64 `json:"version"`
		}
		if err := json.Unmarshal(last.data, &stored); err == nil && stored.Version > e.Version {
			b.log.Info("an event is overtaken by a later one of its task and is left out", "event", e.Subject(), "version", e.Version,
				"later", stored.Version)
			return nil
		}
		err = b.publish(ctx, msg, append(opts[:len(opts):len(opts)],
			jetstream.WithExpectLastSequenceForSubject(last.sequence, all)))
		if err == nil || !isConflict(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(storeWait):
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

// EnsureArtifact makes sure that the archiver's message of a task exists.
func (b *Bus) EnsureArtifact(ctx context.Context, k events.Key) error {
	if err := b.ensure(ctx, "artifact", &nats.Msg{Subject: events.ArtifactSubject(k)}); err != nil {
		return fmt.Errorf("archiver's message of %s: %w", k, err)
	}
	return nil
}

// ensure makes sure that a create-only subject has a message.
func (b *Bus) ensure(ctx context.Context, point string, msg *nats.Msg) error {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	msg.Header = trace.Inject(ctx, msg.Header)
	err := b.faults.Do(ctx, point, func() error {
		_, err := b.js.PublishMsg(ctx, msg)
		return err
	})
	if isOccupied(err) {
		return nil
	}
	return err
}

// isOccupied reports whether a message was refused because its create-only subject has one.
func isOccupied(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == codeStoreFailed &&
		strings.Contains(api.Description, textPerSubjectFull)
}
