package events

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"time"
)

// TaskType is what a task makes.
type TaskType string

// The task types.
const (
	Video  TaskType = "video"
	Image  TaskType = "image"
	Audio  TaskType = "audio"
	Speech TaskType = "speech"
	Voice  TaskType = "voice" // a voice that speech can be made with; its id is in Result.Values
	Music  TaskType = "music"
)

// TaskTypes lists every task type.
func TaskTypes() []TaskType { return []TaskType{Video, Image, Audio, Speech, Voice, Music} }

// Valid reports whether t is one of TaskTypes.
func (t TaskType) Valid() bool { return slices.Contains(TaskTypes(), t) }

// InDoubtPolicy says what to do with a paid submit whose outcome stays unknown after everything was asked.
type InDoubtPolicy string

// The policies for a submit in doubt.
const (
	InDoubtHold     InDoubtPolicy = "hold"     // park it for a person (default)
	InDoubtFail     InDoubtPolicy = "fail"     // end the task with charge: possible
	InDoubtResubmit InDoubtPolicy = "resubmit" // open another attempt within max_paid_attempts
)

// Limits of a request. A request over a limit is refused with an error that names the field.
const (
	// MaxRequestBytes bounds a request message. It leaves room for headers below NATS' default max_payload of 1 MiB.
	MaxRequestBytes = 960 << 10
	// MaxInlineBytes is the largest input or raw result kept inside a record; a larger one goes to the object store.
	MaxInlineBytes = 16 << 10
	// MaxAnswerBytes is how much of an answer that could not be read is kept as evidence.
	MaxAnswerBytes = 4 << 10

	MaxModelBytes      = 200
	MaxSceneBytes      = 128
	MaxMetadata        = 32
	MaxMetadataKey     = 64
	MaxMetadataValue   = 512
	MaxPriority        = 100
	MaxPaidAttempts    = 10
	MaxBatch           = 100_000
	MinTimeout         = time.Second
	MaxTimeout         = 48 * time.Hour
	maxCostUSD         = 1e6
	maxReasonBytes     = 500
	maxProviderIDBytes = 200
)

