package fal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"reelay/events"
	"reelay/internal/provider"
)

// Error types of fal that decide by themselves (https://fal.ai/docs/model-apis/errors, .../request-errors).
const (
	codeModeration = "content_policy_violation"
	codeCancelled  = "client_cancelled"
	codeParallel   = "concurrent_requests_limit"
)

const (
	maxCodeBytes = 80
	// maxReasons bounds how many of a validation's complaints are reported.
	maxReasons = 3
)

// statusClientClosed is what fal answers for a request that its client gave up.
const statusClientClosed = 499

// An envelope is what an answer that is not a success says, in fal's own form if it is of fal. There are two forms: a
// model's {"detail":[{"loc","msg","type"}]}, whose detail may also be a text, and the platform's
// {"detail":text,"error_type":...}.
type envelope struct {
	status int
	// foreign says that neither the body nor a header is of fal's form: nobody knows who answered.
	foreign bool
	// errorType is the machine-readable reason, if there is one.
	errorType string
	message   string
	// word is the body's "status", such as NOT_FOUND.
	word string
	// requestID says that the body names a request.
	requestID bool
	// traced says that the answer passed fal's gateway: it has x-fal-request-id.
	traced      bool
	traceID     string
	userTimeout bool
	retryAfter  time.Duration
	units       *float64
}

func readEnvelope(r provider.Reply) envelope {
	e := envelope{
		status: r.Status, traceID: provider.Clip(r.Header.Get("X-Fal-Request-Id"), maxCodeBytes),
		userTimeout: strings.EqualFold(r.Header.Get("X-Fal-Request-Timeout-Type"), "user"),
		retryAfter:  retryAfter(r.Header), units: billableUnits(r.Header),
	}
	e.traced = e.traceID != ""
	var body struct {
		Detail    json.RawMessage `json:"detail"`
		Error     json.RawMessage `json:"error"`
		ErrorType json.RawMessage `json:"error_type"`
		Status    json.RawMessage `json:"status"`
		RequestID json.RawMessage `json:"request_id"`
	}
	_ = json.Unmarshal(r.Body, &body) // what is no JSON object leaves everything empty
	e.requestID = !isNull(body.RequestID)
	e.word = provider.Clip(text(body.Status), maxCodeBytes)
	e.errorType = provider.Clip(text(body.ErrorType), maxCodeBytes)
	if e.errorType == "" {
		e.errorType = provider.Clip(r.Header.Get("X-Fal-Error-Type"), maxCodeBytes)
	}
	kind, message := readDetail(body.Detail)
	if e.errorType == "" {
		e.errorType = provider.Clip(kind, maxCodeBytes)
	}
	if message == "" {
		message = text(body.Error)
	}
	if message == "" && e.errorType != "" {
		message = e.errorType
	}
	e.message = provider.Clip(message, events.MaxMessageBytes)
	e.foreign = isNull(body.Detail) && isNull(body.Error) && e.errorType == ""
	return e
}

// readDetail reads a "detail": a text, or a list of complaints of which the first gives the type.
func readDetail(raw json.RawMessage) (errorType, message string) {
	if s := text(raw); s != "" {
		return "", s
	}
	var items []struct {
		Loc  []json.RawMessage `json:"loc"`
		Msg  string            `json:"msg"`
		Type string            `json:"type"`
	}
	if json.Unmarshal(raw, &items) != nil {
		return "", string(raw)
	}
	var reasons []string
	for i, item := range items {
		if i == maxReasons {
			reasons = append(reasons, fmt.Sprintf("and %d more", len(items)-i))
			break
		}
		if errorType == "" {
			errorType = item.Type
		}
		if at := location(item.Loc); at != "" {
			item.Msg = at + ": " + item.Msg
		}
		reasons = append(reasons, item.Msg)
	}
	return errorType, strings.Join(reasons, "; ")
}

