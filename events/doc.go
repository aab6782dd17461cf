// Package events is reelay's contract: every subject, stream, request, record, event and answer that crosses a
// process. It is the most stable thing in the project; clients in Go may import it, others read the JSON.
//
// # Delivery
//
// A request is accepted when JetStream acknowledges it: it is then on disk, and reelay answers it with exactly one
// queued or rejected event, however often it is delivered internally. From queued on, a task ends with exactly one
// of completed, failed and cancelled. Events are stored in the stream REELAY_EVENTS for 30 days; a consumer that was
// away replays them from there, a core NATS subscriber hears only what happens while it listens.
//
// # Order
//
// The events of one task are stored in the order of its story: queued before submitted before progress before the
// terminal event. Version, the count of writes of the record, never goes back. A late_result follows the terminal event.
// Nothing is promised about the order between tasks.
//
// # Duplicates
//
// Events are published, stored and heard on one subject, so every client library finds REELAY_EVENTS by it. The stream stores each
// exactly once: an event that happens once is the only message of its subject for ever; any other (progress, a rejection, a lane that
// pauses) carries a message id, which the stream recognises for ten minutes. A JetStream consumer is handed each event once and in order.
//
// A core subscriber hears what is published. It may hear an event twice, when two services did not know of each other or a crash
// had it published again; and it may hear one whose storing failed, which is repeated later as long as it still says what is so. Both carry
// the same id in the ce-id header. It misses what is published while it is not connected.
//
// The task inside an event is the record when the event was published: as of that step, or later if its publisher had to be restarted.
//
// # Batches and lanes
//
// batch_done is published once for a batch, on reelay.event.<project>.<batch>.batch_done, when as many of its tasks as its requests
// announced have ended or were rejected. It is stored after the terminal events of these tasks. A rejection counts by its task id, once,
// as long as its event is kept and no task of the batch has the id; a request without an id that is sent anew is another. Requests added
// to the batch later do not retract batch_done.
//
// paused and resumed tell that a provider account is no longer sent to and that it is again, whether a switch or the breaker is the
// reason, on reelay.event._lanes.<lane>.<event>, once for each change.
//
// # Slow consumers
//
// Nothing in reelay waits for a subscriber of events. A JetStream consumer that falls behind reads on later, up to 30
// days; a slow core subscriber is cut off by the NATS server and misses what it did not read.
//
// # Versions
//
// The ce-type header ends in the version of the event layout. Fields are added without a new version, so readers must
// ignore those they do not know; a reader refuses a version it does not know (ErrUnknownType).
package events
