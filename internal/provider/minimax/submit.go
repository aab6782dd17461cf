package minimax

import (
	"bytes"
	"encoding/json"
	"strings"

	"reelay/events"
	"reelay/internal/provider"
)

// Check tells whether MiniMax can be asked for the task. It refuses, with a FieldError, a model of no known family, a
// task that is no video, an input that is no JSON object, an input.model that is not the task's and an
// input.callback_url, which is reelay's to set. The rest is left to MiniMax, which knows its models best and refuses
// without a charge.
func (d *Driver) Check(t events.TaskType, model string, input json.RawMessage) error {
	_, err := check(t, model, input)
	return err
}

// check does Check and tells whether the input names the model itself.
func check(t events.TaskType, model string, input json.RawMessage) (hasModel bool, err error) {
	if generationOf(model) == nil {
		return false, unknownModel(model)
	}
	if t != events.Video {
		return false, events.NewFieldError("model", "%s makes %s, not %s", model, events.Video, t)
	}
	// Names are compared without regard to case because many JSON readers do the same: a "Model" that slipped through
	// could buy another model than the one that was priced. For the same reason each of two equal names counts.
	err = eachMember(input, func(name string, value json.RawMessage) error {
		switch {
		case strings.EqualFold(name, "callback_url"):
			return events.NewFieldError("input."+name, "is set by reelay")
		case strings.EqualFold(name, "model"):
			var s string
			if json.Unmarshal(value, &s) != nil || s != model || name != "model" {
				return events.NewFieldError("input."+name, "must be left out, or \"model\" be the model of the task, %s", model)
			}
			hasModel = true
		}
		return nil
	})
	return hasModel, err
}

// eachMember calls f for every member of a JSON object in order, duplicates included. It fails with a FieldError for
// "input".
func eachMember(object json.RawMessage, f func(name string, value json.RawMessage) error) error {
	notObject := events.NewFieldError("input", "must be a JSON object")
	// Valid first: the decoder below would stop early at some texts that are no JSON.
	if !json.Valid(object) {
		return notObject
	}
	dec := json.NewDecoder(bytes.NewReader(object))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return notObject
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return notObject
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return notObject
		}
		if err := f(name.(string), value); err != nil { // a member begins with its name, a string
			return err
		}
	}
	return nil
}

// Render fixes the paid request. The input's bytes stay as they are; model and callback_url are put before them. Its
// error is Check's.
func (d *Driver) Render(t events.Task, input json.RawMessage, callbackURL string) (provider.Request, error) {
	hasModel, err := check(t.TaskType, t.Model, input)
	if err != nil {
		return provider.Request{}, err
	}
	var ours []string
	if !hasModel {
		ours = append(ours, `"model":`+quote(t.Model))
	}
	if callbackURL != "" {
		ours = append(ours, `"callback_url":`+quote(callbackURL))
	}
	header := d.header()
	header.Set("Content-Type", "application/json")
	return provider.Request{
		URL: d.base + generationOf(t.Model).createPath(), Header: header, Body: splice(ours, input),
	}, nil
}

// splice puts members at the front of a JSON object.
func splice(members []string, object json.RawMessage) []byte {
	inner := bytes.TrimSpace(object)[1:] // check has seen the brace
	front := strings.Join(members, ",")
	if front != "" && bytes.TrimLeft(inner, " \t\r\n")[0] != '}' {
		front += ","
	}
	return append([]byte("{"+front), inner...)
}

// quote writes s as a JSON string.
func quote(s string) string {
	b, err := events.Marshal(s)
	if err != nil {
		return `""` // a string can always be marshalled
	}
	return string(b)
}
