package status

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"reelay/events"
	"reelay/internal/api"
	"reelay/internal/ordered"
)

const (
	// batchesAtOnce is how many batch_done events are published at a time.
	batchesAtOnce = 100
	// maxBatchAge is how long after its end a batch is announced at most. A little later batch_done leaves the stream,
	// which could no longer refuse it a second time.
	maxBatchAge = events.EventAge - 24*time.Hour
	// announceWait and maxAnnounceWait bound the pause after events that could not be stored.
	announceWait    = 100 * time.Millisecond
	maxAnnounceWait = 30 * time.Second
	// endGrace is how long batch_done waits for a terminal event after its task has ended.
	endGrace = 10 * time.Minute
)

// errEndNotStored says that a task of a batch has ended and its terminal event is not stored yet.
var errEndNotStored = errors.New("a terminal event is not stored yet")

// A tally adds up the tasks of one batch, and the requests that became none.
type tally struct {
	key events.Key
	// members are its tasks in the order of list.
	members                 *ordered.Tree[*entry]
	announced, total, ended int
	// rejectedIDs are the tasks that its rejected requests would have been, rejected counts those of them that it does not
	// have.
	rejectedIDs map[string]struct{}
	rejected    int
	byStatus    map[events.Status]int
	micros      int64
	// lastEnd is when the last of its tasks ended, or of its requests was rejected, in nanoseconds of Unix time.
	lastEnd int64
	// notify are the endpoints that its tasks have named, at most events.MaxNotified.
	notify []string
	// published says that batch_done is stored.
	published bool
}

func (t *tally) done() bool { return t.announced > 0 && t.ended+t.rejected >= t.announced }

// batches holds a tally for each batch of which a record or a rejection is kept. It is guarded by the index's lock.
type batches struct {
	all map[events.Key]*tally
	// rejections are those of all batches, by project, oldest first; remembered counts them.
	rejections map[string][]rejection
	remembered int
	// unpublished are the batches that were done and not announced when they last changed; changed says that there may be
	// some.
	unpublished map[events.Key]struct{}
	changed     chan struct{}
}

func newBatches() batches {
	return batches{
		all: map[events.Key]*tally{}, rejections: map[string][]rejection{}, unpublished: map[events.Key]struct{}{},
		changed: make(chan struct{}, 1),
	}
}

// tally returns that of a batch, which may be new.
func (b *batches) tally(k events.Key) *tally {
	t := b.all[k]
	if t == nil {
		t = &tally{key: k, members: ordered.New(inListOrder)}
		b.all[k] = t
	}
	return t
}

// replace takes one entry out and another in; either may be nil. A batch is judged after both.
func (b *batches) replace(old, e *entry) {
	if e != nil && e.batch != nil {
		t := b.tally(e.batch.key)
		t.announced = max(t.announced, e.batch.announced)
		for _, name := range e.batch.notify {
			if !slices.Contains(t.notify, name) && len(t.notify) < events.MaxNotified {
				t.notify = append(t.notify, name)
			}
		}
		e.batch = t
		t.add(e, 1)
	}
	if old != nil && old.batch != nil {
		old.batch.add(old, -1)
		old.batch.members.Delete(old)
		b.settle(old.batch.key)
	}
	if e != nil && e.batch != nil {
		e.batch.members.Set(e)
		b.settle(e.batch.key)
	}
}

func (t *tally) add(e *entry, n int) {
	t.total += n
	if t.byStatus == nil {
		t.byStatus = map[events.Status]int{}
	}
	t.byStatus[e.status] += n
	if _, ok := t.rejectedIDs[e.id]; ok {
		t.rejected -= n
	}
	for _, p := range e.payments {
		t.micros += int64(n) * max(0, p.Micros)
	}
	if e.status.Terminal() {
		t.ended += n
	}
	if n > 0 {
		t.lastEnd = max(t.lastEnd, e.completed)
	}
}

// settle has a batch announced that is done, and drops one of which nothing is left.
func (b *batches) settle(k events.Key) {
	t := b.all[k]
	switch {
	case t == nil:
	case t.total == 0 && len(t.rejectedIDs) == 0:
		delete(b.all, k)
	case t.done() && !t.published:
		b.unpublished[k] = struct{}{}
		b.wake()
	}
}

func (b *batches) wake() {
	select {
	case b.changed <- struct{}{}:
	default:
	}
}

// batch returns what is known of a batch.
func (x *index) batch(k events.Key) (events.Batch, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	t := x.batches.all[k]
	if t == nil {
		return events.Batch{}, false
	}
	return t.batch(k), true
}

func (t *tally) batch(k events.Key) events.Batch {
	byStatus := map[events.Status]int{}
	for _, s := range events.Statuses() {
		byStatus[s] = t.byStatus[s]
	}
	return events.Batch{
		Project: k.Project, ID: k.ID, Announced: t.announced, Total: t.total, Ended: t.ended, Rejected: t.rejected,
		ByStatus: byStatus, CostUSD: dollars(t.micros),
	}
}

