package events

import (
	"encoding/json"
	"fmt"
	"math"
	"time"
)

// Status is what users filter on.
type Status string

// The statuses. Completed, failed and cancelled are terminal.
const (
	StatusQueued     Status = "queued"
	StatusInProgress Status = "in_progress"
	StatusCompleted  Status = "completed"
	StatusFailed     Status = "failed"
	StatusCancelled  Status = "cancelled"
)

// Statuses lists every status.
func Statuses() []Status {
	return []Status{StatusQueued, StatusInProgress, StatusCompleted, StatusFailed, StatusCancelled}
}

// Terminal reports whether a task with this status has ended.
func (s Status) Terminal() bool {
	return s == StatusCompleted || s == StatusFailed || s == StatusCancelled
}

// Phase says where exactly a task is.
type Phase string

// The phases.
const (
	// PhaseWaiting: in reelay's own queue, nothing was sent. Left by a dispatcher's intent or by cancel.
	PhaseWaiting Phase = "waiting"
	// PhaseSubmitting: the intent to send one paid request is recorded; the request may be out. Left by its outcome,
	// or for PhaseInDoubt when nobody reports one in time.
	PhaseSubmitting Phase = "submitting"
	// PhaseInDoubt: nobody knows whether the provider accepted the request; it is being looked up.
	PhaseInDoubt Phase = "in_doubt"
	// PhaseParked: still in doubt after everything was asked; a person decides by resolve.
	PhaseParked Phase = "parked"
	// PhaseProviderQueued: accepted by the provider, waiting in its queue.
	PhaseProviderQueued Phase = "provider_queued"
	// PhaseRunning: the provider works on it.
	PhaseRunning Phase = "running"
	// PhaseCancelling: a cancel is on its way to the provider, which may still finish the work.
	PhaseCancelling Phase = "cancelling"
	// PhaseFetching: the provider has finished; its result is being fetched.
	PhaseFetching Phase = "fetching"
	// PhaseStoring: the result is known, and the request wants it stored before the task completes (KeepRequired).
	PhaseStoring Phase = "storing"
	// PhaseDone: the task has ended; the status says how.
	PhaseDone Phase = "done"
)

// Phases lists every phase.
func Phases() []Phase {
	return []Phase{
		PhaseWaiting, PhaseSubmitting, PhaseInDoubt, PhaseParked, PhaseProviderQueued, PhaseRunning, PhaseCancelling,
		PhaseFetching, PhaseStoring, PhaseDone,
	}
}

