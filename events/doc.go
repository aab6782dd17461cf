// Package events is reelay's contract: every subject, stream, request, record, event and answer that crosses a
// process. It is the most stable thing in the project; clients in Go may import it, others read the JSON.
//
// # Delivery
//
// A request is accepted when JetStream acknowledges it: it is then on disk, and reelay answers it with exactly one
// queued or rejected event, however often it is delivered internally. From queued on, a task ends with exactly one
// of completed, failed and cancelled. Events are stored in the stream REELAY_EVENTS for 30 days, rejected ones for 7 and
// as many of a project as its quota says; a consumer that was away replays them from there, a core NATS subscriber hears
// only what happens while it listens.
//
// # Order
//
// The events of one task are stored in the order of its story: queued before submitted before progress before the
// terminal event. Version, the count of writes of the record, never goes back. A late_result follows the terminal
// event, stored follows completed or late_result. Nothing is promised about the order between tasks.
//
// # Duplicates
//
// Events are published, stored and heard on one subject, so every client library finds REELAY_EVENTS by it. The stream
// stores each exactly once: an event that happens once is the only message of its subject for ever; any other
// (progress, a rejection, a lane that pauses) carries a message id, which the stream recognises for ten minutes. A
// JetStream consumer is handed each event once and in order.
//
// A core subscriber hears what is published. It may hear an event twice, when two services did not know of each other
// or a crash had it published again; and it may hear one whose storing failed, which is repeated later as long as it
// still says what is so. Both carry the same id in the ce-id header. It misses what is published while it is not
// connected.
//
// # Payloads
//
// An event of a task names the task (project, task_id, scene_id, batch_id) and where it runs (provider, lane, model,
// task_type), says what changed (transition, message) and where the task then is: status, phase, version, queue
// position, end, pace, progress, cost, the log lines that are new, and an error where there is one. completed, failed,
// cancelled, late_result and stored bring the whole record in task, as it is when they are published; of any other event the
// record is asked for with the get verb. An event that is published only after a later step, because a crash had left
// it out, tells of its own step and leaves out position, end, pace and progress.
//
// The files of a completed task are in task.result.outputs. What it has made that is no file is in task.result.values:
// a voice task has made values.voice_id, which requests for speech name. The provider's own answer is in
// task.result.raw.
//
// rejected names what was refused by its request_digest and says why in error; batch_done brings the batch in batch,
// paused what keeps the lane in blocked.
//
// # Dependencies
//
// A request can name tasks of its project that must have ended before it is sent (after), and stand with references for
// what they make (Reference). They may be asked for in any order. The task is queued and waits, with what it waits for
// in waits_for; when they have ended, a progress event says so. When one of them fails or is cancelled, the task fails as
// dependency_failed with charge none, unless on_dependency is ignore. A result that came late counts as a result for
// tasks that are asked for after it. Requests that wait for each other are refused as dependency_cycle; where that is
// noticed only when all of them are tasks, they fail as that.
//
// # Input and want
//
// A request says what to make either in the provider's own words, input, which are passed on untouched, or in want, whose
// words are the same for every model. A want is refused with code unsupported, before anything is paid, where the model
// cannot fulfil it: field names the wish and allowed what could be wished for. Of a lenient request such wishes are left
// out instead and named in the record's warnings. The record holds both want and the input that was made of it.
//
// # Files
//
// A request can name files of its project that were handed in: in input_files, as a picture of a want, or by a
// FileReference anywhere inside its input. They are handed in by the upload verb, or as objects of InputBucket by whoever
// may write there; the URL of an object in a bucket that the operator allows, such as s3://bucket/frame.png, stands for a
// copy of it, which the archiver makes. The record's input has the references with the SHA-256 of the files, which are part of what the request
// is; attempts have what each provider was sent in their place.
//
// # Outputs
//
// The provider's links to the outputs die within minutes or days. completed comes as soon as the result is known. The
// archiver then copies each output into reelay's own store, and stored tells, once for a task that has outputs, that it
// is done: each output has stored true, with its place, SHA-256, size and measures, or stored false and the reason. What
// cannot be stored never makes a failure of a task that was paid for. With keep "required" the task is in phase storing
// until then, and completed comes with the stored outputs, or without them when the timeout passes first. The links
// verb gives links to stored outputs that whoever has them can read.
//
// # Batches and lanes
//
// batch_done is published once for a batch, on reelay.event.<project>.<batch>.batch_done, when as many of its tasks as
// its requests announced have ended or were rejected. It is stored after the terminal events of these tasks. A
// rejection counts by its task id, once, as long as its event is kept and no task of the batch has the id; a request
// without an id that is sent anew is another. Requests added to the batch later do not retract batch_done.
//
// paused and resumed tell that a provider account is no longer sent to and that it is again, whether a pause or the
// breaker is the reason, on reelay.event._lanes.<lane>.<event>, once for each change.
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
//
// # How to add an event
//
//   - event.go: the constant, EventTypes, cloudEventType if it is not of a task, WithTask if it brings the record, a
//     field of Event for what it tells alone;
//   - fixtures_test.go and testdata/v1: its golden (go test ./events -update);
//   - internal/task/arrows.go: the arrow whose step it derives from; internal/task/emit.go then makes it. One of a
//     batch or a lane is published by its service instead (services/status/batch.go, services/submitter);
//   - internal/test/chaos/judge.go and internal/test/sim: how often and after what it may come;
//   - cmd/reelay/watch.go, and internal/manual/subjects.md: how people see it.
package events
