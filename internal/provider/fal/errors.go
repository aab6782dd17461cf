package fal

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

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
// model's {"detail":[{"loc","msg","type"}]}, whose detail may also be a text or an object, and the platform's
// {"detail":text,"error_type":...}. Some models have {"error":{"message"}}, {"message"} or a plain text.
type envelope struct {
	status int
	// foreign says that neither the body nor a header is of fal's form: nobody knows who answered.
	foreign bool
	// errorType is the machine-readable reason, if there is one; ownType says that it is an error_type of fal's.
	errorType string
	ownType   bool
	// complaint says that the type is that of a model's complaint, in "detail".
	complaint bool
	message   string
	// word is the body's "status", such as NOT_FOUND.
	word string
	// id is the body's "request_id", and named says that it is the status of one.
	id    json.RawMessage
	named bool
	// position and logs are those of a status, as they were sent.
	position, logs json.RawMessage
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
		Detail      json.RawMessage `json:"detail"`
		Error       json.RawMessage `json:"error"`
		ErrorType   json.RawMessage `json:"error_type"`
		Message     json.RawMessage `json:"message"`
		Msg         json.RawMessage `json:"msg"`
		Status      json.RawMessage `json:"status"`
		RequestID   json.RawMessage `json:"request_id"`
		ResponseURL json.RawMessage `json:"response_url"`
		Position    json.RawMessage `json:"queue_position"`
		Logs        json.RawMessage `json:"logs"`
	}
	_ = json.Unmarshal(r.Body, &body) // what is no JSON object leaves everything empty
	e.id, e.position, e.logs = body.RequestID, body.Position, body.Logs
	e.word = provider.Clip(text(body.Status), maxCodeBytes)
	e.named = e.word != "" && !isNull(body.ResponseURL)
	errorType := cmp.Or(text(body.ErrorType), r.Header.Get("X-Fal-Error-Type"))
	e.ownType = errorType != ""
	var message string
	for i, raw := range []json.RawMessage{body.Detail, body.Error, body.Message, body.Msg} {
		kind, reason := readReason(raw)
		e.complaint = e.complaint || i == 0 && kind != ""
		errorType, message = cmp.Or(errorType, kind), cmp.Or(message, reason)
	}
	if message == "" && errorType == "" {
		message = plainText(r.Body)
	}
	e.errorType = provider.Clip(errorType, maxCodeBytes)
	e.message = provider.Reason(cmp.Or(message, e.errorType))
	e.foreign = isNull(body.Detail) && isNull(body.Error) && !e.ownType
	return e
}

// maxReasonDepth bounds how deep a reason may lie in objects.
const maxReasonDepth = 3

// readReason reads a reason: a text, an object, or a list of them of which the first gives the type.
func readReason(raw json.RawMessage) (errorType, message string) { return reasonAt(raw, 0) }

func reasonAt(raw json.RawMessage, depth int) (errorType, message string) {
	raw = bytes.TrimSpace(raw)
	if s := text(raw); s != "" || len(raw) == 0 || depth > maxReasonDepth {
		return "", s
	}
	switch raw[0] {
	case '{':
		return readObject(raw, depth)
	case '[':
		var items []json.RawMessage
		_ = json.Unmarshal(raw, &items)
		var reasons []string
		for i, item := range items {
			if i == maxReasons {
				reasons = append(reasons, fmt.Sprintf("and %d more", len(items)-i))
				break
			}
			kind, reason := reasonAt(item, depth+1)
			errorType = cmp.Or(errorType, kind)
			if reason != "" {
				reasons = append(reasons, reason)
			}
		}
		return errorType, strings.Join(reasons, "; ")
	}
	return "", ""
}

