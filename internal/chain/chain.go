// Package chain estimates when tasks end that wait for others: after the last of them, as long as such a task takes.
package chain

import (
	"context"
	"maps"
	"sync"
	"time"

	"reelay/events"
	"reelay/internal/forecast"
	"reelay/internal/leader"
)

// maxTasks bounds the records that are read for the estimates of one answer. What waits for more has no estimate.
const maxTasks = 200

// An Index has the task records. Phase is empty of one that there is not.
type Index interface {
	Get(ctx context.Context, k events.Key) (events.Task, error)
	Phase(k events.Key) events.Phase
}

// A View is what a Chain goes by.
type View struct {
	Index Index
	// Positions asks who sends for a lane.
	Positions func(ctx context.Context, lane string, tasks []string) events.PositionsReply
	// Forecast says how long tasks like one take.
	Forecast func(events.Task) *forecast.Forecast
}

// A Chain estimates as of one moment when tasks that wait for others will end. It may be used from any goroutine.
type Chain struct {
	by  View
	now time.Time

	mu sync.Mutex // guards the rest
	// tasks are the records that were read. Those of done have ended.
	tasks map[events.Key]events.Task
	done  map[events.Key]bool
	// lanes are what was answered about each.
	lanes map[string]events.PositionsReply
	left  map[events.Key]*forecast.Remaining // nil where nothing can be estimated
}

// New returns a chain that has read nothing yet.
func New(by View, now time.Time) *Chain {
	return &Chain{
		by: by, now: now, tasks: map[events.Key]events.Task{}, done: map[events.Key]bool{},
		lanes: map[string]events.PositionsReply{}, left: map[events.Key]*forecast.Remaining{},
	}
}

// Fill fills in when a task ends that waits for others: after the last of them, as long as such a task takes. Where one
// of them is in doubt, not asked for or in a lane that is stopped, or where there are more than maxTasks, it fills in
// nothing.
func (c *Chain) Fill(ctx context.Context, t *events.Task) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.read(ctx, *t) {
		return
	}
	if left := c.dependent(*t); left != nil {
		left.Estimate().Fill(t, c.now)
	}
}

// read reads the records of all that a task waits for, through others, and where they stand in line. It reports whether
// all could be read.
func (c *Chain) read(ctx context.Context, t events.Task) bool {
	asked := map[string][]string{t.Lane: nil}
	next := []events.Task{t}
	for len(next) > 0 {
		t, next = next[0], next[1:]
		for _, id := range t.WaitsFor {
			k := events.Key{Project: t.Project, ID: id}
			if _, known := c.tasks[k]; known || c.done[k] {
				continue
			}
			phase := c.by.Index.Phase(k)
			if phase == "" || len(c.tasks) == maxTasks {
				return false
			}
			if c.done[k] = phase == events.PhaseDone; c.done[k] {
				continue
			}
			of, err := c.by.Index.Get(ctx, k)
			if err != nil {
				return false
			}
			if c.tasks[k] = of; of.Phase == events.PhaseWaiting {
				asked[of.Lane] = append(asked[of.Lane], k.String())
			}
			next = append(next, of)
		}
	}
	for lane, tasks := range asked {
		c.ask(ctx, lane, tasks)
	}
	return true
}

// ask asks for the positions of tasks of a lane and for what blocks it, unless that is known.
func (c *Chain) ask(ctx context.Context, lane string, tasks []string) {
	known, asked := c.lanes[lane]
	if asked && len(tasks) == 0 {
		return
	}
	reply := c.by.Positions(ctx, lane, tasks)
	if reply.Positions == nil {
		reply.Positions = map[string]events.Position{}
	}
	maps.Copy(reply.Positions, known.Positions)
	c.lanes[lane] = reply
}

// remaining returns what remains of a task, nil if nobody knows.
func (c *Chain) remaining(t events.Task) *forecast.Remaining {
	if t.Phase == events.PhaseWaiting && len(t.WaitsFor) > 0 {
		return c.dependent(t)
	}
	at, known := c.lanes[t.Lane].Positions[t.Key().String()]
	left, ok := c.by.Forecast(t).Remaining(t, c.now, at)
	if !ok || t.Phase == events.PhaseWaiting && !known {
		return nil
	}
	return &left
}

// dependent returns what remains of a task that waits for others, nil if nobody knows.
func (c *Chain) dependent(t events.Task) *forecast.Remaining {
	if leader.Stopped(c.lanes[t.Lane].Blocked) != nil {
		return nil
	}
	var others []forecast.Remaining
	for _, id := range t.WaitsFor {
		k := events.Key{Project: t.Project, ID: id}
		if c.done[k] || c.tasks[k].Phase == events.PhaseStoring {
			continue
		}
		if _, known := c.left[k]; !known {
			c.left[k] = nil // until it is: tasks may wait for each other
			c.left[k] = c.remaining(c.tasks[k])
		}
		if c.left[k] == nil {
			return nil
		}
		others = append(others, *c.left[k])
	}
	delay := time.Duration(0)
	if t.NotBefore != nil {
		delay = t.NotBefore.Sub(c.now)
	}
	left := c.by.Forecast(t).After(delay, others...)
	return &left
}
