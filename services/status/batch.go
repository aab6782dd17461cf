package status

import (
	"context"
	"maps"
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

// A tally adds up the tasks of one batch.
type tally struct {
	announced, total, ended int
	byStatus                map[events.Status]int
	micros                  int64
	// lastEnd is when the last of its tasks ended, in nanoseconds of Unix time.
	lastEnd int64
	// told says that batch_done is stored.
	told bool
}

func (t *tally) done() bool { return t.announced > 0 && t.ended >= t.announced }

// batches holds a tally for each batch of which a record is kept. It is guarded by the index's lock.
type batches struct {
	all map[events.Key]*tally
	// ripe are those to be announced, if they still look so then; changed says that there may be some.
	ripe    map[events.Key]struct{}
	changed chan struct{}
}

func newBatches() batches {
	return batches{all: map[events.Key]*tally{}, ripe: map[events.Key]struct{}{}, changed: make(chan struct{}, 1)}
}

// replace takes one entry out and another in; either may be nil. The new one comes first, so that the last task of a batch does
// not take the batch with it.
func (b *batches) replace(old, e *entry) {
	if e != nil && e.batch != "" {
		b.add(e, 1)
	}
	if old != nil && old.batch != "" {
		b.add(old, -1)
	}
}

func (b *batches) add(e *entry, n int) {
	k := events.Key{Project: e.key.Project, ID: e.batch}
	t := b.all[k]
	if t == nil {
		t = &tally{byStatus: map[events.Status]int{}}
		b.all[k] = t
	}
	t.total += n
	if t.byStatus[e.status] += n; t.byStatus[e.status] == 0 {
		delete(t.byStatus, e.status)
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
	switch {
	case n > 0 && t.done() && !t.told:
		b.ripe[k] = struct{}{}
		b.wake()
	case t.total == 0:
		delete(b.all, k)
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
	return events.Batch{
		Project: k.Project, ID: k.ID, Announced: t.announced, Total: t.total, Ended: t.ended, ByStatus: maps.Clone(t.byStatus),
		CostUSD: dollars(t.micros),
	}
}

// doneBatches returns the events of some batches that are done and not announced, as far as the index is whole.
func (x *index) doneBatches(now time.Time) []events.Event {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.current.Load() {
		return nil // a part of the records could make a batch look done
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
			Type: events.EventBatchDone, Project: k.Project, Time: time.Unix(0, t.lastEnd).UTC(), Batch: &b, Once: true,
			Message: "as many tasks of the batch as were announced have ended",
		})
	}
	return all
}

// toldBatches marks batches whose events are stored.
func (x *index) toldBatches(all []events.Event) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, e := range all {
		delete(x.batches.ripe, e.Key())
		if t := x.batches.all[e.Key()]; t != nil {
			t.told = true
		}
	}
}

// announceBatches publishes batch_done of every batch that is done: by every replica, and once more by one that starts. The
// stream stores the first and refuses the others.
func (s *Service) announceBatches(ctx context.Context) {
	wait := announceWait
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.index.batches.changed:
		}
		for {
			all := s.index.doneBatches(time.Now())
			if len(all) == 0 {
				break
			}
			err := s.o.Bus.Publish(ctx, all...)
			if err == nil {
				s.index.toldBatches(all)
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

// batch answers how far a batch is.
func (s *Service) batch(_ context.Context, c call) (any, error) {
	b, ok := s.index.batch(c.key)
	if !ok {
		return nil, fail(404, events.CodeNotFound, events.KindNotFound, "no task of batch %s is known", c.key)
	}
	for _, status := range events.Statuses() {
		if _, ok := b.ByStatus[status]; !ok {
			b.ByStatus[status] = 0
		}
	}
	return b, nil
}
