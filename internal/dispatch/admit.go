package dispatch

import (
	"fmt"
	"slices"
	"time"

	"reelay/events"
)

// Outside is what keeps a whole lane from sending and only the service knows: no money may be spent, a person or the
// provider's refusal of the account pauses it, the breaker is open. The zero Outside is nothing.
type Outside struct {
	// Blocked says why; nil for nothing.
	Blocked *events.Blocked
	// Probe lets one task at a time be sent all the same, to see whether Blocked still holds.
	Probe bool
}

// Stops reports whether nothing at all may be sent.
func (o Outside) Stops() bool { return o.Blocked != nil && !o.Probe }

// A check is one of the conditions under which a task is sent: a time that has to come, or a limit that has to have
// room. The checks of a lane, of a limit group and of a project within it are the same for all their tasks.
type check struct {
	reason events.BlockedReason
	// model and project say whose tasks it stops, where not all of the lane's.
	model, project string
	// report is what is reported of it in place of what its numbers say.
	report *events.Blocked
	// from is when it lets the next task through, spacing how much later each one after that.
	from    time.Time
	spacing time.Duration
	// used is how much is taken of limit; a limit of 0 is none.
	used, limit int
	// window counts what is used, each for countedFor; nil where it is freed at times that nobody knows.
	window     *Window[attemptID]
	countedFor time.Duration
	// closed stops the next task until something changes.
	closed bool
}

// full reports whether a limit has no room.
func (c *check) full() bool { return c.limit > 0 && c.used >= c.limit }

// stops reports whether the next task may not be sent now.
func (c *check) stops(now time.Time) bool { return c.closed || c.full() || c.from.After(now) }

// until returns when the next task is let through if nothing else changes; false if nobody knows.
func (c *check) until() (time.Time, bool) {
	switch {
	case c.closed, c.full() && c.window == nil:
		return time.Time{}, false
	case c.full():
		return c.window.Freed(c.used - c.limit + 1)
	}
	return c.from, true
}

// blocked is what is reported of a check that stops tasks.
func (c *check) blocked() *events.Blocked {
	if c.report != nil {
		return c.report
	}
	b := &events.Blocked{Reason: c.reason, Model: c.model, Project: c.project, Message: c.message()}
	if until, ok := c.until(); ok {
		b.Until = &until
	}
	return b
}

func (c *check) message() string {
	of := "of"
	if c.project != "" {
		of = "of its"
	}
	switch {
	case c.reason == events.BlockedInFlight:
		return fmt.Sprintf("%d %s %d tasks in flight", c.used, of, c.limit)
	case c.window != nil:
		return fmt.Sprintf("%d %s %d requests in %v are used", c.used, of, c.limit, c.countedFor-clockSkew)
	case c.reason == events.BlockedRequests:
		return fmt.Sprintf("requests are at least %v apart", c.spacing)
	case c.reason == events.BlockedRateLimited:
		return "the provider wants fewer requests"
	}
	return "no money could be set aside yet"
}

// A verdict is what some checks say together of the next of their tasks.
type verdict struct {
	now time.Time
	// ok: it may be sent. Else until is when it may if nothing else changes, zero where unknown.
	ok      bool
	until   time.Time
	unknown bool
	// worst is the check that is reported, if any is: its reason hides the others.
	worst    check
	reported bool
}

// admitted is the verdict of no checks.
func admitted(now time.Time) verdict { return verdict{now: now, ok: true} }

// and is the verdict of v's checks and these.
func (v verdict) and(checks ...check) verdict {
	for _, c := range checks {
		stops := c.stops(v.now)
		if stops {
			v.ok = false
			until, known := c.until()
			v.unknown = v.unknown || !known
			v.until = latest(v.until, until)
		}
		if (stops || c.report != nil) && (!v.reported || severity(c.reason) < severity(v.worst.reason)) {
			v.worst, v.reported = c, true
		}
	}
	return v
}

// severity orders reasons: the lower hides the higher.
func severity(r events.BlockedReason) int { return slices.Index(events.BlockedReasons(), r) }

