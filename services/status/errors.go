package status

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"reelay/events"
	"reelay/internal/bus"
)

// maxFieldBytes bounds the name of a field in an answer: a request may name an unknown one of any length.
const maxFieldBytes = 128

// A failure is an error as a client gets it. status is like HTTP's.
type failure struct {
	status int
	body   events.Error
}

// Error returns the message for the client.
func (f *failure) Error() string { return f.body.Message }

func (f *failure) code() string { return strconv.Itoa(f.status) }

func fail(status int, code string, kind events.Kind, format string, args ...any) *failure {
	f := &failure{status, events.Error{
		Code: code, Kind: kind, Message: fmt.Sprintf(format, args...), Retryable: kind == events.KindRetry,
	}}
	f.clip()
	return f
}

// invalid answers a request that is wrong in itself: 400, or 413 for one that is too large.
func invalid(err error) *failure {
	f := fail(400, events.CodeInvalidRequest, events.KindInvalid, "%v", err)
	var fe *events.FieldError
	if errors.As(err, &fe) {
		f.body.Field = fe.Field
		f.clip()
	}
	return f
}

func tooLarge(size int) *failure {
	f := fail(413, events.CodePayloadTooLarge, events.KindInvalid, "payload: %d bytes are over the limit of %d", size,
		events.MaxRequestBytes)
	f.body.Field = "payload"
	return f
}

func conflict(code, field, format string, args ...any) *failure {
	f := fail(409, code, events.KindInvalid, format, args...)
	f.body.Field = field
	return f
}

func unavailable(format string, args ...any) *failure {
	return fail(503, events.CodeUnavailable, events.KindRetry, format, args...)
}

func timedOut(format string, args ...any) *failure {
	return fail(504, events.CodeTimeout, events.KindRetry, format, args...)
}

// refused answers with what the submitter said to a request or command.
func refused(e events.Error) *failure {
	f := &failure{400, e}
	switch e.Code {
	case events.CodeIdempotencyConflict, events.CodeConflict:
		f.status = 409
	case events.CodeNotFound:
		f.status = 404
	case events.CodePayloadTooLarge:
		f.status = 413
	}
	f.clip()
	return f
}

// failureOf makes any error one for a client.
func failureOf(err error) *failure {
	var f *failure
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, events.ErrInvalid):
		return invalid(err)
	case errors.Is(err, bus.ErrNotFound):
		return fail(404, events.CodeNotFound, events.KindNotFound, "%v", err)
	}
	return unavailable("%v", err)
}

// clip keeps an error well below the size of a message, whatever was in the request.
func (f *failure) clip() {
	f.body.Message = clip(f.body.Message, events.MaxMessageBytes)
	f.body.Field = clip(f.body.Field, maxFieldBytes)
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}
