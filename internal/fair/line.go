package fair

import "math/rand/v2"

// A node is a subtree of one project's line: a treap, balanced by chance, that knows its size and so the place of each task.
// A nil node is empty.
type node struct {
	task        Task
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
func (n *node) split(t Task) (before, rest *node) {
	if n == nil {
		return nil, nil
	}
	if n.task.before(t) {
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

// insert puts a task in its place. It must not be there.
func (n *node) insert(t Task) *node {
	before, rest := n.split(t)
	return merge(merge(before, &node{task: t, weight: rand.Uint64(), count: 1}), rest)
}

// remove takes out a task that is there.
func (n *node) remove(t Task) *node {
	switch {
	case t.before(n.task):
		return n.join(n.left.remove(t), n.right)
	case n.task.before(t):
		return n.join(n.left, n.right.remove(t))
	}
	return merge(n.left, n.right)
}

// first returns the first task of a line that is not empty.
func (n *node) first() Task {
	for n.left != nil {
		n = n.left
	}
	return n.task
}

// rank returns how many tasks stand before t.
func (n *node) rank(t Task) int {
	before := 0
	for n != nil {
		if n.task.before(t) {
			before += 1 + n.left.size()
			n = n.right
		} else {
			n = n.left
		}
	}
	return before
}
