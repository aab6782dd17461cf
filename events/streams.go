package events

import "time"

// Retention says when a stream lets go of a message, in JetStream's terms.
type Retention string

const (
	// Limits keeps messages until an age or size limit.
	Limits Retention = "limits"
	// WorkQueue keeps a message until it is acknowledged.
	WorkQueue Retention = "workqueue"
)

// A Stream describes one JetStream stream. Zero fields mean JetStream's default.
// All streams are file-backed and are created or updated from this table, never deleted or recreated.
type Stream struct {
	Name        string
	Description string
	Subjects    []string
	Retention   Retention
	MaxAge      time.Duration
	// Duplicates is the window in which a repeated Nats-Msg-Id is dropped.
	Duplicates time.Duration
	// MaxMsgsPerSubject 1 keeps one message per subject.
	MaxMsgsPerSubject int64
	// DiscardNew refuses a publish over a limit instead of dropping the oldest message; with a per-subject limit
	// it makes a subject create-only.
	DiscardNew bool
	// KeyValue marks the hand-made KV stream: direct get, rollup, per-message TTL and schedules.
	KeyValue bool
}

// A Consumer describes one durable pull consumer with explicit acks.
type Consumer struct {
	Stream      string
	Durable     string
	Description string
	Filters     []string
	// AckWait is how long a delivery may stay unanswered, without a sign that work goes on, before it is delivered again.
	AckWait time.Duration
	// MaxAckPending bounds the deliveries that are unanswered or delayed by a NAK.
	MaxAckPending int
	// HeadersOnly leaves out the bodies of messages.
	HeadersOnly bool
	// Patient says that messages may wait for long while none is delivered: for a service that is not reelay's.
	Patient bool
	// IdleAge is after how long without a pull the server ends the consumer, and nothing of the stream; 0 for never.
	IdleAge time.Duration
}

// Stream names.
const (
	StreamRequests  = "REELAY_REQUESTS"
	StreamTasks     = "KV_" + TaskBucket
	StreamPolls     = "REELAY_POLLS"
	StreamCallbacks = "REELAY_CALLBACKS"
	StreamEvents    = "REELAY_EVENTS"
	StreamDead      = "REELAY_DEAD"
	StreamClaims    = "REELAY_CLAIMS"

	StreamAdvisories = "REELAY_ADVISORIES"
)

// Consumer names.
const (
	ConsumerIntake    = "intake"
	ConsumerHeartbeat = "heartbeat"
	ConsumerCallbacks = "callbacks"

	ConsumerAdvisories   = "advisories"
	ConsumerDeadRequests = "dead-requests"
)

const (
	// EventAge is how long events are kept.
	EventAge = 30 * 24 * time.Hour
	// RejectedAge is how long a rejected event is kept. Of a project with more than its quota of them (bucket.Quota) the
	// oldest are dropped before.
	RejectedAge = EventAge
	// RecordAge is how long the record of an ended task is kept. It is longer than EventAge, so that a task id is not free
	// again while events of the former task are still stored on its subjects.
	RecordAge = EventAge + 24*time.Hour
	// EventDuplicates is the window in which a repeated event is recognised by its Nats-Msg-Id.
	EventDuplicates = 10 * time.Minute
	// DeadAge is how long messages that could not be processed are kept.
	DeadAge = 90 * 24 * time.Hour
	// AdvisoryAge is how long advisories are kept while no service runs. It is also the window in which REELAY_DEAD
	// recognises a message, so that a dead letter is not stored once more when its advisory is handled.
	AdvisoryAge = 7 * 24 * time.Hour
	// MarkerAge is how long the delete marker of an expired record stays, for watchers to see it.
	MarkerAge = time.Hour
)

