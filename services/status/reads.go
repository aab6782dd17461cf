package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/internal/api"
	"reelay/internal/bus"
)

// listReads is how many records one list reads at a time.
const listReads = 8

// task answers with the record of k and its queue position.
func (s *Service) task(ctx context.Context, k events.Key) (any, error) {
	r, e, err := s.record(ctx, k)
	if err != nil {
		return nil, err
	}
	answer, err := s.appendTo([]byte(`{"task":`), r, s.view(ctx, e)) // an events.TaskReply
	return api.Raw(append(answer, '}')), err
}

func (s *Service) get(ctx context.Context, c api.Call) (any, error) {
	fresh, cancel := context.WithTimeout(ctx, freshWait)
	defer cancel()
	s.awaitKnown(fresh, c.Key)
	return s.task(ctx, c.Key)
}

func (s *Service) timeline(ctx context.Context, c api.Call) (any, error) {
	t, _, err := s.read(ctx, c.Key)
	if err != nil {
		return nil, err
	}
	if t.Transitions == nil {
		t.Transitions = []events.Transition{}
	}
	return events.TimelineReply{
		TaskID: t.ID, RetryOf: t.RetryOf, RetriedBy: s.index.retriesOf(t.Key()), Transitions: t.Transitions, Attempts: t.Attempts,
	}, nil
}

func (s *Service) queue(ctx context.Context, c api.Call) (any, error) {
	r := s.index.queue(c.Key.Project, s.o.Lanes, time.Now())
	health, err := s.laneHealth(ctx)
	if err != nil {
		s.log.Warn("reliability of the callbacks could not be read", "error", err) // the rest of the answer is of use without
	}
	s.o.Catalog.FillTypical(r.Lanes)
	s.fillBlocked(ctx, r.Lanes)
	for i := range r.Lanes {
		r.Lanes[i].Callbacks, r.Lanes[i].Detection = merged(health[r.Lanes[i].Lane])
	}
	return r, nil
}

const (
	// healthWait bounds the read of all figures, healthAge is how old they may be.
	healthWait = 2 * time.Second
	healthAge  = time.Second
)

// A healthFigures keeps the figures of all pollers by lane.
type healthFigures struct {
	mu   sync.Mutex
	at   time.Time
	last map[string][]events.LaneHealth
}

// laneHealth returns the figures of all pollers by lane. What cannot be read is left out.
func (s *Service) laneHealth(ctx context.Context) (map[string][]events.LaneHealth, error) {
	ctx, cancel := context.WithTimeout(ctx, healthWait)
	defer cancel()
	s.figures.mu.Lock() // all who ask at once share what one reads
	defer s.figures.mu.Unlock()
	if time.Since(s.figures.at) < healthAge {
		return s.figures.last, nil
	}
	entries, err := s.o.Bus.Bucket(bucket.Health, "health").All(ctx)
	all := map[string][]events.LaneHealth{}
	for _, e := range entries {
		var h events.LaneHealth
		if json.Unmarshal(e.Value, &h) == nil {
			lane := bucket.LaneOfHealth(e.Key)
			all[lane] = append(all[lane], h)
		}
	}
	if err == nil {
		s.figures.at, s.figures.last = time.Now(), all
	}
	return all, err
}

// merged is what several pollers of a lane have learned about its callbacks and its ends, each by what it has seen; nil
// where nobody has seen any.
func merged(all []events.LaneHealth) (callbacks *events.CallbackHealth, detection *events.Detection) {
	var c events.CallbackHealth
	var d events.Detection
	for _, h := range all {
		seen, ends := float64(h.Seen), float64(h.Detection.Seen)
		c.MissRate, c.LagS, c.Seen = c.MissRate+h.MissRate*seen, c.LagS+h.LagS*seen, c.Seen+h.Seen
		d.LagS, d.PollsPerTask = d.LagS+h.Detection.LagS*ends, d.PollsPerTask+h.Detection.PollsPerTask*ends
		d.Seen += h.Detection.Seen
	}
	if n := float64(c.Seen); n > 0 {
		callbacks = &events.CallbackHealth{MissRate: c.MissRate / n, LagS: c.LagS / n, Seen: c.Seen}
	}
	if n := float64(d.Seen); n > 0 {
		detection = &events.Detection{LagS: d.LagS / n, PollsPerTask: d.PollsPerTask / n, Seen: d.Seen}
	}
	return callbacks, detection
}