// A Task is the record of one task: the value of its KV key and part of every event.
type Task struct {
	// Schema is the version of this layout.
	Schema int `json:"schema"`

	ID       string   `json:"id"`
	Project  string   `json:"project"`
	SceneID  string   `json:"scene_id,omitempty"`
	TaskType TaskType `json:"task_type"`
	// BatchID is the batch that the task belongs to, BatchSize how many tasks the request said it has.
	BatchID   string `json:"batch_id,omitempty"`
	BatchSize int    `json:"batch_size,omitempty"`
	// RetryOf is the id of the task that this one repeats (Request.RetryOf).
	RetryOf  string `json:"retry_of,omitempty"`
	Provider string `json:"provider"`
	// Lane is the lane: the provider account that the task is sent to, and whose key asks for it.
	Lane string `json:"lane"`
	// Group is the group of lanes that the request named. While nothing was sent, each of them may take the task: Lane is
	// then the one that is to, and afterwards the one that has.
	Group string `json:"group,omitempty"`
	Model string `json:"model"`

	// RequestDigest identifies the request (idempotency), InputDigest its input (SHA-256 of canonical JSON, hex).
	RequestDigest string `json:"request_digest"`
	InputDigest   string `json:"input_digest"`
	// Input is what the provider is sent: the request's own, or what was made of Want.
	Input json.RawMessage `json:"input,omitempty"`
	// InputRef names the object that holds an input over MaxInlineBytes.
	InputRef string `json:"input_ref,omitempty"`
	// Want is what the request asked for, where it brought no input of its own; one over MaxInlineBytes is left out.
	Want *Want `json:"want,omitempty"`
	// Warnings name what of a lenient request the model cannot fulfil, a sentence each.
	Warnings []string          `json:"warnings,omitempty"`
	Priority int               `json:"priority,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"`
	// After are the ids of all tasks that it depends on, OnDependency what happens when one of them fails. Until they have
	// ended, Input has the references of the request; then it has their values, and InputDigest is that of the input with
	// them.
	After        []string         `json:"after,omitempty"`
	OnDependency DependencyPolicy `json:"on_dependency,omitempty"`
	// WaitsFor are the ids of those that it still waits for: in a stored record all of After, until the last has ended; in
	// answers those that have not ended. While there are any, nothing is sent.
	WaitsFor []string `json:"waits_for,omitempty"`
	// Traceparent is the W3C trace context that the request came with, if it was well-formed, else that of the request's
	// intake, if that was traced.
	Traceparent string `json:"traceparent,omitempty"`

	Status        Status         `json:"status"`
	Phase         Phase          `json:"phase"`
	QueuePosition *QueuePosition `json:"queue_position,omitempty"`
	// EstimatedWaitS is the estimated time to the end, in seconds; ETA the same as a time, the end being as likely before
	// as after. Four of five tasks end between ETAEarliest and ETALatest.
	EstimatedWaitS *float64   `json:"estimated_wait_s,omitempty"`
	ETA            *time.Time `json:"eta,omitempty"`
	ETAEarliest    *time.Time `json:"eta_earliest,omitempty"`
	ETALatest      *time.Time `json:"eta_latest,omitempty"`
	// Forecast is when the task was expected to end when the provider had accepted it. It never changes, so that it can be
	// compared with CompletedAt; absent where nothing was known.
	Forecast *Forecast `json:"forecast,omitempty"`
	// Pace compares the time that the provider has taken so far with what it usually takes. A stored record and its events
	// have the worst that was seen.
	Pace Pace `json:"pace,omitempty"`
	// Blocked is what keeps a waiting task from being sent, as the dispatcher of its lane knows it. It is in answers only,
	// never stored.
	Blocked            *Blocked `json:"blocked,omitempty"`
	ProgressPercentage *float64 `json:"progress_percentage,omitempty"`
	// Logs is the tail of the provider's log, at most MaxLogs lines; LogCount counts all lines ever seen.
	Logs     []LogLine `json:"logs,omitempty"`
	LogCount int       `json:"log_count,omitempty"`

	Attempts []Attempt `json:"attempts,omitempty"`
	// ProviderRef is the provider's handle of the task, opaque to everyone but the provider's driver.
	ProviderRef json.RawMessage `json:"provider_ref,omitempty"`
	// ProviderID is the provider's own task or request id, for people.
	ProviderID string `json:"provider_id,omitempty"`
	// ProviderWord is the provider's own last word for the state.
	ProviderWord string `json:"provider_word,omitempty"`

	CreatedAt   time.Time  `json:"created_at"`
	SubmittedAt *time.Time `json:"submitted_at,omitempty"`
	StartedAt   *time.Time `json:"started_at,omitempty"`
	CompletedAt *time.Time `json:"completed_at,omitempty"`
	// NotBefore is the request's not_before, the end of the backoff after a refused attempt, or of the wait for a cap.
	NotBefore *time.Time `json:"not_before,omitempty"`
	// TimeoutFrom is when the timeouts began, where that is not CreatedAt.
	TimeoutFrom *time.Time `json:"timeout_from,omitempty"`
	// Deadline ends the task. While it waits for tasks that are all known, it does not: it moves when they have ended.
	Deadline      time.Time  `json:"deadline"`
	StartDeadline *time.Time `json:"start_deadline,omitempty"`

	OnInDoubt       InDoubtPolicy `json:"on_in_doubt"`
	MaxPaidAttempts int           `json:"max_paid_attempts"`
	Keep            Keep          `json:"keep,omitempty"`
	// Notify is the endpoint that the request has named.
	Notify string `json:"notify,omitempty"`

	// Cancel is set once a cancel was asked for.
	Cancel *CancelState `json:"cancel,omitempty"`
	// Trouble is the run of failed polls, if the last poll failed. It never ends a task by itself.
	Trouble *Trouble `json:"trouble,omitempty"`
	Error   *Error   `json:"error,omitempty"`
	Result  *Result  `json:"result,omitempty"`
	// LateUntil is how long a task that reelay gave up is still polled for a result that was paid for.
	LateUntil *time.Time `json:"late_until,omitempty"`
	Cost      *Cost      `json:"cost,omitempty"`

	// LastCommand is the place in the stream of the last command that took effect.
	LastCommand uint64 `json:"last_command,omitempty"`

	// ErasedAt is when what the task was given and has made began to be erased (EraseRequest). Nothing is published of it
	// any more.
	ErasedAt *time.Time `json:"erased_at,omitempty"`

	// Unannounced marks an ended task whose terminal event may not be stored yet.
	Unannounced bool `json:"unannounced,omitempty"`

	// Version counts the writes of this record.
	Version     uint64       `json:"version"`
	Transitions []Transition `json:"transitions"`
}

