package status

import (
	"cmp"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"

	"reelay/events"
	"reelay/internal/ordered"
	"reelay/internal/provider"
)

// rateWindow is the time over which ended tasks are counted.
const rateWindow = time.Hour

// A cursor is a point in the order of list: by time of creation, newest first, then project and id.
type cursor struct {
	created int64
	key     events.Key
}

func (e *entry) cursor() cursor { return cursor{e.created, e.key()} }

func (c cursor) compare(d cursor) int {
	return cmp.Or(cmp.Compare(d.created, c.created), strings.Compare(c.key.Project, d.key.Project),
		strings.Compare(c.key.ID, d.key.ID))
}

// encode writes a cursor in a form that clients have no reason to take apart.
func (c cursor) encode() string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(c.created, 36) + "." + c.key.String()))
}

// parseCursor reads a cursor. Its error is a FieldError.
func parseCursor(s string) (cursor, error) {
	wrong := events.NewFieldError("cursor", "is not the next_cursor of an earlier answer")
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return cursor{}, wrong
	}
	created, key, _ := strings.Cut(string(raw), ".")
	c := cursor{}
	if c.created, err = strconv.ParseInt(created, 36, 64); err != nil {
		return cursor{}, wrong
	}
	if c.key, err = events.ParseKey(key); err != nil {
		return cursor{}, wrong
	}
	return c, nil
}

// A filter is what list was asked for.
type filter struct {
	events.ListRequest
	project string // all if empty
	after   *cursor
}

// newFilter reads a list request. Its error is a FieldError.
func newFilter(project string, data []byte) (filter, error) {
	r, err := events.DecodeListRequest(data)
	f := filter{ListRequest: r, project: project}
	if err != nil || r.Cursor == "" {
		return f, err
	}
	after, err := parseCursor(r.Cursor)
	f.after = &after
	return f, err
}

// wants reports whether tasks of a kind are asked for. A provider is named by itself or, as in requests, by one of its
// lanes.
func (f *filter) wants(k *kind) bool {
	return (f.project == "" || f.project == k.project) &&
		(len(f.Status) == 0 || slices.Contains(f.Status, k.status)) &&
		(len(f.Phase) == 0 || slices.Contains(f.Phase, k.phase)) &&
		(f.Provider == "" || f.Provider == k.provider || f.Provider == k.lane) &&
		(f.Model == "" || f.Model == k.model)
}

// matches reports whether e is asked for.
func (f *filter) matches(e *entry) bool {
	return f.wants(&e.kind) &&
		(f.SceneID == "" || e.scene != nil && f.SceneID == e.scene.name) &&
		(f.BatchID == "" || e.batch != nil && f.BatchID == e.batch.key.ID) &&
		(f.Since == nil || !time.Unix(0, e.created).Before(*f.Since)) &&
		(f.after == nil || f.after.compare(e.cursor()) < 0)
}

// from is where a page begins in the order of list; nil for the start.
func (f *filter) from() **entry {
	if f.after == nil {
		return nil
	}
	e := &entry{shelf: &shelf{kind: kind{project: f.after.key.Project}}, id: f.after.key.ID, created: f.after.created}
	return &e
}

// page returns the first n entries that f asks for, in order.
func (x *index) page(f filter, n int) []*entry {
	x.mu.RLock()
	defer x.mu.RUnlock()
	page := make([]*entry, 0, n)
	all := ordered.NewScan(inListOrder, x.candidates(&f, n), f.from())
	for e, ok := all.Next(); ok && len(page) < n; e, ok = all.Next() {
		if f.Since != nil && time.Unix(0, e.created).Before(*f.Since) {
			break
		}
		if f.matches(e) {
			page = append(page, e)
		}
	}
	return page
}

// candidates returns trees that hold all entries that f asks for, and few others. The lock is held.
func (x *index) candidates(f *filter, n int) (trees []*ordered.Tree[*entry]) {
	matching := 0
	add := func(t *ordered.Tree[*entry]) {
		trees = append(trees, t)
		matching += t.Len()
	}
	for name, p := range x.covered(f.project) {
		switch {
		case f.BatchID != "":
			if batch := x.batches.all[events.Key{Project: name, ID: f.BatchID}]; batch != nil {
				add(batch.members)
			}
		case f.SceneID != "":
			if known := p.scenes[f.SceneID]; known != nil {
				add(known.entries)
			}
		default:
			for _, s := range p.shelves {
				if f.wants(&s.kind) {
					add(s.entries)
				}
			}
		}
	}
	if len(trees)*matching > n*x.all.Len() { // fewer entries are passed over than trees would be asked
		return []*ordered.Tree[*entry]{x.all}
	}
	return trees
}

// estimatePosition estimates the queue position of a waiting task, 0 being next: by priority and age alone, as the
// dispatcher does within a project.
func (x *index) estimatePosition(k events.Key) (int, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	e := x.entry(k)
	if e == nil || !e.inLine {
		return 0, false
	}
	return ordered.Rank(x.lines[e.lane], func(other *entry) bool { return inSendingOrder(other, e) < 0 }), true
}

// queue counts the tasks of a project, or of all. Each of lanes is in the answer, busy or not.
func (x *index) queue(project string, lanes []provider.Lane, now time.Time) events.QueueReply {
	r := events.QueueReply{ByStatus: map[events.Status]int{}, Lanes: []events.LaneQueue{}}
	byName := map[string]*events.LaneQueue{}
	lane := func(name, provider string) *events.LaneQueue {
		l := byName[name]
		if l == nil {
			l = &events.LaneQueue{Lane: name, Provider: provider, ByPhase: map[events.Phase]int{}}
			byName[name] = l
		}
		return l
	}
	for _, l := range lanes {
		lane(l.Name, l.Provider)
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, p := range x.covered(project) {
		for _, s := range p.shelves {
			s.count(&r, lane(s.lane, s.provider), now)
		}
	}
	for _, l := range byName {
		l.SentPerMinute = float64(len(x.recentSubmits[l.Lane].since(now)))
		r.Lanes = append(r.Lanes, *l)
	}
	slices.SortFunc(r.Lanes, func(a, b events.LaneQueue) int { return strings.Compare(a.Lane, b.Lane) })
	return r
}

// count adds a shelf to the numbers of queue.
func (s *shelf) count(r *events.QueueReply, l *events.LaneQueue, now time.Time) {
	n := s.entries.Len()
	r.Total += n
	r.ByStatus[s.status] += n
	l.ByPhase[s.phase] += n
	if !s.status.Terminal() {
		r.ActiveCount += n
		l.Active += n
	}
	switch s.phase {
	case events.PhaseProviderQueued, events.PhaseRunning, events.PhaseCancelling, events.PhaseFetching:
		l.AtProvider += n
	case events.PhaseWaiting:
		if oldest, ok := s.entries.Max(); ok && s.inLine {
			l.OldestWaitingS = max(l.OldestWaitingS, now.Sub(time.Unix(0, oldest.created)).Seconds())
		}
	case events.PhaseDone:
		hourAgo := now.Add(-rateWindow).UnixNano()
		ended := s.ended.Len() - ordered.Rank(s.ended, func(e *entry) bool { return e.completed < hourAgo })
		switch s.status {
		case events.StatusCompleted:
			l.CompletedLastHour += ended
		case events.StatusFailed:
			l.FailedLastHour += ended
		}
	}
}
