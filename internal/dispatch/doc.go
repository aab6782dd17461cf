// Package dispatch says which task of a lane is sent next, when, and why another is not. It is pure, as package task
// is: time comes in as a parameter, and nothing here has a clock, a log or a broker. What it knows are records, limits
// and what the provider has answered; what only the service knows (may money be spent, is the breaker open) comes in
// with each question, as an Outside.
//
// A Lane has a group for the models that share limits, a group has a Queue of the tasks that wait for their turn and a
// Line of those that may not be sent before a time. Whether a task is sent is decided by checks (admit.go), each of
// which is coded once: Next takes the first task whose checks let it through, Blocked and an Estimator report the worst
// that does not, and an Estimator predicts when they all will. So what is reported as the reason is what stops a task,
// and what is predicted is what is decided later.
//
// # Order
//
// A Queue is fair between projects, and inside a project goes by Rank: priority and age. Between projects it is stride
// scheduling. Each project has a pass, the turn at which it is next; the least goes first, and each task taken moves
// its project on by a stride that is the shorter the greater its weight. A project that comes back from having nothing
// to do joins at the turn that is on: it neither waits for the others' thousands nor has saved up turns.
//
// Inside a project a task gains a point of priority with every Step that it waits. All gain alike, so the order of two
// tasks never changes, and a task of any priority is outranked by younger ones for a limited time only: nothing
// starves.
//
// # Limits
//
// A Window counts requests in a window of time, from before they are sent until one window after their answer, so that
// the provider never sees more than the limit. An AdaptiveLimit finds a limit that the provider enforces and does not
// tell, by what it accepts and refuses. While it refuses, one request at a time is sent; tasks keep their order as long as
// it refuses whatever is sent, for some minutes. A ServiceTime measures how long a task is in flight.
package dispatch
