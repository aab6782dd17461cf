package dispatch

import (
	"math/rand/v2"

	"reelay/events"
)

// A Line is waiting tasks in the order of their ranks, whatever their projects. The zero Line is empty and
// ready for use. It is not safe for concurrent use. Each call takes O(log n).
type Line struct {
	root  *node
	tasks map[events.Key]Rank
}

// Len returns how many tasks there are.
func (l *Line) Len() int { return len(l.tasks) }

// Put adds a task, or moves it.
func (l *Line) Put(t Rank) {
	l.Remove(t.Key)
	if l.tasks == nil {
		l.tasks = map[events.Key]Rank{}
	}
	l.tasks[t.Key] = t
	l.root = l.root.insert(t)
}

// Remove takes a task out, if it is there.
func (l *Line) Remove(k events.Key) {
	if t, ok := l.tasks[k]; ok {
		delete(l.tasks, k)
		l.root = l.root.remove(t)
	}
}

// First returns the first task; false of an empty line.
func (l *Line) First() (Rank, bool) {
	if l.root == nil {
		return Rank{}, false
	}
	return l.root.first(), true
}

// Ahead returns how many tasks are before one; false if it is not there.
func (l *Line) Ahead(k events.Key) (int, bool) {
	t, ok := l.tasks[k]
	if !ok {
		return 0, false
	}
	return l.root.ahead(t), true
}

// A node is a subtree of a line: a treap, balanced by chance, that knows its size and so how many are before each task.
// A nil node is empty.
type node struct {
	rank        Rank
	weight      uint64
	count       int
	left, right *node
}

func (n *node) size() int {
	if n == nil {
		return 0
	}
	return n.count
}

// join makes a node of its parts.
func (n *node) join(left, right *node) *node {
	n.left, n.right = left, right
	n.count = 1 + left.size() + right.size()
	return n
}

// split parts the line at a task: those before it, and the others.
func (n *node) split(t Rank) (before, rest *node) {
	if n == nil {
		return nil, nil
	}
	if n.rank.Compare(t) < 0 {
		before, rest = n.right.split(t)
		return n.join(n.left, before), rest
	}
	before, rest = n.left.split(t)
	return before, n.join(rest, n.right)
}

// merge puts a line behind another.
func merge(a, b *node) *node {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.weight > b.weight:
		return a.join(a.left, merge(a.right, b))
	}
	return b.join(merge(a, b.left), b.right)
}

// insert adds a task. It must not be there.
func (n *node) insert(t Rank) *node {
	before, rest := n.split(t)
	return merge(merge(before, &node{rank: t, weight: rand.Uint64(), count: 1}), rest)
}

// remove takes out a task that is there.
func (n *node) remove(t Rank) *node {
	switch {
	case t.Compare(n.rank) < 0:
		return n.join(n.left.remove(t), n.right)
	case n.rank.Compare(t) < 0:
		return n.join(n.left, n.right.remove(t))
	}
	return merge(n.left, n.right)
}

// first returns the first task of a line that is not empty.
func (n *node) first() Rank {
	for n.left != nil {
		n = n.left
	}
	return n.rank
}

// ahead returns how many tasks are before t.
func (n *node) ahead(t Rank) int {
	before := 0
	for n != nil {
		if n.rank.Compare(t) < 0 {
			before += 1 + n.left.size()
			n = n.right
		} else {
			n = n.left
		}
	}
	return before
}