// waits reports whether there is something to wait for.
func (s *Service) waits(c api.Call) bool {
	e := s.index.get(c.Key)
	return e == nil || !e.status.Terminal()
}

// wait answers when the task has ended, after the timeout, or when the service stops; at once if nobody has asked for
// such a task.
func (s *Service) wait(ctx context.Context, c api.Call) (any, error) {
	r, err := events.DecodeWaitRequest(c.Data)
	if err != nil {
		return nil, err
	}
	waiting, cancel := context.WithTimeout(c.Stop, time.Duration(r.Timeout))
	defer cancel()
	s.awaitKnown(waiting, c.Key)
	if s.index.get(c.Key) == nil { // the record may be there before the index knows of it
		_, _, err = s.read(ctx, c.Key)
	}
	if !errors.Is(err, bus.ErrNotFound) {
		s.index.await(waiting, c.Key, func(e *entry) bool { return e.status.Terminal() })
	}
	reply, err := s.task(ctx, c.Key)
	if errors.Is(err, bus.ErrNotFound) && c.Stop.Err() != nil {
		return nil, api.Unavailable("the service stops; ask again")
	}
	return reply, err
}

// list answers with one page: what the index selects, as the records now are.
func (s *Service) list(ctx context.Context, c api.Call) (any, error) {
	f, err := newFilter(c.Key.Project, c.Data)
	if err != nil {
		return nil, err
	}
	if f.AfterRequest > 0 {
		s.awaitRequest(ctx, f.AfterRequest)
	}
	entries := s.index.page(f, f.Limit+1)
	more := len(entries) > f.Limit
	entries = entries[:min(len(entries), f.Limit)]
	records, err := s.records(ctx, f, entries)
	if err != nil {
		return nil, err
	}
	v := s.view(ctx, entries...)
	answer := []byte(`{"tasks":[`) // an events.ListReply
	tasks := 0
	for i, r := range records {
		if r == nil {
			continue
		}
		begin := len(answer)
		if tasks > 0 {
			answer = append(answer, ',')
		}
		if answer, err = s.appendTo(answer, r, v); err != nil {
			return nil, err
		}
		if tasks++; len(answer) > s.api.MaxAnswer()-1<<10 && tasks > 1 { // the cursor follows
			answer, more, entries = answer[:begin], true, entries[:i]
			break
		}
	}
	next := ""
	if more {
		next = entries[len(entries)-1].cursor().encode()
	}
	return api.Raw(fmt.Appendf(answer, `],"next_cursor":"%s"}`, next)), nil
}

// records returns the records of entries: those that are kept, and the others by a few reads at a time. One that has
// vanished or no longer matches is nil.
func (s *Service) records(ctx context.Context, f filter, entries []*entry) ([]*record, error) {
	all := make([]*record, len(entries))
	var missing []int
	for i, e := range entries {
		if all[i] = s.kept(e); all[i] == nil {
			missing = append(missing, i)
		}
	}
	var readers errgroup.Group
	readers.SetLimit(listReads)
	for _, i := range missing {
		readers.Go(func() error {
			r, e, err := s.record(ctx, entries[i].key())
			switch {
			case errors.Is(err, bus.ErrNotFound) || err == nil && !f.matches(e):
				return nil
			case err != nil:
				return err
			}
			all[i] = r
			return nil
		})
	}
	return all, readers.Wait()
}
