package replicate

import (
	"context"
	"encoding/json"
	"net/http"

	"reelay/events"
	"reelay/internal/provider"
	"reelay/internal/provider/jsonapi"
)

// Cancel asks for the end of a prediction. Replicate answers with the prediction as it is then, also where it had ended
// before.
func (d *Driver) Cancel(ctx context.Context, ref json.RawMessage) (provider.CancelOutcome, error) {
	id, err := readRef(ref)
	if err != nil {
		return "", err
	}
	r, err := d.api.Call(ctx, http.MethodPost, predictionPath(id)+"/cancel", nil)
	if err != nil {
		return "", err
	}
	p := jsonapi.Read(r.Body)
	switch word := p.Text("status"); {
	case !jsonapi.IsOK(r.Status) || p.Text("id") != id || word == "":
		err := jsonapi.CallError(r)
		if err.Kind == events.KindNotFound {
			return provider.CancelNotFound, nil
		}
		return "", err
	case word == wordCanceled || word == wordAborted:
		return provider.CancelDone, nil
	case word == wordSucceeded || word == wordFailed:
		return provider.CancelTooLate, nil
	}
	return provider.CancelRequested, nil
}
