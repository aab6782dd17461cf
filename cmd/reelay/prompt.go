package main

import (
	"encoding/json"
	"fmt"

	"reelay/events"
	"reelay/internal/provider/registry"
)

// A textPart is a prompt as one part of an input's content.
type textPart struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

// promptInput returns the least input that holds a prompt.
func promptInput(model, prompt string) ([]byte, error) {
	least := "{}"
	if c, ok := registry.ContentInputOf(model); ok {
		least = c.Least
	}
	return addPrompt(model, []byte(least), prompt)
}

// addPrompt puts a prompt into an input that has none and leaves the rest as it is. Its error is a usageError.
func addPrompt(model string, input []byte, prompt string) ([]byte, error) {
	object, err := members(input)
	if err != nil {
		return nil, &usageError{fmt.Errorf("--input: %w", err)}
	}
	if _, ok := registry.ContentInputOf(model); !ok {
		if _, ok := object["prompt"]; ok {
			return nil, usagef("--prompt: the input has a prompt of its own")
		}
		if object["prompt"], err = events.Marshal(prompt); err != nil {
			return nil, err
		}
		return events.Marshal(object)
	}
	var parts []json.RawMessage
	if raw, ok := object["content"]; ok {
		if err := json.Unmarshal(raw, &parts); err != nil {
			return nil, usagef("--prompt: the input's content is not a list")
		}
	}
	for _, raw := range parts {
		var part textPart
		if json.Unmarshal(raw, &part) == nil && part.Type == "text" {
			return nil, usagef("--prompt: the input has a text of its own")
		}
	}
	text, err := events.Marshal(textPart{"text", prompt})
	if err != nil {
		return nil, err
	}
	if object["content"], err = events.Marshal(append([]json.RawMessage{text}, parts...)); err != nil {
		return nil, err
	}
	return events.Marshal(object)
}

// members returns the members of a JSON object with their values as they were written.
func members(raw []byte) (map[string]json.RawMessage, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(raw, &object); err != nil {
		return nil, fmt.Errorf("not a JSON object: %w", err)
	}
	if object == nil {
		return nil, fmt.Errorf("not a JSON object: %s", raw)
	}
	return object, nil
}