const (
	// TaskSchema is the current version of Task.
	TaskSchema = 3
	// MaxLogs is how many log lines a record keeps.
	MaxLogs = 20
	// MaxLogBytes is the longest log line kept.
	MaxLogBytes = 1 << 10
	// MaxTransitions is how many transitions a record keeps; the oldest that no event derives from go first.
	MaxTransitions = 48
	// MaxMessageBytes is the longest message of an error or note kept.
	MaxMessageBytes = 1 << 10
	// MaxValues and MaxValueBytes bound Result.Values.
	MaxValues     = 16
	MaxValueBytes = 1 << 10
)

// Key returns the key of the record.
func (t Task) Key() Key { return Key{Project: t.Project, ID: t.ID} }

// TimeoutsFrom returns when the timeouts of the request began.
func (t Task) TimeoutsFrom() time.Time {
	if t.TimeoutFrom != nil {
		return *t.TimeoutFrom
	}
	return t.CreatedAt
}

// Attempt returns the latest paid attempt, or nil before the first.
func (t Task) Attempt() *Attempt {
	if len(t.Attempts) == 0 {
		return nil
	}
	return &t.Attempts[len(t.Attempts)-1]
}

// Pace says how a task gets on, compared with others of its kind.
type Pace string

// The paces.
const (
	PaceNormal    Pace = "normal"
	PaceSlow      Pace = "slow"      // slower than nine of ten
	PaceCongested Pace = "congested" // it and the others of its provider are slower than usual
	PaceStuck     Pace = "stuck"     // slower than 99 of 100, while others end
)

// A QueuePosition is how many tasks are ahead of a waiting one, 0 being next. A nil part is not known. In a stored
// record and its events ours is what was announced last; in answers it is as of now.
type QueuePosition struct {
	Ours     *int `json:"ours,omitempty"`
	Provider *int `json:"provider,omitempty"`
	Total    *int `json:"total,omitempty"`
}

// A LogLine is one line of the provider's log.
type LogLine struct {
	At      *time.Time `json:"at,omitempty"`
	Level   string     `json:"level,omitempty"`
	Message string     `json:"message"`
}

// AttemptOutcome is what is known about one paid attempt.
type AttemptOutcome string

