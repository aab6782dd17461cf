package dispatch

import (
	"cmp"
	"container/heap"
	"iter"
	"maps"
	"strings"
	"time"

	"reelay/events"
)

const (
	// Step is the time of waiting that counts as much as one point of priority.
	Step = time.Minute
	// MaxWeight is the greatest weight of a project; the least is 1.
	MaxWeight = 1_000

	// unitStride is the stride of a project of weight 1. Strides are whole numbers, so that the order is exact.
	unitStride = 1 << 30
	// maxIdle is how many projects without a task are remembered beyond the busy ones, for the turns they have had.
	maxIdle = 1_000
)

// A Rank is what decides which of two waiting tasks of a project, or of a line, comes first.
type Rank struct {
	Key      events.Key
	Priority int
	// Since is when the task began to wait.
	Since time.Time
}

// Compare orders ranks, first the task that is sent first: by Since, of which each point of priority takes a Step, then
// by key. No two tasks are equal.
func (r Rank) Compare(o Rank) int {
	return cmp.Or(r.effective().Compare(o.effective()), strings.Compare(r.Key.ID, o.Key.ID),
		strings.Compare(r.Key.Project, o.Key.Project))
}

// effective is since when the task waits, with a Step for each point of priority.
func (r Rank) effective() time.Time { return r.Since.Add(-time.Duration(r.Priority) * Step) }

// A projectLine is the line of one project.
type projectLine struct {
	name   string
	line   *node
	pass   int64
	stride int64
	index  int // in busy; -1 while it has no task
}

// A Queue is the tasks that wait. The zero Queue is empty and ready for use. It is not safe for concurrent use.
type Queue struct {
	projects map[string]*projectLine
	busy     busyProjects
	tasks    map[events.Key]Rank
	weights  map[string]int
	// clock is the pass at which the last task was taken.
	clock int64
}

// Len returns how many tasks wait.
func (q *Queue) Len() int { return len(q.tasks) }

// Keys are those of the tasks that wait, in no order.
func (q *Queue) Keys() iter.Seq[events.Key] { return maps.Keys(q.tasks) }

// SetWeights replaces the weights of the projects. One that is not named, or below 1, has weight 1; above MaxWeight
// counts as MaxWeight.
func (q *Queue) SetWeights(weights map[string]int) {
	q.weights = weights
	for name, p := range q.projects {
		p.stride = q.stride(name)
	}
}

func (q *Queue) stride(project string) int64 {
	return unitStride / int64(min(max(q.weights[project], 1), MaxWeight))
}

// Put adds a task, or moves it.
func (q *Queue) Put(t Rank) {
	q.Remove(t.Key)
	if q.tasks == nil {
		q.tasks, q.projects = map[events.Key]Rank{}, map[string]*projectLine{}
	}
	p := q.projects[t.Key.Project]
	if p == nil {
		q.forget()
		p = &projectLine{name: t.Key.Project, stride: q.stride(t.Key.Project), index: -1}
		q.projects[p.name] = p
	}
	q.tasks[t.Key] = t
	p.line = p.line.insert(t)
	if p.index < 0 {
		p.pass = max(p.pass, q.clock)
		heap.Push(&q.busy, p)
	}
}

// Remove takes a task out, if it is there.
func (q *Queue) Remove(k events.Key) {
	t, ok := q.tasks[k]
	if !ok {
		return
	}
	delete(q.tasks, k)
	p := q.projects[k.Project]
	p.line = p.line.remove(t)
	if p.line == nil {
		heap.Remove(&q.busy, p.index)
	}
}

// Take takes the next task out of line. Projects that may not have one now are passed over; they save up no more than
// the one. A nil may lets all. Every project passed over costs as much as one taken.
func (q *Queue) Take(may func(project string) bool) (Rank, bool) {
	var over []*projectLine
	defer func() {
		for _, p := range over {
			p.pass = max(p.pass, q.clock)
			heap.Push(&q.busy, p)
		}
	}()
	for len(q.busy) > 0 {
		p := heap.Pop(&q.busy).(*projectLine)
		if may != nil && !may(p.name) {
			over = append(over, p)
			continue
		}
		t := p.line.first()
		p.line = p.line.remove(t)
		delete(q.tasks, t.Key)
		q.clock = p.pass
		p.pass += p.stride
		if p.line != nil {
			heap.Push(&q.busy, p)
		}
		return t, true
	}
	return Rank{}, false
}

// Ahead returns how many tasks are taken before a task if none comes and no project is passed over; false if it does
// not wait. It takes O(log n) and the number of busy projects.
func (q *Queue) Ahead(k events.Key) (int, bool) {
	t, ok := q.tasks[k]
	if !ok {
		return 0, false
	}
	own := q.projects[k.Project]
	ahead := own.line.ahead(t)
	at := own.pass + int64(ahead)*own.stride
	for _, p := range q.busy {
		if p == own || p.pass > at {
			continue
		}
		turns := (at - p.pass) / p.stride
		if p.pass+turns*p.stride < at || p.name < own.name {
			turns++ // the last of them comes before this one
		}
		ahead += int(min(turns, int64(p.line.size())))
	}
	return ahead, true
}

// OwnAhead returns how many tasks of its own project are taken before a task; false if it does not wait. It takes O(log
// n).
func (q *Queue) OwnAhead(k events.Key) (int, bool) {
	t, ok := q.tasks[k]
	if !ok {
		return 0, false
	}
	return q.projects[k.Project].line.ahead(t), true
}

// Busy returns how many tasks of a project wait.
func (q *Queue) Busy(project string) int {
	if p := q.projects[project]; p != nil && p.line != nil {
		return p.line.size()
	}
	return 0
}

// forget drops the projects that have had nothing to do for so long that nothing needs to be known of them.
func (q *Queue) forget() {
	if len(q.projects) <= len(q.busy)+maxIdle {
		return
	}
	for name, p := range q.projects {
		if p.index < 0 && p.pass <= q.clock {
			delete(q.projects, name)
		}
	}
}

// busyProjects is a heap of the projects that have tasks.
type busyProjects []*projectLine

// Len is for package heap, as are the next four.
func (h busyProjects) Len() int { return len(h) }

func (h busyProjects) Less(i, j int) bool {
	if h[i].pass != h[j].pass {
		return h[i].pass < h[j].pass
	}
	return h[i].name < h[j].name
}

func (h busyProjects) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *busyProjects) Push(x any) {
	p := x.(*projectLine)
	p.index = len(*h)
	*h = append(*h, p)
}

func (h *busyProjects) Pop() any {
	old := *h
	p := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	p.index = -1
	return p
}
