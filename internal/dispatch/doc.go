// Package dispatch says which task of a lane is sent next, and when: the order of the waiting tasks, and what a provider grants.
// It is pure: time comes in as a parameter, and nothing here has a clock, a log or a broker.
//
// A Queue is fair between projects, and inside a project goes by priority and age. Between projects it is stride scheduling. Each
// project has a pass, the turn at which it is next; the least goes first, and each task taken moves its project on by a stride that
// is the shorter the greater its weight. A project that comes back from having nothing to do joins at the turn that is on: it
// neither waits for the others' thousands nor has saved up turns.
//
// Inside a project a task gains a point of priority with every Step that it waits. All gain alike, so the order of two tasks never
// changes, and a task of any priority is outranked by younger ones for a limited time only: nothing starves.
//
// A Window counts requests in a window of time, Learned finds a limit that the provider enforces and does not tell, and Flow
// measures for how long a task takes a place at the provider.
package dispatch