// What is known about an attempt.
const (
	AttemptOpen     AttemptOutcome = "open"     // the request may be out
	AttemptReleased AttemptOutcome = "released" // its owner proved that it was not sent
	AttemptAccepted AttemptOutcome = "accepted" // the provider gave an id
	AttemptRefused  AttemptOutcome = "refused"  // the provider refused it
	AttemptInDoubt  AttemptOutcome = "in_doubt" // nobody knows
)

// An Attempt is one permission to send one paid request.
type Attempt struct {
	N int `json:"n"`
	// Owner is the nonce of the process that holds the permission.
	Owner    string    `json:"owner"`
	IntentAt time.Time `json:"intent_at"`
	// NotAfter is when an open attempt is taken to be in doubt.
	NotAfter   time.Time `json:"not_after"`
	BodySHA256 string    `json:"body_sha256"`
	// Lane is the lane that sends it, of a task that has a Group.
	Lane string `json:"lane,omitempty"`
	// Files is what stood in the request in place of the file references of the input, each under its path; a data: URL
	// is left out.
	Files      map[string]json.RawMessage `json:"files,omitempty"`
	Outcome    AttemptOutcome             `json:"outcome"`
	OutcomeAt  *time.Time                 `json:"outcome_at,omitempty"`
	Ref        json.RawMessage            `json:"ref,omitempty"`
	ProviderID string                     `json:"provider_id,omitempty"`
	Charge     Charge                     `json:"charge"`
	// CostUSD is what the attempt costs as far as is known: its estimate while the charge is possible, what the provider
	// reports once that is there, 0 once there is none.
	CostUSD *float64 `json:"cost_usd,omitempty"`
	// Callback says that the request named a callback URL.
	Callback bool `json:"callback,omitempty"`
	// SentAfter is there if nothing was sent by this attempt: it stands for one that was sent since then, of which the
	// record knew nothing when its store was restored from a backup. Without a BodySHA256 nobody knows that it was sent.
	SentAfter *time.Time `json:"sent_after,omitempty"`
	Error     *Error     `json:"error,omitempty"`
	// Result is what the provider's answer to the request itself has brought, as long as the task does not live by this
	// attempt: it is the task's then. A failed one has an Error beside it.
	Result *Result `json:"result,omitempty"`
	// Searches counts how often the provider's list was asked for the attempt, Listings how often the list was complete
	// and did not show it.
	Searches   int        `json:"searches,omitempty"`
	Listings   int        `json:"listings,omitempty"`
	SearchedAt *time.Time `json:"searched_at,omitempty"`
	// SharedID says that the provider gave the attempt an id that another task has: the result may be that of the other.
	SharedID bool `json:"shared_id,omitempty"`
	// Evidence is what led to the outcome, oldest first.
	Evidence []Evidence `json:"evidence,omitempty"`
}

// EvidenceSource is who or what brought a piece of evidence.
type EvidenceSource string

// The sources of evidence.
const (
	// the provider's answer to the paid request, as its sender or the sender's journal has it
	SourceReply    EvidenceSource = "reply"
	SourceCallback EvidenceSource = "callback" // a callback from the provider
	SourceList     EvidenceSource = "list"     // the provider's list of requests
	SourcePerson   EvidenceSource = "person"   // a resolve
	SourceTimer    EvidenceSource = "timer"    // nobody reported in time
)

// Evidence is one thing somebody found out about an attempt.
type Evidence struct {
	At     time.Time      `json:"at"`
	Source EvidenceSource `json:"source"`
	// ProviderID is the provider's id that it gives the attempt; empty if it gives none.
	ProviderID string `json:"provider_id,omitempty"`
	// Note says it in words, for people.
	Note string `json:"note"`
	// Answer is what the provider answered to the paid request, as far as MaxAnswerBytes, where it was no answer that
	// could be read.
	Answer string `json:"answer,omitempty"`
}

