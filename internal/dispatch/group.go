package dispatch

import (
	"time"

	"reelay/events"
)

const (
	// refusedPause is how long nothing is sent after the provider has refused a request for its rate. It doubles with every further
	// refusal, to a tenth of the window: much of it must pass before the provider takes one again.
	refusedPause = time.Second
	// maxRetryAfter bounds what a provider can ask for.
	maxRetryAfter = 10 * time.Minute
)

// A family is the models of a lane that share limits: their waiting tasks in order, and what of the limits is used.
type family struct {
	limits events.ModelLimits
	shares map[string]events.ProjectShare

	queue Queue
	later Line // held back after a refusal: soonest first
	// heldBack are those in later.
	heldBack map[events.Key]*standing
	// requests are those that the provider may still count, taken those of them that it has accepted.
	requests, taken Window[slot]
	inFlight        map[events.Key]bool
	flow            Flow // of those in flight
	projects        map[string]*project
	// budgets counts the tasks that a cap on spending holds.
	budgets map[capped]heldBy
	// rate and crowd are what the provider was seen to grant of requests and of tasks in flight.
	rate, crowd Learned
	// held: nothing is sent before. refused: when the last refusal was taken in. sent: when the last request was begun, or had been answered if another process sent it.
	held, refused, sent time.Time
}

// A project is what one project uses of a family.
type project struct {
	requests Window[slot]
	// tasks counts those that are known, inFlight those of them that take a place.
	tasks, inFlight int
	// held: nothing of it is sent before. sent: when the last of its requests is known to have been answered.
	held, sent time.Time
}

func newFamily(l events.ModelLimits, shares map[string]events.ProjectShare) *family {
	f := &family{
		limits: l, shares: shares, heldBack: map[events.Key]*standing{}, inFlight: map[events.Key]bool{}, projects: map[string]*project{},
		budgets: map[capped]heldBy{},
	}
	weights := map[string]int{}
	for name, share := range shares {
		weights[name] = share.Weight
	}
	f.queue.SetWeights(weights)
	return f
}

func (f *family) project(name string) *project {
	p := f.projects[name]
	if p == nil {
		p = &project{}
		f.projects[name] = p
	}
	return p
}

// add takes in what is known of a task, drop takes it out again.
func (f *family) add(s *standing, now time.Time) {
	p := f.project(s.key.Project)
	p.tasks++
	if s.waiting && !s.reserved {
		if s.notBefore.After(now) {
			f.later.Put(Task{Key: s.key, Since: s.notBefore})
			f.heldBack[s.key] = s
		} else {
			f.queue.Put(s.task())
		}
	}
	if by, ok := s.cap(); ok {
		held := f.budgets[by]
		held.tasks++
		if s.heldAt.After(held.last) {
			held.last = s.heldAt
		}
		f.budgets[by] = held
	}
	if s.atProvider || s.reserved {
		f.inFlight[s.key] = true
		p.inFlight++
	}
	capped := f.shares[s.key.Project].Requests > 0
	if s.reserved {
		f.requests.Hold(slot{key: s.key}, time.Time{})
		if capped {
			p.requests.Hold(slot{key: s.key}, time.Time{})
		}
	}
	for _, r := range s.requests {
		if r.seen.After(f.sent) && !r.seen.After(now) {
			f.sent = r.seen
		}
		if r.seen.After(p.sent) && !r.seen.After(now) {
			p.sent = r.seen
		}
		until := r.seen.Add(f.limits.EachWindow() + skew)
		if !until.After(now) || s.reserved && r.seen.After(now) { // being sent: the reservation stands for it
			continue
		}
		f.requests.Hold(r.slot, until)
		if capped {
			p.requests.Hold(r.slot, until)
		}
		if r.taken {
			f.taken.Hold(r.slot, until)
		}
	}
}

func (f *family) drop(s *standing) {
	p := f.project(s.key.Project)
	f.queue.Remove(s.key)
	f.later.Remove(s.key)
	delete(f.heldBack, s.key)
	if by, ok := s.cap(); ok {
		held := f.budgets[by]
		held.tasks--
		if f.budgets[by] = held; held.tasks == 0 {
			delete(f.budgets, by)
		}
	}
	if f.inFlight[s.key] {
		delete(f.inFlight, s.key)
		p.inFlight--
	}
	f.requests.Free(slot{key: s.key})
	p.requests.Free(slot{key: s.key})
	for _, r := range s.requests {
		f.requests.Free(r.slot)
		p.requests.Free(r.slot)
		f.taken.Free(r.slot)
	}
	if p.tasks--; p.tasks == 0 {
		delete(f.projects, s.key.Project)
	}
}

