package openai

import (
	"context"
	"encoding/json"
	"net/http"

	"reelay/events"
	"reelay/internal/provider"
	"reelay/internal/provider/jsonapi"
)

// Cancel deletes a job that has not ended, which aborts it at vLLM-Omni. One that has ended is CancelTooLate, and nothing
// is sent that could delete its result. SGLang would go on and only forget the job: there it is CancelUnsupported, and
// nothing is sent either. So it is where a server refuses the DELETE of a job at work.
func (d *Driver) Cancel(ctx context.Context, ref json.RawMessage) (provider.CancelOutcome, error) {
	id, err := d.readRef(ref)
	if err != nil {
		return "", err
	}
	video, _, err := d.status(ctx, id)
	if err != nil {
		return notFound(err)
	}
	_, forgets := video["file_path"] // a member of SGLang's objects alone (protocol.py)
	switch states[video.Text("status")] {
	case provider.Succeeded, provider.Failed, provider.Cancelled:
		return provider.CancelTooLate, nil
	}
	if forgets {
		return provider.CancelUnsupported, nil
	}
	r, err := d.api.Call(ctx, http.MethodDelete, videoPath(id), nil)
	if err != nil {
		return "", err
	}
	answer := jsonapi.Read(r.Body)
	switch {
	case jsonapi.IsOK(r.Status) && string(answer["deleted"]) == "true":
		d.deleted.Add(id)
		return provider.CancelDone, nil
	case jsonapi.IsOK(r.Status) && answer.Text("id") == id:
		return provider.CancelRequested, nil
	case (r.Status == http.StatusMethodNotAllowed || r.Status == http.StatusBadRequest || r.Status == http.StatusConflict) &&
		jsonapi.ReadEnvelope(r).Own:
		return provider.CancelUnsupported, nil
	}
	return notFound(callError(r))
}

// notFound makes an outcome of a server's word that it does not know the job.
func notFound(err error) (provider.CancelOutcome, error) {
	if provider.AsError(err).Kind == events.KindNotFound {
		return provider.CancelNotFound, nil
	}
	return "", err
}
