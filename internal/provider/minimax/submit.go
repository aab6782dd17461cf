package minimax

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"reelay/events"
	"reelay/internal/provider"
)

// Check tells whether MiniMax can be asked for the task. It refuses, with a FieldError, a model of no known family, a
// task of a type that the model does not make, an input that is no JSON object, an input.model that is not the task's,
// an input.callback_url, which is reelay's to set, an answer in pieces (input.stream), an input.voice_id that begins
// as those of reelay do, and a file that was uploaded to the account (mm_file:). The rest is left to MiniMax, which knows
// its models best and refuses without a charge.
func (d *Driver) Check(t events.TaskType, model string, input json.RawMessage) error {
	if _, err := check(t, model, input); err != nil {
		return err
	}
	var v any
	if err := json.Unmarshal(input, &v); err != nil {
		return events.NewFieldError("input", "bad JSON: %v", err)
	}
	return checkFiles("input", v)
}

// has is what of the members that reelay sets an input has itself.
type has struct{ model, voiceID bool }

// check does Check and tells what the input has.
func check(t events.TaskType, model string, input json.RawMessage) (h has, err error) {
	g := generationOf(model)
	if g == nil {
		return h, unknownModel(model)
	}
	if !slices.Contains(g.taskTypes(), t) {
		return h, events.NewFieldError("model", "%s makes %v, not %s", model, g.taskTypes(), t)
	}
	wire := g.wireModel(model)
	// Names are compared without regard to case because many JSON readers do the same: a "Model" that slipped through
	// could buy another model than the one that was priced. For the same reason each of two equal names counts.
	err = eachMember(input, func(name string, value json.RawMessage) error {
		switch strings.ToLower(name) {
		case "callback_url":
			return events.NewFieldError("input."+name, "is set by reelay")
		case "stream":
			if g.features().Synchronous && string(value) != "false" {
				return events.NewFieldError("input."+name, "must be left out or false: reelay keeps whole results")
			}
		case "voice_id":
			if strings.HasPrefix(text(value).unquoted(), ownVoicePrefix) && g.createPath() == voiceClonePath {
				return events.NewFieldError("input."+name, "must not begin with %q, as those that reelay makes do", ownVoicePrefix)
			}
			h.voiceID = true
		case "model":
			var s string
			if wire != "" && (json.Unmarshal(value, &s) != nil || s != wire || name != "model") {
				return events.NewFieldError("input."+name, "must be left out, or \"model\" be the model of the task, %s", wire)
			}
			h.model = true
		}
		return nil
	})
	return h, err
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

// Render fixes the paid request. The input's bytes stay as they are; model, callback_url and the voice_id of a clone are
// put before them. Its error is Check's.
func (d *Driver) Render(t events.Task, input json.RawMessage, callbackURL string) (provider.Request, error) {
	h, err := check(t.TaskType, t.Model, input)
	if err != nil {
		return provider.Request{}, err
	}
	g := generationOf(t.Model)
	var ours []string
	if wire := g.wireModel(t.Model); wire != "" && !h.model {
		ours = append(ours, `"model":`+quote(wire))
	}
	if g.createPath() == voiceClonePath && !h.voiceID {
		ours = append(ours, `"voice_id":`+quote(voiceIDOf(t)))
	}
	if callbackURL != "" {
		ours = append(ours, `"callback_url":`+quote(callbackURL))
	}
	header := d.header()
	header.Set("Content-Type", "application/json")
	r := provider.Request{URL: d.base + g.createPath(), Header: header, Body: splice(ours, input)}
	if g.features().Synchronous {
		r.Timeout, r.MaxReplyBytes = answerTimeout, maxAnswerBytes
	}
	return r, nil
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
