package events

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// EventType is the last token of an event subject.
type EventType string

// The events.
const (
	EventQueued     EventType = "queued"      // a request was accepted and its record created
	EventSubmitted  EventType = "submitted"   // the provider accepted the paid request
	EventProgress   EventType = "progress"    // something a person would notice has changed
	EventInDoubt    EventType = "in_doubt"    // nobody knows whether the provider accepted the paid request
	EventCompleted  EventType = "completed"   // terminal: the result is there
	EventFailed     EventType = "failed"      // terminal: the error says why
	EventCancelled  EventType = "cancelled"   // terminal: cancelled before or by the provider
	EventLateResult EventType = "late_result" // a result arrived after the task had been given up
	EventStored     EventType = "stored"      // the archiver is done: each output is stored or given up
	EventRejected   EventType = "rejected"    // a request or command was refused; no task was changed

	// of a batch: as many of its tasks as were announced have ended or were rejected
	EventBatchDone EventType = "batch_done"
	EventPaused    EventType = "paused"  // of a lane: it sends nothing
	EventResumed   EventType = "resumed" // of a lane: it sends again
)

// EventTypes lists every event type.
func EventTypes() []EventType {
	return []EventType{
		EventQueued, EventSubmitted, EventProgress, EventInDoubt, EventCompleted, EventFailed, EventCancelled,
		EventLateResult, EventStored, EventRejected, EventBatchDone, EventPaused, EventResumed,
	}
}

// Terminal reports whether t ends a task.
func (t EventType) Terminal() bool {
	return t == EventCompleted || t == EventFailed || t == EventCancelled
}

// WithTask reports whether an event of this type brings the whole record.
func (t EventType) WithTask() bool {
	return t.Terminal() || t == EventLateResult || t == EventStored
}

// Valid reports whether t is one of EventTypes.
func (t EventType) Valid() bool { return slices.Contains(EventTypes(), t) }

// EventVersion is the version of the event layout, part of the CloudEvents type.
const EventVersion = 1

func (t EventType) cloudEventType() string {
	about := "task."
	switch t {
	case EventBatchDone:
		about = ""
	case EventPaused, EventResumed:
		about = "lane."
	}
	return "reelay." + about + string(t) + ".v" + strconv.Itoa(EventVersion)
}

// An Event says what happened to a task, a batch or a lane. The payload is plain JSON; the CloudEvents attributes ride
// in headers.
//
// An event of a task names the task and where it runs, what changed and where the task then is. Only completed, failed,
// cancelled, late_result and stored bring the record with its input and result; for more, ask with the get verb.
type Event struct {
	Type    EventType `json:"type"`
	Project string    `json:"project"`
	TaskID  string    `json:"task_id,omitempty"`
	SceneID string    `json:"scene_id,omitempty"`
	// BatchID is the batch of the task. Of a rejected request it and BatchSize are as far as they could be read; one whose
	// id is that of a task of the same batch names none: that task counts; and so does one that may be sent again.
	BatchID   string   `json:"batch_id,omitempty"`
	BatchSize int      `json:"batch_size,omitempty"`
	TaskType  TaskType `json:"task_type,omitempty"`
	Provider  string   `json:"provider,omitempty"`
	// Lane is the lane that the task is sent by, or that is paused or resumed; Project is LanesProject then.
	Lane  string `json:"lane,omitempty"`
	Model string `json:"model,omitempty"`
	// ProviderID is the provider's own id of the task, once it has one.
	ProviderID string `json:"provider_id,omitempty"`

	// Status and Phase are those after the step.
	Status Status `json:"status,omitempty"`
	Phase  Phase  `json:"phase,omitempty"`
	// Version is that of the record after the step the event is about; of a lane, at least the revision of its
	// key, and higher with each such event; else 0.
	Version uint64    `json:"version"`
	Time    time.Time `json:"time"`
	// Message says in words what happened.
	Message string `json:"message,omitempty"`
	// Transition is the step, as the timeline has it; its note is Message.
	Transition *Transition `json:"transition,omitempty"`

	// The position, the end and the progress are as the step has left them. An event that is published after a later step,
	// because a crash had left it out, has none of them.
	QueuePosition      *QueuePosition `json:"queue_position,omitempty"`
	EstimatedWaitS     *float64       `json:"estimated_wait_s,omitempty"`
	ETA                *time.Time     `json:"eta,omitempty"`
	ETAEarliest        *time.Time     `json:"eta_earliest,omitempty"`
	ETALatest          *time.Time     `json:"eta_latest,omitempty"`
	Pace               Pace           `json:"pace,omitempty"`
	ProgressPercentage *float64       `json:"progress_percentage,omitempty"`
	// WaitsFor are the ids of the tasks that it depends on, as the record has them.
	WaitsFor []string `json:"waits_for,omitempty"`
	// Logs are the lines that are new since the last event.
	Logs []LogLine `json:"logs,omitempty"`
	// Cost is as far as it is known when the event is published.
	Cost *Cost `json:"cost,omitempty"`
	// Error is why a request was rejected, a task failed, or an attempt is in doubt or was refused.
	Error *Error `json:"error,omitempty"`

	// RequestDigest identifies what was rejected: a request by Request.Digest; a command, or a request that cannot be
	// decoded or is over a quota, by the SHA-256 of its payload in hex.
	RequestDigest string `json:"request_digest,omitempty"`
	// Blocked is why a lane is paused.
	Blocked *Blocked `json:"blocked,omitempty"`
	// Task is the record when the event was published, as of the step or later, where WithTask says so.
	Task *Task `json:"task,omitempty"`
	// Batch is the batch that is done.
	Batch *Batch `json:"batch,omitempty"`

	// Once is how the event is stored: alone on its subject for ever, else by message id.
	Once bool `json:"-"`
	// Repair says that an earlier step may have published the event: its publisher first asks whether it is stored.
	Repair bool `json:"-"`
	// Traceparent is the W3C trace context of the task, and Notify the endpoints that it names, carried in headers.
	Traceparent string   `json:"-"`
	Notify      []string `json:"-"`
}

