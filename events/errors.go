package events

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

var (
	// ErrInvalid is matched by every FieldError: the sender's request cannot be accepted as it is.
	ErrInvalid = errors.New("invalid request")
	// ErrSubject says that a subject is not one of the contract.
	ErrSubject = errors.New("not a reelay subject")
	// ErrUnknownType says that an event has a type or version this build does not know.
	ErrUnknownType = errors.New("unknown event type")
)

// A FieldError says which field of a request is wrong and what its limit is. It matches ErrInvalid. Both texts come in
// part from the sender and go into events, headers and logs: NewFieldError bounds them and leaves no control
// characters.
type FieldError struct {
	Field   string
	Message string
}

// Error returns "<field>: <message>".
func (e *FieldError) Error() string { return e.Field + ": " + e.Message }

// Is matches ErrInvalid.
func (e *FieldError) Is(target error) bool { return target == ErrInvalid }

// maxFieldBytes is the longest field name in an error: that of a metadata entry with the longest key fits.
const maxFieldBytes = 128

// NewFieldError returns a FieldError with a formatted message. The field is cut to 128 bytes, the message to
// MaxMessageBytes.
func NewFieldError(field, format string, args ...any) *FieldError {
	return &FieldError{Field: plain(field, maxFieldBytes), Message: plain(fmt.Sprintf(format, args...), MaxMessageBytes)}
}

// Steers reports whether a character steers a terminal or the order of text, and is not written where people read what
// strangers have written: a control character, a mark of direction, a line or paragraph separator.
func Steers(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}

// plain cuts s to at most n bytes at a character boundary and replaces what steers a terminal.
func plain(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if Steers(r) {
			return ' '
		}
		return r
	}, s)
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// within puts the name of the object that holds a wrong field before the field's.
func within(object string, err error) error {
	var fe *FieldError
	if !errors.As(err, &fe) {
		return err
	}
	return NewFieldError(strings.TrimSuffix(object+"."+fe.Field, "."), "%s", fe.Message)
}

func fieldError(field, format string, args ...any) error {
	return NewFieldError(field, format, args...)
}

// Kind is the class of a failure. It alone decides on retry, it is the metric label, and it tells a user what to do.
type Kind string

// The kinds of failure.
const (
	KindRetry       Kind = "retry"        // transient: asking again may help
	KindRateLimited Kind = "rate_limited" // too many requests: the limit group of the model waits
	KindQuota       Kind = "quota"        // balance or plan used up: the lane waits for a person
	KindAuth        Kind = "auth"         // key refused: the lane waits for a person
	KindAddress     Kind = "address"      // what answers at the base URL is not the provider: the lane waits for a person
	KindInvalid     Kind = "invalid"      // the request itself is wrong
	KindModeration  Kind = "moderation"   // the provider refuses the content
	KindNotFound    Kind = "not_found"    // the provider does not know the task
	KindAmbiguous   Kind = "ambiguous"    // nobody knows whether the provider accepted a paid request
	KindDeadline    Kind = "deadline"     // a deadline of the task or of the provider ran out
	KindDependency  Kind = "dependency"   // a task that this one depends on has no result
	KindInternal    Kind = "internal"     // a fault of the provider or of reelay
)

// Kinds lists every kind.
func Kinds() []Kind {
	return []Kind{
		KindRetry, KindRateLimited, KindQuota, KindAuth, KindAddress, KindInvalid, KindModeration,
		KindNotFound, KindAmbiguous, KindDeadline, KindDependency, KindInternal,
	}
}

// Charge says what is known about the price of an attempt.
type Charge string

// What is known about a charge.
const (
	ChargeNone      Charge = "none"      // proven: nothing was bought
	ChargePossible  Charge = "possible"  // nobody knows
	ChargeConfirmed Charge = "confirmed" // the provider accepted the work
)

// Error codes of reelay itself; a provider's own code stands in its place where there is one.
const (
	CodeInvalidRequest        = "invalid_request"
	CodeIdempotencyConflict   = "idempotency_conflict"
	CodeUnknownProvider       = "unknown_provider"
	CodeUnknownModel          = "unknown_model"
	CodeNotConfigured         = "provider_not_configured"
	CodeUnsupported           = "unsupported"     // the model cannot fulfil a wish; Error.Allowed are the values that it can
	CodeUnknownFile           = "unknown_file"    // the project has no file of that name
	CodeUnsuitableFile        = "unsuitable_file" // the model does not take the file, or its bytes are no longer those
	CodePayloadTooLarge       = "payload_too_large"
	CodeOverLimit             = "over_limit" // the project's quota is used up; Error.Field says which (bucket.Quota)
	CodeNotFound              = "not_found"
	CodeConflict              = "conflict"
	CodeTimeout               = "timeout"
	CodeUnavailable           = "unavailable"
	CodeDeadlineExceeded      = "deadline_exceeded"
	CodeStartDeadlineExceeded = "start_deadline_exceeded"
	CodeInDoubt               = "in_doubt"
	CodeWrittenOff            = "written_off"
	CodeDependencyFailed      = "dependency_failed"
	CodeDependencyCycle       = "dependency_cycle"
	CodeTaskLost              = "task_lost"
	CodeErased                = "erased"         // it was erased on request
	CodeRetentionOver         = "retention_over" // it was stored for as long as its project keeps files
	CodeInternal              = "internal"
)

// An Error is why a task or a request failed, in the provider's own words where it gave any.
type Error struct {
	Code      string `json:"code"`
	Kind      Kind   `json:"kind"`
	Message   string `json:"message"`
	Retryable bool   `json:"retryable"`
	Charge    Charge `json:"charge,omitempty"`
	// Field names the field of a request that was refused, or the quota that is used up.
	Field string `json:"field,omitempty"`
	// Allowed are the values that the field may have, for CodeUnsupported; none if the model knows no such thing.
	Allowed []string `json:"allowed,omitempty"`
	// HTTPStatus is the provider's, where it answered at all.
	HTTPStatus int `json:"http_status,omitempty"`
	// TraceID is the provider's id of the answer, for its support.
	TraceID string `json:"trace_id,omitempty"`
}

// Error returns "<message> (<code>)".
func (e *Error) Error() string { return e.Message + " (" + e.Code + ")" }

func joined[T ~string](all []T) string {
	words := make([]string, len(all))
	for i, v := range all {
		words[i] = string(v)
	}
	return strings.Join(words, ", ")
}