// A Request asks for one task. It is published on RequestSubject as JSON; a field that is not listed here is refused by
// name.
type Request struct {
	// ID is the task id and the idempotency key. Without it the Nats-Msg-Id header is taken, else an id is
	// derived from the message's place in the stream, so that a redelivered request is always the same task.
	ID string `json:"id,omitempty"`
	// Provider names the provider, a lane configured for one of its accounts, or a group of lanes. With Want it may be left out: the model
	// then says it, or what is configured for the task type.
	Provider string `json:"provider,omitempty"`
	// Model is the provider's own model or endpoint id. With Want it may be an alias, or be left out: it is then what is
	// configured for the task type.
	Model string `json:"model,omitempty"`
	// Input is passed to the provider untouched, but for each Reference inside it. It must be a JSON object. A request has
	// either Input or Want.
	Input json.RawMessage `json:"input,omitempty"`
	Want  *Want           `json:"want,omitempty"`
	// InputFiles are files of the project that were handed in (the upload verb), each under the place where the provider
	// expects a URL: a field of Input, or of Want, or its JSON pointer (RFC 6901), whose last token may be "-" for a new
	// item of a list. The place must be empty. It is the same as a FileReference there. A name without a file is refused, and
	// the same request with a file of other bytes is another request.
	InputFiles map[string]string `json:"input_files,omitempty"`
	// Lenient has what the model cannot fulfil of Want left out, and each such wish named in the record's warnings,
	// instead of having the request refused.
	Lenient bool `json:"lenient,omitempty"`

	// RetryOf names a task of the project that has ended and is to be made again: this request is then a new task, and
	// Provider, Model, Input, Want, InputFiles, Lenient, After and OnDependency are that task's and must not be here. What
	// else is left out is taken from it, too, but for its ID and NotBefore. Its input is that which the provider was sent,
	// with the values of its references where they were known.
	RetryOf string `json:"retry_of,omitempty"`
	// PayAgain allows RetryOf to name a task that may have been charged, that is in doubt, or that has completed.
	PayAgain bool `json:"pay_again,omitempty"`
	// Replace names, for tasks that the one of RetryOf still waited for when it ended, those to wait for in their place.
	Replace map[string]string `json:"replace,omitempty"`

	SceneID string `json:"scene_id,omitempty"`
	// BatchID puts the task in a batch. BatchSize is how many tasks the batch will have; one request that names it is
	// enough.
	BatchID   string `json:"batch_id,omitempty"`
	BatchSize int    `json:"batch_size,omitempty"`
	// Priority orders the tasks of one project, -100 to 100, higher first.
	Priority int `json:"priority,omitempty"`
	// After names the tasks of the same project that must have ended before this one is sent. Those of references in the
	// input need not be named. They may be asked for later than this one: the order of publishing does not matter. One
	// that nobody has asked for is waited for until the deadline.
	After []string `json:"after,omitempty"`
	// OnDependency says what happens when one of them fails or is cancelled.
	OnDependency DependencyPolicy `json:"on_dependency,omitempty"`
	// NotBefore is the time before which the task is not sent, at most MaxNotBefore from acceptance.
	NotBefore *time.Time `json:"not_before,omitempty"`
	// Timeout is the total time to the end, 1s to 48h; 30m where it is not set. It begins with the acceptance, or where
	// that is later at NotBefore, or when the last of the tasks that it depends on has ended.
	Timeout Duration `json:"timeout,omitempty"`
	// StartTimeout is the time until the provider begins to work. It begins as Timeout does.
	StartTimeout Duration `json:"start_timeout,omitempty"`
	// OnInDoubt is by default InDoubtHold; InDoubtFail where the provider's answer is itself the result, so that nobody
	// could ever find a lost one; InDoubtResubmit, with three paid attempts, where the provider makes and bills a thing once
	// however often it is asked for, and, with ten, on a lane that costs nothing, where InDoubtHold means that, too.
	OnInDoubt       InDoubtPolicy     `json:"on_in_doubt,omitempty"`
	MaxPaidAttempts int               `json:"max_paid_attempts,omitempty"`
	Keep            Keep              `json:"keep,omitempty"`
	EstimatedUSD    float64           `json:"estimated_cost_usd,omitempty"`
	MaxCostUSD      float64           `json:"max_cost_usd,omitempty"`
	Metadata        map[string]string `json:"metadata,omitempty"`
	// Notify names the endpoint that is sent the events of the task, of those that the operator has defined for notifiers.
	// Those of a name that is not defined wait for it as for one that does not answer, for MaxNotifyAge.
	Notify string `json:"notify,omitempty"`
}

// DecodeRequest reads and checks a request. Its error is a FieldError that names the field and the limit; a request
// over MaxRequestBytes fails with field "payload". With an error it returns what could be read, up to where it is no
// JSON, so that its id can be answered and its batch counted.
func DecodeRequest(data []byte) (Request, error) {
	var r Request
	var want json.RawMessage
	err := DecodeStrict(data, "payload", map[string]any{
		"id": &r.ID, "provider": &r.Provider, "model": &r.Model, "input": &r.Input, "want": &want, "lenient": &r.Lenient,
		"input_files": &r.InputFiles,
		"scene_id":    &r.SceneID,
		"priority":    &r.Priority, "timeout": &r.Timeout, "start_timeout": &r.StartTimeout, "on_in_doubt": &r.OnInDoubt,
		"max_paid_attempts": &r.MaxPaidAttempts, "estimated_cost_usd": &r.EstimatedUSD, "max_cost_usd": &r.MaxCostUSD,
		"metadata": &r.Metadata, "batch_id": &r.BatchID, "batch_size": &r.BatchSize,
		"after": &r.After, "on_dependency": &r.OnDependency, "not_before": &r.NotBefore, "keep": &r.Keep,
		"retry_of": &r.RetryOf, "pay_again": &r.PayAgain, "replace": &r.Replace,
		"notify": &r.Notify,
	})
	if len(want) > 0 {
		var wrong error
		r.Want, wrong = decodeWant(want)
		err = cmp.Or(err, wrong)
	}
	if err != nil {
		return r, err
	}
	return r, r.Validate()
}

// Batch returns what a request that may be wrong says of its batch: its id, empty if it names none, and how many tasks
// it has, 0 if it does not say. A value over its limit was not said.
func (r Request) Batch() (id string, size int) {
	if !ValidToken(r.BatchID) {
		return "", 0
	}
	if r.BatchSize > 0 && r.BatchSize <= MaxBatch {
		size = r.BatchSize
	}
	return r.BatchID, size
}

