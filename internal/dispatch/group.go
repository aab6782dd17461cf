package dispatch

import (
	"time"

	"reelay/events"
)

const (
	// rateBackoff is how long nothing is sent after the provider has refused a request for its rate. It doubles with every
	// further refusal, to a tenth of the window: much of it must pass before the provider takes one again.
	rateBackoff = time.Second
	// maxRetryAfter bounds what a provider can ask for.
	maxRetryAfter = 10 * time.Minute
	// maxRetryDelay bounds how long a task waits that was refused for the rate of requests.
	maxRetryDelay = time.Minute
	// keepOrderFor is for how long a provider may refuse every request before tasks that were refused let others go first.
	keepOrderFor = 5 * time.Minute
)

// A group is the models of a lane that share limits: their waiting tasks in order, and what of the limits is used.
type group struct {
	name   string
	limits events.ModelLimits
	shares map[string]events.ProjectShare

	// queue has the tasks that wait for their turn, later those that their own check stops, soonest first; delayed are the
	// latter.
	queue   Queue
	later   Line
	delayed map[events.Key]*entry
	// requests are those that the provider may still count, accepted those of them that it took.
	requests, accepted Window[attemptID]
	inFlight           map[events.Key]bool
	// inFlightTime is for how long a task is in flight.
	inFlightTime ServiceTime
	projects     map[string]*project
	// capped are the tasks that caps on spending block.
	capped map[spendCap]cappedTasks
	// rate and concurrency are what the provider was seen to grant of requests and of tasks in flight.
	rate, concurrency AdaptiveLimit
	// backoff: nothing is sent before, since the provider has refused a request at refusedAt.
	backoff, refusedAt time.Time
	// refusals are those since the last request that was accepted.
	refusals refusals
	// sending counts the requests under way.
	sending int
	// lastSent is when the last request was begun, or had been answered if another process sent it.
	lastSent time.Time
}

// refusals are refusals for the rate in a row.
type refusals struct {
	since time.Time
	// first is the task that was refused first, others says that it was not the only one.
	first  events.Key
	others bool
}

// A project is what one project uses of a group.
type project struct {
	requests Window[attemptID]
	// tasks counts those that are known, inFlight those of them that are in flight.
	tasks, inFlight int
	// backoff: nothing of the project is sent before. lastSent is when the last of its requests is known to have been
	// answered.
	backoff, lastSent time.Time
}

func newGroup(name string, l events.ModelLimits, shares map[string]events.ProjectShare) *group {
	g := &group{
		name: name, limits: l, shares: shares, delayed: map[events.Key]*entry{}, inFlight: map[events.Key]bool{},
		projects: map[string]*project{}, capped: map[spendCap]cappedTasks{},
	}
	weights := map[string]int{}
	for name, share := range shares {
		weights[name] = share.Weight
	}
	g.queue.SetWeights(weights)
	return g
}

func (g *group) project(name string) *project {
	p := g.projects[name]
	if p == nil {
		p = &project{}
		g.projects[name] = p
	}
	return p
}

// countedFor is how long a request is counted after its answer.
func (g *group) countedFor() time.Duration { return g.limits.EachWindow() + clockSkew }

// add takes in what is known of a task, drop takes it out again.
func (g *group) add(e *entry, now time.Time) {
	p := g.project(e.key.Project)
	p.tasks++
	if own := g.ownCheck(e, now); e.waiting && !e.sending && own.stops(now) {
		g.later.Put(Rank{Key: e.key, Since: e.notBefore})
		g.delayed[e.key] = e
	} else if e.waiting && !e.sending {
		g.queue.Put(e.rank())
	}
	if by, ok := e.cap(); ok {
		tasks := g.capped[by]
		tasks.count++
		tasks.last = latest(tasks.last, e.cappedAt)
		g.capped[by] = tasks
	}
	if e.sending {
		g.sending++
	}
	if e.atProvider || e.sending {
		g.inFlight[e.key] = true
		p.inFlight++
	}
	g.count(e, p, now)
}

// count counts the requests of a task as long as the provider may.
func (g *group) count(e *entry, p *project, now time.Time) {
	add := func(id attemptID, until time.Time) {
		g.requests.Count(id, until)
		if g.shares[e.key.Project].Requests > 0 {
			p.requests.Count(id, until)
		}
	}
	if e.sending {
		add(attemptID{key: e.key}, time.Time{})
	}
	for _, r := range e.requests {
		if !r.seenBy.After(now) {
			g.lastSent, p.lastSent = latest(g.lastSent, r.seenBy), latest(p.lastSent, r.seenBy)
		}
		until := r.seenBy.Add(g.countedFor())
		if !until.After(now) || e.sending && r.seenBy.After(now) { // being sent: it is counted as such
			continue
		}
		add(r.id, until)
		if r.accepted {
			g.accepted.Count(r.id, until)
		}
	}
}

