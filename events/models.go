package events

import (
	"bytes"
	"cmp"
	"encoding/json"
)

// A ModelsRequest says of which models sheets are asked for; an empty payload asks for all.
type ModelsRequest struct {
	Provider string `json:"provider,omitempty"`
	// Model is an id or an alias.
	Model    string   `json:"model,omitempty"`
	TaskType TaskType `json:"task_type,omitempty"`
}

// DecodeModelsRequest reads a models request. Its error is a FieldError.
func DecodeModelsRequest(data []byte) (ModelsRequest, error) {
	var r ModelsRequest
	if len(bytes.TrimSpace(data)) == 0 {
		return r, nil
	}
	err := DecodeStrict(data, "payload",
		map[string]any{"provider": &r.Provider, "model": &r.Model, "task_type": &r.TaskType})
	if err == nil && r.TaskType != "" && !r.TaskType.Valid() {
		err = fieldError("task_type", "%q is not one of %s", r.TaskType, joined(TaskTypes()))
	}
	return r, err
}

// ModelsReply answers models. Without a model in the request the sheets have no forms.
type ModelsReply struct {
	Models []ModelSheet `json:"models"`
}

// A ModelSheet is what a model can be told by a Want. Other models of a provider take an input only.
type ModelSheet struct {
	Provider  string     `json:"provider"`
	Model     string     `json:"model"`
	Aliases   []string   `json:"aliases,omitempty"`
	TaskTypes []TaskType `json:"task_types"`
	// DefaultFor are the task types for which the model is taken where a request names none.
	DefaultFor []TaskType `json:"default_for,omitempty"`
	// The supported values are those of any form. Durations are in seconds; a span is written as "4 to 15".
	SupportedDurations    []string `json:"supported_durations,omitempty"`
	SupportedResolutions  []string `json:"supported_resolutions,omitempty"`
	SupportedAspectRatios []string `json:"supported_aspect_ratios,omitempty"`
	// SupportedFrameImages are first_frame and last_frame.
	SupportedFrameImages []string `json:"supported_frame_images,omitempty"`
	References           bool     `json:"references,omitempty"`
	// Audio says whether a video can be asked for with or without sound.
	Audio          bool         `json:"audio,omitempty"`
	Seed           bool         `json:"seed,omitempty"`
	NegativePrompt bool         `json:"negative_prompt,omitempty"`
	Prices         []ModelPrice `json:"prices,omitempty"`
	// Typical is how long the provider takes for it, learned from tasks that ended.
	Typical *Typical    `json:"typical,omitempty"`
	Forms   []ModelForm `json:"forms,omitempty"`
	// Source and AsOf are where the sheet comes from, and as of which day.
	Source string `json:"source"`
	AsOf   string `json:"as_of"`
}

// A ModelForm is one way to use a model; at fal each is an endpoint of its own.
type ModelForm struct {
	// Model is the id that the record of a task will have.
	Model string `json:"model"`
	// Needs are the fields of a want without which the form is not taken.
	Needs []string `json:"needs,omitempty"`
	// Wants are the fields of a want that it can be told, and the values of each; an empty list is any value.
	Wants map[string][]string `json:"wants"`
	// Options are the other fields of the provider's own input.
	Options []string `json:"options,omitempty"`
	// Served: Wants and Options are by the schema that the provider serves, else by the copy that reelay has of it.
	Served bool `json:"served,omitempty"`
}

// A ModelPrice is the price of one unit: a second, an image, a megapixel, a character or a clip.
type ModelPrice struct {
	Unit string  `json:"unit"`
	USD  float64 `json:"usd"`
	// When are the values of the provider's own input with which it holds; "" stands for a field that is left out.
	When   map[string][]string `json:"when,omitempty"`
	Source string              `json:"source"`
	AsOf   string              `json:"as_of"`
}

// A QuoteRequest is a request whose price is asked for. Nothing is submitted.
type QuoteRequest struct {
	TaskType TaskType
	Request  Request
}

// MarshalJSON writes the members of the request, and task_type beside them.
func (q QuoteRequest) MarshalJSON() ([]byte, error) {
	return Marshal(struct {
		TaskType TaskType `json:"task_type"`
		Request
	}{q.TaskType, q.Request})
}

// DecodeQuoteRequest reads and checks a quote request; the task type is video where none is named. Its error is a
// FieldError.
func DecodeQuoteRequest(data []byte) (QuoteRequest, error) {
	q := QuoteRequest{TaskType: Video}
	var members map[string]json.RawMessage
	if json.Unmarshal(data, &members) != nil || members["task_type"] == nil {
		r, err := DecodeRequest(data)
		q.Request = r
		return q, cmp.Or(err, r.quotable())
	}
	if err := json.Unmarshal(members["task_type"], &q.TaskType); err != nil || !q.TaskType.Valid() {
		return q, fieldError("task_type", "is not one of %s", joined(TaskTypes()))
	}
	delete(members, "task_type")
	rest, err := Marshal(members)
	if err != nil {
		return q, fieldError("payload", "%v", err)
	}
	if q.Request, err = DecodeRequest(rest); err == nil {
		err = q.Request.quotable()
	}
	return q, err
}

// quotable refuses a retry, whose content is in the record of another task.
func (r Request) quotable() error {
	if r.RetryOf != "" {
		return fieldError("retry_of", "is for requests only: a retry costs what the task would that it names")
	}
	return nil
}

// QuoteReply answers quote: what the request would be sent as, what it would cost and how long it would take.
type QuoteReply struct {
	Provider string `json:"provider"`
	Model    string `json:"model"`
	// Input is what the provider would be sent.
	Input    json.RawMessage `json:"input"`
	Warnings []string        `json:"warnings,omitempty"`
	// Cost is absent where nobody knows it.
	Cost    *Cost    `json:"cost,omitempty"`
	Typical *Typical `json:"typical,omitempty"`
}
