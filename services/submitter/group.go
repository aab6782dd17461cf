package submitter

import (
	"context"
	"fmt"
	"time"

	"reelay/events"
	"reelay/internal/dispatch"
	"reelay/internal/group"
)

// joinGroups tells each lane which others stand for it. Its error names a lane that is not here.
func (s *Service) joinGroups() error {
	for _, g := range s.o.Groups {
		s.groups[g.Name] = group.NewRotation(g)
		for _, m := range g.Members {
			l := s.lanes[m.Lane]
			if l == nil {
				return fmt.Errorf("submitter: group %s: lane %s is not configured", g.Name, m.Lane)
			}
			for _, other := range g.Members {
				if o := s.lanes[other.Lane]; o != nil && o != l {
					l.siblings = append(l.siblings, o)
				}
			}
		}
	}
	return nil
}

// choose returns the lane that a task gets which names a group, and why; else the one that is given.
func (s *Service) choose(l *lane, k events.Key, r events.Request) (chosen *lane, why string) {
	g := s.groups[r.Provider]
	if g == nil {
		return l, ""
	}
	now := time.Now()
	lane, why := g.Next(func(name string) group.Room {
		l := s.lanes[name]
		switch o := s.outside(l, now); {
		case l.queue.Stopped(now, o) != nil:
			return group.Stopped
		case l.queue.Room(r.Model, k.Project, now, o):
			return group.Free
		}
		return group.Busy
	})
	return s.lanes[lane], why
}

// mayTake reports whether a task is one of the lane's, or of a group of lanes that it is in.
func (s *Service) mayTake(l *lane, t *events.Task) bool {
	g := s.groups[t.Group]
	return t.Lane == l.Name || g != nil && g.Has(l.Name) && t.Provider == l.Provider
}

// alone makes sure that no other lane of a group sends the task here meanwhile: what one has begun would look to the
// other like something that the record has forgotten.
func (a *attempt) alone() bool {
	if len(a.lane.siblings) > 0 {
		_, taken := a.underWay.LoadOrStore(a.key, a.lane.Name)
		a.isAlone = !taken
		return a.isAlone
	}
	return true
}

// tell lets the other lanes of its groups know how a task stands that the lane has tried to send; nil is not known.
func (s *Service) tell(ctx context.Context, l *lane, k events.Key, t *events.Task) {
	if len(l.siblings) == 0 {
		return
	}
	if t == nil {
		now, err := s.store.Current(ctx, k)
		if err != nil {
			return
		}
		t = &now
	}
	for _, o := range l.siblings {
		if s.mayTake(o, t) {
			o.see(k, t, 0, time.Now())
		}
	}
}

// takenNote says why a lane sends a task that another has; empty for its own.
func (s *Service) takenNote(l *lane, t events.Task) string {
	other, now := s.lanes[t.Lane], time.Now()
	if other == l || other == nil {
		return ""
	}
	return group.TakenNote(l.Name, t, other.queue.Stopped(now, s.outside(other, now)))
}

// estimator says where the tasks of a lane stand, in its queue and in those of the lanes that stand for it.
func (s *Service) estimator(l *lane, outside dispatch.Outside, now time.Time) group.Estimators {
	all := group.Estimators{l.queue.Estimator(now, outside)}
	for _, o := range l.siblings {
		all = append(all, o.queue.Estimator(now, s.outside(o, now)))
	}
	return all
}
