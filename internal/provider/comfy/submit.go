package comfy

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"

	"reelay/events"
	"reelay/internal/provider"
	"reelay/internal/provider/jsonapi"
)

// Check refuses, with a FieldError, what is no name of a workflow, and an input that is no workflow in the API's format: an
// object of nodes, of which one at least has a class_type.
func (d *Driver) Check(_ events.TaskType, model string, input json.RawMessage) error {
	if err := checkModel(model); err != nil {
		return err
	}
	graph := jsonapi.Read(input)
	if graph == nil {
		return events.NewFieldError("input", "must be a JSON object: a workflow in the API's format")
	}
	for _, node := range graph {
		if jsonapi.Read(node).Text("class_type") != "" {
			return nil
		}
	}
	if graph.Has("nodes") && graph.Has("links") {
		return events.NewFieldError("input", "is a workflow as the editor saves it; export it for the API (Workflow, Export (API))")
	}
	return events.NewFieldError("input", "has no node with a class_type: it must be a workflow in the API's format")
}

// Render fixes the create. Its error is Check's.
func (d *Driver) Render(t events.Task, input json.RawMessage, _ string) (provider.Request, error) {
	if err := d.Check(t.TaskType, t.Model, input); err != nil {
		return provider.Request{}, err
	}
	r := provider.Request{URL: d.api.Base() + "/prompt", Header: d.api.Header()}
	r.Header.Set("Content-Type", "application/json")
	if d.v2 {
		r.URL = d.api.Base() + v2Path + "/jobs"
		r.Header.Set("Idempotency-Key", requestID(&t, 0))
		r.Body = slices.Concat([]byte(`{"workflow":`), input, []byte(`}`))
		return r, nil
	}
	next := 1
	if last := t.Attempt(); last != nil {
		next = last.N + 1
	}
	r.Body = slices.Concat([]byte(`{"prompt_id":"`+requestID(&t, next)+`","client_id":"reelay","prompt":`), input, []byte(`}`))
	return r, nil
}

// codeReuse is what v2 says of a key that was used before: the request has arrived.
const codeReuse = "idempotency_key_reuse"

// Classify reads the answer to a create. Accepted: a 2xx with an id, which an older core has made itself. Refused: an error
// of the client's, except those that say nothing of whether the job was taken, or a redirect, after which nothing was done.
// Everything else is in doubt, and so is a key that was used before: the job is there, and nobody knows by which id.
func (d *Driver) Classify(model string, _ []byte, r provider.Reply) provider.Answer {
	r = d.api.Redact(r)
	answer, e := jsonapi.Read(r.Body), jsonapi.ReadEnvelope(r)
	id := answer.Text("prompt_id")
	if d.v2 {
		id = answer.Text("id")
	}
	if jsonapi.IsOK(r.Status) && id != "" {
		handle, err := d.Ref(model, id)
		if err != nil {
			return inDoubt("bad_id", err.Error(), r)
		}
		return provider.Answer{Outcome: provider.Accepted, Ref: handle, ID: id}
	}
	kind := refusalOf(e, r.Status)
	switch {
	case e.Code == codeReuse:
		return inDoubt(codeReuse, "the same request has arrived before, and the server does not say as which job", r)
	case kind == "" && jsonapi.IsOK(r.Status):
		return inDoubt("no_id", "HTTP success without an id: "+e.Message, r)
	case kind == "":
		return inDoubt(e.Code, e.Message, r)
	case kind == events.KindAddress:
		e.Message = "what answers at the base URL is no ComfyUI (" + e.Message + jsonapi.Redirect(r) +
			"): is the base URL right, with /api/v2 at its end for Comfy API v2 only?"
	}
	if why := nodeErrors(answer["node_errors"]); why != "" {
		e.Message += ": " + why
	}
	return provider.Answer{Outcome: provider.Refused, Err: newError(kind, e.Code, e.Message, r)}
}

func inDoubt(code, message string, r provider.Reply) provider.Answer {
	a := jsonapi.InDoubt(code, message, r)
	a.Err = free(a.Err)
	return a
}

// refusalOf returns why nothing was begun; "" where that is not proven.
func refusalOf(e jsonapi.Envelope, status int) events.Kind {
	switch kind := jsonapi.MayBeAnyones(status); {
	case kind != "":
		return kind
	case jsonapi.ProvesNothing(status):
		return ""
	case e.Own && (status == http.StatusUnauthorized || status == http.StatusForbidden):
		return events.KindAuth
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusNotFound,
		status == http.StatusMethodNotAllowed, e.Code == "deployment_stopped":
		return events.KindAddress
	case status == http.StatusPaymentRequired:
		return events.KindQuota
	}
	return events.KindInvalid
}

// nodeErrors says what is wrong with the first node that a core refuses, as {"5":{"class_type","errors":[...]}}.
func nodeErrors(raw json.RawMessage) string {
	for _, id := range ordered(raw) {
		node := jsonapi.Read(raw).Object(id)
		if _, why := jsonapi.Reason(node["errors"]); why != "" {
			return "node " + id + " (" + node.Text("class_type") + "): " + why
		}
	}
	return ""
}

// ordered returns the names of the members of an object in the order of the text; none for what is no object.
func ordered(object json.RawMessage) (names []string) {
	dec := json.NewDecoder(bytes.NewReader(object))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil
	}
	for dec.More() {
		name, err := dec.Token()
		var value json.RawMessage
		if err != nil || dec.Decode(&value) != nil {
			return names
		}
		names = append(names, name.(string)) // a member begins with its name, a string
	}
	return names
}
