package status

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"reelay/events"
)

// placesWait bounds the question to the dispatcher of a lane. Without its answer the index estimates.
const placesWait = 300 * time.Millisecond

// A stand is where a task stands in our own line. One that no dispatcher has told is estimated, and says nothing of when.
type stand struct {
	events.Position
	told bool
}

// places returns where those of some tasks stand that wait, 0 being next: as the dispatcher of their lane tells, and where that does not
// answer by priority and age.
func (s *Service) places(ctx context.Context, entries []*entry) map[events.Key]stand {
	all := map[events.Key]stand{}
	lanes := map[string][]string{}
	for _, e := range entries {
		if e == nil || e.phase != events.PhaseWaiting {
			continue
		}
		lanes[e.lane] = append(lanes[e.lane], e.key.String())
		if ahead, ok := s.index.position(e.key); ok {
			all[e.key] = stand{Position: events.Position{Ahead: ahead}}
		}
	}
	var mu sync.Mutex // guards all
	var asked sync.WaitGroup
	for lane, tasks := range lanes {
		asked.Go(func() {
			reply := s.askDispatcher(ctx, lane, tasks)
			mu.Lock()
			defer mu.Unlock()
			fill(all, tasks, reply)
		})
	}
	asked.Wait()
	return all
}

// fill fills in what the dispatcher of a lane has told of tasks.
func fill(all map[events.Key]stand, tasks []string, reply events.PositionsReply) {
	for _, text := range tasks {
		k, err := events.ParseKey(text)
		if err != nil {
			continue
		}
		if place, ok := reply.Positions[text]; ok {
			all[k] = stand{place, true}
			continue
		}
		estimated := all[k]
		estimated.Blocked = ofLane(reply.Blocked)
		all[k] = estimated
	}
}

// ofLane returns what keeps a whole lane, which is told first; nil if nothing does.
func ofLane(holds []events.Blocked) *events.Blocked {
	if len(holds) == 0 || holds[0].Model != "" || holds[0].Project != "" || holds[0].Reason.Ends() {
		return nil
	}
	return &holds[0]
}

// askDispatcher asks the dispatcher of a lane for the places of tasks and for what keeps the lane. That nobody dispatches it is a hold
// as well.
func (s *Service) askDispatcher(ctx context.Context, lane string, tasks []string) (reply events.PositionsReply) {
	ctx, cancel := context.WithTimeout(ctx, placesWait)
	defer cancel()
	question, err := events.Marshal(events.PositionsRequest{Tasks: tasks})
	if err != nil {
		return reply
	}
	answer, err := s.o.Bus.Conn().RequestWithContext(ctx, events.LanePositionsSubject(lane), question)
	if errors.Is(err, nats.ErrNoResponders) {
		return events.PositionsReply{Blocked: []events.Blocked{{
			Reason: events.BlockedNoDispatcher, Message: "no submitter sends for the lane now",
		}}}
	}
	if err == nil {
		err = json.Unmarshal(answer.Data, &reply)
	}
	if err != nil {
		s.log.Debug("places are estimated", "lane", lane, "error", err)
		return events.PositionsReply{}
	}
	return reply
}

// holds fills in what keeps the lanes. A lane that nobody dispatches and in which nothing waits is not kept.
func (s *Service) holds(ctx context.Context, lanes []events.LaneQueue) {
	var asked sync.WaitGroup
	defer asked.Wait()
	for i := range lanes {
		l := &lanes[i]
		asked.Go(func() {
			l.Blocked = s.askDispatcher(ctx, l.Lane, nil).Blocked
			if len(l.Blocked) > 0 && l.Blocked[0].Reason == events.BlockedNoDispatcher && l.ByPhase[events.PhaseWaiting] == 0 {
				l.Blocked = nil
			}
		})
	}
}

// place fills in where a task stands, what keeps it and when it will end.
func (s *Service) place(t *events.Task, places map[events.Key]stand) {
	placed(t, places)
	s.foretell(t, places[t.Key()], time.Now())
}

// placed fills in the place of a task in both queues, as far as they are known: ours while it waits, the provider's once it is there,
// and the sum; and what keeps it.
func placed(t *events.Task, places map[events.Key]stand) {
	p := events.QueuePosition{}
	if t.QueuePosition != nil {
		p.Provider = t.QueuePosition.Provider
	}
	if at, ok := places[t.Key()]; ok && t.Phase == events.PhaseWaiting {
		p.Ours, t.Blocked = &at.Ahead, at.Blocked
	}
	total := 0
	for _, n := range []*int{p.Ours, p.Provider} {
		if n != nil {
			total += *n
			p.Total = &total
		}
	}
	if p.Total != nil {
		t.QueuePosition = &p
	}
}