// readObject reads a complaint {"loc","msg","type"} and its relatives. One without a text of its own is told by its
// members, "name: value".
func readObject(raw json.RawMessage, depth int) (errorType, message string) {
	var o map[string]json.RawMessage
	_ = json.Unmarshal(raw, &o)
	for _, name := range []string{"type", "error_type", "error_code", "code"} {
		errorType = cmp.Or(errorType, text(o[name]))
	}
	for _, name := range []string{"msg", "message", "detail", "error", "reason", "description"} {
		kind, reason := reasonAt(o[name], depth+1)
		errorType, message = cmp.Or(errorType, kind), cmp.Or(message, reason)
	}
	if message != "" {
		if at := location(o["loc"]); at != "" {
			message = at + ": " + message
		}
		return errorType, message
	}
	if errorType != "" {
		return errorType, ""
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(o)) {
		_, reason := reasonAt(o[name], depth+1)
		if reason == "" && !strings.ContainsAny(string(o[name]), "{[\"") {
			reason = string(o[name])
		}
		if reason != "" && len(parts) < maxReasons {
			parts = append(parts, name+": "+reason)
		}
	}
	return "", strings.Join(parts, "; ")
}

// location writes ["body","images",0,"url"] as images.0.url. Some models write a text.
func location(raw json.RawMessage) string {
	var loc []json.RawMessage
	if json.Unmarshal(raw, &loc) != nil {
		if at := text(raw); at != "body" {
			return strings.TrimPrefix(at, "body.")
		}
		return ""
	}
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

// plainText returns a body that is a text for people: neither JSON nor a page.
func plainText(body []byte) string {
	body = bytes.TrimSpace(body)
	if len(body) == 0 || !utf8.Valid(body) || json.Valid(body) || strings.ContainsAny(string(body[:1]), "<{[\"\x00") {
		return ""
	}
	return string(body[:min(len(body), 4*events.MaxMessageBytes)])
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

// moderationWords are how models that have no type for it say that a filter refused the input or the result.
var moderationWords = regexp.MustCompile(`(?i)\bnsfw\b|content[ _-](policy|checker|filter|moderation)|` +
	`\bmoderation (filter|system|policy)|(was|been|by) moderat|flagged (as|by|for)|` +
	`safety (filter|system|checker|policy)|sensitive content`)

// speaksOfModeration recognises a refusal by a filter, where fal has no other type for it.
func (e envelope) speaksOfModeration() bool {
	return e.errorType == codeModeration || !isDocumented(e.errorType) && e.status < 500 &&
		(moderationWords.MatchString(e.message) || moderationWords.MatchString(e.errorType))
}

// isDocumented reports whether an error type is one that fal documents for a request's end
// (https://fal.ai/docs/model-apis/errors, .../request-errors): it is a verdict under whatever HTTP code.
func isDocumented(errorType string) bool {
	return errorType != "" && slices.Contains(strings.Fields(documentedTypes), errorType)
}

const documentedTypes = `request_timeout startup_timeout runner_scheduling_failure runner_connection_timeout
	runner_disconnected runner_connection_refused runner_connection_error runner_incomplete_response runner_server_error
	internal_error bad_request client_disconnected client_cancelled concurrent_requests_limit
	internal_server_error generation_timeout downstream_service_error downstream_service_unavailable
	content_policy_violation no_media_generated image_too_small image_too_large image_load_error file_download_error
	face_detection_error file_too_large greater_than greater_than_equal less_than less_than_equal multiple_of
	sequence_too_short sequence_too_long one_of feature_not_supported invalid_archive archive_file_count_below_minimum
	archive_file_count_exceeds_maximum audio_duration_too_long audio_duration_too_short unsupported_audio_format
	unsupported_image_format unsupported_video_format video_duration_too_long video_duration_too_short`

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
	case e.speaksOfModeration():
		return events.KindModeration
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
	r.Body = d.redactor.Bytes(r.Body)
	header := make(http.Header, len(r.Header))
	for name, values := range r.Header {
		for _, v := range values {
			header.Add(name, d.hide(v))
		}
	}
	r.Header = header
	return r
}

func (d *Driver) hide(s string) string { return d.redactor.Text(s) }

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
