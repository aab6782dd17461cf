// Package fair says whose turn it is: an order of the waiting tasks of one queue that is fair between projects, and inside a
// project goes by priority and age. It is a data structure without clock or lock; each operation takes O(log n).
//
// Between projects it is stride scheduling. Each project has a pass, the turn at which it is next; the least goes first, and
// each task taken moves its project on by a stride that is the shorter the greater its weight. A project that comes back from
// having nothing to do joins at the turn that is on: it neither waits for the others' thousands nor has saved up turns.
//
// Inside a project a task gains a point of priority with every Step that it waits. All gain alike, so the order of two tasks
// never changes, and a task of any priority is outranked by younger ones for a limited time only: nothing starves.
package fair
