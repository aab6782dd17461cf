package mcp

import (
	"testing"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/events/client"
)

// TestOverLimit: too many calls at once are no fault of an argument, and are told to be made again; a quota of tasks is
// told by its name.
func TestOverLimit(t *testing.T) {
	for field, want := range map[string]failure{
		bucket.QuotaCalls:   {Code: codeBusy, Retryable: true},
		bucket.QuotaWaits:   {Code: codeBusy, Retryable: true},
		bucket.QuotaWaiting: {Code: codeInvalid, Field: bucket.QuotaWaiting},
	} {
		got := failureOf(&client.Error{Status: 429, Reason: events.Error{Code: events.CodeOverLimit, Field: field}})
		if got.Code != want.Code || got.Field != want.Field || got.Retryable != want.Retryable {
			t.Errorf("%s: %+v", field, got)
		}
	}
}
