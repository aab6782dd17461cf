package submitter

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

// keeps says what keeps a whole lane from being sent; nil if nothing does.
func (s *Service) keeps(l *lane, now time.Time) *events.Hold {
	if s.o.Spending != nil {
		if err := s.o.Spending.Allowed(); err != nil {
			return &events.Hold{Reason: events.HoldSpending, Message: err.Error()}
		}
	}
	if err := s.switches.check(l.Name); err != nil {
		h := &events.Hold{Reason: events.HoldPaused, Message: err.Error()}
		if paused, _ := s.switches.state(l.Name); paused != nil && !paused.Switch.Until.IsZero() {
			h.Until = &paused.Switch.Until
		}
		return h
	}
	if s.switches.probing(l.Name) {
		return &events.Hold{Reason: events.HoldPaused, Message: "the provider has refused the account; one task at a time is sent to see whether it still does"}
	}
	if why, until := l.open(now); why != "" {
		h := &events.Hold{Reason: events.HoldBreaker, Message: why}
		if !until.IsZero() {
			h.Until = &until
		}
		return h
	}
	return l.keeps(now)
}

// keeps says whether the lane waits for its provider to be there; nil if not.
func (l *lane) keeps(now time.Time) *events.Hold {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.held.After(now) {
		return nil
	}
	until := l.held
	h := &events.Hold{Reason: events.HoldPaused, Message: "the provider refuses the account", Until: &until}
	if l.away > 0 {
		h.Reason, h.Message = events.HoldUnreachable, fmt.Sprintf("the provider could not be reached, %d times in a row", l.away)
	}
	return h
}

// keeps says what of its limits keeps every task in line of a family from being sent; nil if nothing does. The name is that of the
// family.
func (f *family) keeps(name string, now time.Time) *events.Hold {
	if name == events.AnyModel {
		name = ""
	}
	h := &events.Hold{Model: name}
	used := f.requests.Used(now)
	switch requests, inFlight := f.rate.Cap(f.limits.Requests), f.crowd.Cap(f.limits.InFlight); {
	case f.held.After(now):
		until := f.held
		h.Reason, h.Message, h.Until = events.HoldRefused, "the provider wants fewer requests", &until
	case requests > 0 && used >= requests:
		h.Reason, h.Message = events.HoldRequests, fmt.Sprintf("%d of %d requests in %v are used", used, requests, f.limits.EachWindow())
		if at, ok := f.requests.Next(); ok {
			h.Until = &at
		}
	case inFlight > 0 && len(f.inFlight) >= inFlight:
		h.Reason, h.Message = events.HoldInFlight, fmt.Sprintf("%d of %d tasks in flight", len(f.inFlight), inFlight)
	default:
		return nil
	}
	return h
}

// keepsProject says what keeps every task of a project from being sent; nil if nothing of its own does.
func (f *family) keepsProject(project string, now time.Time) *events.Hold {
	p, share := f.projects[project], f.shares[project]
	if p == nil {
		return nil
	}
	h := &events.Hold{Project: project}
	switch {
	case p.held.After(now):
		until := p.held
		h.Reason, h.Message, h.Until = events.HoldRetry, "no money could be set aside yet", &until
	case share.Requests > 0 && p.requests.Used(now) >= share.Requests:
		h.Reason = events.HoldRequests
		h.Message = fmt.Sprintf("%d of its %d requests in %v are used", p.requests.Used(now), share.Requests, f.limits.EachWindow())
		if at, ok := p.requests.Next(); ok {
			h.Until = &at
		}
	case share.InFlight > 0 && p.inFlight >= share.InFlight:
		h.Reason, h.Message = events.HoldInFlight, fmt.Sprintf("%d of its %d tasks in flight", p.inFlight, share.InFlight)
	default:
		return nil
	}
	return h
}

// worst returns the hold that hides the others; nil of none.
func worst(holds ...*events.Hold) (w *events.Hold) {
	order := events.HoldReasons()
	for _, h := range holds {
		if h != nil && (w == nil || slices.Index(order, h.Reason) < slices.Index(order, w.Reason)) {
			w = h
		}
	}
	return w
}

// holds are what keeps tasks in line from being sent: the families, their projects, and the budgets that tasks are held by. The lock is
// not held.
func (l *lane) holds(now time.Time) []events.Hold {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []events.Hold
	add := func(h *events.Hold) {
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
			until, wait := b.until, "1 task waits"
			if n := f.budgets[b]; n != 1 {
				wait = fmt.Sprintf("%d tasks wait", n)
			}
			add(&events.Hold{Reason: events.HoldBudget, Project: b.project, Message: wait + ": " + b.reason, Until: &until})
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

// cap returns the cap that a task is held by; false for none.
func (s *standing) cap() (capped, bool) {
	if s.hold == nil || s.hold.Reason != events.HoldBudget || s.reserved {
		return capped{}, false
	}
	return capped{s.key.Project, s.hold.Message, *s.hold.Until}, true
}
