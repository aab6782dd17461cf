package events

import (
	"bytes"
	"slices"
	"time"
)

// Verb is one endpoint of the request-reply API, reelay.api.<verb>.<project>[.<task>].
type Verb string

// The verbs.
const (
	VerbSubmit   Verb = "submit"   // .<project>.<task_type>: a Request in, a TaskReply out
	VerbGet      Verb = "get"      // .<project>.<task>: TaskReply
	VerbList     Verb = "list"     // [.<project>]: a ListRequest in, a ListReply out
	VerbQueue    Verb = "queue"    // [.<project>]: QueueReply
	VerbTimeline Verb = "timeline" // .<project>.<task>: TimelineReply
	VerbWait     Verb = "wait"     // .<project>.<task>: a WaitRequest in, a TaskReply out
	VerbCancel   Verb = "cancel"   // .<project>.<task>: a Cancel in, a TaskReply out
	VerbResolve  Verb = "resolve"  // .<project>.<task>: a Resolve in, a TaskReply out
	VerbSpend    Verb = "spend"    // [.<project>]: a SpendRequest in, a SpendReply out
	VerbBatch    Verb = "batch"    // .<project>.<batch>: a Batch out
	VerbLinks    Verb = "links"    // .<project>.<task>: a LinksRequest in, a LinksReply out
	VerbUpload   Verb = "upload"   // .<project>: an UploadRequest in, an UploadReply out
	VerbCopy     Verb = "copy"     // .<project>: a CopyRequest in, an Input out; for reelay's own services
	VerbErase    Verb = "erase"    // .<project>.<task>: an EraseRequest in, an EraseReply out
	VerbModels   Verb = "models"   // .<project>: a ModelsRequest in, a ModelsReply out
	VerbQuote    Verb = "quote"    // .<project>: a QuoteRequest in, a QuoteReply out
)

// TaskReply answers submit, get, wait, cancel and resolve.
type TaskReply struct {
	Task Task `json:"task"`
}

// ErrorReply is the body of every error; the Nats-Service-Error and Nats-Service-Error-Code headers carry its text and
// an HTTP-like number.
type ErrorReply struct {
	Error Error `json:"error"`
}

const (
	// DefaultListLimit and MaxListLimit bound the tasks of one list answer.
	DefaultListLimit = 50
	MaxListLimit     = 200
	// DefaultWait and MaxWait bound one wait.
	DefaultWait = 30 * time.Second
	MaxWait     = 5 * time.Minute
)

// A ListRequest filters tasks. Every field may be left out; an empty payload lists everything, newest first.
type ListRequest struct {
	Status   []Status   `json:"status,omitempty"`
	Phase    []Phase    `json:"phase,omitempty"`
	SceneID  string     `json:"scene_id,omitempty"`
	Provider string     `json:"provider,omitempty"`
	Model    string     `json:"model,omitempty"`
	BatchID  string     `json:"batch_id,omitempty"`
	Since    *time.Time `json:"since,omitempty"`
	Limit    int        `json:"limit,omitempty"`
	Cursor   string     `json:"cursor,omitempty"`
	// AfterRequest is the sequence in the acknowledgement of a request: list answers when that has been taken in and is
	// in its answer, or after a second.
	AfterRequest uint64 `json:"after_request,omitempty"`
}

// DecodeListRequest reads and checks a list request. Its error is a FieldError.
func DecodeListRequest(data []byte) (ListRequest, error) {
	r := ListRequest{}
	if len(bytes.TrimSpace(data)) > 0 {
		err := DecodeStrict(data, "payload", map[string]any{
			"status": &r.Status, "phase": &r.Phase, "scene_id": &r.SceneID, "provider": &r.Provider, "model": &r.Model,
			"batch_id": &r.BatchID, "since": &r.Since, "limit": &r.Limit, "cursor": &r.Cursor,
			"after_request": &r.AfterRequest,
		})
		if err != nil {
			return r, err
		}
	}
	if r.Limit < 0 || r.Limit > MaxListLimit {
		return r, fieldError("limit", "%d is not between 1 and %d", r.Limit, MaxListLimit)
	}
	if r.Limit == 0 {
		r.Limit = DefaultListLimit
	}
	for _, s := range r.Status {
		if !slices.Contains(Statuses(), s) {
			return r, fieldError("status", "%q is not one of %s", s, joined(Statuses()))
		}
	}
	for _, p := range r.Phase {
		if !slices.Contains(Phases(), p) {
			return r, fieldError("phase", "%q is not one of %s", p, joined(Phases()))
		}
	}
	return r, nil
}

// ListReply answers list. NextCursor is empty on the last page.
type ListReply struct {
	Tasks      []Task `json:"tasks"`
	NextCursor string `json:"next_cursor"`
}

// QueueReply answers queue.
type QueueReply struct {
	// Total counts all records that are kept, ended ones included; ActiveCount those that have not ended.
	Total       int            `json:"total"`
	ByStatus    map[Status]int `json:"by_status"`
	ActiveCount int            `json:"active_count"`
	Lanes       []LaneQueue    `json:"lanes"`
}