// blocked is why the task is not sent; nil if nothing stops it. It may be reported of a task that is admitted: one that
// is sent to see whether what stopped it still does.
func (v verdict) blocked() *events.Blocked {
	if !v.reported {
		return nil
	}
	return v.worst.blocked()
}

// wait is how soon to ask again; 0 for not before the next change.
func (v verdict) wait() time.Duration {
	if v.ok || v.unknown {
		return 0
	}
	return max(v.until.Sub(v.now), 1)
}

// scopes are the checks that count for a task: those of its lane, its limit group, its project in that, and its own.
// Whatever decides, explains or predicts whether it is sent asks these checks: Next asks them scope by scope, Blocked
// together, an Estimator also for the tasks further back. Beyond them only the record can decline, when the intent is
// written.
type scopes [4][]check

// scopes returns those of a waiting task. The lock is held.
func (l *Lane) scopes(e *entry, now time.Time, outside Outside) scopes {
	g := l.group(e)
	return scopes{l.checks(now, outside), g.checks(now), g.projectChecks(e.key.Project, now), {g.ownCheck(e, now)}}
}

func (s scopes) verdict(now time.Time) verdict {
	v := admitted(now)
	for _, checks := range s {
		v = v.and(checks...)
	}
	return v
}

// checks are those of all the lane's tasks. The lock is held.
func (l *Lane) checks(now time.Time, outside Outside) []check {
	all := make([]check, 0, 3)
	if b := outside.Blocked; b != nil {
		c := check{reason: b.Reason, report: b}
		switch {
		case outside.Probe:
			c.closed = l.sending > 0
		case b.Until != nil:
			c.from = *b.Until
		default:
			c.closed = true
		}
		all = append(all, c)
	}
	if b := l.backoff; b != nil && b.Until.After(now) {
		all = append(all, check{reason: b.Reason, report: b, from: *b.Until})
	}
	// Each slot sends one task after the other. Slots come and go with the answers of the provider, so time and slots are
	// of the same sends.
	return append(all, check{from: now, spacing: time.Duration(float64(l.sendTime) / max(l.sendSlots, 1))})
}

// checks are those of all tasks of the group.
func (g *group) checks(now time.Time) []check {
	model, spacing := g.name, g.spacing()
	if model == events.AnyModel {
		model = ""
	}
	return []check{
		{
			// While the provider refuses, one request at a time tells whether it still does.
			reason: events.BlockedRateLimited, model: model, from: g.backoff,
			closed: g.sending > 0 && !g.refusals.since.IsZero(),
		},
		{
			reason: events.BlockedRequests, model: model, used: g.requests.Used(now), limit: g.rate.Cap(g.limits.Requests),
			window: &g.requests, countedFor: g.countedFor(),
		},
		{reason: events.BlockedInFlight, model: model, used: len(g.inFlight), limit: g.concurrency.Cap(g.limits.InFlight)},
		{reason: events.BlockedRequests, model: model, from: g.lastSent.Add(spacing), spacing: spacing},
	}
}

// projectChecks are those of all tasks of a project within the group.
func (g *group) projectChecks(name string, now time.Time) []check {
	p, share := g.projects[name], g.shares[name]
	if p == nil {
		return nil
	}
	all := []check{
		{reason: events.BlockedRetry, project: name, from: p.backoff},
		{reason: events.BlockedInFlight, project: name, used: p.inFlight, limit: share.InFlight},
		{
			reason: events.BlockedRequests, project: name, limit: share.Requests, window: &p.requests,
			countedFor: g.countedFor(),
		},
	}
	if share.Requests > 0 { // else they are not counted
		all[2].used = p.requests.Used(now)
	}
	return all
}

// ownCheck is that of one waiting task. A cap on spending that has blocked it is reported until there was money for
// others; the task is sent as soon as it is next, to see whether there is any.
func (g *group) ownCheck(e *entry, now time.Time) check {
	c := check{reason: events.BlockedRetry, from: e.notBefore}
	if e.blocked != nil {
		c.reason = e.blocked.Reason
	}
	if by, ok := e.cap(); c.from.After(now) || ok && !g.lifted(by, e.cappedAt, now) {
		c.report = e.blocked
	}
	return c
}
