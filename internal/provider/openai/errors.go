package openai

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
	// minKeyBytes is the shortest key that is searched for in answers: a shorter text would be found in ordinary words.
	minKeyBytes = 8
	redacted    = "[redacted]"

	maxCodeBytes = 80
	// maxReasonDepth and maxReasons bound how deep a reason may lie, and how many of a validation's are told.
	maxReasonDepth = 3
	maxReasons     = 3
)

// An object is a JSON object of which nothing is certain.
type object map[string]json.RawMessage

// readObject returns the object that a body is; nil for any other.
func readObject(body []byte) object {
	var o object
	if json.Unmarshal(body, &o) != nil {
		return nil
	}
	return o
}

// has reports whether a member is there and not null.
func (o object) has(name string) bool { return len(o[name]) > 0 && string(o[name]) != "null" }

// text reads a string, or a number as it was written; "" for anything else.
func (o object) text(name string) string {
	raw := o[name]
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	if _, ok := o.number(name); ok {
		return string(raw)
	}
	return ""
}

// number reads a number.
func (o object) number(name string) (float64, bool) {
	var n *float64
	if json.Unmarshal(o[name], &n) != nil || n == nil {
		return 0, false
	}
	return *n, true
}

// time reads a time in seconds since 1970; zero if there is none.
func (o object) time(name string) time.Time {
	if s, ok := o.number(name); ok && s > 0 && s < 1<<40 {
		return time.Unix(int64(s), 0).UTC()
	}
	return time.Time{}
}

// An envelope is what an answer says that is not what was asked for.
type envelope struct {
	// own says that it has the form of such a server: OpenAI's {"error":...} or FastAPI's {"detail":...}. named is the
	// former.
	own, named bool
	code       string
	message    string
}

func readEnvelope(r provider.Reply) envelope {
	o := readObject(r.Body)
	e := envelope{own: o.has("error") || o.has("detail"), named: o.has("error")}
	for _, name := range []string{"error", "detail", "message"} {
		code, message := reasonOf(o[name], 0)
		e.code, e.message = cmp.Or(e.code, code), cmp.Or(e.message, message)
	}
	if e.code == "" || e.code == strconv.Itoa(r.Status) {
		e.code = httpCode(r.Status)
	}
	if e.message == "" {
		e.message = fmt.Sprintf("HTTP %d", r.Status)
	}
	return e
}

// reasonOf reads a reason: a text, an object with a text under a usual name, or a list of them.
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
		o := readObject(raw)
		code = cmp.Or(o.text("code"), o.text("type"))
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

// kindOf is what an answer says that is not what was asked for. Only the server itself can refuse a key: a 403 without
// its envelope may be any middlebox's.
func (e envelope) kindOf(status int) events.Kind {
	switch {
	case e.own && (status == http.StatusUnauthorized || status == http.StatusForbidden):
		return events.KindAuth
	case e.own && status == http.StatusNotFound:
		return events.KindNotFound
	case status == http.StatusTooManyRequests:
		return events.KindRateLimited
	case status == http.StatusRequestTimeout || status >= 500 || isOK(status):
		return events.KindRetry
	}
	return events.KindInternal
}

// callError is the error of a free call that was not answered with what it asked for.
func callError(r provider.Reply) *provider.Error {
	e := readEnvelope(r)
	message := e.message
	if !e.own {
		message = fmt.Sprintf("HTTP %d without what was asked for", r.Status)
	}
	return newError(e.kindOf(r.Status), e.code, message, r)
}

// newError is the one place where errors are made: it bounds their texts. The answer they are about holds no key any
// more. The machines are the operator's own: nothing is charged.
func newError(kind events.Kind, code, message string, r provider.Reply) *provider.Error {
	return &provider.Error{
		Kind: kind, Code: provider.Clip(code, maxCodeBytes), Message: provider.Reason(message), HTTPStatus: r.Status,
		TraceID:    provider.Clip(r.Header.Get("X-Request-Id"), maxCodeBytes),
		RetryAfter: provider.RetryAfter(r.Header, time.Now()), Charge: events.ChargeNone,
	}
}

// redact takes the key out of an answer.
func (d *Driver) redact(r provider.Reply) provider.Reply {
	key := d.key.Reveal()
	if len(key) < minKeyBytes {
		return r
	}
	r.Body = bytes.ReplaceAll(r.Body, []byte(key), []byte(redacted))
	header := make(http.Header, len(r.Header))
	for name, values := range r.Header {
		for _, v := range values {
			header.Add(name, strings.ReplaceAll(v, key, redacted))
		}
	}
	r.Header = header
	return r
}

// redactError drops the cause, too, when the key is in an error of the transport, which may quote a broken answer.
func (d *Driver) redactError(e *provider.Error) *provider.Error {
	key := d.key.Reveal()
	if len(key) < minKeyBytes || !strings.Contains(e.Message, key) {
		return e
	}
	return newError(e.Kind, e.Code, strings.ReplaceAll(e.Message, key, redacted), provider.Reply{Status: e.HTTPStatus})
}

func isOK(status int) bool { return status >= 200 && status <= 299 }

func httpCode(status int) string { return "http_" + strconv.Itoa(status) }

// rawJSON is an answer as it is kept: JSON, or a JSON string of what is none.
func rawJSON(body []byte) json.RawMessage {
	if json.Valid(body) {
		return body
	}
	raw, err := events.Marshal(strings.ToValidUTF8(string(body), "?"))
	if err != nil {
		return nil // a string can always be marshalled
	}
	return raw
}
