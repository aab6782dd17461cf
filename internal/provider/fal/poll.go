package fal

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"strings"

	"reelay/events"
	"reelay/internal/provider"
)

// fal's words for the states of a request.
const (
	wordQueued    = "IN_QUEUE"
	wordRunning   = "IN_PROGRESS"
	wordCompleted = "COMPLETED"
	wordNotFound  = "NOT_FOUND"
)

// unitName is the measure of x-fal-billable-units; its worth differs by model.
const unitName = "fal_unit"

// Poll asks for the status and, once the request is completed, for its result, whose HTTP code decides. Its error is a
// *provider.Error and says nothing about the request; KindNotFound is fal's word that it does not know the request.
func (d *Driver) Poll(ctx context.Context, ref json.RawMessage) (provider.Snapshot, error) {
	h, bad := parseRef(ref)
	if bad != nil {
		return provider.Snapshot{}, bad
	}
	r, err := d.call(ctx, http.MethodGet, d.url(h, "/status?logs=1"))
	if err != nil {
		return provider.Snapshot{}, err
	}
	s, said, failed := readStatus(h, r)
	if failed != nil {
		return provider.Snapshot{}, failed
	}
	if s.Word != wordCompleted {
		return s, nil
	}
	r, err = d.call(ctx, http.MethodGet, d.url(h, ""))
	if err != nil {
		if ctx.Err() == nil && provider.AsError(err).Kind == events.KindRetry {
			return pending(s), nil
		}
		return provider.Snapshot{}, err
	}
	s, failed = readResult(s, said, r)
	return s, asError(failed)
}

// call makes one free call and takes our key out of its answer.
func (d *Driver) call(ctx context.Context, method, url string) (provider.Reply, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return provider.Reply{}, d.transport(err)
	}
	req.Header.Set("Authorization", d.authorization())
	req.Header.Set("Accept", "application/json")
	r, err := provider.Exchange(d.client, req)
	if err != nil {
		return provider.Reply{}, d.transport(err)
	}
	return d.redact(r), nil
}

// readStatus reads an answer to a status call. The word counts, not the HTTP code: fal answers 202 until the end and
// 200 then. said is why a completed request failed, as far as the status tells. The error says nothing about the
// request.
func readStatus(h handle, r provider.Reply) (s provider.Snapshot, said envelope, failed *provider.Error) {
	e := readEnvelope(r)
	if r.Status < 200 || r.Status > 299 {
		return s, e, pollError(e)
	}
	var body struct {
		RequestID json.RawMessage `json:"request_id"`
		Position  json.RawMessage `json:"queue_position"`
		Logs      json.RawMessage `json:"logs"`
	}
	err := json.Unmarshal(r.Body, &body)
	if err != nil || e.word == "" {
		e.message = "the answer has no status"
		return s, e, e.error(events.KindRetry)
	}
	if id := text(body.RequestID); id != "" && !strings.EqualFold(id, h.RequestID) {
		e.message = "the answer speaks of another request"
		return s, e, e.error(events.KindRetry)
	}
	s = provider.Snapshot{Word: e.word, State: provider.Unknown, Logs: readLogs(body.Logs)}
	switch e.word {
	case wordQueued:
		s.State = provider.Queued
		s.Position = position(body.Position)
	case wordRunning:
		s.State = provider.Running
		s.Progress = progress(s.Logs)
	case wordCompleted:
		s.State = provider.Running // until the result tells more
	}
	return s, e, nil
}

// readResult reads an answer to a result call of a completed request: success, failure, or nothing that can be told
// from it. said is what the status told of a failure; it decides when the result cannot.
func readResult(s provider.Snapshot, said envelope, r provider.Reply) (provider.Snapshot, *provider.Error) {
	e := readEnvelope(r)
	if s.Units = e.units; e.units != nil {
		s.Unit = unitName
	}
	switch {
	case r.Status >= 200 && r.Status <= 299:
		return succeeded(s, e, r), nil
	case e.speaksOfWork():
		return ended(s, e), nil
	case said.errorType != "":
		return ended(s, said.ofStatus()), nil
	case r.Status == http.StatusNotFound && e.word == wordNotFound:
		e.message = "fal does not know the request any more"
		return provider.Snapshot{}, e.error(events.KindNotFound)
	case aboutAccount(r.Status) && !e.foreign:
		return provider.Snapshot{}, pollError(e)
	default:
		return pending(s), nil
	}
}

