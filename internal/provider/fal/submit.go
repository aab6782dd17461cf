package fal

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"reelay/events"
	"reelay/internal/provider"
)

// Render fixes the paid request. The body is the input as it is. A task with a start deadline asks fal to give up by
// itself when it could not begin in that time. Its error is a FieldError of "model".
func (d *Driver) Render(t events.Task, input json.RawMessage, callbackURL string) (provider.Request, error) {
	m, err := parseModel(t.Model)
	if err != nil {
		return provider.Request{}, err
	}
	r := provider.Request{URL: d.baseURL + "/" + m.path, Header: http.Header{}, Body: slices.Clone(input)}
	if callbackURL != "" {
		r.URL += "?fal_webhook=" + url.QueryEscape(callbackURL)
	}
	r.Header.Set("Authorization", d.authorization())
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json")
	r.Header.Set("X-Fal-Queue-Priority", "normal")
	// Always sent: that fal does not begin later than this is what makes its silence about a lost answer mean something.
	begin := t.Deadline
	if t.StartDeadline != nil {
		begin = *t.StartDeadline
	}
	if !begin.IsZero() {
		// The older of fal's two names for this header, the one that its own clients send.
		seconds := max(1, begin.Sub(t.TimeoutsFrom()).Seconds())
		r.Header.Set("X-Fal-Request-Timeout", strconv.FormatFloat(seconds, 'f', -1, 64))
	}
	return r, nil
}

// Classify reads the answer to a submit. A 2xx with a request id is accepted, and so is one with the files of a result,
// as fal answers without its queue (https://fal.ai/docs/model-apis/model-endpoints/synchronous-requests). Whatever proves that nothing was queued is
// refused and cost nothing: a refusal in fal's own envelope, any 429, a redirect, and the page with which a proxy turns
// a call away. All else is in doubt: 408, 409, 5xx, a 2xx without an id, an error that names a request.
func (d *Driver) Classify(model string, _ []byte, r provider.Reply) provider.Answer {
	r = d.redact(r)
	e := readEnvelope(r)
	if r.Status >= 200 && r.Status <= 299 {
		return d.accepted(model, e, r)
	}
	err := refusal(e, r)
	if err == nil || !isNull(e.id) && r.Status != http.StatusTooManyRequests {
		return inDoubt(e, r, "the answer does not tell whether the request was accepted")
	}
	err.Charge = events.ChargeNone
	err.Message = provider.Clip(err.Message, events.MaxMessageBytes)
	return provider.Answer{Outcome: provider.Refused, Err: err}
}

// refusal returns why nothing was queued, and nil where that is not known.
func refusal(e envelope, r provider.Reply) *provider.Error {
	switch {
	case e.status == http.StatusTooManyRequests:
		return e.error(events.KindRateLimited)
	case e.status == http.StatusMovedPermanently, e.status == http.StatusFound,
		e.status == http.StatusTemporaryRedirect, e.status == http.StatusPermanentRedirect:
		return e.address("it redirects to " + provider.RedirectTarget(r.Header.Get("Location")))
	case !e.foreign || e.traced:
		if slices.Contains(refusals(), e.status) {
			return e.error(kindOfRefusal(e))
		}
		return nil
	}
	switch e.status {
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusUnauthorized, http.StatusForbidden,
		http.StatusProxyAuthRequired:
		return e.address("the answer is not of fal's form")
	case http.StatusRequestEntityTooLarge, http.StatusRequestURITooLong, http.StatusRequestHeaderFieldsTooLarge:
		err := e.error(events.KindInvalid)
		err.Message = "a proxy before fal refused the request as too large: " + err.Message
		return err
	}
	if e.message != "" && slices.Contains(refusals(), e.status) {
		return e.error(kindOfRefusal(e)) // in words, if not in fal's form
	}
	return nil
}

// address is the refusal of somebody at the base URL who is not fal.
func (e envelope) address(why string) *provider.Error {
	err := e.error(events.KindAddress)
	err.Message = fmt.Sprintf("what answers at the base URL of fal is not fal's queue API (HTTP %d, %s): is the base URL "+
		"right, or does a proxy stand before it?", e.status, why)
	if e.message != "" {
		err.Message += " It says: " + e.message
	}
	return err
}

