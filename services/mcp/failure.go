package mcp

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"

	"reelay/events"
	"reelay/events/client"
	"reelay/internal/describe"
)

// Codes of failures that a tool tells, beside those of events, in the form of the queue tools.
const (
	codeNotFound = "NOT_FOUND"
	codeInvalid  = "INVALID_ARGUMENT"
	codeConflict = "CONFLICT"
	codeBusy     = "UNAVAILABLE"
	codeInternal = "INTERNAL"
	codeConfirm  = "CONFIRM_COST"
	codeDeclined = "DECLINED"
)

// A failure is why a tool could not do what it was asked, or why a task has failed.
type failure struct {
	Code    string `json:"code" jsonschema:"what kind of failure it is"`
	Message string `json:"message" jsonschema:"the reason in words"`
	// TaskID is that of a task which may be there all the same.
	TaskID string `json:"task_id,omitempty" jsonschema:"the task, which may be there all the same"`
	Field  string `json:"field,omitempty" jsonschema:"the argument that is wrong"`
	// Allowed are the values that the argument may have.
	Allowed []string `json:"allowed,omitempty" jsonschema:"the values that the argument may have"`
	// Retryable says that the same wish may succeed later, without a risk to pay twice.
	Retryable bool `json:"retryable" jsonschema:"whether the same call may succeed later"`
	// Estimated is the cost that has to be confirmed first.
	Estimated float64 `json:"estimated_cost_usd,omitempty" jsonschema:"the cost to be confirmed, in US dollars"`
	// Charge is what is known of the price: none, possible or confirmed.
	Charge string `json:"charge,omitempty" jsonschema:"whether it has cost money: none, possible or confirmed"`
}

// Error returns "<code>: <message>".
func (f *failure) Error() string { return f.Code + ": " + f.Message }

// invalid is the failure of an argument.
func invalid(field, format string, args ...any) error {
	return &failure{Code: codeInvalid, Field: field, Message: describe.Clean(field + ": " + fmt.Sprintf(format, args...))}
}

// unknown is the failure of a task that does not exist, or not for this principal.
func unknown(id string) error {
	return &failure{Code: codeNotFound, Message: describe.Clean(fmt.Sprintf("task %.160q is not known; list_tasks shows what there is", id))}
}

// failureOf words an error for an agent. What a service has refused it says with the service's own reason.
func failureOf(err error) *failure {
	var known *failure
	var field *events.FieldError
	var refused *client.Error
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &field):
		return &failure{Code: codeInvalid, Field: field.Field, Message: describe.Clean(field.Error())}
	case errors.As(err, &refused):
		return refusal(refused)
	case errors.Is(err, client.ErrNoService), errors.Is(err, client.ErrNoAnswer), errors.Is(err, context.DeadlineExceeded):
		return &failure{
			Code: codeBusy, Retryable: true,
			Message: "reelay does not answer right now; call again with the same arguments, which is safe and never pays twice",
		}
	default:
		return &failure{Code: codeInternal, Message: "the call could not be answered; call again with the same arguments"}
	}
}

// name calls the field of a failure as the tool with these arguments does.
func (f *failure) name(arguments map[string]*jsonschema.Schema) {
	if name := argument(f.Field, arguments); name != f.Field {
		f.Message = strings.Replace(f.Message, f.Field, name, 1)
		f.Field = name
	}
}

// argument names a field of a request as a tool with these arguments does.
func argument(field string, arguments map[string]*jsonschema.Schema) string {
	field = strings.TrimPrefix(strings.TrimPrefix(field, "want."), "options.")
	for _, name := range map[string][]string{
		"image": {"first_frame_url", "image_url"}, "last_frame": {"last_frame_url"}, "voice": {"voice_id"},
		"prompt": {"motion_prompt"}, "references": {"audio_url"},
	}[field] {
		if arguments[field] == nil && arguments[name] != nil {
			return name
		}
	}
	return field
}

func refusal(e *client.Error) *failure {
	f := &failure{
		Code: codeInvalid, Message: describe.Clean(e.Reason.Message), Field: e.Reason.Field, Retryable: e.Reason.Retryable,
		Charge: string(e.Reason.Charge), Allowed: e.Reason.Allowed,
	}
	switch e.Reason.Code {
	case events.CodeOverLimit:
		if e.Busy() {
			f.Code, f.Field, f.Retryable = codeBusy, "", true
		}
	case events.CodeNotFound:
		f.Code = codeNotFound
	case events.CodeIdempotencyConflict, events.CodeConflict:
		f.Code = codeConflict
	case events.CodeTimeout, events.CodeUnavailable:
		f.Code, f.Retryable = codeBusy, true
	case events.CodeInternal:
		f.Code = codeInternal
	}
	return f
}
