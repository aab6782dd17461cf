package status

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nuid"

	"reelay/events"
	"reelay/internal/bus"
)

const (
	// readTries and readPause bound the reads of a record that the index has seen in a newer form: a leader may have lost
	// its place.
	readTries = 5
	readPause = 20 * time.Millisecond
	// maxRecordBytes bounds the records that are kept for the next answers that show them.
	maxRecordBytes = 64 << 20
)

// A record is one as it was read, made ready for answers: JSON with a gap for what is as of the time of the answer.
type record struct {
	revision uint64
	// task is nil of a record that answers show as it is stored: head is all of it.
	task       *events.Task
	head, tail []byte
}

// A momentary is what fillWaiting fills in, in the words of a record. It is what the gap is for.
type momentary struct {
	QueuePosition  *events.QueuePosition `json:"queue_position,omitempty"`
	EstimatedWaitS *float64              `json:"estimated_wait_s,omitempty"`
	ETA            *time.Time            `json:"eta,omitempty"`
	ETAEarliest    *time.Time            `json:"eta_earliest,omitempty"`
	ETALatest      *time.Time            `json:"eta_latest,omitempty"`
	Pace           events.Pace           `json:"pace,omitempty"`
	Blocked        *events.Blocked       `json:"blocked,omitempty"`
}

// newRecord reads a record. Its error is bus.ErrUnreadable.
func (s *Service) newRecord(stored bus.Entry) (*record, error) {
	t, err := stored.Task()
	if err != nil {
		return nil, err
	}
	r := &record{revision: stored.Revision, task: &t}
	if len(t.WaitsFor) > 0 {
		return r, nil // what it waits for is as of the answer, too: there is no head
	}
	shown := t
	shown.QueuePosition, shown.EstimatedWaitS, shown.ETA, shown.ETAEarliest, shown.ETALatest = nil, nil, nil, nil, nil
	shown.Pace, shown.Blocked = "", &events.Blocked{Reason: s.gap.reason}
	data, err := events.Marshal(shown)
	if err != nil {
		return nil, err
	}
	var found bool
	if r.head, r.tail, found = bytes.Cut(data, s.gap.text); !found {
		r.head = nil
	}
	return r, nil
}

// A gap marks a place in JSON by a reason that no record has.
type gap struct {
	reason events.BlockedReason
	text   []byte
}

func newGap() (gap, error) {
	g := gap{reason: events.BlockedReason(nuid.Next())}
	text, err := events.Marshal(events.Blocked{Reason: g.reason})
	g.text = append([]byte(`,"blocked":`), text...)
	return g, err
}

// size is about how much memory a record takes.
func (r *record) size() int {
	if r.task == nil {
		return len(r.head)
	}
	return 2<<10 + 2*(len(r.head)+len(r.tail)+len(r.task.Input))
}

// appendTo appends the record as answers show it now.
func (s *Service) appendTo(dst []byte, r *record, v view) ([]byte, error) {
	if r.task == nil {
		return append(dst, r.head...), nil
	}
	t := *r.task // what it points to is replaced, never changed
	s.fillWaiting(&t, v)
	if r.head == nil {
		data, err := events.Marshal(t)
		return append(dst, data...), err
	}
	now, err := events.Marshal(momentary{
		t.QueuePosition, t.EstimatedWaitS, t.ETA, t.ETAEarliest, t.ETALatest, t.Pace, t.Blocked,
	})
	if err != nil {
		return dst, err
	}
	dst = append(dst, r.head...)
	if len(now) > len("{}") {
		dst = append(append(dst, ','), now[1:len(now)-1]...)
	}
	return append(dst, r.tail...), nil
}

// readStored returns the record of k as it is stored, no older than the index knows it unless the server that answers stays
// behind. Its error is bus.ErrNotFound, or one of the broker.
func (s *Service) readStored(ctx context.Context, k events.Key) (bus.Entry, error) {
	for try := 1; ; try++ {
		e, err := s.o.Bus.GetStored(ctx, k)
		if err != nil && !errors.Is(err, bus.ErrNotFound) || e.Revision >= s.index.revision(k) || try == readTries {
			return e, err
		}
		select {
		case <-ctx.Done():
			return e, context.Cause(ctx)
		case <-time.After(readPause):
		}
	}
}

// read returns the record of k and its revision, as readStored does.
func (s *Service) read(ctx context.Context, k events.Key) (events.Task, uint64, error) {
	e, err := s.readStored(ctx, k)
	if err != nil {
		return events.Task{}, e.Revision, err
	}
	t, err := e.Task()
	return t, e.Revision, err
}

// record reads the record of k, and returns what the index has of it or would have.
func (s *Service) record(ctx context.Context, k events.Key) (*record, *entry, error) {
	stored, err := s.readStored(ctx, k)
	if err != nil {
		return nil, nil, err
	}
	e := s.index.get(k)
	known := e != nil && e.revision == stored.Revision
	if known {
		if r := s.cache.get(k, stored.Revision); r != nil {
			return r, e, nil
		}
	}
	if known && e.verbatim {
		r := &record{revision: stored.Revision, head: stored.Value}
		s.cache.put(k, r)
		return r, e, nil
	}
	r, err := s.newRecord(stored)
	if err != nil {
		return nil, nil, err
	}
	if !known {
		e = entryOf(r.task, stored.Revision)
	}
	s.cache.put(k, r)
	return r, e, nil
}

// kept returns the record of an entry if it is kept in memory and the index, which follows the records, knows no newer.
func (s *Service) kept(e *entry) *record {
	if k := e.key(); s.index.current.Load() && s.index.revision(k) == e.revision {
		return s.cache.get(k, e.revision)
	}
	return nil
}

// A recordCache keeps records that were shown of late, of limit bytes in all: what is in young is moved to old when it
// has half of them, and what was in old is forgotten.
type recordCache struct {
	limit      int
	mu         sync.Mutex
	young, old map[events.Key]*record
	bytes      int // of young
}

func newRecordCache(limit int) *recordCache {
	return &recordCache{limit: limit, young: map[events.Key]*record{}}
}

// get returns the record of k if it is of a revision; nil if it is not kept.
func (c *recordCache) get(k events.Key, revision uint64) *record {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, young := c.young[k]
	if !young {
		r = c.old[k]
	}
	if r == nil || r.revision != revision {
		return nil
	}
	if !young {
		c.add(k, r)
	}
	return r
}

// clear forgets all. Revisions begin anew with a stream that is made anew or put back.
func (c *recordCache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.young, c.old, c.bytes = map[events.Key]*record{}, nil, 0
}

// put keeps a record.
func (c *recordCache) put(k events.Key, r *record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(k, r)
}

// add puts a record among the young ones. The lock is held.
func (c *recordCache) add(k events.Key, r *record) {
	if before := c.young[k]; before != nil {
		c.bytes -= before.size()
	}
	c.young[k] = r
	if c.bytes += r.size(); c.bytes > c.limit/2 {
		c.young, c.old, c.bytes = map[events.Key]*record{}, c.young, 0
	}
}