func (d *Driver) accepted(model string, e envelope, r provider.Reply) provider.Answer {
	var body acceptedBody
	if json.Unmarshal(r.Body, &body) != nil {
		return inDoubt(e, r, "the answer has no request id")
	}
	id := body.id()
	if id == "" {
		return d.answered(model, e, r)
	}
	ref, err := d.refWith(model, id, body)
	if err != nil {
		return inDoubt(e, r, err.Error())
	}
	return provider.Answer{Outcome: provider.Accepted, Ref: ref, ID: id}
}

// answered reads a 2xx without a request id: it may be the result itself.
func (d *Driver) answered(model string, e envelope, r provider.Reply) provider.Answer {
	snap := provider.Snapshot{Units: e.units}
	if e.units != nil {
		snap.Unit = unitName
	}
	snap = succeeded(snap, e, r)
	if snap.State != provider.Succeeded || !readOutputs(r.Body).files || failureInside(r.Body) {
		return inDoubt(e, r, "the answer has no request id")
	}
	sum := sha256.Sum256(r.Body)
	id := cmp.Or(r.Header.Get("X-Fal-Request-Id"), "answer-"+hex.EncodeToString(sum[:16]))
	ref, err := d.Ref(model, id)
	if err != nil {
		return inDoubt(e, r, err.Error())
	}
	return provider.Answer{Outcome: provider.Accepted, Ref: ref, ID: id, Result: &snap}
}

// An acceptedBody is what fal, or what stands before it, answers to a submit that it has queued.
type acceptedBody struct {
	RequestID   json.RawMessage `json:"request_id"`
	RequestID2  json.RawMessage `json:"requestId"`
	Data        json.RawMessage `json:"data"`
	StatusURL   json.RawMessage `json:"status_url"`
	ResponseURL json.RawMessage `json:"response_url"`
	CancelURL   json.RawMessage `json:"cancel_url"`
}

// id returns the request id, from wherever the answer has it.
func (b acceptedBody) id() string {
	id := cmp.Or(text(b.RequestID), text(b.RequestID2))
	var data struct {
		acceptedBody
		ID json.RawMessage `json:"id"`
	}
	if id == "" && len(b.Data) > 0 && json.Unmarshal(b.Data, &data) == nil {
		data.Data = nil
		id = cmp.Or(data.id(), text(data.ID))
	}
	for _, address := range []json.RawMessage{b.StatusURL, b.ResponseURL, b.CancelURL} {
		if id == "" {
			id = idOfAddress(text(address))
		}
	}
	return id
}

// idOfAddress returns the id in .../requests/{id}[/...].
func idOfAddress(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	_, rest, ok := strings.Cut(u.EscapedPath(), "/requests/")
	if !ok {
		return ""
	}
	part, _, _ := strings.Cut(rest, "/")
	id, err := url.PathUnescape(part)
	if err != nil {
		return ""
	}
	return id
}

// refusals are the codes with which fal's gateway turns a submit away before it is queued.
func refusals() []int {
	return []int{
		http.StatusBadRequest, http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusForbidden, http.StatusNotFound,
		http.StatusMethodNotAllowed, http.StatusGone, http.StatusRequestEntityTooLarge, http.StatusRequestURITooLong,
		http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity, http.StatusTooManyRequests,
		http.StatusRequestHeaderFieldsTooLarge,
	}
}

// inDoubt keeps what was answered: it may be a result, or name the request in a way that a person can read.
func inDoubt(e envelope, r provider.Reply, why string) provider.Answer {
	err := e.error(events.KindAmbiguous)
	if e.message == "" {
		err.Message = fmt.Sprintf("HTTP %d", e.status)
	}
	err.Message = provider.Clip(why+": "+err.Message, events.MaxMessageBytes)
	err.Charge = events.ChargePossible
	err.RetryAfter = 0
	return provider.Answer{Outcome: provider.InDoubt, Err: err, Body: r.Body}
}

// kindOfRefusal classifies an answer that speaks of the account or the call, not of a request's work.
func kindOfRefusal(e envelope) events.Kind {
	switch e.status {
	case http.StatusUnauthorized, http.StatusForbidden:
		if e.speaksOfBalance() {
			return events.KindQuota
		}
		return events.KindAuth
	case http.StatusPaymentRequired:
		return events.KindQuota
	case http.StatusTooManyRequests:
		return events.KindRateLimited
	}
	if e.speaksOfModeration() {
		return events.KindModeration
	}
	return events.KindInvalid
}
