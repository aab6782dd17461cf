package fal

import (
	"context"
	"encoding/json"
	"net/http"

	"reelay/events"
	"reelay/internal/provider"
)

// Cancel asks fal to give a request up. A running one is only signalled: its model may finish, and be billed, all the
// same. Its error is a *provider.Error: nobody knows whether fal heard.
func (d *Driver) Cancel(ctx context.Context, ref json.RawMessage) (provider.CancelOutcome, error) {
	h, bad := parseRef(ref)
	if bad != nil {
		return "", bad
	}
	r, err := d.ask(ctx, http.MethodPut, h, restCancel, "")
	if err != nil {
		return "", err
	}
	outcome, failed := readCancel(r)
	return outcome, asError(failed)
}

// readCancel reads an answer to a cancel by its word. An older form of the success is {"success":bool}.
func readCancel(r provider.Reply) (provider.CancelOutcome, *provider.Error) {
	e := readEnvelope(r)
	success := r.Status >= 200 && r.Status <= 299
	switch {
	case success && e.word == "CANCELLATION_REQUESTED":
		return provider.CancelRequested, nil
	case success && e.word == "OK":
		return provider.CancelDone, nil
	case e.word == "ALREADY_COMPLETED" && (success || r.Status == http.StatusBadRequest):
		return provider.CancelTooLate, nil
	case success:
		var body struct {
			Success *bool `json:"success"`
		}
		if json.Unmarshal(r.Body, &body) == nil && body.Success != nil {
			if *body.Success {
				return provider.CancelDone, nil
			}
			return provider.CancelTooLate, nil
		}
		e.message = "the answer does not tell what became of the cancel"
		return "", e.error(events.KindRetry)
	}
	err := pollError(e)
	if err.Kind == events.KindNotFound {
		return provider.CancelNotFound, nil
	}
	return "", err
}
