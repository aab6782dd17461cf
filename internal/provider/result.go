package provider

import (
	"encoding/json"

	"reelay/events"
)

// ReadResult reads the result that an answer to a paid request has brought, as JSON of a Snapshot; nil where it brought
// none. One that cannot be read any more is a failure that was paid for: the provider cannot be asked for it again.
func ReadResult(text json.RawMessage) *Snapshot {
	if len(text) == 0 {
		return nil
	}
	var snap Snapshot
	if err := json.Unmarshal(text, &snap); err != nil {
		return &Snapshot{State: Failed, Err: &Error{
			Kind: events.KindInternal, Code: "result_lost", Charge: events.ChargeConfirmed,
			Message: "the provider answered with the result, and it can no longer be read from the submitter's journal",
		}}
	}
	return &snap
}