// location writes ["body","images",0,"url"] as images.0.url.
func location(loc []json.RawMessage) string {
	var parts []string
	for i, raw := range loc {
		part := text(raw)
		if part == "" {
			part = string(raw)
		}
		if i == 0 && part == "body" {
			continue
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ".")
}

// error returns what the envelope says as an error of that kind.
func (e envelope) error(k events.Kind) *provider.Error {
	err := &provider.Error{
		Kind: k, Code: e.errorType, Message: e.message, HTTPStatus: e.status, TraceID: e.traceID, RetryAfter: e.retryAfter,
	}
	if err.Code == "" {
		err.Code = "http_" + strconv.Itoa(e.status)
	}
	if err.Message == "" {
		err.Message = fmt.Sprintf("HTTP %d without a reason of fal's", e.status)
	}
	return err
}

// speaksOfBalance tells an account without money from one without rights; fal has one code for both.
func (e envelope) speaksOfBalance() bool {
	m := strings.ToLower(e.message)
	return strings.Contains(m, "exhausted balance") || strings.Contains(m, "user is locked")
}

// kindOfFailure classifies how a request ended that was accepted.
func (e envelope) kindOfFailure() events.Kind {
	switch e.errorType {
	case codeModeration:
		return events.KindModeration
	case codeParallel:
		return events.KindRateLimited
	case "request_timeout", "startup_timeout":
		return events.KindDeadline
	case "downstream_service_error", "client_disconnected":
		return events.KindInternal // with codes below 500, and yet not the input's fault
	}
	switch {
	case e.userTimeout:
		return events.KindDeadline
	case e.status >= 500, e.status == 0, strings.HasPrefix(e.errorType, "runner_"):
		return events.KindInternal
	default:
		return events.KindInvalid
	}
}

// ofStatus returns a failure that a status told of, with the HTTP code that its result has by fal's documentation; 0
// for a type that is not documented.
func (e envelope) ofStatus() envelope {
	e.status = map[string]int{
		"request_timeout": 504, "startup_timeout": 504, "runner_scheduling_failure": 503, "runner_connection_timeout": 503,
		"runner_disconnected": 503, "runner_connection_refused": 503, "runner_connection_error": 503,
		"runner_incomplete_response": 502, "runner_server_error": 500, "internal_error": 500, "bad_request": 400,
		"client_disconnected": 499, codeCancelled: 499,
	}[e.errorType]
	return e
}

// chargeOfFailure says what a failed request cost: the units that fal counts if it tells, nothing for 5xx, and perhaps
// something for 4xx, which fal bills when GPU time was spent.
func (e envelope) chargeOfFailure() events.Charge {
	switch {
	case e.units != nil && *e.units == 0:
		return events.ChargeNone
	case e.units != nil:
		return events.ChargeConfirmed
	case e.status >= 500:
		return events.ChargeNone
	default:
		return events.ChargePossible
	}
}

// asError returns err as what a driver's methods return: nil stays nil.
func asError(err *provider.Error) error {
	if err == nil {
		return nil
	}
	return err
}

// transport redacts an error of provider.Exchange.
func (d *Driver) transport(err error) error {
	e := provider.AsError(err)
	e.Message = provider.Clip(d.hide(e.Message), events.MaxMessageBytes)
	return e
}

// redact takes our key out of an answer, before anything of it is cut or kept.
func (d *Driver) redact(r provider.Reply) provider.Reply {
	r.Body = bytes.ReplaceAll(r.Body, []byte(d.key.Reveal()), []byte("[redacted]"))
	header := make(http.Header, len(r.Header))
	for name, values := range r.Header {
		for _, v := range values {
			header.Add(name, d.hide(v))
		}
	}
	r.Header = header
	return r
}

func (d *Driver) hide(s string) string { return strings.ReplaceAll(s, d.key.Reveal(), "[redacted]") }

// retryAfter reads the header, a date relative to the answer's own, so that it needs no clock.
func retryAfter(h http.Header) time.Duration {
	now, err := http.ParseTime(h.Get("Date"))
	if _, notSeconds := strconv.Atoi(h.Get("Retry-After")); notSeconds != nil && err != nil {
		return 0
	}
	return provider.RetryAfter(h, now)
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// text returns a JSON string's text, and "" for anything else.
func text(raw json.RawMessage) string {
	var s string
	if len(raw) == 0 || json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}
