package dispatch

import (
	"math"
	"time"

	"reelay/events"
)

// An Outlook is where the waiting tasks of a lane stand and how soon they are sent, as far as its limits tell. It holds for the moment
// it was made, and is not safe for concurrent use.
type Outlook struct {
	lane *Lane
	now  time.Time
	// keeps is what keeps the whole lane.
	keeps    *events.Blocked
	families map[*family]*vista
}

// A vista is the outlook of a family.
type vista struct {
	keeps    *events.Blocked
	turns    Turns
	inFlight room
	projects map[string]projectVista
}

// A projectVista is that of a project within a family.
type projectVista struct {
	keeps    *events.Blocked
	turns    Turns
	inFlight room
}

// A room is how many tasks may be in flight, 0 for no limit, and how many are.
type room struct{ most, used int }

// behind returns how many tasks must have ended before the n-th from now is sent, from 1.
func (r room) behind(n int) int {
	if r.most == 0 {
		return 0
	}
	return max(0, r.used+n-r.most)
}

// rounds is how often as many as may be in flight must end for that.
func (r room) rounds(n int) float64 { return float64(r.behind(n)) / float64(max(r.most, 1)) }

// Outlook returns that of a lane; keeps is what keeps all of it.
func (l *Lane) Outlook(keeps *events.Blocked, now time.Time) *Outlook {
	return &Outlook{lane: l, now: now, keeps: keeps, families: map[*family]*vista{}}
}

// Place tells where a task stands; false if it does not wait.
func (o *Outlook) Place(k events.Key) (events.Position, bool) {
	l := o.lane
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.tasks[k]
	switch {
	case s == nil || !s.waiting:
		return events.Position{}, false
	case s.reserved:
		return events.Position{}, true
	}
	f := l.family(s)
	ahead, ok := f.place(k)
	if !ok {
		return events.Position{}, false
	}
	v := o.vista(f, l.limits.LimitGroup(s.model))
	own, ok := f.queue.Own(k)
	if !ok {
		own = f.queue.Busy(k.Project)
	}
	p := v.project(f, k.Project, o.now)
	at := latest(
		v.turns.At(ahead+1), p.turns.At(own+1), s.notBefore, f.held,
		f.sent.Add(Times(ahead+1, f.spacing())), o.now.Add(Times(ahead, l.takes)/time.Duration(l.slots)),
	)
	place := events.Position{Ahead: ahead, WaitS: math.Round(at.Sub(o.now).Seconds()*10) / 10, Blocked: worst(o.keeps, v.keeps, p.keeps, f.keepsTask(s, o.now))}
	place.WaitS = max(place.WaitS, 0)
	crowd, n := v.inFlight, ahead+1
	if p.inFlight.rounds(own+1) > crowd.rounds(n) {
		crowd, n = p.inFlight, own+1
	}
	if behind := crowd.behind(n); behind > 0 {
		place.Behind, place.InFlight, place.EachS = behind, crowd.most, f.flow.Each().Seconds()
	}
	return place, true
}

// vista returns that of a family by its name. The lock is held.
func (o *Outlook) vista(f *family, name string) *vista {
	v := o.families[f]
	if v == nil {
		v = &vista{
			keeps: f.keeps(name, o.now), turns: f.requests.Turns(o.now, f.rate.Cap(f.limits.Requests), f.limits.EachWindow()+skew),
			inFlight: room{f.crowd.Cap(f.limits.InFlight), len(f.inFlight)}, projects: map[string]projectVista{},
		}
		o.families[f] = v
	}
	return v
}

// project returns the outlook of a project.
func (v *vista) project(f *family, name string, now time.Time) projectVista {
	p, ok := v.projects[name]
	if ok {
		return p
	}
	share := f.shares[name]
	p.keeps = f.keepsProject(name, now)
	if of := f.projects[name]; of != nil {
		p.turns = of.requests.Turns(now, share.Requests, f.limits.EachWindow()+skew)
		p.inFlight = room{share.InFlight, of.inFlight}
	}
	v.projects[name] = p
	return p
}

// latest returns the latest of some times.
func latest(times ...time.Time) (last time.Time) {
	for _, at := range times {
		if at.After(last) {
			last = at
		}
	}
	return last
}
