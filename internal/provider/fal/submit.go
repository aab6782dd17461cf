package fal

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"

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
		seconds := max(1, begin.Sub(t.CreatedAt).Seconds())
		r.Header.Set("X-Fal-Request-Timeout", strconv.FormatFloat(seconds, 'f', -1, 64))
	}
	return r, nil
}

// Classify reads the answer to a submit. A 2xx with a request id is accepted; one of the codes by which fal refuses, in
// fal's own envelope, is refused and cost nothing; all else is in doubt.
func (d *Driver) Classify(model string, r provider.Reply) provider.Answer {
	r = d.redact(r)
	if r.Status >= 200 && r.Status <= 299 {
		return d.accepted(model, r)
	}
	e := readEnvelope(r)
	if e.foreign || e.requestID || !slices.Contains(refusals(), r.Status) {
		return inDoubt(e, "the answer does not tell whether the request was accepted")
	}
	err := e.error(kindOfRefusal(e))
	err.Charge = events.ChargeNone
	return provider.Answer{Outcome: provider.Refused, Err: err}
}

func (d *Driver) accepted(model string, r provider.Reply) provider.Answer {
	var body struct {
		RequestID string `json:"request_id"`
	}
	if err := json.Unmarshal(r.Body, &body); err != nil || body.RequestID == "" {
		return inDoubt(readEnvelope(r), "the answer has no request id")
	}
	ref, err := d.Ref(model, body.RequestID)
	if err != nil {
		return inDoubt(readEnvelope(r), err.Error())
	}
	return provider.Answer{Outcome: provider.Accepted, Ref: ref, ID: body.RequestID}
}

// refusals are the codes with which fal's gateway turns a submit away before it is queued.
func refusals() []int {
	return []int{
		http.StatusBadRequest, http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusForbidden, http.StatusNotFound,
		http.StatusMethodNotAllowed, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType,
		http.StatusUnprocessableEntity, http.StatusTooManyRequests,
	}
}

func inDoubt(e envelope, why string) provider.Answer {
	err := e.error(events.KindAmbiguous)
	err.Message = provider.Clip(why+": "+err.Message, events.MaxMessageBytes)
	err.Charge = events.ChargePossible
	err.RetryAfter = 0
	return provider.Answer{Outcome: provider.InDoubt, Err: err}
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
	if e.errorType == codeModeration {
		return events.KindModeration
	}
	return events.KindInvalid
}
