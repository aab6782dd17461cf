// Package provider holds the values that the services and the provider drivers exchange: what to send, what came back,
// what a poll of a task has shown. A driver (provider/fal, provider/minimax, provider/openai) renders and reads one provider's wire
// format; it never decides what happens to a task.
//
// The paid request is the only call that a driver does not make itself: it renders the exact bytes (Render) and
// classifies the answer (Classify), and package paid sends them once. Everything else a driver does is free and may be
// repeated.
package provider

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"reelay/events"
)

// A Request is one paid request as exact bytes. Header holds the credentials; it is never logged or stored.
type Request struct {
	URL    string
	Header http.Header
	Body   []byte
	// Timeout bounds the request with its answer, MaxReplyBytes the answer; 0 stands for what package paid has. A driver
	// sets them for a request that is answered with what it makes.
	Timeout       time.Duration
	MaxReplyBytes int64
}

// A Reply is what a provider answered over HTTP, its body cut at a limit.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
}

// Outcome says what is known about a paid request.
type Outcome string

// The outcomes of a paid request. Whatever is neither accepted nor refused is in doubt.
const (
	Accepted Outcome = "accepted" // the provider gave an id
	Refused  Outcome = "refused"  // proven: nothing was bought
	InDoubt  Outcome = "in_doubt" // nobody knows
)

// An Answer classifies the reply to a paid request.
type Answer struct {
	Outcome Outcome
	// Ref is the provider's handle and ID its own id of the task, for Accepted. With a Result the handle only tells this
	// answer from others.
	Ref json.RawMessage
	ID  string
	// Result is what the request has made, for Accepted, where the answer is itself the result: State is Succeeded or
	// Failed then, and nobody will be polled. It is nil where the task has only begun.
	Result *Snapshot
	// Err is why, for Refused and InDoubt.
	Err *Error
	// Body is what was answered, for InDoubt, with the keys taken out; it is kept as evidence.
	Body []byte
}

// State is a provider's state of a task in common words.
type State string

// The states. Unknown is a word of the provider that nobody knows: still going, never a verdict.
const (
	Unknown   State = "unknown"
	Queued    State = "queued"
	Running   State = "running"
	Succeeded State = "succeeded"
	Failed    State = "failed"
	Cancelled State = "cancelled"
)

// A Snapshot is what one poll of a task has shown. A submitter's journal holds it as JSON: its fields keep their names.
type Snapshot struct {
	State State
	// Word is the provider's own word for the state.
	Word string
	// Position is the place in the provider's queue, 0 being next; nil if the provider does not show it.
	Position *int
	// Progress in percent, 0 to 100; nil if the provider does not show it.
	Progress *float64
	// Logs are all lines the provider shows now.
	Logs []events.LogLine
	// Outputs are the files of the result, for Succeeded; none for a model that makes text or numbers.
	Outputs []events.Output
	// Values are what the task has made that is no file, for Succeeded, by the names of events.Result.
	Values map[string]string
	// Raw is the result as the provider answered it, for Succeeded, and for Failed where it says more than Err. It is
	// JSON; an answer that is none stands in it as a JSON string.
	Raw json.RawMessage
	// Notes are what a person should know of the result, a sentence each, such as that the provider flagged it.
	Notes []string
	// Err is the provider's own reason, for Failed, and for Cancelled where it gives one.
	Err *Error
	// Unconfirmed says that the provider did not tell of the failure itself: something else came instead of the result,
	// such as a gateway's error. It may pass, so it is no verdict before it was seen for a while.
	Unconfirmed bool
	// Units and Unit are what the provider bills by its own word; nil if it does not show them.
	Units *float64
	Unit  string
	// ResultPending says that the provider has finished and its result could not be read yet: poll again. State is
	// Running.
	ResultPending bool
}

// A Callback is the content of a provider's callback.
type Callback struct {
	// ID is the provider's own id of the task, Ref its handle.
	ID  string
	Ref json.RawMessage
	// Ended says that the task has ended, in the callback's own word: a poll that does not show that yet is worth
	// repeating soon.
	Ended bool
	// Snapshot is the state of the task, when the callback itself can be trusted; nil where a poll has to follow.
	Snapshot *Snapshot
}

// CancelOutcome is what a provider answered to a cancel. None of them decides the task: the next poll tells what the
// provider really did.
type CancelOutcome string

// The answers to a cancel.
const (
	CancelRequested   CancelOutcome = "requested"   // the provider will try
	CancelDone        CancelOutcome = "cancelled"   // the provider says it is cancelled
	CancelTooLate     CancelOutcome = "too_late"    // it has ended or can no longer be cancelled
	CancelUnsupported CancelOutcome = "unsupported" // the provider has no cancel
	CancelNotFound    CancelOutcome = "not_found"   // the provider does not know the task
)

// A Found is one task in a provider's list of what it has accepted.
type Found struct {
	ID string
	// CreatedAt is by the provider's clock.
	CreatedAt time.Time
	// Exact says that the list showed the input and that it is the same; otherwise only model, shape and time agree.
	Exact bool
}

// Features is what a driver can do.
type Features struct {
	Cancel   bool
	List     bool
	Webhook  bool
	Progress bool
	Position bool
	Logs     bool
	// Synchronous says that a paid request is answered with its result: a lost answer can never be found.
	Synchronous bool
	// Repeatable says that a paid request may be sent again after its answer was lost: the provider makes and bills one
	// thing, and says so.
	Repeatable bool
}

// An Error is a failure at a provider, classified. Message is the provider's own reason, bounded and free of keys.
type Error struct {
	Kind    events.Kind
	Code    string
	Message string
	// RetryAfter is what the provider asked for; 0 if it did not.
	RetryAfter time.Duration
	HTTPStatus int
	TraceID    string
	// Charge is what is known about the price; empty where the error says nothing about it.
	Charge events.Charge
	cause  error
}

// Error returns "<kind>: <message> (<code>)".
func (e *Error) Error() string {
	if e.Code == "" {
		return fmt.Sprintf("%s: %s", e.Kind, e.Message)
	}
	return fmt.Sprintf("%s: %s (%s)", e.Kind, e.Message, e.Code)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// Event returns e in the contract's form.
func (e *Error) Event() *events.Error {
	return &events.Error{
		Code: e.Code, Kind: e.Kind, Message: Clip(e.Message, events.MaxMessageBytes), HTTPStatus: e.HTTPStatus,
		TraceID: e.TraceID, Charge: e.Charge,
		Retryable: e.Kind == events.KindRetry || e.Kind == events.KindRateLimited || e.Kind == events.KindInternal,
	}
}

// FromEvent returns an error that was stored in the contract's form.
func FromEvent(e *events.Error) *Error {
	if e == nil {
		return &Error{Kind: events.KindInternal, Code: "internal", Message: "no reason is known"}
	}
	return &Error{
		Kind: e.Kind, Code: e.Code, Message: e.Message, HTTPStatus: e.HTTPStatus, TraceID: e.TraceID,
		Charge: e.Charge,
	}
}

// AsError returns the *Error in err's chain, or wraps err as an internal one.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Kind: events.KindInternal, Code: "internal", Message: err.Error(), cause: err}
}

// Clip cuts s to at most n bytes at a character boundary and replaces what steers a terminal by spaces and bad UTF-8 by
// U+FFFD, so that a stranger's text is safe in a log line or a record.
func Clip(s string, n int) string {
	out := make([]rune, 0, min(len(s), n))
	size := 0
	for _, r := range s {
		if events.Steers(r) {
			r = ' '
		}
		size += len(string(r))
		if size > n {
			break
		}
		out = append(out, r)
	}
	return string(out)
}