// Key returns what the event is about: the key of a task, and in the same form a project and batch, or LanesProject and
// a lane.
func (e Event) Key() Key {
	id := e.TaskID
	switch {
	case e.Batch != nil:
		id = e.Batch.ID
	case e.Project == LanesProject:
		id = e.Lane
	}
	return Key{Project: e.Project, ID: id}
}

// Update returns t as of the event: the record that the event brings, or what is known of it with the state after the
// step. Logs, transitions and attempts of the step are not added: the next answer with the record has them.
func (e Event) Update(t Task) Task {
	if e.Task != nil {
		return *e.Task
	}
	t.Project, t.ID, t.SceneID, t.BatchID, t.TaskType = e.Project, e.TaskID, e.SceneID, e.BatchID, e.TaskType
	t.Provider, t.Lane, t.Model, t.ProviderID = e.Provider, e.Lane, e.Model, e.ProviderID
	t.Status, t.Phase, t.Version, t.Cost = e.Status, e.Phase, e.Version, e.Cost
	t.QueuePosition = e.QueuePosition
	if e.ETA != nil || len(e.WaitsFor) == 0 { // else only an answer tells, and an earlier one still holds
		t.EstimatedWaitS, t.ETA, t.ETAEarliest, t.ETALatest = e.EstimatedWaitS, e.ETA, e.ETAEarliest, e.ETALatest
	}
	t.Pace, t.ProgressPercentage, t.WaitsFor = e.Pace, e.ProgressPercentage, e.WaitsFor
	t.Blocked, t.Trouble = nil, nil // they are of an earlier moment
	return t
}

// Subject returns the subject on which the event is published, stored and heard.
func (e Event) Subject() string { return EventSubject(e.Key(), e.Type) }

// ID identifies the event: <project>/<task, batch or lane>/<version>/<type>, and for a rejection the digest of what was
// rejected and when that was stored: the same may be sent again, and is answered again.
func (e Event) ID() string {
	id := e.Project + "/" + e.Key().ID + "/" + strconv.FormatUint(e.Version, 10) + "/" + string(e.Type)
	if e.RequestDigest != "" && e.Type == EventRejected {
		id += "/" + e.RequestDigest + "/" + e.Time.UTC().Format(time.RFC3339Nano)
	}
	return id
}

// Header names, as in the CloudEvents NATS protocol binding (binary content mode) and in W3C trace context.
const (
	HeaderSpecVersion     = "ce-specversion"
	HeaderType            = "ce-type"
	HeaderSource          = "ce-source"
	HeaderSubject         = "ce-subject"
	HeaderID              = "ce-id"
	HeaderTime            = "ce-time"
	HeaderDataContentType = "ce-datacontenttype"
	HeaderTraceparent     = "traceparent"
)

// Header returns the CloudEvents attributes of e.
func (e Event) Header() map[string]string {
	h := map[string]string{
		HeaderSpecVersion:     "1.0",
		HeaderType:            e.Type.cloudEventType(),
		HeaderSource:          "/reelay/" + e.Project,
		HeaderSubject:         e.Key().ID,
		HeaderID:              e.ID(),
		HeaderTime:            e.Time.UTC().Format(time.RFC3339Nano),
		HeaderDataContentType: "application/json",
	}
	if e.Traceparent != "" {
		h[HeaderTraceparent] = e.Traceparent
	}
	if len(e.Notify) > 0 {
		h[HeaderNotify] = notified(e.Notify)
	}
	return h
}

// DecodeEvent reads an event. ceType is its ce-type header; an empty one is taken from the payload alone. A type or
// version this build does not know is ErrUnknownType, and so is a payload of another type than its header.
func DecodeEvent(ceType string, data []byte) (Event, error) {
	var e Event
	var want EventType
	if ceType != "" {
		i := slices.IndexFunc(EventTypes(), func(t EventType) bool { return t.cloudEventType() == ceType })
		if i < 0 {
			return e, fmt.Errorf("%w: %q", ErrUnknownType, ceType)
		}
		want = EventTypes()[i]
	}
	if err := json.Unmarshal(data, &e); err != nil {
		return e, fmt.Errorf("event: %w", err)
	}
	if !e.Type.Valid() || want != "" && e.Type != want {
		return e, fmt.Errorf("%w: %q in a payload under %q", ErrUnknownType, e.Type, ceType)
	}
	return e, nil
}
