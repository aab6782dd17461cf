// Package local is the driver of the lane whose work is done here: by the media service, with ffmpeg, for nothing. What
// is sent is a message in a queue, of which each task has one at most, so that it may be sent again. The media service
// itself writes down how far the work is; a poll only sees that it is still to be done.
package local

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/ffmpeg"
	"reelay/internal/provider"
)

// A Driver sends work to the media service.
type Driver struct{ bus *bus.Bus }

// New returns a driver that works over b.
func New(b *bus.Bus) *Driver { return &Driver{b} }

// Features is the same for every model.
func (d *Driver) Features(string) provider.Features {
	return provider.Features{Cancel: true, Progress: true, Repeatable: true}
}

// Check reads the input as the media service will. Its error is an *events.FieldError.
func (d *Driver) Check(t events.TaskType, model string, input json.RawMessage) error {
	j, err := ffmpeg.ParseJob(model, input)
	if err != nil {
		return err
	}
	makes := events.Video
	if j.Op == ffmpeg.Thumbnail {
		makes = events.Image
	}
	if t != makes {
		return events.NewFieldError("task_type", "%s makes %s, not %.80s", model, makes, string(t))
	}
	return nil
}

// Ref returns the handle of the task that is known as id, which is its key.
func (d *Driver) Ref(model, id string) (json.RawMessage, error) {
	i := slices.IndexFunc(ffmpeg.Ops(), func(o ffmpeg.Op) bool { return o.Model() == model })
	k, err := events.ParseKey(id)
	switch {
	case err != nil:
		return nil, err
	case i < 0:
		return nil, events.NewFieldError("model", "%.200q is not known", model)
	}
	return events.WorkRef(string(ffmpeg.Ops()[i]), k), nil
}

// Render returns the handle as the request: the record has all else.
func (d *Driver) Render(t events.Task, _ json.RawMessage, _ string) (provider.Request, error) {
	ref, err := d.Ref(t.Model, t.Key().String())
	return provider.Request{Body: ref}, err
}

// Ready fails while no media service takes work: none runs, or none has ffmpeg.
func (d *Driver) Ready(ctx context.Context) error {
	switch taken, err := d.bus.HasWorkers(ctx); {
	case err != nil:
		return err
	case !taken:
		return errors.New("no media service takes work: none runs, or ffmpeg is not installed where it runs (Debian, " +
			"Ubuntu: apt-get install ffmpeg)")
	}
	return nil
}

// Send puts the work into the queue.
func (d *Driver) Send(ctx context.Context, r provider.Request) (provider.Reply, error) {
	op, k, err := events.ParseWorkRef(r.Body)
	if err == nil {
		err = d.bus.EnsureWork(ctx, op, k)
	}
	return provider.Reply{Status: http.StatusAccepted}, err
}

// Classify takes whatever was sent as accepted.
func (d *Driver) Classify(_ string, sent []byte, _ provider.Reply) provider.Answer {
	_, k, err := events.ParseWorkRef(sent)
	if err != nil {
		return provider.Answer{Outcome: provider.Refused, Err: provider.AsError(err)}
	}
	return provider.Answer{Outcome: provider.Accepted, Ref: sent, ID: k.String()}
}

// Poll sees whether the work is still to be done: nothing more is known here. Work that is gone from the queue of a task
// that has not ended was taken out.
func (d *Driver) Poll(ctx context.Context, ref json.RawMessage) (provider.Snapshot, error) {
	op, k, err := events.ParseWorkRef(ref)
	if err != nil {
		return provider.Snapshot{}, err
	}
	switch has, err := d.bus.HasWork(ctx, op, k); {
	case err != nil:
		return provider.Snapshot{}, &provider.Error{
			Kind: events.KindRetry, Code: events.CodeUnavailable, Message: err.Error(),
		}
	case !has:
		return provider.Snapshot{State: provider.Cancelled}, nil
	}
	return provider.Snapshot{State: provider.Unknown}, nil
}

// Cancel takes the work out of the queue. A media service that is at it sees in the record that it shall stop.
func (d *Driver) Cancel(ctx context.Context, ref json.RawMessage) (provider.CancelOutcome, error) {
	op, k, err := events.ParseWorkRef(ref)
	if err == nil {
		err = d.bus.DropWork(ctx, op, k)
	}
	if err != nil {
		return "", err
	}
	return provider.CancelRequested, nil
}

// ReadCallback fails: nobody calls back.
func (d *Driver) ReadCallback(string, []byte) (provider.Callback, error) {
	return provider.Callback{}, &provider.Error{
		Kind: events.KindInternal, Code: "no_callback", Message: "the lane has no callbacks",
	}
}

// List shows nothing: a message that may be sent again needs no search.
func (d *Driver) List(context.Context, events.Task, json.RawMessage, time.Time) ([]provider.Found, bool, error) {
	return nil, false, nil
}