// speaksOfWork tells the end of a request's work from trouble on the way to its result. Both are HTTP errors here.
func (e envelope) speaksOfWork() bool {
	switch {
	case e.status < 400 || e.status > 599:
		return false
	case e.errorType != "":
		return true
	case aboutAccount(e.status), e.status == http.StatusNotFound && e.word == wordNotFound:
		return false // rather our key, our speed or the result's age than the model
	case e.status >= 500:
		return e.traced // fal's gateway marks what it passes on; a page of something before it is not marked
	default:
		return (e.traced || !e.foreign) && !strings.Contains(e.message, "still in progress")
	}
}

// aboutAccount lists codes that speak of the caller.
func aboutAccount(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusForbidden, http.StatusRequestTimeout,
		http.StatusTooManyRequests:
		return true
	}
	return false
}

// succeeded reads a result. One that names no file is a failure that was paid for: nothing can be delivered.
func succeeded(s provider.Snapshot, e envelope, r provider.Reply) provider.Snapshot {
	if !json.Valid(r.Body) || e.word == wordQueued || e.word == wordRunning {
		return pending(s)
	}
	s.Outputs = readOutputs(r.Body)
	s.Raw = r.Body
	if len(s.Outputs) > 0 {
		s.State = provider.Succeeded
		return s
	}
	if r.Status != http.StatusOK {
		s.Raw = nil
		return pending(s)
	}
	s.State = provider.Failed
	s.Err = &provider.Error{
		Kind: events.KindInternal, Code: "no_output", HTTPStatus: r.Status, TraceID: e.traceID,
		Charge: events.ChargeConfirmed, Message: "fal finished the request, and its result names no file that can be fetched",
	}
	return s
}

// ended is a request that made nothing: cancelled or failed. fal has no state for either.
func ended(s provider.Snapshot, e envelope) provider.Snapshot {
	if e.errorType == codeCancelled || e.status == statusClientClosed && e.errorType == "" {
		s.State = provider.Cancelled
		return s
	}
	s.State = provider.Failed
	s.Err = e.error(e.kindOfFailure())
	s.Err.Charge = e.chargeOfFailure()
	return s
}

// pending is a request that has ended in a way that could not be read yet.
func pending(s provider.Snapshot) provider.Snapshot {
	s.State, s.ResultPending = provider.Running, true
	s.Units, s.Unit = nil, ""
	return s
}

// pollError classifies an answer that says nothing about a request.
func pollError(e envelope) *provider.Error {
	switch {
	case e.status == http.StatusNotFound && (e.word == wordNotFound || !e.foreign):
		if e.message == "" {
			e.message = "fal does not know the request"
		}
		return e.error(events.KindNotFound)
	case e.status == http.StatusTooManyRequests:
		return e.error(events.KindRateLimited)
	case !e.foreign && (e.status == http.StatusUnauthorized || e.status == http.StatusForbidden ||
		e.status == http.StatusPaymentRequired):
		return e.error(kindOfRefusal(e))
	default:
		return e.error(events.KindRetry)
	}
}

// position reads a place in the queue, 0 being next.
func position(raw json.RawMessage) *int {
	var n *int
	if len(raw) == 0 || json.Unmarshal(raw, &n) != nil || n == nil || *n < 0 {
		return nil
	}
	return n
}

// billableUnits reads how much fal bills, in the unit of the model's price.
func billableUnits(h http.Header) *float64 {
	n, err := strconv.ParseFloat(h.Get("X-Fal-Billable-Units"), 64)
	if err != nil || n < 0 || math.IsInf(n, 0) || math.IsNaN(n) {
		return nil
	}
	return &n
}
