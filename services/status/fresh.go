package status

import (
	"context"
	"encoding/json"
	"time"

	"reelay/events"
	"reelay/internal/api"
)

const (
	// freshWait bounds how long get and list wait for what their asker has handed in. Whether that has been taken in is
	// asked after freshTick, and after twice as long each time, up to maxFreshTick.
	freshWait    = time.Second
	freshTick    = 20 * time.Millisecond
	maxFreshTick = 160 * time.Millisecond
	// smallList is the longest body of a list that is decoded to know whether it waits, in bytes.
	smallList = 4 << 10
	// unknownTick is how often a wait for a task that is not there asks whether it may still come.
	unknownTick = 5 * time.Second
)

// expected reports whether a task that is not there may have been asked for: whether requests are stored that no
// submitter has taken in. Where that cannot be read it may.
func (s *Service) expected(ctx context.Context) bool {
	stored, err := s.o.Bus.HasRequests(ctx)
	if err != nil {
		s.log.Debug("requests could not be counted", "error", err)
	}
	return stored || err != nil
}

// awaitKnown waits until the index has a task that may have been asked for, for as long as it may come and ctx lasts.
// That is asked before the record is read: what was asked for before and is not stored any more has one.
func (s *Service) awaitKnown(ctx context.Context, k events.Key) {
	for s.index.get(k) == nil && ctx.Err() == nil && s.expected(ctx) {
		tick, cancel := context.WithTimeout(ctx, unknownTick)
		s.index.await(tick, k, func(*entry) bool { return true })
		cancel()
	}
}

// seeks reports whether a get may wait for a task that is not there, and follows whether a list may for a request. They
// are waits, so that those of one project leave the requests of others their slots.
func (s *Service) seeks(c api.Call) bool { return s.index.get(c.Key) == nil }

func follows(c api.Call) bool {
	if len(c.Data) > smallList {
		return true
	}
	var r events.ListRequest
	return json.Unmarshal(c.Data, &r) == nil && r.AfterRequest > 0
}

// awaitRequest waits until a request has been taken in and the index knows what came of it, for freshWait at most.
func (s *Service) awaitRequest(ctx context.Context, sequence uint64) {
	ctx, cancel := context.WithTimeout(ctx, freshWait)
	defer cancel()
	tick := freshTick
	pause := func() {
		select {
		case <-ctx.Done():
		case <-time.After(tick):
			tick = min(2*tick, maxFreshTick)
		}
	}
	for ctx.Err() == nil {
		if stored, err := s.o.Bus.HasRequest(ctx, sequence); err == nil && !stored {
			break
		}
		pause()
	}
	last, err := s.o.Bus.LastChange(ctx)
	for err == nil && ctx.Err() == nil && s.index.seen.Load() < last {
		pause()
	}
}