// next takes the task out of line whose turn it is, if one may be sent. Without one it says when to look again; 0 for not before
// the next change.
func (f *family) next(now time.Time) (k events.Key, ok bool, wait time.Duration) {
	for {
		first, ok := f.later.First()
		if !ok {
			break
		}
		if wait = first.Since.Sub(now); wait > 0 {
			break
		}
		wait = 0
		f.queue.Put(f.heldBack[first.Key].task())
		f.later.Remove(first.Key)
		delete(f.heldBack, first.Key)
	}
	if f.queue.Len() == 0 {
		return k, false, wait
	}
	if d := f.held.Sub(now); d > 0 {
		return k, false, d
	}
	if d := f.sent.Add(f.spacing()).Sub(now); d > 0 {
		return k, false, d
	}
	used := f.requests.Used(now)
	if most := f.rate.Cap(f.limits.Requests); most > 0 && used >= most {
		return k, false, until(&f.requests, now)
	}
	if most := f.crowd.Cap(f.limits.InFlight); most > 0 && len(f.inFlight) >= most {
		return k, false, 0
	}
	t, ok := f.queue.Take(func(name string) bool {
		share := f.shares[name]
		p := f.projects[name] // it has a task in line
		if d := p.held.Sub(now); d > 0 {
			wait = sooner(wait, d)
			return false
		}
		if share.InFlight > 0 && p.inFlight >= share.InFlight {
			return false
		}
		if share.Requests > 0 && p.requests.Used(now) >= share.Requests {
			wait = sooner(wait, until(&p.requests, now))
			return false
		}
		return true
	})
	if !ok {
		return k, false, wait
	}
	f.sent = now
	return t.Key, true, 0
}

// until says how long it is until a window counts one request less; 0 if that is not known.
func until(w *Window[slot], now time.Time) time.Duration {
	at, ok := w.Next()
	if !ok {
		return 0
	}
	return max(at.Sub(now), 1)
}

// sooner returns the shorter of two waits, of which 0 is for ever.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

// spacing is the least time between two requests. To a provider that has refused some they are spread over the window: it may count
// in shorter ones, or mind how fast they come.
func (f *family) spacing() time.Duration {
	least := time.Duration(f.limits.Spacing)
	if f.rate.Limit > 0 {
		least = max(least, f.limits.EachWindow()*9/10/time.Duration(f.rate.Limit))
	}
	return least
}

// refuse takes in that the provider has refused a request for its rate, or for the tasks in flight if crowded, that was begun at a
// time, and returns how long nothing is sent.
func (f *family) refuse(now, begun time.Time, crowded bool, retryAfter time.Duration) time.Duration {
	if !begun.After(f.refused) { // it was on its way already when another was refused
		return max(f.held.Sub(now), 0)
	}
	f.refused = now
	if others := len(f.inFlight) - 1; crowded && others > 0 {
		f.crowd.Refuse(f.limits.InFlight, others)
	} else {
		f.rate.Refuse(f.limits.Requests, f.taken.Used(now))
	}
	wait := max(refusedPause, min(refusedPause<<min(f.rate.Streak+f.crowd.Streak-1, 16), f.limits.EachWindow()/10))
	if retryAfter > 0 {
		wait = max(wait, min(retryAfter, maxRetryAfter))
	}
	f.held = now.Add(wait)
	return wait
}

// accept takes in that the provider has taken a request.
func (f *family) accept(now time.Time) {
	f.rate.Take(f.limits.Requests, f.taken.Used(now)+1)
	f.crowd.Take(f.limits.InFlight, len(f.inFlight))
}

// task is a waiting task as the queue takes it.
func (s *standing) task() Task {
	return Task{Key: s.key, Priority: s.priority, Since: s.created}
}

// place returns how many tasks are sent before one that waits. Those that are held back come last.
func (f *family) place(k events.Key) (int, bool) {
	if n, ok := f.queue.Place(k); ok {
		return n, true
	}
	n, ok := f.later.Place(k)
	return f.queue.Len() + n, ok
}
