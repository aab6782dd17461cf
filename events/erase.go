package events

import "bytes"

// ErasePart is what is erased of a task.
type ErasePart string

// EraseOutputs erases the files alone: the record then says of each output that it is not stored. Without it all that a
// task was given and has made is erased.
const EraseOutputs ErasePart = "outputs"

// An EraseRequest asks to have what a task was given and has made forgotten, once it has ended; an empty payload asks for
// all of it: input, wish, metadata, log, result, what was said of each step, the stored files, its events and the
// callbacks of its provider. What stays is the record with its ids, times, phases and money, and erased_at. Files that
// were handed in for it stay until their own end, and what the provider keeps is the provider's.
//
// Erasing is complete when the answer is there. After no answer, or an error, ask again: it goes on where it stopped.
type EraseRequest struct {
	// Only is EraseOutputs, or empty for everything.
	Only ErasePart `json:"only,omitempty"`
}

// DecodeEraseRequest reads and checks an erase request. Its error is a FieldError.
func DecodeEraseRequest(data []byte) (EraseRequest, error) {
	var r EraseRequest
	if len(bytes.TrimSpace(data)) > 0 {
		if err := DecodeStrict(data, "payload", map[string]any{"only": &r.Only}); err != nil {
			return r, err
		}
	}
	if r.Only != "" && r.Only != EraseOutputs {
		return r, fieldError("only", "%.40q is not %s; leave it out to erase everything", r.Only, EraseOutputs)
	}
	return r, nil
}

// EraseReply answers erase.
type EraseReply struct {
	// Task is the record as it now is.
	Task Task `json:"task"`
	// Deleted counts the files that are gone, Shared those that stay because another task has made the same bytes.
	Deleted int `json:"deleted"`
	Shared  int `json:"shared"`
}
