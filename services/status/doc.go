// Package status is reelay's read side: the request-reply API, and the metrics of the whole pipeline.
//
// It is a NATS micro service named "reelay", so `nats micro info reelay` lists every verb with the shape of its request
// and of its answer. Any number of replicas share the requests.
//
// # Freshness
//
// The task of get, wait and timeline is the record read from the bucket for that answer, never older than what the index
// has seen of it; only its queue position comes from elsewhere. Which tasks a list holds, and all numbers of queue, come
// from the index alone: a summary of every record, kept by a watch, usually milliseconds behind. A list shows records as
// the index knows them: it keeps those that were shown of late, and reads those of which it knows a newer one; it leaves
// out a task that has vanished, or no longer matches, by the time it is read. While the watch is interrupted the index
// is stale, Ready is false and a list reads every record; when it is back, records that have gone meanwhile leave the
// index.
//
// Whoever has the acknowledgement of a request is shown what came of it. For a task that is not there, get waits a
// second, and wait as long as it may, while requests are stored that no submitter has taken in; without any it is not
// there. A list waits, for a second at most, for the request that after_request names.
//
// # Order
//
// list answers newest first: created_at descending, then project and id. A cursor names a point in that order, so pages
// that follow it neither repeat nor leave out a task because newer ones have arrived. A queue position is the number of
// tasks that the dispatcher of the lane sends before, as it answers; while it does not it is estimated by priority and
// age.
//
// # Estimates
//
// eta, its range, estimated_wait_s and pace are as of the answer, from what was learned of finished tasks like it: see
// package forecast. For a waiting task the dispatcher of its lane adds when the limits let it through, or how many
// tasks in flight must end before. A task that is blocked for nobody knows how long, which blocked then names, has no
// eta: a pause, an open breaker, a used-up cap, a provider that is unreachable, a lane that no submitter sends for.
// typical in queue is by provider and task type.
//
// # Writes
//
// submit, cancel and resolve publish the same durable messages any client may publish, and wait until the record shows
// their effect or the submitter refuses them. A timeout (504) takes nothing back: the message is stored, and sending it
// again with the same id is the same task. Nothing is published for a request that is wrong in itself or names a task
// that exists already, for a cancel of a task that has ended, or for a decision about one that is not in doubt.
//
// # Money and batches
//
// spend and batch come from the index alone. So does what is counted into the counters of the caps (package spend),
// every 15 seconds and when a cap is set, by every replica: without a status service a cap that was set or changed
// today lets nothing be paid. Every replica that sees a batch done publishes batch_done, if it is not stored and each
// terminal event of its tasks is. A batch counts the rejected requests as well that named it. They are read from the
// stream of events, the newest 100,000 of all batches; the service is ready, and announces, when it knows them and the
// records.
//
// # Operators
//
// lanes, caps, dead and callbacks show what an operator has set and what went wrong; lanes-pause, lanes-resume,
// lanes-limit, caps-set, caps-unset, dead-replay and callbacks-replay change it. A setting is written as it is asked
// for or, with a revision, only while it still has that one; the buckets keep the last 16 with who and why. Dispatchers
// see a pause at once and ask for it again before each paid request. A replay publishes a message at least once, see
// operator.ReplayRequest.
//
// # Limits
//
// 256 requests and 4,000 waits are under way at once in one process; one more is answered 503 "unavailable", and so is
// one of a project that has as many waits as are left for others: alone it may have 2,000. A wait for a task that has
// ended is a request like any other. A list
// answers at most events.MaxListLimit tasks and no more than the server's largest message: a page may be shorter than
// asked for while next_cursor is set. A wait is a map entry and its request, no subscription; it is bounded by
// events.MaxWait, and a service that stops answers it early with the task as it then is.
package status
