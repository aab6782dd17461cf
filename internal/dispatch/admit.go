package dispatch

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"reelay/events"
)

// maxHolds bounds the holds that a lane tells.
const maxHolds = 50

// Keeps says whether the lane waits for its provider to be there; nil if not.
func (l *Lane) Keeps(now time.Time) *events.Blocked {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.held.After(now) {
		return nil
	}
	until := l.held
	h := &events.Blocked{Reason: events.BlockedAccount, Message: "the provider refuses the account", Until: &until}
	if l.away > 0 {
		h.Reason, h.Message = events.BlockedUnreachable, fmt.Sprintf("the provider could not be reached, %d times in a row", l.away)
	}
	return h
}

// keeps says what of its limits keeps every task in line of a family from being sent; nil if nothing does. The name is that of the
// family.
func (f *family) keeps(name string, now time.Time) *events.Blocked {
	if name == events.AnyModel {
		name = ""
	}
	h := &events.Blocked{Model: name}
	used := f.requests.Used(now)
	switch requests, inFlight := f.rate.Cap(f.limits.Requests), f.crowd.Cap(f.limits.InFlight); {
	case f.held.After(now):
		until := f.held
		h.Reason, h.Message, h.Until = events.BlockedRateLimited, "the provider wants fewer requests", &until
	case requests > 0 && used >= requests:
		h.Reason, h.Message = events.BlockedRequests, fmt.Sprintf("%d of %d requests in %v are used", used, requests, f.limits.EachWindow())
		if at, ok := f.requests.Next(); ok {
			h.Until = &at
		}
	case inFlight > 0 && len(f.inFlight) >= inFlight:
		h.Reason, h.Message = events.BlockedInFlight, fmt.Sprintf("%d of %d tasks in flight", len(f.inFlight), inFlight)
	default:
		return nil
	}
	return h
}

// keepsProject says what keeps every task of a project from being sent; nil if nothing of its own does.
func (f *family) keepsProject(project string, now time.Time) *events.Blocked {
	p, share := f.projects[project], f.shares[project]
	if p == nil {
		return nil
	}
	h := &events.Blocked{Project: project}
	switch {
	case p.held.After(now):
		until := p.held
		h.Reason, h.Message, h.Until = events.BlockedRetry, "no money could be set aside yet", &until
	case share.Requests > 0 && p.requests.Used(now) >= share.Requests:
		h.Reason = events.BlockedRequests
		h.Message = fmt.Sprintf("%d of its %d requests in %v are used", p.requests.Used(now), share.Requests, f.limits.EachWindow())
		if at, ok := p.requests.Next(); ok {
			h.Until = &at
		}
	case share.InFlight > 0 && p.inFlight >= share.InFlight:
		h.Reason, h.Message = events.BlockedInFlight, fmt.Sprintf("%d of its %d tasks in flight", p.inFlight, share.InFlight)
	default:
		return nil
	}
	return h
}

// worst returns the hold that hides the others; nil of none.
func worst(holds ...*events.Blocked) (w *events.Blocked) {
	order := events.BlockedReasons()
	for _, h := range holds {
		if h != nil && (w == nil || slices.Index(order, h.Reason) < slices.Index(order, w.Reason)) {
			w = h
		}
	}
	return w
}

// Holds are what keeps tasks in line from being sent: the families, their projects, and the budgets that tasks are held by.
func (l *Lane) Holds(now time.Time) []events.Blocked {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []events.Blocked
	add := func(h *events.Blocked) {
		if h != nil && len(all) < maxHolds {
			all = append(all, *h)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.families)) {
		f := l.families[name]
		if f.queue.Len() > 0 || f.later.Len() > 0 {
			add(f.keeps(name, now))
		}
		for _, project := range slices.Sorted(maps.Keys(f.shares)) {
			if f.queue.Busy(project) > 0 {
				add(f.keepsProject(project, now))
			}
		}
		for _, b := range slices.SortedFunc(maps.Keys(f.budgets), capped.compare) {
			held := f.budgets[b]
			if f.over(b.project, b.until, held.last, now) {
				continue
			}
			until, wait := b.until, "1 task waits"
			if held.tasks != 1 {
				wait = fmt.Sprintf("%d tasks wait", held.tasks)
			}
			add(&events.Blocked{Reason: events.BlockedCap, Project: b.project, Message: wait + ": " + b.reason, Until: &until})
		}
	}
	return all
}

// A capped is the cap that tasks of a project are held by.
type capped struct {
	project, reason string
	until           time.Time
}

func (b capped) compare(c capped) int {
	return cmp.Or(strings.Compare(b.project, c.project), strings.Compare(b.reason, c.reason), b.until.Compare(c.until))
}

// A heldBy counts the tasks that a cap holds; last is when one was held back by it last.
type heldBy struct {
	tasks int
	last  time.Time
}

// over reports whether a cap that has held a task of a project since a time, until another, holds it no more as far as is known: its
// day is over, or money was there for others of the project since.
func (f *family) over(project string, until, since, now time.Time) bool {
	return !until.After(now) || f.projects[project].sent.After(since)
}

// keepsTask says what of its own keeps a task from being sent; nil if nothing does. One whose turn may come again waits for no more
// than that.
func (f *family) keepsTask(s *standing, now time.Time) *events.Blocked {
	if s.notBefore.After(now) {
		return s.hold
	}
	if by, ok := s.cap(); ok && !f.over(by.project, by.until, s.heldAt, now) {
		return s.hold
	}
	return nil
}

// cap returns the cap that a task is held by; false for none.
func (s *standing) cap() (capped, bool) {
	if s.hold == nil || s.hold.Reason != events.BlockedCap || s.reserved {
		return capped{}, false
	}
	return capped{s.key.Project, s.hold.Message, *s.hold.Until}, true
}