// CancelState is how far a cancel has come.
type CancelState struct {
	AskedAt time.Time `json:"asked_at"`
	Reason  string    `json:"reason,omitempty"`
	// By is client, deadline or start_deadline.
	By string `json:"by"`
	// SentAt is when the provider was asked, Outcome what it answered.
	SentAt  *time.Time `json:"sent_at,omitempty"`
	Outcome string     `json:"outcome,omitempty"`
	Tries   int        `json:"tries,omitempty"`
	// RetryAt is when a provider that did not answer is asked again.
	RetryAt *time.Time `json:"retry_at,omitempty"`
}

// Trouble is a run of failed polls.
type Trouble struct {
	Kind    Kind      `json:"kind"`
	Message string    `json:"message"`
	Since   time.Time `json:"since"`
	// NotFound counts the polls in a row that were answered with "no such task".
	NotFound int `json:"not_found,omitempty"`
	// Ended counts the polls in a row that showed an end which the provider did not tell of itself; such an end is
	// believed only after it was seen for a while.
	Ended int `json:"ended,omitempty"`
}

// A Result is what a task has made. A failed task has one, without outputs, where the provider answered with more than
// a reason.
type Result struct {
	Outputs []Output `json:"outputs"`
	// Values are what the task has made that is no file, by name, such as ValueVoiceID; at most MaxValues of them, each of
	// at most MaxValueBytes.
	Values map[string]string `json:"values,omitempty"`
	// Raw is the provider's own result; RawRef names the object that holds one over MaxInlineBytes.
	Raw    json.RawMessage `json:"raw,omitempty"`
	RawRef string          `json:"raw_ref,omitempty"`
	// Late marks a result that arrived after the task had been given up.
	Late bool `json:"late,omitempty"`
	// Notes are what a person should know of the result, a sentence each: it was flagged, or it has more files than
	// Outputs.
	Notes []string `json:"notes,omitempty"`
}

// ValueVoiceID names, in Result.Values, the voice that a task has made, as requests for speech name it.
const ValueVoiceID = "voice_id"

// Cost in US dollars.
type Cost struct {
	// EstimatedUSD is what one paid attempt is expected to cost: the larger of the request's own figure and that of the
	// price table.
	EstimatedUSD *float64 `json:"estimated_usd,omitempty"`
	// ActualUSD is what the attempts of an ended task have cost together; nil as long as that is not known of each of
	// them.
	ActualUSD *float64 `json:"actual_usd,omitempty"`
	// MaxUSD is the request's max_cost_usd: no attempt is paid with which all that may have been charged would exceed it.
	MaxUSD *float64 `json:"max_usd,omitempty"`
	// FixedUSD and UnitUSD are how the provider's figures become a price, as the price table had it when the task was
	// accepted: FixedUSD, and UnitUSD for each of Units. Without UnitUSD, FixedUSD is the price whatever the provider
	// counts; without both, it is not known.
	FixedUSD *float64 `json:"fixed_usd,omitempty"`
	UnitUSD  *float64 `json:"unit_usd,omitempty"`
	// Basis says in words what the estimate rests on.
	Basis string `json:"basis,omitempty"`
	// Units and Unit are what the provider says it billed, in its own measure.
	Units *float64 `json:"units,omitempty"`
	Unit  string   `json:"unit,omitempty"`
}

// A Transition is one step of a task: who decided what, when.
type Transition struct {
	Version uint64    `json:"version"`
	At      time.Time `json:"at"`
	// Name is the arrow of the state machine.
	Name string `json:"name"`
	From Phase  `json:"from,omitempty"`
	To   Phase  `json:"to"`
	// By is the service, or callback for what a provider's callback has brought.
	By string `json:"by"`
	// RequestedBy is the account and user that have asked for it by the API, as the NATS server told (RequestedBy);
	// Unverified for a command of which it told nothing.
	RequestedBy string `json:"requested_by,omitempty"`
	// Reason is what keeps the task from being sent after a step that left it waiting: cap, or retry for an attempt that
	// bought nothing.
	Reason BlockedReason `json:"reason,omitempty"`
	// Cap is the cap that is used up, where Reason is cap.
	Cap *CapReached `json:"cap,omitempty"`
	// Note says why in words, for people.
	Note string `json:"note,omitempty"`
	// Event is the event that derives from this step, if any.
	Event EventType `json:"event,omitempty"`
	// Attempt is the paid attempt it speaks of, from 1.
	Attempt int `json:"attempt,omitempty"`
}

