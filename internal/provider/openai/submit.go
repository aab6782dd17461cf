package openai

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"reelay/events"
	"reelay/internal/provider"
	"reelay/internal/provider/jsonapi"
)

const (
	// referenceField is the picture of an input: a link, or a file as a data: link.
	referenceField = "input_reference"
	// linkField is where a form takes the link of a picture (vLLM-Omni, protocol/videos.py): {"image_url":...}.
	linkField = "image_reference"
)

// A member is one of an input.
type member struct {
	name  string
	value json.RawMessage
}

// text is the member as a text; "" for one that is none.
func (m member) text() (s string) {
	_ = json.Unmarshal(m.value, &s) // what is no text has none
	return s
}

// Check tells whether a server can be asked for the task. It refuses, with a FieldError, a task of a type that the model
// does not make, what is not the name of a model, an input that is no JSON object or lacks what all servers want, a prompt
// or for speech the text in "input", an answer in pieces (input.stream), and an input.model that is not the task's. The
// rest is left to the server.
func (d *Driver) Check(t events.TaskType, model string, input json.RawMessage) error {
	_, err := check(t, model, input)
	return err
}

func check(t events.TaskType, model string, input json.RawMessage) ([]member, error) {
	if err := checkModel(model); err != nil {
		return nil, err
	}
	c, wire, _ := callOf(model)
	if !slices.Contains(c.makes, t) {
		return nil, events.NewFieldError("model", "%s makes %v, not %s", model, c.makes, t)
	}
	members, err := readMembers(input)
	if err != nil {
		return nil, err
	}
	has := false
	for _, m := range members {
		switch {
		case m.name == c.needs:
			has = strings.TrimSpace(m.text()) != ""
		case m.name == "stream" && string(m.value) != "false":
			return nil, events.NewFieldError("input.stream", "must be left out or false: reelay keeps whole results")
		case strings.EqualFold(m.name, "model") && (m.name != "model" || m.text() != wire):
			return nil, events.NewFieldError("input."+m.name, "must be left out, or \"model\" be the model of the task, %s", wire)
		}
	}
	if !has {
		return nil, events.NewFieldError("input."+c.needs, "is missing")
	}
	return members, nil
}

// readMembers returns the members of a JSON object in order, duplicates included. It fails with a FieldError of "input".
func readMembers(object json.RawMessage) (all []member, err error) {
	notObject := events.NewFieldError("input", "must be a JSON object")
	// Valid first: the decoder below would stop early at some texts that are no JSON.
	if !json.Valid(object) {
		return nil, notObject
	}
	in := json.NewDecoder(bytes.NewReader(object))
	if open, err := in.Token(); err != nil || open != json.Delim('{') {
		return nil, notObject
	}
	for in.More() {
		name, err := in.Token()
		if err != nil {
			return nil, notObject
		}
		m := member{name: name.(string)} // a member begins with its name, a string
		if err := in.Decode(&m.value); err != nil {
			return nil, notObject
		}
		all = append(all, m)
	}
	return all, nil
}

// Render fixes the create: the input as it is, with the model before it, or a form of its members where the server has
// refused JSON. Its error is Check's.
func (d *Driver) Render(t events.Task, input json.RawMessage, _ string) (provider.Request, error) {
	members, err := check(t.TaskType, t.Model, input)
	if err != nil {
		return provider.Request{}, err
	}
	hasModel := false
	for _, m := range members {
		hasModel = hasModel || m.name == "model"
	}
	model := ""
	c, wire, answers := callOf(t.Model)
	if !hasModel && wire != anyModel {
		model = wire
	}
	r := provider.Request{URL: d.api.Base() + c.path, Header: d.api.Header()}
	if answers {
		r.Timeout, r.MaxReplyBytes = answerTimeout, maxAnswerBytes
		r.Header.Del("Accept")
	} else if d.forms.Load() {
		sum := sha256.Sum256(input)
		boundary := "reelay" + hex.EncodeToString(sum[:16]) // a text does not hold its own digest
		if r.Body, err = form(boundary, model, members); err != nil {
			return provider.Request{}, err
		}
		r.Header.Set("Content-Type", "multipart/form-data; boundary="+boundary)
		return r, nil
	}
	r.Header.Set("Content-Type", "application/json")
	r.Body = bytes.TrimSpace(input)
	if model != "" {
		name, err := events.Marshal(model)
		if err != nil {
			return provider.Request{}, err
		}
		front := append([]byte(`{"model":`), name...)
		r.Body = append(append(front, ','), r.Body[1:]...) // check has seen the brace, and a prompt behind it
	}
	return r, nil
}

