package jsonapi

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"reelay/events"
	"reelay/internal/provider"
)

const (
	maxCodeBytes = 80
	// maxReasonDepth and maxReasons bound how deep a reason may lie, and how many of a validation's are told.
	maxReasonDepth = 3
	maxReasons     = 3
)

// An Object is a JSON object of which nothing is certain.
type Object map[string]json.RawMessage

// Read returns the object that a text is; nil for any other.
func Read(text []byte) Object {
	var o Object
	if json.Unmarshal(text, &o) != nil {
		return nil
	}
	return o
}

// Has reports whether a member is there and not null.
func (o Object) Has(name string) bool { return len(o[name]) > 0 && string(o[name]) != "null" }

// Text reads a string, or a number as it was written; "" for anything else.
func (o Object) Text(name string) string {
	raw := o[name]
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	if _, ok := o.Number(name); ok {
		return string(raw)
	}
	return ""
}

// Number reads a number.
func (o Object) Number(name string) (float64, bool) {
	var n *float64
	if json.Unmarshal(o[name], &n) != nil || n == nil {
		return 0, false
	}
	return *n, true
}

// Object reads an object; nil for anything else.
func (o Object) Object(name string) Object { return Read(o[name]) }

// Objects reads a list of objects; false for anything else.
func (o Object) Objects(name string) (all []Object, ok bool) {
	return all, o.Has(name) && json.Unmarshal(o[name], &all) == nil
}

// Seconds reads a time in seconds since 1970; zero if there is none.
func (o Object) Seconds(name string) time.Time {
	if s, ok := o.Number(name); ok && s > 0 && s < 1<<40 {
		return time.Unix(int64(s), 0).UTC()
	}
	return time.Time{}
}

// Time reads a time of RFC 3339; zero if there is none.
func (o Object) Time(name string) time.Time {
	at, err := time.Parse(time.RFC3339, o.Text(name))
	if err != nil {
		return time.Time{}
	}
	return at.UTC()
}

// Reason reads a reason: a text, an object with a text under a usual name, or a list of them.
func Reason(raw json.RawMessage) (code, message string) { return reasonOf(raw, 0) }

func reasonOf(raw json.RawMessage, depth int) (code, message string) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || depth > maxReasonDepth {
		return "", ""
	}
	switch raw[0] {
	case '"':
		_ = json.Unmarshal(raw, &message) // what is cut off is no reason
	case '[':
		var items []json.RawMessage
		_ = json.Unmarshal(raw, &items)
		var all []string
		for _, item := range items[:min(len(items), maxReasons)] {
			c, m := reasonOf(item, depth+1)
			code, all = cmp.Or(code, c), append(all, m)
		}
		message = strings.Join(all, "; ")
	case '{':
		o := Read(raw)
		code = cmp.Or(o.Text("code"), o.Text("type"))
		for _, name := range []string{"message", "msg", "detail", "error"} {
			c, m := reasonOf(o[name], depth+1)
			code, message = cmp.Or(code, c), cmp.Or(message, m)
		}
		var at []json.RawMessage
		if message != "" && json.Unmarshal(o["loc"], &at) == nil && len(at) > 0 {
			message = "(" + strings.Trim(string(at[len(at)-1]), `"`) + ") " + message
		}
	}
	return code, message
}

// An Envelope is what an answer says that is not what was asked for.
type Envelope struct {
	// Own says that it has a usual form, so that no middlebox has written it: {"error":...}, or {"detail":...} as FastAPI and
	// Django have it. Named is the former.
	Own, Named bool
	// Code and Message are never empty.
	Code    string
	Message string
}

// ReadEnvelope reads any answer.
func ReadEnvelope(r provider.Reply) Envelope {
	o := Read(r.Body)
	e := Envelope{Own: o.Has("error") || o.Has("detail"), Named: o.Has("error")}
	for _, name := range []string{"error", "detail", "message"} {
		code, message := Reason(o[name])
		e.Code, e.Message = cmp.Or(e.Code, code), cmp.Or(e.Message, message)
	}
	if e.Code == "" || e.Code == strconv.Itoa(r.Status) {
		e.Code = "http_" + strconv.Itoa(r.Status)
	}
	if e.Message == "" {
		e.Message = fmt.Sprintf("HTTP %d", r.Status)
	}
	return e
}

// KindOf is what an answer says that is not what was asked for. Only the provider itself can refuse a key: a 403 without
// its envelope may be any middlebox's.
func (e Envelope) KindOf(status int) events.Kind {
	switch {
	case e.Own && (status == http.StatusUnauthorized || status == http.StatusForbidden):
		return events.KindAuth
	case e.Own && status == http.StatusNotFound:
		return events.KindNotFound
	case status == http.StatusTooManyRequests:
		return events.KindRateLimited
	case status == http.StatusRequestTimeout || status >= 500 || IsOK(status):
		return events.KindRetry
	}
	return events.KindInternal
}

// CallError is the error of a free call that was not answered with what it asked for.
func CallError(r provider.Reply) *provider.Error {
	e := ReadEnvelope(r)
	if !e.Own {
		e.Message = fmt.Sprintf("HTTP %d without what was asked for", r.Status)
	}
	return NewError(e.KindOf(r.Status), e.Code, e.Message, r)
}

// NewError makes an error and bounds its texts. The answer that it is about holds no key any more; the zero Reply stands
// for none. It says nothing of a charge.
func NewError(kind events.Kind, code, message string, r provider.Reply) *provider.Error {
	return &provider.Error{
		Kind: kind, Code: provider.Clip(code, maxCodeBytes), Message: provider.Reason(message), HTTPStatus: r.Status,
		TraceID:    provider.Clip(r.Header.Get("X-Request-Id"), maxCodeBytes),
		RetryAfter: provider.RetryAfter(r.Header, time.Now()),
	}
}

// IsOK reports whether a status is one of success.
func IsOK(status int) bool { return status >= 200 && status <= 299 }

// MayBeAnyones returns the kind of a refusal that proves by its status alone that nothing was begun, whoever has answered:
// a redirect, or too many requests. It is empty for all others.
func MayBeAnyones(status int) events.Kind {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect,
		http.StatusProxyAuthRequired:
		return events.KindAddress
	case http.StatusTooManyRequests:
		return events.KindRateLimited
	}
	return ""
}

// ProvesNothing reports whether an error of the client's says nothing of whether the request was taken. 499 is that of a
// proxy whose client has gone.
func ProvesNothing(status int) bool {
	return status == http.StatusRequestTimeout || status == http.StatusConflict || status == 499 || status < 400 || status > 499
}

// Redirect says where an answer leads, to be put behind a message; "" if it leads nowhere.
func Redirect(r provider.Reply) string {
	if r.Status < 300 || r.Status > 399 {
		return ""
	}
	return ", it redirects to " + provider.RedirectTarget(r.Header.Get("Location"))
}

// Raw is an answer as it is kept: JSON, or a JSON string of what is none.
func Raw(body []byte) json.RawMessage {
	if json.Valid(body) {
		return body
	}
	raw, err := events.Marshal(strings.ToValidUTF8(string(body), "?"))
	if err != nil {
		return nil // a string can always be marshalled
	}
	return raw
}

// InDoubt is an answer to a paid request that tells nobody whether it was taken.
func InDoubt(code, message string, r provider.Reply) provider.Answer {
	return provider.Answer{
		Outcome: provider.InDoubt, Err: NewError(events.KindAmbiguous, code, message, r),
		Body: r.Body[:min(len(r.Body), provider.MaxBodyBytes)],
	}
}