// A CapReached is a cap on spending that is used up for the day (UTC).
type CapReached struct {
	// Scope is what the cap counts for, as SpendCap has it.
	Scope    string  `json:"scope"`
	DailyUSD float64 `json:"daily_usd"`
}

// DecodeTask reads a record. Unknown fields are kept out, so that an older build can read a newer record; a newer
// schema is an error.
func DecodeTask(data []byte) (Task, error) {
	var t Task
	if err := json.Unmarshal(data, &t); err != nil {
		return t, fmt.Errorf("task record: %w", err)
	}
	if t.Schema != TaskSchema {
		return t, fmt.Errorf("task record: schema %d, this build reads %d", t.Schema, TaskSchema)
	}
	return t, nil
}

// An Estimate is when a task will end, as of some time.
type Estimate struct {
	// Left is the time to the end that it is as likely to take longer than not; four of five ends come between Earliest
	// and Latest.
	Left, Earliest, Latest time.Duration
	// Pace is empty for a task that is not at the provider.
	Pace Pace
}

// Fill writes into a record when it will end, as of now; the pace it leaves as it is. Times are whole seconds in UTC:
// more digits would be noise.
func (e Estimate) Fill(t *Task, now time.Time) {
	at := func(left time.Duration) *time.Time {
		v := now.Add(left).UTC().Round(time.Second)
		return &v
	}
	wait := math.Round(e.Left.Seconds()*10) / 10
	t.EstimatedWaitS, t.ETA, t.ETAEarliest, t.ETALatest = &wait, at(e.Left), at(e.Earliest), at(e.Latest)
}

// SpentUSD is what the task has cost as far as is known: what was reported, or else what its attempts are expected to cost
// that were charged.
func (t Task) SpentUSD() (usd float64) {
	if t.Cost != nil && t.Cost.ActualUSD != nil {
		return *t.Cost.ActualUSD
	}
	for _, a := range t.Attempts {
		if a.Charge == ChargeConfirmed && a.CostUSD != nil {
			usd += *a.CostUSD
		}
	}
	return usd
}

// A Forecast is when a task was expected to end: as likely before ETA as after, and with four of five between Earliest
// and Latest.
type Forecast struct {
	Earliest time.Time `json:"earliest"`
	ETA      time.Time `json:"eta"`
	Latest   time.Time `json:"latest"`
}

// A ForecastResult is how a forecast has turned out.
type ForecastResult string

// The results of forecasts. Of good ones eight in ten are inside, one is early and one is late.
const (
	ForecastInside ForecastResult = "inside"
	ForecastEarly  ForecastResult = "early"
	ForecastLate   ForecastResult = "late"
)

// Result compares the forecast with when the task was done.
func (f Forecast) Result(done time.Time) ForecastResult {
	switch {
	case done.Before(f.Earliest):
		return ForecastEarly
	case done.After(f.Latest):
		return ForecastLate
	}
	return ForecastInside
}

// Typical is how long a provider takes for tasks of one type, learned from those that completed. Half take no longer.
type Typical struct {
	// Samples counts the tasks learned from.
	Samples int `json:"samples"`
	// WaitS is the time, in seconds, in the provider's queue, RunS the time from start to end; 0 where no task was seen
	// start.
	WaitS float64 `json:"wait_s,omitempty"`
	RunS  float64 `json:"run_s,omitempty"`
	// WholeS is the time, in seconds, from submit to end; nine of ten take no longer than LateS.
	WholeS float64 `json:"whole_s"`
	LateS  float64 `json:"late_s"`
}
