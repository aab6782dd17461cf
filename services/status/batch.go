package status

import (
	"context"
	"time"

	"reelay/events"
)

const (
	// batchesAtOnce is how many batch_done events are published at a time.
	batchesAtOnce = 100
	// toldAge is how long after its end a batch is announced at most. A little later its event leaves the stream, which could no
	// longer refuse it a second time.
	toldAge = events.EventAge - 24*time.Hour
	// announceWait and maxAnnounceWait bound the pause after events that could not be stored.
	announceWait    = 500 * time.Millisecond
	maxAnnounceWait = 30 * time.Second
)

// A tally adds up the tasks of one batch, and the requests that became none.
type tally struct {
	announced, total, ended int
	// rejectedIDs are the tasks that its rejected requests would have been, rejected counts those of them that it does not have.
	rejectedIDs map[string]struct{}
	rejected    int
	byStatus    map[events.Status]int
	micros      int64
	// lastEnd is when the last of its tasks ended, or of its requests was rejected, in nanoseconds of Unix time.
	lastEnd int64
	// told says that batch_done is stored.
	told bool
}

func (t *tally) done() bool { return t.announced > 0 && t.ended+t.rejected >= t.announced }

// batches holds a tally for each batch of which a record or a rejection is kept. It is guarded by the index's lock.
type batches struct {
	all map[events.Key]*tally
	// rejections are those of all batches, by project, oldest first; remembered counts them.
	rejections map[string][]rejection
	remembered int
	// ripe are those to be announced, if they still look so then; changed says that there may be some.
	ripe    map[events.Key]struct{}
	changed chan struct{}
}

func newBatches() batches {
	return batches{
		all: map[events.Key]*tally{}, rejections: map[string][]rejection{}, ripe: map[events.Key]struct{}{}, changed: make(chan struct{}, 1),
	}
}

// tally returns that of a batch, which may be new.
func (b *batches) tally(k events.Key) *tally {
	t := b.all[k]
	if t == nil {
		t = &tally{}
		b.all[k] = t
	}
	return t
}

// replace takes one entry out and another in; either may be nil. A batch is judged after both.
func (b *batches) replace(old, e *entry) {
	if e != nil && e.batch != "" {
		b.add(e, 1)
	}
	if old != nil && old.batch != "" {
		b.add(old, -1)
		b.settle(old.batchKey())
	}
	if e != nil && e.batch != "" {
		b.settle(e.batchKey())
	}
}

// batchKey is that of the task's batch.
func (e *entry) batchKey() events.Key { return events.Key{Project: e.key.Project, ID: e.batch} }

func (b *batches) add(e *entry, n int) {
	t := b.tally(e.batchKey())
	t.total += n
	if t.byStatus == nil {
		t.byStatus = map[events.Status]int{}
	}
	t.byStatus[e.status] += n
	if _, ok := t.rejectedIDs[e.key.ID]; ok {
		t.rejected -= n
	}
	for _, p := range e.payments {
		t.micros += int64(n) * max(0, p.micros)
	}
	if e.status.Terminal() {
		t.ended += n
	}
	if n > 0 {
		t.announced = max(t.announced, int(e.batchSize))
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
	case t.done() && !t.told:
		b.ripe[k] = struct{}{}
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
		Project: k.Project, ID: k.ID, Announced: t.announced, Total: t.total, Ended: t.ended, Rejected: t.rejected, ByStatus: byStatus,
		CostUSD: dollars(t.micros),
	}
}

// doneBatches returns the events of some batches that are done and not announced, while all records and rejections are known.
func (x *index) doneBatches(now time.Time) []events.Event {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.current.Load() || !x.rejectionsCurrent.Load() {
		return nil // a part of them could make a batch look done
	}
	var all []events.Event
	for k := range x.batches.ripe {
		if len(all) == batchesAtOnce {
			break
		}
		t := x.batches.all[k]
		if t == nil || t.told || !t.done() || now.Sub(time.Unix(0, t.lastEnd)) > toldAge {
			delete(x.batches.ripe, k)
			continue
		}
		b := t.batch(k)
		all = append(all, events.Event{
			Type: events.EventBatchDone, Project: k.Project, Time: time.Unix(0, t.lastEnd).UTC(), Batch: &b, Once: true, Repair: true,
			Message: "as many tasks of the batch as were announced have ended or were rejected",
		})
	}
	return all
}

// toldBatch marks a batch whose event is stored.
func (x *index) toldBatch(k events.Key) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.batches.ripe, k)
	if t := x.batches.all[k]; t != nil {
		t.told = true
	}
}

// announceBatches publishes batch_done of every batch that is done and of which it is not stored. Every replica does so.
func (s *Service) announceBatches(ctx context.Context) {
	wait := announceWait
	forget := time.NewTicker(forgetEvery)
	defer forget.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-forget.C:
			s.index.forgetRejections(now.Add(-events.EventAge))
			continue
		case <-s.index.batches.changed:
		}
		for {
			all := s.index.doneBatches(time.Now())
			if len(all) == 0 {
				break
			}
			err := s.publishBatches(ctx, all)
			if err == nil {
				wait = announceWait
				continue
			}
			s.log.Warn("batch_done is not stored yet", "batches", len(all), "error", err)
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
			wait = min(2*wait, maxAnnounceWait)
		}
	}
}

func (s *Service) publishBatches(ctx context.Context, all []events.Event) error {
	for _, e := range all {
		if err := s.o.Bus.Publish(ctx, e); err != nil {
			return err
		}
		s.index.toldBatch(e.Key())
	}
	return nil
}

// batch answers how far a batch is.
func (s *Service) batch(_ context.Context, c call) (any, error) {
	b, ok := s.index.batch(c.key)
	if !ok {
		return nil, fail(404, events.CodeNotFound, events.KindNotFound, "no task of batch %s is known", c.key)
	}
	return b, nil
}
