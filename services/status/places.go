package status

import (
	"context"
	"encoding/json"
	"time"

	"reelay/events"
)

// placesWait bounds the question to the dispatcher of a lane. Without its answer the index estimates.
const placesWait = 300 * time.Millisecond

// places returns the places in line of those of some tasks that wait, 0 being next: as the dispatcher of their lane tells, and where
// that does not answer by priority and age.
func (s *Service) places(ctx context.Context, entries []*entry) map[events.Key]int {
	all := map[events.Key]int{}
	lanes := map[string][]string{}
	for _, e := range entries {
		if e == nil || e.phase != events.PhaseWaiting {
			continue
		}
		lanes[e.lane] = append(lanes[e.lane], e.key.String())
		if place, ok := s.index.position(e.key); ok {
			all[e.key] = place
		}
	}
	for lane, tasks := range lanes {
		told := s.askPlaces(ctx, lane, tasks)
		for _, text := range tasks {
			k, err := events.ParseKey(text)
			place, ok := told[text]
			if err == nil && ok {
				all[k] = place.Ahead
			}
		}
	}
	return all
}

// askPlaces asks the dispatcher of a lane; nil without an answer.
func (s *Service) askPlaces(ctx context.Context, lane string, tasks []string) map[string]events.Place {
	ctx, cancel := context.WithTimeout(ctx, placesWait)
	defer cancel()
	question, err := events.Marshal(events.PlacesRequest{Tasks: tasks})
	if err != nil {
		return nil
	}
	answer, err := s.o.Bus.Conn().RequestWithContext(ctx, events.LanePlacesSubject(lane), question)
	var reply events.PlacesReply
	if err == nil {
		err = json.Unmarshal(answer.Data, &reply)
	}
	if err != nil {
		s.log.Debug("places are estimated", "lane", lane, "error", err)
		return nil
	}
	return reply.Places
}

// placed fills in the place of a task in both queues, as far as they are known: ours while it waits, the provider's once it is there,
// and the sum.
func placed(t *events.Task, places map[events.Key]int) {
	p := events.QueuePosition{}
	if t.QueuePosition != nil {
		p.Provider = t.QueuePosition.Provider
	}
	if ours, ok := places[t.Key()]; ok && t.Phase == events.PhaseWaiting {
		p.Ours = &ours
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
