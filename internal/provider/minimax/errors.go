package minimax

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"reelay/events"
	"reelay/internal/provider"
)

const (
	maxCodeBytes = 64
	maxWordBytes = 64
	maxIDBytes   = 128 // of trace ids
)

// A meaning is what a status code says.
type meaning struct {
	kind events.Kind
	// refusal: as the answer to a create the code proves that nothing was bought.
	refusal bool
	// words stand in where MiniMax gives none.
	words string
	// hint is added to MiniMax's own words.
	hint string
}

// meanings are the codes of base_resp, which V2 uses too (https://platform.minimax.io/docs/api-reference/errorcode, and
// MiniMax's own clients for 1028, 1030 and 2061, the words of its HTTP 529 for 2064). A code that is not here says
// nothing.
var meanings = map[int]meaning{
	1000: {kind: events.KindRetry, words: "unknown error"},
	1001: {kind: events.KindRetry, words: "timeout"},
	1002: {kind: events.KindRateLimited, refusal: true, words: "too many requests per minute"},
	1004: {
		kind: events.KindAuth, refusal: true, words: "not authorised",
		hint: "check the key, and that it is of the base URL's region",
	},
	1008: {kind: events.KindQuota, refusal: true, words: "balance used up"},
	1013: {kind: events.KindRetry, words: "internal error"},
	1024: {kind: events.KindRetry, words: "internal error"},
	1026: {kind: events.KindModeration, refusal: true, words: "the input was refused by moderation"},
	1027: {kind: events.KindModeration, words: "the output was refused by moderation"},
	1028: {kind: events.KindQuota, refusal: true, words: "plan used up"},
	1030: {kind: events.KindQuota, refusal: true, words: "plan used up"},
	1033: {kind: events.KindRetry, words: "database error"},
	1039: {kind: events.KindRateLimited, refusal: true, words: "too many tokens per minute"},
	1041: {kind: events.KindRateLimited, refusal: true, words: "too many connections"},
	1042: {kind: events.KindInvalid, refusal: true, words: "over 10 % of the text are invisible characters"},
	1043: {kind: events.KindInvalid, words: "voice similarity check"},
	1044: {kind: events.KindInvalid, words: "voice similarity check"},
	2013: {kind: events.KindInvalid, refusal: true, words: "invalid parameters"},
	2037: {kind: events.KindInvalid, words: "voice sample of a wrong length"},
	2038: {kind: events.KindInvalid, words: "no right to clone voices"},
	2039: {kind: events.KindInvalid, words: "duplicate voice id"},
	2042: {kind: events.KindInvalid, words: "not your voice id"},
	2045: {kind: events.KindRateLimited, refusal: true, words: "the traffic grew too fast"},
	2048: {kind: events.KindInvalid, words: "prompt audio too long"},
	2049: {
		kind: events.KindAuth, refusal: true, words: "invalid key",
		hint: "check the key, and that it is of the base URL's region",
	},
	2056:  {kind: events.KindQuota, refusal: true, words: "usage limit until the next window of the plan"},
	2061:  {kind: events.KindQuota, refusal: true, words: "the model is not in the plan"},
	2064:  {kind: events.KindRateLimited, refusal: true, words: "the servers are overloaded"},
	20132: {kind: events.KindInvalid, words: "bad samples or voice id"},
}

// envelopeError is the error of an answer in MiniMax's own envelope, its kind from the code, else from the HTTP status.
func (d *Driver) envelopeError(s envelope, r provider.Reply) *provider.Error {
	m, known := s.meaning()
	kind, code, message := m.kind, s.code, s.message
	if !known {
		kind = kindOf(r.Status, true)
	}
	if code == "" {
		code = httpCode(r.Status)
	}
	if message == "" || strings.EqualFold(message, "success") {
		message = m.words
	}
	if message == "" {
		message = fmt.Sprintf("HTTP %d, code %s", r.Status, code)
	}
	if m.hint != "" {
		message += " (" + m.hint + ")"
	}
	err := d.newError(kind, code, message, r)
	if err.TraceID == "" {
		err.TraceID = d.clean(s.requestID, maxIDBytes)
	}
	return err
}

