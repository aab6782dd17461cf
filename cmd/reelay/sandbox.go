package main

import (
	"encoding/json"
	"fmt"

	"reelay/events"
	"reelay/internal/emulator"
)

// addScript puts an emulator's script into a request's input, or into the options of what it wants. Its error is a
// usageError.
func addScript(r *events.Request, script string) error {
	into, field := &r.Input, "--input"
	if r.Want != nil {
		into, field = &r.Want.Options, "--options"
	}
	if len(*into) == 0 {
		*into = json.RawMessage("{}")
	}
	object, err := members(*into)
	if err != nil {
		return &usageError{fmt.Errorf("%s: %w", field, err)}
	}
	if _, err := members([]byte(script)); err != nil {
		return &usageError{fmt.Errorf("--emulate: %w", err)}
	}
	if err := emulator.CheckScript([]byte(script)); err != nil {
		return &usageError{fmt.Errorf("--emulate: %w; see: reelay help sandbox", err)}
	}
	object["emulate"] = json.RawMessage(script)
	*into, err = events.Marshal(object)
	return err
}
