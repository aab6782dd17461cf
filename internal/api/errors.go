package api

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

// An Error is one as a client gets it. Status is like HTTP's.
type Error struct {
	Status int
	Body   events.Error
}

// Error returns the message for the client.
func (f *Error) Error() string { return f.Body.Message }

func (f *Error) code() string { return strconv.Itoa(f.Status) }

// Fail returns an error of a kind; one that may be asked again is retryable.
func Fail(status int, code string, kind events.Kind, format string, args ...any) *Error {
	f := &Error{status, events.Error{
		Code: code, Kind: kind, Message: fmt.Sprintf(format, args...), Retryable: kind == events.KindRetry,
	}}
	f.clip()
	return f
}

// Invalid answers a request that is wrong in itself: 400, or 413 for one that is too large.
func Invalid(err error) *Error {
	f := Fail(400, events.CodeInvalidRequest, events.KindInvalid, "%v", err)
	var fe *events.FieldError
	if errors.As(err, &fe) {
		f.Body.Field = fe.Field
		f.clip()
	}
	return f
}

// TooLarge answers a payload of so many bytes, over the limit: 413.
func TooLarge(size int) *Error {
	f := Fail(413, events.CodePayloadTooLarge, events.KindInvalid, "payload: %d bytes are over the limit of %d", size,
		events.MaxRequestBytes)
	f.Body.Field = "payload"
	return f
}

// Conflict answers what cannot be done as things are: 409.
func Conflict(code, field, format string, args ...any) *Error {
	f := Fail(409, code, events.KindInvalid, format, args...)
	f.Body.Field = field
	return f
}

// Unavailable answers what can be asked again, since nothing was done: 503.
func Unavailable(format string, args ...any) *Error {
	return Fail(503, events.CodeUnavailable, events.KindRetry, format, args...)
}

// TimedOut answers what may have been done: 504.
func TimedOut(format string, args ...any) *Error {
	return Fail(504, events.CodeTimeout, events.KindRetry, format, args...)
}

// Refused answers with what the submitter said to a request or command.
func Refused(e events.Error) *Error {
	f := &Error{400, e}
	switch e.Code {
	case events.CodeIdempotencyConflict, events.CodeConflict:
		f.Status = 409
	case events.CodeNotFound:
		f.Status = 404
	case events.CodePayloadTooLarge:
		f.Status = 413
	case events.CodeOverLimit:
		f.Status = 429
	case events.CodeUnavailable:
		f.Status = 503
	}
	f.clip()
	return f
}

// errorOf makes any error one for a client.
func errorOf(err error) *Error {
	var f *Error
	var e *events.Error
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &e):
		return Refused(*e)
	case errors.Is(err, events.ErrInvalid):
		return Invalid(err)
	case errors.Is(err, bus.ErrNotFound):
		return Fail(404, events.CodeNotFound, events.KindNotFound, "%v", err)
	}
	return Unavailable("%v", err)
}

// clip keeps an error well below the size of a message, whatever was in the request.
func (f *Error) clip() {
	f.Body.Message = clip(f.Body.Message, events.MaxMessageBytes)
	f.Body.Field = clip(f.Body.Field, maxFieldBytes)
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}