// LaneQueue is the depth of one provider account.
type LaneQueue struct {
	Lane     string        `json:"lane"`
	Provider string        `json:"provider"`
	ByPhase  map[Phase]int `json:"by_phase"`
	// Active counts the tasks that have not ended, AtProvider those the provider has accepted of them.
	Active     int `json:"active"`
	AtProvider int `json:"at_provider"`
	// CompletedLastHour and FailedLastHour count the tasks that ended in the last hour.
	CompletedLastHour int `json:"completed_last_hour"`
	FailedLastHour    int `json:"failed_last_hour"`
	// OldestWaitingS is the age, in seconds, of the task that waits longest for its submit.
	OldestWaitingS float64 `json:"oldest_waiting_s"`
	// Callbacks is how well the provider's callbacks arrive; absent where none was asked for in the last hour.
	Callbacks *CallbackHealth `json:"callbacks,omitempty"`
	// Detection is how soon ends are noticed, and by how many polls; absent where no task ended in the last hour.
	Detection *Detection `json:"detection,omitempty"`
	// SentPerMinute is how many paid requests the provider has accepted in the last minute.
	SentPerMinute float64 `json:"sent_per_minute,omitempty"`
	// Blocked are what keeps waiting tasks of the lane from being sent now, those of the whole lane first; empty where
	// they are sent as they come.
	Blocked []Blocked `json:"blocked,omitempty"`
	// Typical is how long the provider takes, by task type; types that nothing was learned of are left out.
	Typical map[TaskType]Typical `json:"typical,omitempty"`
}

// CallbackHealth is how well a provider's callbacks arrive, learned from the ends of tasks that had asked for one; the
// newest count most.
type CallbackHealth struct {
	// MissRate is the share of ends that a poll had to find, 0 to 1.
	MissRate float64 `json:"miss_rate"`
	// LagS is how far behind callbacks are, in seconds: from their receipt to the record, or from the end that a poll had
	// found before.
	LagS float64 `json:"lag_s"`
	// Seen counts the ends that were seen.
	Seen int `json:"seen"`
}

// Detection is how soon it is known that a provider has finished a task, learned from the ends of the lane's tasks; about
// the last fifty count.
type Detection struct {
	// LagS is the mean time, in seconds, for which an end is not known: from the receipt of its callback to the record, or
	// half the usual gap before the poll that found it, as no provider tells when the task had ended.
	LagS float64 `json:"lag_s"`
	// PollsPerTask is the number of polls for each task that ended.
	PollsPerTask float64 `json:"polls_per_task"`
	// Seen counts the ends that were seen.
	Seen int `json:"seen"`
}

// LaneHealth is what one poller has learned of a lane, as it is stored (bucket.Health).
type LaneHealth struct {
	CallbackHealth
	Detection Detection `json:"detection"`
}

// TimelineReply answers timeline: who decided what, when.
type TimelineReply struct {
	TaskID string `json:"task_id"`
	// RetryOf is the task that this one repeats, RetriedBy the tasks that repeat it, in order of their ids.
	RetryOf     string       `json:"retry_of,omitempty"`
	RetriedBy   []string     `json:"retried_by,omitempty"`
	Transitions []Transition `json:"transitions"`
	Attempts    []Attempt    `json:"attempts,omitempty"`
}

// A WaitRequest bounds a wait; an empty payload waits DefaultWait.
type WaitRequest struct {
	Timeout Duration `json:"timeout,omitempty"`
}

// DecodeWaitRequest reads and checks a wait request. Its error is a FieldError.
func DecodeWaitRequest(data []byte) (WaitRequest, error) {
	var r WaitRequest
	if len(bytes.TrimSpace(data)) > 0 {
		if err := DecodeStrict(data, "payload", map[string]any{"timeout": &r.Timeout}); err != nil {
			return r, err
		}
	}
	if r.Timeout < 0 || time.Duration(r.Timeout) > MaxWait {
		return r, fieldError("timeout", "%v is not between 0 and %v", time.Duration(r.Timeout), MaxWait)
	}
	if r.Timeout == 0 {
		r.Timeout = Duration(DefaultWait)
	}
	return r, nil
}

// A Batch is the tasks of one project that were asked for under one batch id. It answers batch, and is part of
// batch_done. A batch and a task may have the same id: their events then share all of the subject but its last token.
type Batch struct {
	Project string `json:"project"`
	ID      string `json:"batch_id"`
	// Announced is the largest batch_size of its requests; 0 while none has named one.
	Announced int `json:"announced"`
	// Total counts the tasks that were accepted, Ended those of them that have ended.
	Total int `json:"total"`
	Ended int `json:"ended"`
	// Rejected counts the task ids of rejected requests that no task of the batch has. They are in no other number.
	Rejected int `json:"rejected"`
	// ByStatus has a number for every status, 0 included.
	ByStatus map[Status]int `json:"by_status"`
	// CostUSD is what its attempts cost as far as is known.
	CostUSD float64 `json:"cost_usd"`
}

// Done reports whether as many tasks as were announced have ended or were never taken in.
func (b Batch) Done() bool { return b.Announced > 0 && b.Ended+b.Rejected >= b.Announced }