func (g *group) drop(e *entry) {
	p := g.project(e.key.Project)
	g.queue.Remove(e.key)
	g.later.Remove(e.key)
	delete(g.delayed, e.key)
	if by, ok := e.cap(); ok {
		tasks := g.capped[by]
		tasks.count--
		if g.capped[by] = tasks; tasks.count == 0 {
			delete(g.capped, by)
		}
	}
	if e.sending {
		g.sending--
	}
	if g.inFlight[e.key] {
		delete(g.inFlight, e.key)
		p.inFlight--
	}
	g.requests.Free(attemptID{key: e.key})
	p.requests.Free(attemptID{key: e.key})
	for _, r := range e.requests {
		g.requests.Free(r.id)
		p.requests.Free(r.id)
		g.accepted.Free(r.id)
	}
	if p.tasks--; p.tasks == 0 {
		delete(g.projects, e.key.Project)
	}
}

// next takes the task out of the queue that is sent next, if one may be; lane is the verdict of the lane's checks.
// Without one it says how soon to ask again; 0 for not before the next change.
func (g *group) next(lane verdict) (k events.Key, ok bool, wait time.Duration) {
	wait = g.release(lane.now)
	if g.queue.Len() == 0 {
		return k, false, wait
	}
	all := lane.and(g.checks(lane.now)...)
	if !all.ok {
		return k, false, all.wait()
	}
	r, ok := g.queue.Take(func(project string) bool {
		of := all.and(g.projectChecks(project, all.now)...)
		if !of.ok {
			wait = sooner(wait, of.wait())
		}
		return of.ok
	})
	if !ok {
		return k, false, wait
	}
	g.lastSent = all.now
	return r.Key, true, 0
}

// release moves the tasks into the queue that their own check stops no longer, and returns how long it stops the next
// one.
func (g *group) release(now time.Time) time.Duration {
	for {
		first, ok := g.later.First()
		if !ok {
			return 0
		}
		if wait := first.Since.Sub(now); wait > 0 {
			return wait
		}
		g.queue.Put(g.delayed[first.Key].rank())
		g.later.Remove(first.Key)
		delete(g.delayed, first.Key)
	}
}

// sooner returns the shorter of two waits, of which 0 is for ever.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

// spacing is the least time between two requests. To a provider that has refused some they are spread over the window:
// it may count in shorter ones, or mind how fast they come.
func (g *group) spacing() time.Duration {
	least := time.Duration(g.limits.Spacing)
	if g.rate.Limit > 0 {
		least = max(least, g.limits.EachWindow()*9/10/time.Duration(g.rate.Limit))
	}
	return least
}

// refuse takes in that the provider has refused a request of a task that was begun at a time, for its rate or for the
// tasks in flight, and returns how long nothing is sent.
func (g *group) refuse(k events.Key, now, begun time.Time, concurrency bool, retryAfter time.Duration) time.Duration {
	if g.refusals.since.IsZero() {
		g.refusals = refusals{since: now, first: k}
	}
	g.refusals.others = g.refusals.others || k != g.refusals.first
	if !begun.After(g.refusedAt) { // it was on its way already when another was refused
		return max(g.backoff.Sub(now), 0)
	}
	g.refusedAt = now
	if others := len(g.inFlight) - 1; concurrency && others > 0 {
		g.concurrency.Decrease(g.limits.InFlight, others)
	} else {
		g.rate.Decrease(g.limits.Requests, g.accepted.Used(now))
	}
	wait := max(rateBackoff, min(rateBackoff<<min(g.rate.Streak+g.concurrency.Streak-1, 16), g.limits.EachWindow()/10))
	if retryAfter > 0 {
		wait = max(wait, min(retryAfter, maxRetryAfter))
	}
	g.backoff = now.Add(wait)
	return wait
}

// accept takes in that the provider has taken a request.
func (g *group) accept(now time.Time) {
	g.refusals = refusals{}
	g.rate.Increase(g.limits.Requests, g.accepted.Used(now)+1)
	g.concurrency.Increase(g.limits.InFlight, len(g.inFlight))
}

// refusesAll reports whether the provider refuses whatever is sent, so that no task is to blame: they keep their order.
func (g *group) refusesAll(now time.Time) bool {
	return g.refusals.others && now.Sub(g.refusals.since) < keepOrderFor
}

// retryDelay says how long a task waits whose limit group backs off for a time: others go before it, and the more of
// them the more often it was refused in a row, for it may be itself what the provider does not take.
func retryDelay(t events.Task, backoff time.Duration) time.Duration {
	backoff *= 2
	for i := len(t.Attempts) - 1; i >= 0 && backoff < maxRetryDelay; i-- {
		if a := t.Attempts[i]; a.Error != nil && a.Error.Kind == events.KindRateLimited {
			backoff *= 2
		} else if a.Outcome != events.AttemptOpen {
			break
		}
	}
	return min(backoff, maxRetryDelay)
}

// ahead returns how many tasks are sent before one that waits, and how many of its own project; false if it does not.
// Those that their own check stops come last.
func (g *group) ahead(k events.Key) (all, own int, ok bool) {
	if all, ok = g.queue.Ahead(k); ok {
		own, _ = g.queue.OwnAhead(k)
		return all, own, true
	}
	n, ok := g.later.Ahead(k)
	return g.queue.Len() + n, g.queue.Busy(k.Project), ok
}
