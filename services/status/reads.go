package status

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/internal/bus"
)

const (
	// listReads is how many records one list reads at a time.
	listReads = 8
	// readTries and readPause bound the reads of a record that the index has seen in a newer form: a leader may have lost
	// its place.
	readTries = 5
	readPause = 20 * time.Millisecond
)

// read returns the record of k and its revision, no older than the index knows it unless the server that answers stays
// behind. Its error is bus.ErrNotFound, or one of the broker.
func (s *Service) read(ctx context.Context, k events.Key) (events.Task, uint64, error) {
	for try := 1; ; try++ {
		t, revision, err := s.o.Bus.Get(ctx, k)
		if err != nil && !errors.Is(err, bus.ErrNotFound) || revision >= s.index.revision(k) || try == readTries {
			return t, revision, err
		}
		select {
		case <-ctx.Done():
			return t, revision, context.Cause(ctx)
		case <-time.After(readPause):
		}
	}
}

// task answers with the record of k and its queue position.
func (s *Service) task(ctx context.Context, k events.Key) (any, error) {
	t, _, err := s.read(ctx, k)
	if err != nil {
		return nil, err
	}
	s.fillWaiting(&t, s.positions(ctx, []*entry{s.index.get(k)}))
	return events.TaskReply{Task: t}, nil
}

func (s *Service) get(ctx context.Context, c call) (any, error) { return s.task(ctx, c.key) }

func (s *Service) timeline(ctx context.Context, c call) (any, error) {
	t, _, err := s.read(ctx, c.key)
	if err != nil {
		return nil, err
	}
	if t.Transitions == nil {
		t.Transitions = []events.Transition{}
	}
	return events.TimelineReply{TaskID: t.ID, Transitions: t.Transitions, Attempts: t.Attempts}, nil
}

func (s *Service) queue(ctx context.Context, c call) (any, error) {
	r := s.index.queue(c.key.Project, s.o.Lanes, time.Now())
	callbacks, err := s.callbackHealth(ctx)
	if err != nil {
		s.log.Warn("reliability of the callbacks could not be read", "error", err) // the rest of the answer is of use without
	}
	s.fillTypical(r.Lanes)
	s.fillBlocked(ctx, r.Lanes)
	for i := range r.Lanes {
		r.Lanes[i].Callbacks = merged(callbacks[r.Lanes[i].Lane])
	}
	return r, nil
}

// healthWait bounds the read of all figures.
const healthWait = 2 * time.Second

// callbackHealth returns the figures of all pollers by lane. What cannot be read is left out.
func (s *Service) callbackHealth(ctx context.Context) (map[string][]events.CallbackHealth, error) {
	ctx, cancel := context.WithTimeout(ctx, healthWait)
	defer cancel()
	entries, err := s.o.Bus.Bucket(bucket.Health, "health").All(ctx)
	all := map[string][]events.CallbackHealth{}
	for _, e := range entries {
		var h events.CallbackHealth
		if json.Unmarshal(e.Value, &h) == nil {
			lane := bucket.LaneOfHealth(e.Key)
			all[lane] = append(all[lane], h)
		}
	}
	return all, err
}

// merged is what several pollers of a lane have learned about its callbacks, each by what it has seen; nil where nobody
// has.
func merged(all []events.CallbackHealth) *events.CallbackHealth {
	var sum events.CallbackHealth
	for _, h := range all {
		sum.MissRate += h.MissRate * float64(h.Seen)
		sum.LagS += h.LagS * float64(h.Seen)
		sum.Seen += h.Seen
	}
	if sum.Seen == 0 {
		return nil
	}
	sum.MissRate /= float64(sum.Seen)
	sum.LagS /= float64(sum.Seen)
	return &sum
}

// wait answers when the task has ended, after the timeout, or when the service stops.
func (s *Service) wait(ctx context.Context, c call) (any, error) {
	r, err := events.DecodeWaitRequest(c.data)
	if err != nil {
		return nil, err
	}
	waiting, cancel := context.WithTimeout(c.stop, time.Duration(r.Timeout))
	defer cancel()
	s.index.await(waiting, c.key, func(e *entry) bool { return e.status.Terminal() })
	reply, err := s.task(ctx, c.key)
	if errors.Is(err, bus.ErrNotFound) && c.stop.Err() != nil {
		return nil, unavailable("the service stops; ask again")
	}
	return reply, err
}

// listed is one record of a page, as JSON.
type listed struct {
	json.RawMessage
	err error
}

// list answers with one page: what the index selects, as the records now are.
func (s *Service) list(ctx context.Context, c call) (any, error) {
	f, err := newFilter(c.key.Project, c.data)
	if err != nil {
		return nil, err
	}
	entries := s.index.page(f, f.Limit+1)
	more := len(entries) > f.Limit
	entries = entries[:min(len(entries), f.Limit)]
	records := s.records(ctx, f, entries)
	reply := struct {
		Tasks      []json.RawMessage `json:"tasks"` // an events.ListReply whose tasks are JSON already
		NextCursor string            `json:"next_cursor"`
	}{Tasks: []json.RawMessage{}}
	room := s.maxAnswer() - 1<<10 // the frame and the cursor
	for i, r := range records {
		if r.err != nil {
			return nil, r.err
		}
		if room -= len(r.RawMessage) + 1; room < 0 && len(reply.Tasks) > 0 {
			more, entries = true, entries[:i]
			break
		}
		if r.RawMessage != nil {
			reply.Tasks = append(reply.Tasks, r.RawMessage)
		}
	}
	if more {
		reply.NextCursor = entries[len(entries)-1].cursor().encode()
	}
	return reply, nil
}

// records reads the records of entries, a few at a time. One that has vanished or no longer matches is left empty.
func (s *Service) records(ctx context.Context, f filter, entries []*entry) []listed {
	all := make([]listed, len(entries))
	positions := s.positions(ctx, entries)
	next := make(chan int)
	var readers sync.WaitGroup
	for range min(listReads, len(entries)) {
		readers.Go(func() {
			for i := range next {
				all[i].RawMessage, all[i].err = s.record(ctx, f, entries[i], positions)
			}
		})
	}
	for i := range entries {
		next <- i
	}
	close(next)
	readers.Wait()
	return all
}

func (s *Service) record(ctx context.Context, f filter, e *entry,
	positions map[events.Key]queuePosition,
) (json.RawMessage, error) {
	t, _, err := s.read(ctx, e.key)
	if errors.Is(err, bus.ErrNotFound) || err == nil && !f.matches(newEntry(&t, 0, 0)) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s.fillWaiting(&t, positions)
	return events.Marshal(t)
}