// Validate checks every field against its limit. Its error is a FieldError.
func (r Request) Validate() error {
	switch {
	case r.ID != "" && !ValidToken(r.ID):
		return fieldError("id", "must be 1 to %d characters of A-Z a-z 0-9 _ -", MaxTokenBytes)
	case r.Provider != "" && !ValidToken(r.Provider):
		return fieldError("provider", "must be 1 to %d characters of A-Z a-z 0-9 _ -", MaxTokenBytes)
	case len(r.Model) > MaxModelBytes:
		return fieldError("model", "%d bytes are over the limit of %d", len(r.Model), MaxModelBytes)
	case len(r.SceneID) > MaxSceneBytes:
		return fieldError("scene_id", "%d bytes are over the limit of %d", len(r.SceneID), MaxSceneBytes)
	case r.BatchID != "" && !ValidToken(r.BatchID):
		return fieldError("batch_id", "must be 1 to %d characters of A-Z a-z 0-9 _ -", MaxTokenBytes)
	case r.BatchSize < 0 || r.BatchSize > MaxBatch:
		return fieldError("batch_size", "%d is not between 1 and %d", r.BatchSize, MaxBatch)
	case r.BatchSize > 0 && r.BatchID == "":
		return fieldError("batch_size", "belongs to a batch_id only")
	case r.Priority < -MaxPriority || r.Priority > MaxPriority:
		return fieldError("priority", "%d is not between %d and %d", r.Priority, -MaxPriority, MaxPriority)
	case r.MaxPaidAttempts < 0 || r.MaxPaidAttempts > MaxPaidAttempts:
		return fieldError("max_paid_attempts", "%d is not between 1 and %d", r.MaxPaidAttempts, MaxPaidAttempts)
	case r.OnInDoubt != "" && r.OnInDoubt != InDoubtHold && r.OnInDoubt != InDoubtFail && r.OnInDoubt != InDoubtResubmit:
		return fieldError("on_in_doubt", "%q is not hold, fail or resubmit", r.OnInDoubt)
	case r.OnDependency != "" && r.OnDependency != DependencyFail && r.OnDependency != DependencyIgnore:
		return fieldError("on_dependency", "%q is not fail or ignore", r.OnDependency)
	case r.Keep != "" && r.Keep != KeepRequired:
		return fieldError("keep", "%q is not required", r.Keep)
	case r.Notify != "" && !ValidToken(r.Notify):
		return fieldError("notify", "must be 1 to %d characters of A-Z a-z 0-9 _ -, the name of an endpoint", MaxTokenBytes)
	case len(r.Metadata) > MaxMetadata:
		return fieldError("metadata", "%d entries are over the limit of %d", len(r.Metadata), MaxMetadata)
	}
	if err := r.validRetry(); err != nil {
		return err
	}
	if err := r.validInput(); err != nil {
		return err
	}
	if err := r.validReferences(); err != nil {
		return err
	}
	if err := validTimeout("timeout", r.Timeout); err != nil {
		return err
	}
	if err := validTimeout("start_timeout", r.StartTimeout); err != nil {
		return err
	}
	if r.Timeout != 0 && r.StartTimeout > r.Timeout {
		return fieldError("start_timeout", "%v is longer than the timeout of %v", time.Duration(r.StartTimeout),
			time.Duration(r.Timeout))
	}
	if err := validCost("estimated_cost_usd", r.EstimatedUSD); err != nil {
		return err
	}
	if err := validCost("max_cost_usd", r.MaxCostUSD); err != nil {
		return err
	}
	for _, k := range slices.Sorted(maps.Keys(r.Metadata)) {
		v := r.Metadata[k]
		if k == "" || len(k) > MaxMetadataKey {
			return fieldError("metadata", "key %.80q must be 1 to %d bytes", k, MaxMetadataKey)
		}
		if len(v) > MaxMetadataValue {
			return fieldError("metadata."+k, "%d bytes are over the limit of %d", len(v), MaxMetadataValue)
		}
	}
	return nil
}

