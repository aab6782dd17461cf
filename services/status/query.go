package status

import (
	"cmp"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"

	"reelay/events"
	"reelay/internal/provider"
)

// rateWindow is the time over which ended tasks are counted.
const rateWindow = time.Hour

// A cursor is a point in the order of list: by time of creation, newest first, then project and id.
type cursor struct {
	created int64
	key     events.Key
}

func (e *entry) cursor() cursor { return cursor{e.created, e.key} }

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

// matches reports whether e is asked for. A provider is named by itself or, as in requests, by one of its lanes.
func (f *filter) matches(e *entry) bool {
	return (f.project == "" || f.project == e.key.Project) &&
		(len(f.Status) == 0 || slices.Contains(f.Status, e.status)) &&
		(len(f.Phase) == 0 || slices.Contains(f.Phase, e.phase)) &&
		(f.SceneID == "" || f.SceneID == e.scene) &&
		(f.Provider == "" || f.Provider == e.provider || f.Provider == e.lane) &&
		(f.Model == "" || f.Model == e.model) &&
		(f.BatchID == "" || f.BatchID == e.batch) &&
		(f.Since == nil || !time.Unix(0, e.created).Before(*f.Since)) &&
		(f.after == nil || f.after.compare(e.cursor()) < 0)
}

// page returns the first n entries that f asks for, in order. It looks at every entry once and keeps no more than n.
func (x *index) page(f filter, n int) []*entry {
	x.mu.RLock()
	defer x.mu.RUnlock()
	top := make([]*entry, 0, n+1)
	order := func(a, b *entry) int { return a.cursor().compare(b.cursor()) }
	for _, e := range x.entries {
		if len(top) == n && order(top[n-1], e) < 0 || !f.matches(e) {
			continue
		}
		i, _ := slices.BinarySearchFunc(top, e, order)
		top = slices.Insert(top, i, e)
		top = top[:min(len(top), n)]
	}
	return top
}

// estimatePosition estimates the queue position of a waiting task, 0 being next: by priority and age alone, as the
// dispatcher does within a project.
func (x *index) estimatePosition(k events.Key) (int, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	e := x.entries[k]
	if e == nil || e.phase != events.PhaseWaiting {
		return 0, false
	}
	return slices.BinarySearchFunc(x.lines[e.lane], e, inSendingOrder)
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
	hourAgo := now.Add(-rateWindow).UnixNano()
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, e := range x.entries {
		if project != "" && project != e.key.Project {
			continue
		}
		l := lane(e.lane, e.provider)
		r.Total++
		r.ByStatus[e.status]++
		l.ByPhase[e.phase]++
		if !e.status.Terminal() {
			r.ActiveCount++
			l.Active++
		}
		switch e.phase {
		case events.PhaseProviderQueued, events.PhaseRunning, events.PhaseCancelling, events.PhaseFetching:
			l.AtProvider++
		case events.PhaseWaiting:
			l.OldestWaitingS = max(l.OldestWaitingS, now.Sub(time.Unix(0, e.created)).Seconds())
		case events.PhaseDone:
			if e.completed < hourAgo {
				break
			}
			switch e.status {
			case events.StatusCompleted:
				l.CompletedLastHour++
			case events.StatusFailed:
				l.FailedLastHour++
			}
		}
	}
	for _, l := range byName {
		l.SentPerMinute = float64(len(x.recentSubmits[l.Lane].since(now)))
		r.Lanes = append(r.Lanes, *l)
	}
	slices.SortFunc(r.Lanes, func(a, b events.LaneQueue) int { return strings.Compare(a.Lane, b.Lane) })
	return r
}
