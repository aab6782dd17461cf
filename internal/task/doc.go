// Package task is reelay's state machine: Apply(record, trigger) gives the next record, the events to publish and what
// has to exist outside the record. It has no clock and does no I/O; time comes in on the trigger. Every service goes
// load, Apply, compare-and-set, publish, acknowledge, in this order, so a crash anywhere repeats the trigger, and a trigger
// that finds its work done changes nothing and returns the events that are due already.
//
//	             accept
//	               v
//	          +---------+  intend    +------------+
//	          | waiting | ---------> | submitting |
//	          |         | <--------- |            |
//	          +---------+  release,  +------------+
//	            |  ^    refused_wait   |  |  |  accepted
//	cancelled,  |  |                   |  |  +---------------------+
//	expired     |  | resubmit    doubt,|  | refused                |
//	            |  |           overdue |  |                        v
//	            |  |   +----------+ <--+  |               +-----------------+  run   +---------+
//	            |  +---| in_doubt |-------|-------------> | provider_queued | -----> | running |
//	            |  |   +----------+ accepted (by anyone)  |                 | <----- |         |
//	            |  |        | park       |         ^       +-----------------+  requeue---------+
//	            |  |        v            |         |          |  |                     |  |
//	            |  |   +----------+      |         |          |  | cancel, expire      |  | fetch
//	            |  +---|  parked  |------|---------+          |  v                     v  v
//	            |      +----------+      |              +------------+           +----------+
//	            |           | write_off  |              | cancelling |           | fetching |
//	            v           v            v              +------------+           +----------+
//	          +--------------------------------------------------------------------------------+
//	          | done: completed | failed | cancelled                 (late_result stays here)  |
//	          +--------------------------------------------------------------------------------+
//
// # What it promises
//
//   - At most one terminal state, and nothing leaves it. A result that arrives after reelay gave a task up is kept beside
//     it as a late result.
//   - A new paid attempt is opened only when every former one is proven free, or when the request's max_paid_attempts or a
//     person allows another.
//   - Evidence that the provider accepted an attempt may come from anyone, in any order, any number of times. Evidence
//     that it did not counts only from the owner of the attempt.
//   - A submit that nobody reports on becomes in_doubt, never waiting.
//   - A look that fails, an unknown word, a first "not found" never end a task.
//   - What a task is told of its place and its end is for people. No other step depends on it, save that a task held for the same
//     reason as before is told so again if it was told a place in between.
//
// # What happens when
//
// A task that waits is told its place and its end whenever these have moved so far that a person would notice (placed, not in the
// picture: it leads back to waiting). It is forgotten when the task is sent.
//
// A deadline that passes while a task waits ends it. At the provider it asks for a cancel first, gives the provider
// CancelGrace to say how the task ended, then fails it as deadline_exceeded and goes on watching for LateWatch. In doubt,
// no deadline ends a task: the provider's horizon and the request's policy do.
package task
