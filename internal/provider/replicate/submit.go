package replicate

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"time"

	"reelay/events"
	"reelay/internal/provider"
	"reelay/internal/provider/jsonapi"
)

const (
	// cancelAfter is the header by which Replicate ends a prediction that takes longer, counted from its creation.
	cancelAfter = "Cancel-After"
	// minCancelAfter is the least that it takes.
	minCancelAfter = 5 * time.Second
	// maxWait bounds what a refusal for the rate can make an account wait.
	maxWait = 10 * time.Minute
)

// Check refuses, with a FieldError, a model that none can be and an input that is no JSON object. What a model makes, and
// of what, Replicate alone knows.
func (d *Driver) Check(_ events.TaskType, model string, input json.RawMessage) error {
	if _, err := parseModel(model); err != nil {
		return err
	}
	if jsonapi.Read(input) == nil {
		return events.NewFieldError("input", "must be a JSON object, the input of the model")
	}
	return nil
}

// Render fixes the create: the input as it is, what it is for, and where to call back at the end. Replicate is told to end
// the prediction once the task has had its whole timeout, so that nothing goes on at our expense that nobody waits for. Its
// error is Check's.
func (d *Driver) Render(t events.Task, input json.RawMessage, callbackURL string) (provider.Request, error) {
	if err := d.Check(t.TaskType, t.Model, input); err != nil {
		return provider.Request{}, err
	}
	to, err := parseModel(t.Model)
	if err != nil {
		return provider.Request{}, err
	}
	body := []byte(`{`)
	if to.version != "" {
		body = append(body, `"version":"`+t.Model+`",`...)
	}
	body = append(append(body, `"input":`...), input...)
	if callbackURL != "" {
		callback, err := events.Marshal(callbackURL)
		if err != nil {
			return provider.Request{}, err
		}
		body = append(append(append(body, `,"webhook":`...), callback...), `,"webhook_events_filter":["completed"]`...)
	}
	r := provider.Request{URL: d.api.Base() + to.path, Header: d.api.Header(), Body: append(body, '}')}
	r.Header.Set("Content-Type", "application/json")
	if life := t.Deadline.Sub(t.TimeoutsFrom()); !t.Deadline.IsZero() && life > 0 {
		r.Header.Set(cancelAfter, strconv.Itoa(int(math.Ceil(max(life, minCancelAfter).Seconds())))+"s")
	}
	return r, nil
}

// Classify reads the answer to a create. Accepted: a 2xx with an id. Refused: an error of the client's, except those that
// say nothing of whether the prediction was made (408, 409, 499), or a redirect, after which nothing was done. Everything
// else is in doubt.
func (d *Driver) Classify(model string, _ []byte, r provider.Reply) provider.Answer {
	r = d.api.Redact(r)
	e := jsonapi.ReadEnvelope(r)
	if id := jsonapi.Read(r.Body).Text("id"); jsonapi.IsOK(r.Status) && id != "" {
		handle, err := d.Ref(model, id)
		if err != nil {
			return jsonapi.InDoubt("bad_id", err.Error(), r)
		}
		return provider.Answer{Outcome: provider.Accepted, Ref: handle, ID: id}
	}
	kind := refusalOf(e, r.Status)
	switch {
	case kind == "" && jsonapi.IsOK(r.Status):
		return jsonapi.InDoubt("no_id", "HTTP success without an id: "+e.Message, r)
	case kind == "":
		return jsonapi.InDoubt(e.Code, e.Message, r)
	case kind == events.KindAddress:
		e.Message = "what answers at the base URL is not Replicate's API (" + e.Message + jsonapi.Redirect(r) + ")"
	}
	err := jsonapi.NewError(kind, e.Code, e.Message, r)
	err.Charge = events.ChargeNone
	if kind == events.KindRateLimited && err.RetryAfter == 0 {
		if s, ok := jsonapi.Read(r.Body).Number("retry_after"); ok && s > 0 {
			err.RetryAfter = time.Duration(min(s, maxWait.Seconds()) * float64(time.Second))
		}
	}
	return provider.Answer{Outcome: provider.Refused, Err: err}
}

// ofAnother is refusalOf of an answer that is not of Replicate's form: a middlebox has written it, or another server.
func ofAnother(status int) events.Kind {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed:
		return events.KindAddress
	case http.StatusRequestEntityTooLarge, http.StatusRequestURITooLong, http.StatusRequestHeaderFieldsTooLarge:
		return events.KindInvalid
	}
	return ""
}

// refusalOf returns why nothing was begun; "" where that is not proven.
func refusalOf(e jsonapi.Envelope, status int) events.Kind {
	switch kind := jsonapi.MayBeAnyones(status); {
	case kind != "":
		return kind
	case jsonapi.ProvesNothing(status):
		return ""
	case !e.Own:
		return ofAnother(status)
	case status == http.StatusUnauthorized:
		return events.KindAuth
	case status == http.StatusPaymentRequired:
		return events.KindQuota
	}
	return events.KindInvalid
}
