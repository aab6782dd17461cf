package console

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"reelay/events"
	"reelay/events/client"
)

const (
	// maxParts bounds the tasks that the page of what a task is made of reads, maxReads how many at once.
	maxParts = 60
	maxReads = 8
	// maxPlayers bounds the outputs that one page plays.
	maxPlayers = 24
)

// A node is a task in a tree: it waits for its parts, or has.
type node struct {
	Project, ID string
	// Task is nil of one that is not known here: nobody has asked for it yet, or it is not of the page.
	Task  *events.Task
	Parts []*node
	// Again says that its own parts are shown further up.
	Again bool
}

// forest returns tasks as trees: each below those that wait for it, as they are named by after and $from. Those that
// nothing waits for stand at the top, in the order given.
func forest(project string, tasks []events.Task) (roots []*node) {
	byID := map[string]*events.Task{}
	waited := map[string]bool{}
	for i := range tasks {
		byID[tasks[i].ID] = &tasks[i]
		for _, id := range tasks[i].After {
			waited[id] = true
		}
	}
	shown := map[string]bool{}
	var grow func(id string) *node
	grow = func(id string) *node {
		n := &node{Project: project, ID: id, Task: byID[id]}
		if n.Task == nil {
			return n
		}
		if n.Again = shown[id]; n.Again {
			return n
		}
		shown[id] = true
		for _, part := range n.Task.After {
			n.Parts = append(n.Parts, grow(part))
		}
		return n
	}
	for _, t := range tasks {
		if !waited[t.ID] {
			roots = append(roots, grow(t.ID))
		}
	}
	for _, t := range tasks { // what waits for itself, through others, until it is refused
		if !shown[t.ID] {
			roots = append(roots, grow(t.ID))
		}
	}
	return roots
}

// A made is what one task of a page has made.
type made struct {
	Task    events.Task
	Outputs []output
	// Final says that nothing on the page waits for it.
	Final bool
}

// allMade returns what the tasks of trees have made, the final files first. left counts the tasks that are left out.
func allMade(roots []*node) (all []made, left int) {
	var parts []made
	var walk func(n *node, final bool)
	walk = func(n *node, final bool) {
		if n.Task == nil || n.Again {
			return
		}
		m := made{Task: *n.Task, Outputs: outputs(*n.Task), Final: final}
		switch {
		case len(m.Outputs) == 0:
		case final:
			all = append(all, m)
		default:
			parts = append(parts, m)
		}
		for _, part := range n.Parts {
			walk(part, false)
		}
	}
	for _, n := range roots {
		walk(n, true)
	}
	all = append(all, parts...)
	left = max(0, len(all)-maxPlayers)
	return all[:len(all)-left], left
}

// treeData is what a page shows that has a tree: of a batch, or of what a task is made of.
type treeData struct {
	Roots []*node
	Made  []made
	Left  int
	Empty string
	Next  string
}

func newTree(project string, tasks []events.Task, empty string) treeData {
	d := treeData{Roots: forest(project, tasks), Empty: empty}
	d.Made, d.Left = allMade(d.Roots)
	return d
}

// partsData is what a task is made of: a segment, or whatever waits for others.
type partsData struct {
	Task events.Task
	treeData
	Band                   *band
	Ended, Total           int
	SpentUSD, EstimatedUSD float64
	// More says that there are parts which were not read.
	More bool
}

func (s *Service) parts(ctx context.Context, r *http.Request) (string, any, error) {
	k := taskKey(r)
	tasks, more, err := s.withParts(ctx, k)
	if err != nil {
		return "", nil, err
	}
	d := partsData{Task: tasks[0], treeData: newTree(k.Project, tasks, ""), Total: len(tasks), More: more}
	for _, t := range tasks {
		if t.Status.Terminal() {
			d.Ended++
		}
		d.SpentUSD += t.SpentUSD()
		if t.Cost != nil && t.Cost.EstimatedUSD != nil {
			d.EstimatedUSD += *t.Cost.EstimatedUSD
		}
	}
	return "Parts of " + k.ID, d, nil
}

// withParts reads a task and those that it waits for, through others, the task itself first. more says that there are
// more than maxParts.
func (s *Service) withParts(ctx context.Context, k events.Key) (all []events.Task, more bool, err error) {
	t, err := s.client.Get(ctx, k)
	if err != nil {
		return nil, false, err
	}
	all = []events.Task{t}
	asked := map[string]bool{k.ID: true}
	for next := t.After; len(next) > 0; {
		next = slices.DeleteFunc(slices.Clone(next), func(id string) bool { return asked[id] })
		next = slices.Compact(slices.Sorted(slices.Values(next)))
		if room := maxParts - len(asked); len(next) > room {
			next, more = next[:max(0, room)], true
		}
		for _, id := range next {
			asked[id] = true
		}
		found, err := s.getAll(ctx, k.Project, next)
		if err != nil {
			return nil, false, err
		}
		all = append(all, found...)
		next = nil
		for _, t := range found {
			next = append(next, t.After...)
		}
	}
	return all, more, nil
}

// getAll reads tasks of a project; those that do not exist are left out.
func (s *Service) getAll(ctx context.Context, project string, ids []string) (all []events.Task, err error) {
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(maxReads)
	for _, id := range ids {
		g.Go(func() error {
			t, err := s.client.Get(ctx, events.Key{Project: project, ID: id})
			var refused *client.Error
			if errors.As(err, &refused) && refused.Status == http.StatusNotFound {
				return nil
			}
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, t)
			return nil
		})
	}
	err = g.Wait()
	slices.SortFunc(all, func(a, b events.Task) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return all, err
}
