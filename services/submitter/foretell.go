package submitter

import (
	"context"
	"slices"
	"time"

	"reelay/events"
	"reelay/internal/forecast"
	"reelay/internal/task"
)

const (
	// At most maxTold tasks of a lane are told their place each foretellEvery, and at most maxLooks looked at, one after the other and
	// then again: the lane is never locked for long.
	foretellEvery = time.Second
	maxTold       = 5
	maxLooks      = 40
	// foretellIdle is how soon a lane looks again at the latest, if again and again nobody was to be told.
	foretellIdle = 5 * time.Second
	// leastPlace is how near the head tasks are not told any more, and neither are those nearer than two sends of each slot of the
	// lane. They go soon; and a write then could take the compare-and-set from an intent, which would hold the task back.
	leastPlace = 8
)

// foretell tells the waiting tasks of a lane their places, and when they will end, until ctx ends. It delays no send, and what cannot
// be told now is told later.
func (s *Service) foretell(ctx context.Context, l *lane) {
	for wait := foretellEvery; ; wait = min(2*wait, foretellIdle) {
		// While something keeps the whole lane no place moves, and nobody knows when it will.
		if now := time.Now(); s.keeps(l, now) == nil && s.tellPlaces(ctx, l, l.some(now)) > 0 {
			wait = foretellEvery
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// left says when a task of a class will end that stands there; nil where nothing can be said.
func (s *Service) left(c forecast.Class, p events.Position, now time.Time) *events.Estimate {
	e, ok := s.almanac.Of(c).Estimate(events.Task{Phase: events.PhaseWaiting}, now, p)
	if !ok {
		return nil
	}
	return &e
}

// tellPlaces tells those of some tasks their places who have not been told about the same before, for as long as a look is to the next, and
// returns how many.
func (s *Service) tellPlaces(ctx context.Context, l *lane, some []*standing) (told int) {
	ctx, cancel := context.WithTimeout(ctx, foretellEvery)
	defer cancel()
	o := l.outlook(nil, time.Now())
	for _, w := range some {
		p, ok := o.place(w.key)
		if !ok || p.Ahead < l.leastTold() || p.Blocked != nil && !p.Blocked.Reason.Ends() { // also if it is being sent: its place is 0
			continue
		}
		tr := task.Placed{
			Meta: s.meta(), Position: events.QueuePosition{Ours: &p.Ahead, Total: &p.Ahead}, Estimate: s.left(w.class, p, time.Now()),
		}
		if !w.told.Outdated(tr) {
			continue
		}
		if _, err := s.book.Apply(ctx, w.key, tr); err != nil {
			s.log.Debug("a place is not told yet", "task", w.key, "lane", l.Name, "error", err)
		}
		if told++; told == maxTold || ctx.Err() != nil {
			break
		}
	}
	return told
}

// leastTold is the place nearest to the head that is told.
func (l *lane) leastTold() int { return max(leastPlace, 2*cap(l.slots)) }

// some looks at the next maxLooks tasks at most of the families in which there are places to tell, and returns those of which no project
// is held back. Of what is returned key, told and class may be read: they never change.
func (l *lane) some(now time.Time) []*standing {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.round) == 0 {
		for _, f := range l.families {
			if f.queue.Len() > l.leastTold() {
				l.round = slices.AppendSeq(l.round, f.queue.Keys())
			}
		}
	}
	n := min(maxLooks, len(l.round))
	var some []*standing
	for _, k := range l.round[:n] {
		s := l.tasks[k]
		if s == nil || !s.waiting || s.reserved { // it has gone since
			continue
		}
		if p := l.family(s).projects[k.Project]; !p.held.After(now) {
			some = append(some, s)
		}
	}
	l.round = l.round[n:]
	return some
}

// submitted adds to an acceptance when the task will end, as it is expected then; t is its record as the request was sent.
func (s *Service) submitted(tr task.Trigger, t events.Task) task.Trigger {
	a, ok := tr.(task.Accepted)
	if !ok {
		return tr
	}
	t.Phase, t.SubmittedAt = events.PhaseProviderQueued, &a.At
	if e, ok := s.almanac.Forecast(t).Estimate(t, a.At, events.Position{}); ok {
		a.Estimate = &e
	}
	return a
}
