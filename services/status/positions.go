package status

import (
	"context"
	"sync"
	"time"

	"reelay/events"
	"reelay/internal/chain"
	"reelay/internal/dependency"
	"reelay/internal/leader"
)

// A queuePosition is that of a waiting task in the queue of its lane. One that does not come from the dispatcher is
// estimated by priority and age, and nothing is estimated from it.
type queuePosition struct {
	events.Position
	fromDispatcher bool
}

// positions returns the queue positions of the tasks that wait, 0 being next: from the dispatcher of their lane, and
// where it does not answer by priority and age.
func (s *Service) positions(ctx context.Context, entries []*entry) map[events.Key]queuePosition {
	all := map[events.Key]queuePosition{}
	lanes := map[string][]string{}
	for _, e := range entries {
		if e == nil || !e.inLine {
			continue
		}
		lanes[e.lane] = append(lanes[e.lane], e.key().String())
		if ahead, ok := s.index.estimatePosition(e.key()); ok {
			all[e.key()] = queuePosition{Position: events.Position{Ahead: ahead}}
		}
	}
	var mu sync.Mutex // guards all
	var asked sync.WaitGroup
	for lane, tasks := range lanes {
		asked.Go(func() {
			reply := s.askDispatcher(ctx, lane, tasks)
			mu.Lock()
			defer mu.Unlock()
			fillReply(all, tasks, reply)
		})
	}
	asked.Wait()
	return all
}

// fillReply fills in what the dispatcher of a lane has answered about tasks.
func fillReply(all map[events.Key]queuePosition, tasks []string, reply events.PositionsReply) {
	for _, text := range tasks {
		k, err := events.ParseKey(text)
		if err != nil {
			continue
		}
		if p, ok := reply.Positions[text]; ok {
			all[k] = queuePosition{p, true}
			continue
		}
		estimated := all[k]
		estimated.Blocked = leader.Stopped(reply.Blocked)
		all[k] = estimated
	}
}

// askDispatcher asks the dispatcher of a lane for the queue positions of tasks and for what blocks the lane.
func (s *Service) askDispatcher(ctx context.Context, lane string, tasks []string) events.PositionsReply {
	reply, err := leader.Positions(ctx, s.o.Bus.Conn(), lane, tasks)
	if err != nil {
		s.log.Debug("queue positions are estimated", "lane", lane, "error", err)
	}
	return reply
}

// fillBlocked fills in what blocks the lanes. A lane that nobody dispatches and in which nothing waits is not blocked.
func (s *Service) fillBlocked(ctx context.Context, lanes []events.LaneQueue) {
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

// A view is what one answer goes by beside the records.
type view struct {
	positions map[events.Key]queuePosition
	// fillDependent fills in when a task ends that waits for others.
	fillDependent func(*events.Task)
}

// view asks for what an answer that shows entries goes by.
func (s *Service) view(ctx context.Context, entries ...*entry) view {
	c := chain.New(chain.View{Index: indexed{s}, Positions: s.askDispatcher, Forecast: s.learner.Forecast}, time.Now())
	return view{s.positions(ctx, entries), func(t *events.Task) { c.Fill(ctx, t) }}
}

// fillWaiting fills in the queue position of a task, what blocks it and when it will end.
func (s *Service) fillWaiting(t *events.Task, v view) {
	if dependency.Describe(t, s.index.phaseOf) {
		v.fillDependent(t)
		return
	}
	fillPosition(t, v.positions)
	s.fillEstimate(t, v.positions[t.Key()], time.Now())
}

// fillPosition fills in the position of a task in both queues, as far as they are known: ours while it waits, the
// provider's once it is there, and the sum; and what blocks it.
func fillPosition(t *events.Task, positions map[events.Key]queuePosition) {
	p := events.QueuePosition{}
	if t.QueuePosition != nil {
		p.Provider = t.QueuePosition.Provider
	}
	if at, ok := positions[t.Key()]; ok && t.Phase == events.PhaseWaiting {
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
