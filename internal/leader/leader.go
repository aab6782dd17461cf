// Package leader asks the one process that sends for a lane what no record says: where tasks stand in line, and what
// blocks the lane.
package leader

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/nats-io/nats.go"

	"reelay/events"
)

// wait bounds a question.
const wait = 300 * time.Millisecond

// Positions returns the queue positions of tasks of a lane and what blocks it. A lane that nobody sends for is blocked
// by that. Its error says that there was no answer in time, or none that can be read.
func Positions(ctx context.Context, conn *nats.Conn, lane string, tasks []string) (reply events.PositionsReply, err error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	question, err := events.Marshal(events.PositionsRequest{Tasks: tasks})
	if err != nil {
		return reply, err
	}
	answer, err := conn.RequestWithContext(ctx, events.LanePositionsSubject(lane), question)
	if errors.Is(err, nats.ErrNoResponders) {
		return events.PositionsReply{Blocked: []events.Blocked{{
			Reason: events.BlockedNoDispatcher, Message: "no submitter sends for the lane now",
		}}}, nil
	}
	if err == nil {
		err = json.Unmarshal(answer.Data, &reply)
	}
	if err != nil {
		return events.PositionsReply{}, err
	}
	return reply, nil
}

// Stopped returns what blocks a whole lane, which comes first, and has no known end; nil if nothing does.
func Stopped(blocked []events.Blocked) *events.Blocked {
	if len(blocked) == 0 || blocked[0].Model != "" || blocked[0].Project != "" || blocked[0].Reason.Ends() {
		return nil
	}
	return &blocked[0]
}