// form writes members as multipart/form-data: texts as they are, all else as JSON, a picture that is its own link as a
// file.
func form(boundary, model string, members []member) ([]byte, error) {
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	if err := w.SetBoundary(boundary); err != nil {
		return nil, err
	}
	if model != "" {
		name, err := events.Marshal(model)
		if err != nil {
			return nil, err
		}
		members = append([]member{{"model", name}}, members...)
	}
	for _, m := range members {
		if err := m.write(w); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return body.Bytes(), nil
}

func (m member) write(w *multipart.Writer) error {
	text := m.text()
	switch {
	case string(m.value) == "null":
		return nil
	case m.name == referenceField && provider.IsDataURL(text):
		return writeFile(w, text)
	case m.name == referenceField && text != "":
		link, err := events.Marshal(map[string]string{"image_url": text})
		if err != nil {
			return err
		}
		return w.WriteField(linkField, string(link))
	case m.value[0] == '"':
		return w.WriteField(m.name, text)
	}
	return w.WriteField(m.name, string(m.value))
}

// writeFile writes a picture that is its own link. Its error is a FieldError.
func writeFile(w *multipart.Writer, link string) error {
	kind, content, err := readDataURL(link)
	if err != nil {
		return events.NewFieldError("input."+referenceField, "is a data: link that cannot be read")
	}
	part, err := w.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {`form-data; name="` + referenceField + `"; filename="reference"`}, "Content-Type": {kind},
	})
	if err == nil {
		_, err = part.Write(content)
	}
	return err
}

func readDataURL(link string) (kind string, content []byte, err error) {
	head, data, _ := strings.Cut(link[len("data:"):], ",")
	kind, encoded := strings.CutSuffix(head, ";base64")
	if kind == "" || strings.ContainsAny(kind, "\r\n") {
		kind = "application/octet-stream"
	}
	if encoded {
		content, err = base64.StdEncoding.DecodeString(data)
		return kind, content, err
	}
	plain, err := url.PathUnescape(data)
	return kind, []byte(plain), err
}

// Classify reads the answer to a create. Accepted: a 2xx with an id. Refused: an error of the client's, except those that
// say nothing of whether the job was taken (408, 409, 499), or a redirect, after which nothing was done. Everything else is
// in doubt. A server that takes forms only is asked again with one.
func (d *Driver) Classify(model string, sent []byte, r provider.Reply) provider.Answer {
	r = d.api.Redact(r)
	e := jsonapi.ReadEnvelope(r)
	if c, _, answers := callOf(model); answers && jsonapi.IsOK(r.Status) {
		return d.answered(c, r)
	}
	if id := jsonapi.Read(r.Body).Text("id"); jsonapi.IsOK(r.Status) && id != "" {
		handle, err := d.Ref(model, id)
		if err != nil {
			return inDoubt("bad_id", err.Error(), r)
		}
		return provider.Answer{Outcome: provider.Accepted, Ref: handle, ID: id}
	}
	kind := refusalOf(e, r.Status)
	switch {
	case kind == "" && jsonapi.IsOK(r.Status):
		return inDoubt("no_id", "HTTP success without an id: "+e.Message, r)
	case kind == "":
		return inDoubt(e.Code, e.Message, r)
	case wantsForm(e, sent, r.Status):
		d.forms.Store(true)
		kind, e.Message = events.KindRetry, "the server takes forms, and no JSON: it is asked once more with one"
	case kind == events.KindAddress:
		e.Message = "what answers at the base URL has no video API like OpenAI's (" + e.Message + jsonapi.Redirect(r) +
			"): is the base URL right, or does a proxy stand before it?"
	}
	return provider.Answer{Outcome: provider.Refused, Err: newError(kind, e.Code, e.Message, r)}
}

// wantsForm reports whether a JSON create was refused because it was no form: the server has not found the prompt, which
// was there (FastAPI, request validation), or does not take the type.
func wantsForm(e jsonapi.Envelope, sent []byte, status int) bool {
	words := strings.ToLower(e.Message)
	noPrompt := strings.Contains(words, "prompt") && (strings.Contains(words, "required") || strings.Contains(words, "missing"))
	return bytes.HasPrefix(sent, []byte("{")) && (status == http.StatusUnsupportedMediaType ||
		(status == http.StatusUnprocessableEntity || status == http.StatusBadRequest) && e.Own && noPrompt)
}

// refusalOf returns why nothing was begun; "" where that is not proven.
func refusalOf(e jsonapi.Envelope, status int) events.Kind {
	switch kind := jsonapi.MayBeAnyones(status); {
	case kind != "":
		return kind
	case jsonapi.ProvesNothing(status):
		return ""
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		if e.Own {
			return events.KindAuth
		}
		return events.KindAddress
	case status == http.StatusNotFound || status == http.StatusMethodNotAllowed:
		if e.Named { // of the model
			return events.KindInvalid
		}
		return events.KindAddress
	}
	return events.KindInvalid
}
