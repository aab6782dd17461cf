package status

import (
	"context"
	"time"

	"reelay/events"
	"reelay/internal/bus"
)

const (
	// maxRejections bounds the rejections that are remembered, those of all batches together: as many as one batch can
	// have. With one more the oldest of the project that has most is forgotten, and is missing in its batch from then on:
	// one that was not done may never be. So no project loses what it has by the rejections of another that has more.
	maxRejections = events.MaxBatch
	// forgetEvery is how often rejections are forgotten whose events have left the stream.
	forgetEvery = time.Hour
)

// A rejection is a request that named a batch and was refused.
type rejection struct {
	batch events.Key
	// id is the task that it would have been, at when it was asked for, in nanoseconds of Unix time.
	id string
	at int64
}

// key is that of the task.
func (r rejection) key() events.Key { return events.Key{Project: r.batch.Project, ID: r.id} }

// reject remembers a rejection, once. size is what the request said of its batch, member whether the batch has a task
// of that id, which counts instead of it.
func (b *batches) reject(r rejection, size int, member bool) {
	t := b.tally(r.batch)
	t.announced = max(t.announced, size)
	t.lastEnd = max(t.lastEnd, r.at)
	if _, again := t.rejectedIDs[r.id]; !again {
		if t.rejectedIDs == nil {
			t.rejectedIDs = map[string]struct{}{}
		}
		t.rejectedIDs[r.id] = struct{}{}
		b.rejections[r.batch.Project] = append(b.rejections[r.batch.Project], r)
		b.remembered++
		if !member {
			t.rejected++
		}
	}
	b.settle(r.batch)
}

// forget takes the oldest rejection of a project out.
func (x *index) forget(project string) {
	b := &x.batches
	r := b.rejections[project][0]
	if b.rejections[project] = b.rejections[project][1:]; len(b.rejections[project]) == 0 {
		delete(b.rejections, project)
	}
	b.remembered--
	t := b.all[r.batch]
	if delete(t.rejectedIDs, r.id); !x.member(r) {
		t.rejected--
	}
	b.settle(r.batch)
}

// mostRejected is the project of which most rejections are remembered.
func (b *batches) mostRejected() (most string) {
	for project, all := range b.rejections {
		if len(all) > len(b.rejections[most]) {
			most = project
		}
	}
	return most
}

// member reports whether the batch of r has a task of its id. The lock is held.
func (x *index) member(r rejection) bool {
	e := x.entry(r.key())
	return e != nil && e.batch != nil && e.batch.key == r.batch
}

// reject takes one event of WatchRejections. It reports whether another had to be forgotten for it.
func (x *index) reject(e *events.Event) (full bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case e == nil:
		x.rejectionsCurrent.Store(true)
		x.batches.wake()
		x.rejectionsOnce.Do(func() { close(x.rejectionsBuilt) })
	case e.BatchID != "":
		r := rejection{
			batch: events.Key{Project: e.Project, ID: e.BatchID}, id: e.TaskID, at: e.Time.UnixNano(),
		}
		x.batches.reject(r, e.BatchSize, x.member(r))
		if full = x.batches.remembered > maxRejections; full {
			x.forget(x.batches.mostRejected())
		}
	}
	return full
}

// forgetRejections forgets those that were asked for before a time.
func (x *index) forgetRejections(before time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for project := range x.batches.rejections {
		for len(x.batches.rejections[project]) > 0 && x.batches.rejections[project][0].at < before.UnixNano() {
			x.forget(project)
		}
	}
}

// followRejections keeps the rejections of batches up to date until ctx ends.
func (s *Service) followRejections(ctx context.Context) {
	warned := false
	handle := func(e *events.Event) {
		if s.index.reject(e) && !warned {
			warned = true
			s.log.Warn("more requests of batches were rejected than are remembered: the oldest are forgotten", "limit",
				maxRejections)
		}
	}
	bus.KeepWatching(ctx, s.log, "watch of the rejections interrupted", func(ctx context.Context) error {
		defer s.index.rejectionsCurrent.Store(false)
		return s.o.Bus.WatchRejections(ctx, handle)
	})
}
