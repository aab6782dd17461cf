package comfy

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"reelay/events"
	"reelay/internal/provider"
	"reelay/internal/provider/jsonapi"
)

// Cancel takes a job from the queue, or interrupts it if it is the one that runs.
func (d *Driver) Cancel(ctx context.Context, ref json.RawMessage) (provider.CancelOutcome, error) {
	id, err := readRef(ref)
	if err != nil {
		return "", err
	}
	if d.v2 {
		return d.v2Cancel(ctx, id)
	}
	j, err := d.job(ctx, id)
	if err != nil {
		return notFound(err)
	}
	path, body := "/api/jobs/"+url.PathEscape(id)+"/cancel", []byte(`{}`)
	switch {
	case j.word == wordCompleted || j.word == wordFailed || j.word == wordCancelled:
		return provider.CancelTooLate, nil
	case d.old.Load() && j.word == wordPending:
		path, body = "/queue", []byte(`{"delete":["`+id+`"]}`)
	case d.old.Load():
		path, body = "/interrupt", []byte(`{"prompt_id":"`+id+`"}`)
	}
	r, err := d.api.Send(ctx, http.MethodPost, path, body)
	switch {
	case err != nil:
		return "", err
	case !jsonapi.IsOK(r.Status) || !d.old.Load() && !jsonapi.Read(r.Body).Has("cancelled"):
		return notFound(callError(r))
	case j.word == wordPending:
		d.gone.Add(id)
		return provider.CancelDone, nil
	}
	return provider.CancelRequested, nil
}

func (d *Driver) v2Cancel(ctx context.Context, id string) (provider.CancelOutcome, error) {
	r, err := d.api.Call(ctx, http.MethodPost, v2Path+"/jobs/"+url.PathEscape(id)+"/cancel", nil)
	if err != nil {
		return "", err
	}
	o := jsonapi.Read(r.Body)
	if !jsonapi.IsOK(r.Status) || o.Text("id") != id {
		return notFound(callError(r))
	}
	switch v2States[o.Text("status")] {
	case provider.Cancelled:
		return provider.CancelDone, nil
	case provider.Succeeded, provider.Failed:
		return provider.CancelTooLate, nil
	}
	return provider.CancelRequested, nil
}

// notFound makes an outcome of a server's word that it does not know the job.
func notFound(err error) (provider.CancelOutcome, error) {
	if provider.AsError(err).Kind == events.KindNotFound {
		return provider.CancelNotFound, nil
	}
	return "", err
}
