package minimax

import (
	"encoding/json"
	"fmt"

	"reelay/events"
	"reelay/internal/provider"
)

// ReadCallback reads the body of a callback (https://platform.minimax.io/docs/api-reference/video-generation-intro)
// to a task of a model. MiniMax signs nothing, so a callback proves nothing: only its task id counts, and a poll has
// to follow. Both APIs shape the body like the answer to their query; either form is accepted for either.
//
// Its error is a *provider.Error: the body is over events.MaxCallbackBytes, is no JSON, or names no task or two.
func (d *Driver) ReadCallback(model string, body []byte) (provider.Callback, error) {
	if len(body) > events.MaxCallbackBytes {
		return provider.Callback{},
			d.badCallback(fmt.Sprintf("%d bytes are over the limit of %d", len(body), events.MaxCallbackBytes))
	}
	var h struct {
		TaskID text      `json:"task_id"`
		Status lax[text] `json:"status"`
		Task   struct {
			ID     text      `json:"id"`
			Status lax[text] `json:"status"`
		} `json:"task"`
	}
	if json.Unmarshal(body, &h) != nil {
		return provider.Callback{}, d.badCallback("the callback is no JSON object of MiniMax's form")
	}
	id, word := h.TaskID, h.Status.v
	switch {
	case id.none():
		id, word = h.Task.ID, h.Task.Status.v
	case !h.Task.ID.none() && h.Task.ID != id:
		return provider.Callback{}, d.badCallback(fmt.Sprintf("the callback names two tasks, %.64q and %.64q", id, h.Task.ID))
	}
	if !id.isID() {
		return provider.Callback{}, d.badCallback("the callback names no task")
	}
	ref, err := d.Ref(model, string(id))
	if err != nil {
		return provider.Callback{}, d.badCallback(err.Error())
	}
	state := stateOf(word)
	ended := state == provider.Succeeded || state == provider.Failed || state == provider.Cancelled
	return provider.Callback{ID: string(id), Ref: ref, Ended: ended}, nil
}

func (d *Driver) badCallback(why string) *provider.Error {
	return d.newError(events.KindInternal, "bad_callback", why, provider.Reply{})
}