// doneBatches returns the events of some batches that are done and not announced, while all records and rejections are
// known.
func (x *index) doneBatches(now time.Time) []events.Event {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.current.Load() || !x.rejectionsCurrent.Load() {
		return nil // a part of them could make a batch look done
	}
	var all []events.Event
	for k := range x.batches.unpublished {
		if len(all) == batchesAtOnce {
			break
		}
		t := x.batches.all[k]
		if t == nil || t.published || !t.done() || now.Sub(time.Unix(0, t.lastEnd)) > maxBatchAge {
			delete(x.batches.unpublished, k)
			continue
		}
		b := t.batch(k)
		all = append(all, events.Event{
			Type: events.EventBatchDone, Project: k.Project, Time: time.Unix(0, t.lastEnd).UTC(), Batch: &b, Once: true,
			Notify:  slices.Clone(t.notify),
			Message: "as many tasks of the batch as were announced have ended or were rejected",
		})
	}
	return all
}

// batchPublished marks a batch whose event is stored.
func (x *index) batchPublished(k events.Key) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.batches.unpublished, k)
	if t := x.batches.all[k]; t != nil {
		t.published = true
	}
}

// announceBatches publishes batch_done of every batch that is done, where it and no terminal event of a task is
// missing. Every replica does so.
func (s *Service) announceBatches(ctx context.Context) {
	wait := announceWait
	var retry <-chan time.Time
	forget := time.NewTicker(forgetEvery)
	defer forget.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-forget.C:
			s.index.forgetRejections(now.Add(-events.RejectedAge))
			continue
		case <-s.index.batches.changed:
		case <-retry:
		}
		retry = nil
		for all := s.index.doneBatches(time.Now()); len(all) > 0; all = s.index.doneBatches(time.Now()) {
			err := s.publishBatches(ctx, all)
			if err == nil {
				wait = announceWait
				continue
			}
			level := slog.LevelDebug // at first: the terminal event follows its record
			if wait == maxAnnounceWait {
				level = slog.LevelWarn
			}
			s.log.Log(ctx, level, "batch_done could not be stored yet", "error", err)
			retry = time.After(wait)
			wait = min(2*wait, maxAnnounceWait)
			break
		}
	}
}

// publishBatches publishes what it can. Its error tells why others have to be tried again.
func (s *Service) publishBatches(ctx context.Context, all []events.Event) error {
	var failed []error
	for _, e := range all {
		if err := s.publishBatch(ctx, e); err != nil {
			failed = append(failed, fmt.Errorf("batch %s: %w", e.Key(), err))
			continue
		}
		s.index.batchPublished(e.Key())
	}
	return errors.Join(failed...)
}

// publishBatch stores batch_done once the terminal event of each task of the batch is stored.
func (s *Service) publishBatch(ctx context.Context, done events.Event) error {
	if stored, err := s.o.Bus.Stored(ctx, done); stored || err != nil {
		return err
	}
	for _, e := range s.index.ends(done.Key()) {
		if err := s.ensureStored(ctx, e); err != nil {
			return err
		}
	}
	return s.o.Bus.Publish(ctx, done)
}

// ensureStored fails with errEndNotStored if an event is not stored, has not left the stream since and may still come.
// One that has not come for endGrace was lost with the stream or removed by a person, and holds up no batch.
func (s *Service) ensureStored(ctx context.Context, end events.Event) error {
	if stored, err := s.o.Bus.Stored(ctx, end); stored || err != nil {
		return err
	}
	oldest, err := s.o.Bus.OldestEvent(ctx)
	if err == nil && !end.Time.Before(oldest) && time.Since(end.Time) < endGrace {
		err = fmt.Errorf("%w: %s", errEndNotStored, end.Subject())
	}
	return err
}

// ends returns the terminal events of the tasks of a batch that have ended, the latest first: it is the one that may
// not be stored yet.
func (x *index) ends(batch events.Key) []events.Event {
	x.mu.RLock()
	defer x.mu.RUnlock()
	t := x.batches.all[batch]
	if t == nil {
		return nil
	}
	var all []events.Event
	t.members.Scan(func(e *entry) bool {
		if e.status.Terminal() {
			all = append(all, events.Event{
				Type: events.EventType(e.status), Project: e.project, TaskID: e.id, Time: time.Unix(0, e.completed), Once: true,
			})
		}
		return true
	})
	slices.SortFunc(all, func(a, b events.Event) int { return b.Time.Compare(a.Time) })
	return all
}

// batch answers how far a batch is.
func (s *Service) batch(_ context.Context, c api.Call) (any, error) {
	b, ok := s.index.batch(c.Key)
	if !ok {
		return nil, api.Fail(404, events.CodeNotFound, events.KindNotFound, "no task of batch %s is known", c.Key)
	}
	return b, nil
}
