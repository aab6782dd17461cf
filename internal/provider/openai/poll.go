package openai

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"reelay/events"
	"reelay/internal/provider"
	"reelay/internal/provider/jsonapi"
)

const maxWordBytes = 40

// states maps the words for the state of a job, those of proxies among them.
var states = map[string]provider.State{
	"queued": provider.Queued, "pending": provider.Queued,
	"in_progress": provider.Running, "processing": provider.Running, "running": provider.Running,
	"completed": provider.Succeeded, "succeeded": provider.Succeeded,
	"failed": provider.Failed, "expired": provider.Failed,
	"cancelled": provider.Cancelled, "canceled": provider.Cancelled, "deleted": provider.Cancelled,
}

// Poll asks where a job is. Its error is a *provider.Error, KindNotFound when the server itself says that it does not know
// the job: it was restarted, and has lost it.
func (d *Driver) Poll(ctx context.Context, ref json.RawMessage) (provider.Snapshot, error) {
	id, err := d.readRef(ref)
	if err != nil {
		return provider.Snapshot{}, err
	}
	video, r, err := d.status(ctx, id)
	if err != nil {
		if provider.AsError(err).Kind == events.KindNotFound && d.deleted.Has(id) {
			return provider.Snapshot{State: provider.Cancelled, Word: "deleted"}, nil
		}
		return provider.Snapshot{}, err
	}
	word := video.Text("status")
	s := provider.Snapshot{State: provider.Unknown, Word: provider.Clip(word, maxWordBytes)}
	if state, ok := states[strings.ToLower(word)]; ok {
		s.State = state
	}
	if p, ok := video.Number("progress"); ok && p >= 0 && p <= 100 {
		s.Progress = &p
	}
	switch s.State {
	case provider.Succeeded:
		s.Outputs, s.Raw = []events.Output{d.output(id, video)}, jsonapi.Raw(r.Body)
	case provider.Failed:
		s.Err, s.Raw = failure(word, video, r), jsonapi.Raw(r.Body)
	}
	return s, nil
}

// status asks for the object of a job. Its error is a *provider.Error.
func (d *Driver) status(ctx context.Context, id string) (jsonapi.Object, provider.Reply, error) {
	r, err := d.api.Call(ctx, http.MethodGet, videoPath(id), nil)
	if err != nil {
		return nil, r, err
	}
	video := jsonapi.Read(r.Body)
	switch {
	case !jsonapi.IsOK(r.Status) || video.Text("status") == "":
		return nil, r, callError(r)
	case video.Has("id") && video.Text("id") != id:
		// A cache between us and the server: a result must never land on another task.
		return nil, r, newError(events.KindInternal, "wrong_task",
			fmt.Sprintf("asked for %s, answered about %s", id, video.Text("id")), r)
	}
	return video, r, nil
}

// output is the file of a finished job: by the address that the server names where it keeps its files elsewhere, as
// SGLang does with a bucket, else by its own.
func (d *Driver) output(id string, video jsonapi.Object) events.Output {
	o := events.Output{URL: d.api.Base() + videoPath(id) + "/content", ContentType: "video/mp4"}
	if link := d.api.Absolute(video.Text("url")); link != "" {
		o.URL = link
	}
	if at := video.Seconds("expires_at"); !at.IsZero() {
		o.ExpiresAt = &at
	}
	return o
}

// failure is why a job has failed.
func failure(word string, video jsonapi.Object, r provider.Reply) *provider.Error {
	code, message := jsonapi.Reason(video["error"])
	if code == "" {
		code = strings.ToLower(word)
	}
	if message == "" {
		message = "the server gave no reason"
	}
	kind := events.KindInternal
	if code == "moderation_blocked" { // OpenAI's own, which a proxy passes on
		kind = events.KindModeration
	}
	return newError(kind, code, message, r)
}
