package status

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/internal/api"
	"reelay/internal/bus"
	"reelay/internal/spend"
)

const (
	// countEvery is how often the records are counted into the counters of the caps.
	countEvery = 15 * time.Second
	// catchUpTick is how often the index is asked whether it has caught up.
	catchUpTick = 50 * time.Millisecond
	// daySeconds is the length of a day in UTC.
	daySeconds = 24 * 60 * 60
)

func dollars(micros int64) float64 { return float64(micros) / 1e6 }

// A sum is a Spend in exact amounts.
type sum struct {
	tasks, attempts, unpriced int
	spent, reserved           int64
}

func (s *sum) add(p bus.Payment, ended bool) {
	s.attempts++
	switch {
	case p.Micros == bus.Unpriced:
		s.unpriced++
	case ended && p.Accepted:
		s.spent += p.Micros
	default:
		s.reserved += p.Micros
	}
}

func (s *sum) spend() events.Spend {
	return events.Spend{
		Tasks: s.tasks, Attempts: s.attempts, Unpriced: s.unpriced, SpentUSD: dollars(s.spent),
		ReservedUSD: dollars(s.reserved),
	}
}

// A group is what the payments of a row have in common; day in days of Unix time.
type group struct {
	day                            int64
	project, provider, lane, model string
}

func (g group) compare(h group) int {
	return cmp.Or(cmp.Compare(h.day, g.day), strings.Compare(g.project, h.project),
		strings.Compare(g.provider, h.provider), strings.Compare(g.lane, h.lane), strings.Compare(g.model, h.model))
}

// spending adds up the payments of a project, or of all, by what by tells apart.
func (x *index) spending(project string, since, until time.Time, by []events.SpendGroup) (map[group]*sum, sum) {
	from, to := since.Unix(), until.Unix()+daySeconds
	want := func(g events.SpendGroup) bool { return slices.Contains(by, g) }
	days, projects, providers := want(events.SpendByDay), want(events.SpendByProject), want(events.SpendByProvider)
	lanes, models := want(events.SpendByLane), want(events.SpendByModel)
	rows, total := map[group]*sum{}, sum{}
	x.mu.RLock()
	defer x.mu.RUnlock()
	for e := range x.entries(project) {
		g := group{}
		if projects {
			g.project = e.project
		}
		if providers {
			g.provider = e.provider
		}
		if lanes {
			g.lane = e.lane
		}
		if models {
			g.model = e.model
		}
		var counted *sum // the row that has this task already: attempts are in order of time
		for _, p := range e.payments {
			at := int64(p.At)
			if at < from || at >= to {
				continue
			}
			if days {
				g.day = at / daySeconds
			}
			row := rows[g]
			if row == nil {
				row = &sum{}
				rows[g] = row
			}
			if counted == nil {
				total.tasks++
			}
			if counted != row {
				row.tasks++
				counted = row
			}
			row.add(p, e.status.Terminal())
			total.add(p, e.status.Terminal())
		}
	}
	return rows, total
}

// spend answers what was spent and is reserved, and what the caps leave.
func (s *Service) spend(ctx context.Context, c api.Call) (any, error) {
	r, err := events.DecodeSpendRequest(c.Data, time.Now())
	if err != nil {
		return nil, err
	}
	since, _ := time.Parse(time.DateOnly, r.Since) // DecodeSpendRequest has read them
	until, _ := time.Parse(time.DateOnly, r.Until)
	rows, total := s.index.spending(c.Key.Project, since, until, r.By)
	groups := make([]group, 0, len(rows))
	for g := range rows {
		groups = append(groups, g)
	}
	slices.SortFunc(groups, group.compare)
	reply := events.SpendReply{Since: r.Since, Until: r.Until, Rows: []events.SpendRow{}, Total: total.spend()}
	if over := len(groups) - events.MaxSpendRows; over > 0 {
		reply.RowsLeftOut, groups = over, groups[:events.MaxSpendRows]
	}
	for _, g := range groups {
		row := events.SpendRow{Project: g.project, Provider: g.provider, Lane: g.lane, Model: g.model, Spend: rows[g].spend()}
		if slices.Contains(r.By, events.SpendByDay) {
			row.Day = time.Unix(g.day*daySeconds, 0).UTC().Format(time.DateOnly)
		}
		reply.Rows = append(reply.Rows, row)
	}
	reply.Caps, err = s.caps(ctx, c.Key.Project)
	return reply, err
}

