package submitter

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"reelay/events"
	"reelay/internal/dispatch"
	"reelay/internal/forecast"
	"reelay/internal/task"
)

const (
	// At most maxPublished positions of a lane are published each publishEvery.
	publishEvery = time.Second
	maxPublished = 5
	// publishIdle bounds the time between two passes while again and again nothing is to be published.
	publishIdle = 5 * time.Second
)

// answerPositions answers questions for the positions of a lane's waiting tasks, and for what keeps them, until stop is
// called.
func (s *Service) answerPositions(l *lane) (stop func(), err error) {
	sub, err := s.o.Bus.Conn().Subscribe(events.LanePositionsSubject(l.Name), func(m *nats.Msg) {
		var r events.PositionsRequest
		if err := json.Unmarshal(m.Data, &r); err != nil || len(r.Tasks) > events.MaxPositions || !events.ValidReply(m.Reply) {
			return // it is for services only, and they know
		}
		data, err := events.Marshal(s.positions(l, r.Tasks, time.Now()))
		if err == nil {
			err = m.Respond(data)
		}
		if err != nil {
			s.log.Debug("a question for queue positions could not be answered", "lane", l.Name, "error", err)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("subscribe to questions for the positions of %s: %w", l.Name, err)
	}
	return func() { _ = sub.Unsubscribe() }, nil // the connection may be gone, and the subscription with it
}

// positions are those of some tasks, by their keys; one that does not wait is left out.
func (s *Service) positions(l *lane, tasks []string, now time.Time) events.PositionsReply {
	outside := s.outside(l, now)
	reply := events.PositionsReply{Positions: map[string]events.Position{}, Blocked: l.queue.Blocked(now, outside)}
	estimator := s.estimator(l, outside, now)
	for _, text := range tasks {
		k, err := events.ParseKey(text)
		if err != nil {
			continue
		}
		if p, ok := estimator.Position(k); ok {
			reply.Positions[text] = p
		}
	}
	return reply
}

// publishPositions tells the waiting tasks of a lane their positions, and when they will end, until ctx ends. It delays
// no send, and what cannot be stored now is later.
func (s *Service) publishPositions(ctx context.Context, l *lane) {
	wait := publishEvery
	for {
		// First of all too: the first positions in a burst of requests would be told anew once all of it is taken in.
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		// While something stops the whole lane no position moves, and nobody knows when it will.
		now := time.Now()
		if l.queue.Stopped(now, s.outside(l, now)) == nil && s.publishSome(ctx, l, l.queue.Scan(now)) > 0 {
			wait = publishEvery
		} else {
			wait = min(2*wait, publishIdle)
		}
	}
}

// publishSome tells those of some tasks their positions for whom that is news, for publishEvery at most, and returns
// how many.
func (s *Service) publishSome(ctx context.Context, l *lane, some []dispatch.Waiting) (published int) {
	ctx, cancel := context.WithTimeout(ctx, publishEvery)
	defer cancel()
	estimator := s.estimator(l, dispatch.Outside{}, time.Now())
	for _, w := range some {
		p, ok := estimator.Position(w.Key)
		// also if it is being sent: none is ahead
		if !ok || p.Ahead < l.queue.MinAnnounced() || p.Blocked != nil && !p.Blocked.Reason.Ends() {
			continue
		}
		tr := task.Positioned{
			Meta: s.meta(), Position: events.QueuePosition{Ours: &p.Ahead, Total: &p.Ahead},
			Estimate: s.estimate(w.Class, p, time.Now()),
		}
		if !w.Announced.Outdated(tr) {
			continue
		}
		if _, err := s.store.Apply(ctx, w.Key, tr); err != nil {
			s.log.DebugContext(ctx, "a queue position could not be stored yet", "task", w.Key, "lane", l.Name, "error", err)
		}
		if published++; published == maxPublished || ctx.Err() != nil {
			break
		}
	}
	return published
}

// estimate returns the ETA of a waiting task of a class: from its queue position, and from how long such tasks take;
// nil where nothing can be said.
func (s *Service) estimate(c forecast.Class, p events.Position, now time.Time) *events.Estimate {
	e, ok := s.learner.Of(c).Estimate(events.Task{Phase: events.PhaseWaiting}, now, p)
	if !ok {
		return nil
	}
	return &e
}
