// Package ordered keeps values in order, and goes through several orders at once. Nothing in it locks.
package ordered

import (
	"sort"

	"github.com/tidwall/btree"
)

// A Tree holds values in some order.
type Tree[T any] = btree.BTreeG[T]

// New returns an empty tree; of two values that compare as equal it holds one.
func New[T any](compare func(a, b T) int) *Tree[T] {
	less := func(a, b T) bool { return compare(a, b) < 0 }
	return btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})
}

// Rank returns how many values of a tree come before the first one that is not before.
func Rank[T any](t *Tree[T], before func(T) bool) int {
	return sort.Search(t.Len(), func(i int) bool {
		e, _ := t.GetAt(i)
		return !before(e)
	})
}

// A Scan goes through trees of one order at once.
type Scan[T any] struct {
	order func(a, b T) int
	heads []*btree.IterG[T]
}

// NewScan begins a scan at the first values that are not before from; nil begins at the start.
func NewScan[T any](order func(a, b T) int, trees []*Tree[T], from *T) *Scan[T] {
	s := &Scan[T]{order: order, heads: make([]*btree.IterG[T], 0, len(trees))}
	for _, t := range trees {
		head := &btree.IterG[T]{} // it may not be copied
		head.Init(t, false)
		if from == nil && head.First() || from != nil && head.Seek(*from) {
			s.heads = append(s.heads, head)
		}
	}
	for i := len(s.heads)/2 - 1; i >= 0; i-- {
		s.sink(i)
	}
	return s
}

// Next returns the next value; false at the end.
func (s *Scan[T]) Next() (v T, ok bool) {
	if len(s.heads) == 0 {
		return v, false
	}
	v = s.heads[0].Item()
	if !s.heads[0].Next() {
		last := len(s.heads) - 1
		s.heads[0] = s.heads[last]
		s.heads = s.heads[:last]
	}
	s.sink(0)
	return v, true
}

// sink puts the head at i into its place: heads is a heap.
func (s *Scan[T]) sink(i int) {
	for {
		first := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(s.heads); child++ {
			if s.order(s.heads[child].Item(), s.heads[first].Item()) < 0 {
				first = child
			}
		}
		if first == i {
			return
		}
		s.heads[i], s.heads[first] = s.heads[first], s.heads[i]
		i = first
	}
}