// caps returns the limits that count for a project, or all, with what is taken of them today.
func (s *Service) caps(ctx context.Context, project string) ([]events.SpendCap, error) {
	all := []events.SpendCap{}
	for scope, c := range s.capsCache.all() {
		if project != "" && !scope.Covers(project, "") {
			continue
		}
		shown, err := s.cap(ctx, scope, c)
		if err != nil {
			return nil, err
		}
		all = append(all, shown)
	}
	slices.SortFunc(all, func(a, b events.SpendCap) int { return strings.Compare(a.Scope, b.Scope) })
	return all, nil
}

// cap is a limit with what is taken of it today.
func (s *Service) cap(ctx context.Context, scope bucket.Scope, c bucket.Cap) (events.SpendCap, error) {
	n, err := spend.Taken(ctx, s.o.Bus, scope, time.Now().UTC().Format(time.DateOnly))
	return events.SpendCap{
		Scope: string(scope), DailyUSD: c.DailyUSD, UnknownUSD: c.UnknownUSD, ReservedUSD: n.Total().USD(),
		Since: c.SetAt.UTC(), By: c.By, Revision: c.Revision,
	}, err
}

// A capsCache holds the caps as they are set.
type capsCache struct {
	mu   sync.Mutex
	caps map[bucket.Scope]bucket.Cap
	// changed says that a cap was set: what was spent before has to be counted before anything is paid under it.
	changed chan struct{}
}

func newCapsCache() *capsCache {
	return &capsCache{caps: map[bucket.Scope]bucket.Cap{}, changed: make(chan struct{}, 1)}
}

func (c *capsCache) all() map[bucket.Scope]bucket.Cap {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.caps)
}

func (c *capsCache) set(scope bucket.Scope, to *bucket.Cap) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case scope == "":
	case to == nil:
		delete(c.caps, scope)
	default:
		c.caps[scope] = *to
	}
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// followCaps keeps the caps as they are set, until ctx ends.
func (s *Service) followCaps(ctx context.Context) {
	bus.KeepWatching(ctx, s.log, "watch of the caps interrupted", func(ctx context.Context) error {
		return spend.WatchCaps(ctx, s.o.Bus, s.log, s.capsCache.set)
	})
}

// countSpending counts the records into the counters of the caps, now and then and when a cap was set, until ctx ends.
// Without caps it does nothing.
func (s *Service) countSpending(ctx context.Context) {
	select {
	case <-s.index.built:
	case <-ctx.Done():
		return
	}
	for {
		caps := s.capsCache.all()
		var again <-chan time.Time
		if len(caps) > 0 {
			again = time.After(countEvery)
		}
		now := time.Now().UTC()
		if len(caps) > 0 && !s.caughtUp(ctx) {
			caps = nil // some of what was recorded before now may be missing
		}
		for scope, c := range caps {
			if _, err := spend.Count(ctx, s.o.Bus, scope, c, now, s.index.records(scope, c, now)); err != nil &&
				ctx.Err() == nil {
				s.log.Warn("what was spent today is not counted", "scope", scope.String(), "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-s.capsCache.changed:
		case <-again:
		}
	}
}

// caughtUp waits until the index knows all that was recorded before it was asked, for countEvery at most.
func (s *Service) caughtUp(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, countEvery)
	defer cancel()
	last, err := s.o.Bus.LastChange(ctx)
	if err != nil {
		s.log.Warn("what was spent today is not counted: the last change of the records could not be read", "error", err)
		return false
	}
	for !s.index.current.Load() || s.index.seen.Load() < last {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(catchUpTick):
		}
	}
	return true
}

// records adds up what the records say of a scope on the day of now.
func (x *index) records(scope bucket.Scope, c bucket.Cap, now time.Time) *spend.Records {
	r := spend.NewRecords(now)
	from := now.Truncate(daySeconds * time.Second).Unix()
	x.mu.RLock()
	defer x.mu.RUnlock()
	for e := range x.entries("") {
		if !scope.Covers(e.project, e.lane) {
			continue
		}
		for _, p := range e.payments {
			switch at := int64(p.At); {
			case at < from || at >= from+daySeconds:
			case p.Micros == bus.Unpriced:
				r.Add(time.Unix(at, 0), c.UnknownUSD)
			default:
				r.Add(time.Unix(at, 0), dollars(p.Micros))
			}
		}
	}
	return r
}
