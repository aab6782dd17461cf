package fal

import (
	"context"
	"encoding/json"
	"fmt"
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
	r, err := d.status(ctx, h)
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
	r, err = d.ask(ctx, http.MethodGet, h, restResult, "")
	if err != nil {
		return unread(ctx, s, err)
	}
	s, failed = readResult(s, said, r)
	return s, asError(failed)
}

// status asks for the status with its logs, and without them where they are too large: its end must not be missed.
func (d *Driver) status(ctx context.Context, h handle) (provider.Reply, error) {
	r, err := d.ask(ctx, http.MethodGet, h, restStatus, "?logs=1")
	if err != nil && provider.AsError(err).Code == provider.CodeTooLarge {
		return d.ask(ctx, http.MethodGet, h, restStatus, "?logs=0")
	}
	return r, err
}

// unread is what is known of a completed request whose result could not be read to its end.
func unread(ctx context.Context, s provider.Snapshot, err error) (provider.Snapshot, error) {
	e := provider.AsError(err)
	switch {
	case ctx.Err() != nil:
		return provider.Snapshot{}, err
	case e.Kind == events.KindRetry:
		return pending(s), nil
	case e.Code == provider.CodeTooLarge:
		e.Charge = events.ChargePossible
		s.State, s.Err, s.Unconfirmed = provider.Failed, e, true
		return s, nil
	}
	return provider.Snapshot{}, err
}

// ask calls the usual address of a request, and where that is not known the one that fal has named.
func (d *Driver) ask(ctx context.Context, method string, h handle, rest, query string) (provider.Reply, error) {
	r, err := d.call(ctx, method, d.url(h, rest)+query, rest == restResult)
	if named := *h.path(rest); err == nil && r.Status == http.StatusNotFound && named != "" {
		return d.call(ctx, method, d.origin()+named+query, rest == restResult)
	}
	return r, err
}

// call makes one free call and takes our key out of its answer. A large answer is one that may be over
// provider.MaxBodyBytes.
func (d *Driver) call(ctx context.Context, method, url string, large bool) (provider.Reply, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return provider.Reply{}, d.transport(err)
	}
	req.Header.Set("Authorization", d.authorization())
	req.Header.Set("Accept", "application/json")
	exchange := provider.Exchange
	if large {
		exchange = d.large.Exchange
	}
	r, err := exchange(d.client, req)
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
	if e.word == "" {
		e.message = "the answer has no status"
		return s, e, e.error(events.KindRetry)
	}
	if id := text(e.id); id != "" && !strings.EqualFold(id, h.RequestID) {
		e.message = "the answer speaks of another request"
		return s, e, e.error(events.KindRetry)
	}
	s = provider.Snapshot{Word: e.word, State: provider.Unknown, Logs: readLogs(e.logs)}
	switch e.word {
	case wordQueued:
		s.State = provider.Queued
		s.Position = position(e.position)
	case wordRunning:
		s.State = provider.Running
		s.Progress = progress(s.Logs)
	case wordCompleted:
		s.State = provider.Running // until the result tells more
	default:
		s = endOf(s, e)
	}
	return s, e, nil
}

// endOf reads a word that fal does not document. It is no verdict, unless it says that the request was cancelled or
// stands beside an error type of fal's; another failure has to be seen again.
func endOf(s provider.Snapshot, e envelope) provider.Snapshot {
	switch word := strings.ToUpper(e.word); {
	case word == "CANCELED" || word == "CANCELLED":
		s.State = provider.Cancelled
	case !e.foreign || word == "FAILED" || word == "ERROR":
		if e.message == "" {
			e.message = fmt.Sprintf("fal says %q and gives no reason", e.word)
		}
		s = ended(s, e.ofStatus(), provider.Reply{})
		s.Unconfirmed = s.State == provider.Failed && !isDocumented(e.errorType)
	}
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