// callError is the error of a free call that was not answered with what it asked for.
func (d *Driver) callError(s envelope, r provider.Reply) *provider.Error {
	if s.own && !s.ok() {
		return d.envelopeError(s, r)
	}
	return d.newError(kindOf(r.Status, false), httpCode(r.Status),
		fmt.Sprintf("HTTP %d without what was asked for%s", r.Status, s.quoted()), r)
}

// newError is the one place where errors are made: it bounds and redacts their texts.
func (d *Driver) newError(kind events.Kind, code, message string, r provider.Reply) *provider.Error {
	return &provider.Error{
		Kind: kind, Code: d.clean(code, maxCodeBytes), Message: provider.Reason(d.clean(message, events.MaxMessageBytes)),
		HTTPStatus: r.Status, TraceID: d.clean(r.Header.Get("Trace-Id"), maxIDBytes),
		RetryAfter: provider.RetryAfter(r.Header, time.Now()),
	}
}

// transient reports whether asking again may help.
func transient(err error) bool {
	k := provider.AsError(err).Kind
	return k == events.KindRetry || k == events.KindRateLimited
}

// clean makes a stranger's text safe to keep.
func (d *Driver) clean(s string, limit int) string {
	return provider.Clip(strings.ToValidUTF8(d.redactor.Text(s), "?"), limit)
}

// redactError drops the cause, too, when the key is in an error of the transport, which may quote a broken answer.
func (d *Driver) redactError(e *provider.Error) *provider.Error {
	if m := d.clean(e.Message, events.MaxMessageBytes); m != e.Message {
		return d.newError(e.Kind, e.Code, m, provider.Reply{Status: e.HTTPStatus})
	}
	return e
}

// redactRaw is clean for a JSON text that is kept whole.
func (d *Driver) redactRaw(raw []byte) json.RawMessage { return d.redactor.Bytes(raw) }

// rawJSON is an answer as it is kept: JSON, or a JSON string of what is none.
func (d *Driver) rawJSON(body []byte) json.RawMessage {
	if json.Valid(body) {
		return d.redactRaw(body)
	}
	b, err := events.Marshal(strings.ToValidUTF8(string(d.redactRaw(body)), "?"))
	if err != nil {
		return nil // a string can always be marshalled
	}
	return b
}

// lax reads a value that nothing depends on: one of an unexpected type is left out, so that it cannot hide the ones
// that matter.
type lax[T any] struct{ v T }

// UnmarshalJSON never fails.
func (l *lax[T]) UnmarshalJSON(b []byte) error {
	var v T
	if json.Unmarshal(b, &v) == nil {
		l.v = v
	}
	return nil
}

// text is a JSON string, or a whole number as it was written: MiniMax sends the same id as either, and ids do not fit a
// float64.
type text string

// UnmarshalJSON reads "123", 123 and null.
func (t *text) UnmarshalJSON(b []byte) error {
	*t = ""
	switch {
	case len(b) == 0 || string(b) == "null":
		return nil
	case b[0] == '"':
		var s string
		err := json.Unmarshal(b, &s)
		*t = text(s)
		return err
	case b[0] != '-' && (b[0] < '0' || b[0] > '9') || bytes.ContainsAny(b, ".eE"):
		return fmt.Errorf("%.40q is not a string or a whole number", b)
	}
	*t = text(b)
	return nil
}

// unquoted reads a JSON string that t was left as.
func (t text) unquoted() string {
	var s string
	_ = json.Unmarshal([]byte(t), &s) // what is no string is none
	return s
}

// none reports whether there is no id: MiniMax may leave a field out, empty or zero.
func (t text) none() bool { return t == "" || t == "0" }

// isID reports whether t can be an id.
func (t text) isID() bool { return !t.none() && idPattern.MatchString(string(t)) }