// validInput checks what is asked of which model.
func (r Request) validInput() error {
	input := bytes.TrimSpace(r.Input)
	switch {
	case r.RetryOf != "":
		return nil
	case r.Want != nil && len(input) > 0:
		return fieldError("want", "a request has either input or want, not both")
	case r.Want != nil:
		return within("want", r.Want.Validate())
	case r.Provider == "":
		return fieldError("provider", "is missing")
	case r.Model == "":
		return fieldError("model", "is missing")
	case len(input) == 0:
		return fieldError("input", "is missing; a request has either input or want")
	case input[0] != '{':
		return fieldError("input", "must be a JSON object")
	case r.Lenient:
		return fieldError("lenient", "belongs to want only")
	}
	return nil
}

// validReferences checks what stands for the results of tasks and for files.
func (r Request) validReferences() error {
	r, err := r.PlaceFiles()
	if err == nil {
		_, err = Files("input", r.Input)
	}
	if err == nil {
		_, err = r.Dependencies()
	}
	return err
}

// Digest identifies what the request asks for: everything but its id, together with the task type. Requests with the
// same id are the same request when their digests are equal.
func (r Request) Digest(t TaskType) (string, error) {
	r.ID = ""
	raw, err := Marshal(struct {
		TaskType TaskType `json:"task_type"`
		Request
	}{t, r})
	if err != nil {
		return "", err
	}
	return Digest(raw)
}

func validTimeout(field string, d Duration) error {
	if d != 0 && (time.Duration(d) < MinTimeout || time.Duration(d) > MaxTimeout) {
		return fieldError(field, "%v is not between %v and %v", time.Duration(d), MinTimeout, MaxTimeout)
	}
	return nil
}

func validCost(field string, usd float64) error {
	if usd < 0 || usd > maxCostUSD || math.IsNaN(usd) {
		return fieldError(field, "%v is not between 0 and %v US dollars", usd, maxCostUSD)
	}
	return nil
}

// CommandVerb is the last token of a command subject.
type CommandVerb string

// The commands.
const (
	CommandCancel  CommandVerb = "cancel"
	CommandResolve CommandVerb = "resolve"
)

// A Cancel command asks for the end of a task. Its payload may be empty.
type Cancel struct {
	Reason string `json:"reason,omitempty"`
}

// DecodeCancel reads a cancel command. Its error is a FieldError.
func DecodeCancel(data []byte) (Cancel, error) {
	var c Cancel
	if len(bytes.TrimSpace(data)) == 0 {
		return c, nil
	}
	if err := DecodeStrict(data, "payload", map[string]any{"reason": &c.Reason}); err != nil {
		return c, err
	}
	return c, validReason(c.Reason)
}

// ResolveAction is what a person decides about a task that is in doubt or parked.
type ResolveAction string

// What a person can decide.
const (
	ResolveAdopt    ResolveAction = "adopt"     // the provider has it, under provider_id
	ResolveResubmit ResolveAction = "resubmit"  // open another paid attempt
	ResolveWriteOff ResolveAction = "write_off" // end the task as failed, charge: possible
)

// A Resolve command ends the doubt about a task by a person's decision.
type Resolve struct {
	Action ResolveAction `json:"action"`
	// ProviderID is the provider's task or request id, for adopt. It is refused if a record has it already, if the
	// provider does not know it, and for the moment if the provider cannot be asked.
	ProviderID string `json:"provider_id,omitempty"`
	Reason     string `json:"reason,omitempty"`
}

// DecodeResolve reads and checks a resolve command. Its error is a FieldError.
func DecodeResolve(data []byte) (Resolve, error) {
	var r Resolve
	err := DecodeStrict(data, "payload",
		map[string]any{"action": &r.Action, "provider_id": &r.ProviderID, "reason": &r.Reason})
	if err != nil {
		return r, err
	}
	switch r.Action {
	case ResolveAdopt:
		if r.ProviderID == "" || len(r.ProviderID) > maxProviderIDBytes {
			return r, fieldError("provider_id", "must be 1 to %d bytes for action adopt", maxProviderIDBytes)
		}
	case ResolveResubmit, ResolveWriteOff:
		if r.ProviderID != "" {
			return r, fieldError("provider_id", "belongs to action adopt only")
		}
	default:
		return r, fieldError("action", "%q is not adopt, resubmit or write_off", r.Action)
	}
	return r, validReason(r.Reason)
}

func validReason(s string) error {
	if len(s) > maxReasonBytes {
		return fieldError("reason", "%d bytes are over the limit of %d", len(s), maxReasonBytes)
	}
	return nil
}