// Streams returns every stream of the contract.
func Streams() []Stream {
	return []Stream{
		{
			Name: StreamRequests, Description: "requests and commands of clients",
			// The stream stores everything below the prefixes, so that a malformed subject is refused by an event, not by
			// silence.
			Subjects: []string{requestPrefix + ">", commandPrefix + ">"}, Retention: WorkQueue, DiscardNew: true,
			// The task id is the idempotency key; a wider window would drop the second of two different requests with one id,
			// which has to be refused by an event.
			Duplicates: 100 * time.Millisecond,
		},
		{
			Name: StreamTasks, Description: "task records (KV bucket " + TaskBucket + ") and their heartbeats",
			Subjects: []string{recordPrefix + ">", heartbeatPrefix + ">"}, Retention: Limits, MaxMsgsPerSubject: 1,
			KeyValue: true,
		},
		{
			Name: StreamPolls, Description: "poll tickets: one message per task at a provider",
			Subjects: []string{pollPrefix + ">"}, Retention: WorkQueue, MaxMsgsPerSubject: 1, DiscardNew: true,
		},
		{
			Name: StreamCallbacks, Description: "verified raw provider callbacks",
			// The consumer callbacks is the queue; the stream keeps what it has handled, for people to look at and to replay.
			// A bound by number or size would reserve disk or drop callbacks that are not handled yet, so age is the only
			// one: as for the events of their tasks, so that no poller can be away for so long. A bound that an operator
			// adds drops the oldest, which are handled long since unless every poller is away.
			Subjects: []string{callbackPrefix + ">"}, Retention: Limits, MaxAge: EventAge, DiscardNew: true,
			Duplicates: EventDuplicates,
		},
		{
			Name: StreamEvents, Description: "what happened to every task",
			// The stream stores the subject on which events are heard, so that every client library finds the stream by it.
			Subjects: []string{eventPrefix + ">"}, Retention: Limits, MaxAge: EventAge, Duplicates: EventDuplicates,
		},
		{
			Name: StreamArtifacts, Description: "tasks whose outputs are to be stored: one message each",
			Subjects: []string{artifactPrefix + ">"}, Retention: WorkQueue, MaxMsgsPerSubject: 1, DiscardNew: true,
		},
		{
			Name: StreamWork, Description: "work that costs nothing and is done here: one message per task",
			Subjects: []string{workPrefix + ">"}, Retention: WorkQueue, MaxMsgsPerSubject: 1, DiscardNew: true,
		},
		{
			Name: StreamNotify, Description: "events that are to be sent to webhooks: one message for each event and endpoint",
			Subjects: []string{notifyPrefix + ">"}, Retention: WorkQueue, DiscardNew: true,
			Duplicates: EventDuplicates,
		},
		{
			Name: StreamClaims, Description: "claims: which attempt in doubt took which provider id, one message per id",
			Subjects: []string{claimPrefix + ">"}, Retention: Limits, MaxAge: RecordAge, MaxMsgsPerSubject: 1, DiscardNew: true,
		},
		{
			Name: StreamDead, Description: "messages that could not be processed",
			Subjects: []string{deadPrefix + ">"}, Retention: Limits, MaxAge: DeadAge, Duplicates: AdvisoryAge,
		},
		{
			Name: StreamAdvisories, Description: "what the server says of messages that were given up",
			Subjects: advisorySubjects(), Retention: Limits, MaxAge: AdvisoryAge,
		},
	}
}

// ackWait is how soon the messages are delivered again that a killed process was handling. A handler that takes longer
// reports progress.
const ackWait = 15 * time.Second

// IntakeConsumer is the queue of requests and commands.
func IntakeConsumer() Consumer {
	return Consumer{
		Stream: StreamRequests, Durable: ConsumerIntake, Description: "submitter: requests and commands",
		AckWait: ackWait, MaxAckPending: 1_000,
	}
}

// HeartbeatConsumer is the queue of the heartbeats of all tasks.
func HeartbeatConsumer() Consumer {
	return Consumer{
		Stream: StreamTasks, Durable: ConsumerHeartbeat, Description: "poller: heartbeats of tasks that have not ended",
		Filters: []string{heartbeatPrefix + ">"}, AckWait: ackWait, MaxAckPending: 10_000,
	}
}

// CallbackConsumer is the queue of the provider callbacks of all lanes.
func CallbackConsumer() Consumer {
	return Consumer{
		Stream: StreamCallbacks, Durable: ConsumerCallbacks, Description: "poller: provider callbacks", AckWait: ackWait,
		MaxAckPending: 10_000,
	}
}

// PollConsumer delivers the poll tickets of one lane. A ticket whose redelivery is delayed counts as pending, so
// MaxAckPending is the most tasks that can be at the provider of a lane while all of them are polled.
func PollConsumer(lane string) Consumer {
	return Consumer{
		Stream: StreamPolls, Durable: "poller-" + lane, Description: "poller: tasks at the provider of lane " + lane,
		Filters: []string{PollFilter(lane)}, AckWait: ackWait, MaxAckPending: 1_000_000,
	}
}
