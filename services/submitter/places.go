package submitter

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"reelay/events"
)

// answerPlaces answers questions for the places of a lane's waiting tasks, and for what keeps it, until stop is called.
func (s *Service) answerPlaces(l *lane) (stop func(), err error) {
	sub, err := s.o.Bus.Conn().Subscribe(events.LanePositionsSubject(l.Name), func(m *nats.Msg) {
		var r events.PositionsRequest
		if err := json.Unmarshal(m.Data, &r); err != nil || len(r.Tasks) > events.MaxPositions {
			return // it is for services only, and they know
		}
		now := time.Now()
		outside := s.outside(l, now)
		reply := events.PositionsReply{Positions: map[string]events.Position{}, Blocked: l.queue.Blocked(now, outside)}
		o := l.queue.Estimator(now, outside)
		for _, text := range r.Tasks {
			k, err := events.ParseKey(text)
			if err != nil {
				continue
			}
			if place, ok := o.Position(k); ok {
				reply.Positions[text] = place
			}
		}
		data, err := events.Marshal(reply)
		if err == nil {
			err = m.Respond(data)
		}
		if err != nil {
			s.log.Debug("places", "lane", l.Name, "error", err)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("places of %s: %w", l.Name, err)
	}
	return func() { _ = sub.Unsubscribe() }, nil // the connection may be gone, and the subscription with it
}
