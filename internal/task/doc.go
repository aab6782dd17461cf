// Package task is reelay's state machine: Apply(record, trigger) gives the next record, the events to publish and what
// has to exist outside the record. It has no clock and does no I/O; time comes in on the trigger. Every service goes
// load, Apply, compare-and-set, publish, acknowledge, in this order, so a crash anywhere repeats the trigger, and a
// trigger that finds its work done changes nothing and returns the events that are due already.
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
//   - At most one terminal state, and nothing leaves it. A result that arrives after reelay gave a task up is kept
//     beside it as a late result.
//   - A new paid attempt is opened only when every former one is proven free, or when the request's max_paid_attempts
//     or a person allows another.
//   - Evidence that the provider accepted an attempt may come from anyone, in any order, any number of times. Evidence
//     that it did not counts only from the owner of the attempt.
//   - A submit that nobody reports on becomes in_doubt, never waiting.
//   - An answer that is itself the result is kept with its attempt, and ends the task in the step that adopts it.
//   - A poll that fails, an unknown word, a first "not found" never end a task.
//   - An announced position and end are for people. No other step depends on them, save that a cap that is reached
//     again is announced again if a position was in between.
//   - No intent is granted to a task that waits for others or for a time.
//   - A note is for people. What code compares has a field with a type.
//
// # What happens when
//
// A result whose outputs have to be stored before the task may complete (keep: required) leads to storing, and from
// there to completed by the archiver's report, or when the timeout passes (not in the picture). Whatever became of the
// outputs, and of any other task's after its end, is told by stored.
//
// The queue position and the end of a waiting task are announced whenever they have moved so far that a person would
// notice (positioned, not in the picture: it leads back to waiting). They are dropped when the task is sent.
//
// Accepted with a Result takes two arrows at once, accepted and succeed or fail: both events are published.
//
// A task that depends on others leaves waiting only once they have ended (dependencies_ended, not in the picture: it
// leads back to waiting; dependency_failed ends it). Its timeouts begin then. Until then only the absence of one of
// them lets a deadline end it: those that are known have deadlines of their own.
//
// A deadline that passes while a task waits ends it. At the provider it asks for a cancel first, gives the provider
// CancelGrace to say how the task ended, then fails it as deadline_exceeded and goes on polling for LatePolling. In
// doubt, no deadline ends a task: the provider's horizon and the request's policy do.
package task
