package fal

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"

	"reelay/events"
	"reelay/internal/provider"
)

// codeBadCallback is the code of a callback that cannot be read.
const codeBadCallback = "bad_callback"

// statusCode finds the HTTP code of the result in the error of a callback: "Invalid status code: 422".
var statusCode = regexp.MustCompile(`status code: ([1-5][0-9]{2})\b`)

// ReadCallback reads the body of a callback (https://fal.ai/docs/model-apis/model-endpoints/webhooks) to a request of
// a model. Its signature must have been verified. Its payload is the result, and is read as a poll reads it. Where
// that leaves a doubt (no payload, an error without a reason, a result without a file), the callback has no snapshot
// and only leads to a poll.
//
// Its error is a *provider.Error: the body is over events.MaxCallbackBytes, is no JSON or names no request.
func (d *Driver) ReadCallback(model string, body []byte) (provider.Callback, error) {
	if len(body) > events.MaxCallbackBytes {
		return provider.Callback{},
			badCallback(fmt.Sprintf("%d bytes are over the limit of %d", len(body), events.MaxCallbackBytes))
	}
	body = d.redact(provider.Reply{Body: body}).Body
	var h callbackBody
	if json.Unmarshal(body, &h) != nil {
		return provider.Callback{}, badCallback("the callback is no JSON object of fal's form")
	}
	id := text(h.RequestID)
	ref, err := d.Ref(model, id)
	if err != nil {
		return provider.Callback{}, badCallback(err.Error())
	}
	return provider.Callback{ID: id, Ref: ref, Ended: true, Snapshot: h.snapshot()}, nil
}

// A callbackBody is the body of a callback. fal sends one when a request has ended.
type callbackBody struct {
	RequestID json.RawMessage `json:"request_id"`
	// GatewayRequestID is that of the last try.
	GatewayRequestID json.RawMessage `json:"gateway_request_id"`
	Status           json.RawMessage `json:"status"`
	Error            json.RawMessage `json:"error"`
	Payload          json.RawMessage `json:"payload"`
	PayloadError     json.RawMessage `json:"payload_error"`
}

// snapshot returns what the callback proves about the request, nil where only a poll can tell.
func (h callbackBody) snapshot() *provider.Snapshot {
	status := 0
	switch text(h.Status) {
	case "OK":
		status = http.StatusOK
	case "ERROR":
		if m := statusCode.FindStringSubmatch(text(h.Error)); m != nil {
			status, _ = strconv.Atoi(m[1]) // three digits
		}
	}
	if status == 0 || isNull(h.Payload) || !isNull(h.PayloadError) || (status < 400) != (text(h.Status) == "OK") {
		return nil
	}
	r := provider.Reply{Status: status, Header: http.Header{}, Body: h.Payload}
	if id := text(h.GatewayRequestID); id != "" {
		r.Header.Set("X-Fal-Request-Id", id) // as the gateway marks the result that it passes on
	}
	s, failed := readResult(provider.Snapshot{Word: wordCompleted, State: provider.Running}, envelope{}, r)
	switch {
	case failed != nil:
		return nil
	case s.State == provider.Succeeded && len(s.Outputs) > 0, s.State == provider.Cancelled,
		s.State == provider.Failed && status >= 400 && !s.Unconfirmed && !readEnvelope(r).foreign:
		return &s
	}
	return nil
}

func badCallback(why string) *provider.Error {
	return &provider.Error{
		Kind: events.KindInternal, Code: codeBadCallback,
		Message: provider.Clip(why, events.MaxMessageBytes),
	}
}
