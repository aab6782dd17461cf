package minimax

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"

	"reelay/events"
	"reelay/internal/provider"
)

// v2 is the API of the H3 models, with HTTP statuses and an error object.
type v2 struct{}

const v2QueryPath = "/v2/query/video_generation"

func (v2) name() string { return "v2" }

func (v2) features() provider.Features {
	return provider.Features{Cancel: true, List: true, Webhook: true}
}

func (v2) createPath() string { return "/v2/video_generation" }

func (v2) refuses(httpStatus int) bool {
	switch httpStatus {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusUnprocessableEntity,
		http.StatusTooManyRequests:
		return true
	}
	return false
}

func (v2) readCreate(body []byte) (text, envelope) {
	var a struct {
		TaskID text `json:"task_id"`
	}
	if json.Unmarshal(body, &a) != nil {
		return "", envelope{}
	}
	return a.TaskID, v2Envelope(body)
}

// v2Code finds the status code at the end of an error's message.
var v2Code = regexp.MustCompile(`\((\d{3,5})\)\s*$`)

// v2Envelope reads the error envelope.
func v2Envelope(body []byte) envelope {
	var a struct {
		Type  text `json:"type"`
		Error *struct {
			Message text `json:"message"`
		} `json:"error"`
		RequestID lax[text] `json:"request_id"`
	}
	if json.Unmarshal(body, &a) != nil || a.Type != "error" || a.Error == nil {
		return envelope{}
	}
	s := envelope{own: true, message: string(a.Error.Message), requestID: string(a.RequestID.v)}
	if m := v2Code.FindStringSubmatch(s.message); m != nil {
		s.code = m[1]
	}
	return s
}

// v2Task is a task in the answers to query and list.
type v2Task struct {
	ID     text      `json:"id"`
	Model  lax[text] `json:"model"`
	Status text      `json:"status"`
	// CreatedAt is in Unix seconds, Duration in seconds.
	CreatedAt  lax[int64]     `json:"created_at"`
	Duration   lax[int]       `json:"duration"`
	Resolution lax[text]      `json:"resolution"`
	Ratio      lax[text]      `json:"ratio"`
	TaskType   lax[text]      `json:"task_type"`
	Error      lax[v2Failure] `json:"error"`
	Content    lax[v2Content] `json:"content"`
	Usage      lax[v2Usage]   `json:"usage"`
}

type v2Failure struct {
	Code    lax[text] `json:"code"`
	Message lax[text] `json:"message"`
}

type v2Content struct {
	URL text `json:"url"`
}

type v2Usage struct {
	TotalSeconds *float64 `json:"total_seconds"`
}

func (v2) poll(ctx context.Context, d *Driver, id string) (provider.Snapshot, error) {
	r, err := d.call(ctx, http.MethodGet, v2QueryPath+"/"+id, nil)
	if err != nil {
		return provider.Snapshot{}, err
	}
	var a struct {
		Task v2Task `json:"task"`
	}
	if json.Unmarshal(r.Body, &a) != nil || r.Status != http.StatusOK || a.Task.Status == "" {
		return provider.Snapshot{}, v2QueryError(d, r)
	}
	if err := d.wrongTask(id, a.Task.ID, r); err != nil {
		return provider.Snapshot{}, err
	}
	return a.Task.read(d, r)
}

// read returns what the answer says about the task.
func (t v2Task) read(d *Driver, r provider.Reply) (provider.Snapshot, error) {
	snap := d.snapshot(t.Status)
	switch snap.State {
	case provider.Failed:
		why := t.Error.v
		snap = d.failed(t.Status, envelope{own: true, code: string(why.Code.v), message: string(why.Message.v)}, r)
	case provider.Succeeded:
		link := string(t.Content.v.URL)
		if link == "" {
			return d.pending(t.Status), nil
		}
		// The link is "time-limited", the docs do not say to when; each query gives a new one.
		o, err := d.output(link, "", r)
		if err != nil {
			return provider.Snapshot{}, err
		}
		snap.Outputs, snap.Raw = []events.Output{o}, d.redactRaw(r.Body)
	}
	if s := t.Usage.v.TotalSeconds; s != nil && *s >= 0 {
		snap.Units, snap.Unit = s, "second"
	}
	return snap, nil
}

// v2QueryError is a failed poll or a refused cancel.
func v2QueryError(d *Driver, r provider.Reply) *provider.Error {
	says := v2Envelope(r.Body)
	err := d.callError(says, r)
	if (r.Status == http.StatusNotFound || r.Status == http.StatusBadRequest) && says.own && says.unknownTask() {
		err.Kind = events.KindNotFound
	}
	return err
}

func (g v2) cancel(ctx context.Context, d *Driver, id string) (provider.CancelOutcome, error) {
	queued, outcome, err := g.stillQueued(ctx, d, id)
	if err != nil || !queued {
		return outcome, err
	}
	r, err := d.call(ctx, http.MethodDelete, "/v2/video_generation/"+id, nil)
	if err != nil {
		return "", err
	}
	if isOK(r.Status) {
		return v2Cancelled(d, r)
	}
	refusal := v2QueryError(d, r)
	if refusal.Kind != events.KindInvalid && refusal.Kind != events.KindNotFound {
		return "", refusal
	}
	// The task has moved on since it was seen queued: where to decides.
	queued, outcome, err = g.stillQueued(ctx, d, id)
	if err == nil && queued {
		return "", refusal
	}
	return outcome, err
}

// stillQueued asks for the state of a task, and says how a cancel ends if it is not queued.
func (g v2) stillQueued(ctx context.Context, d *Driver, id string) (bool, provider.CancelOutcome, error) {
	snap, err := g.poll(ctx, d, id)
	switch {
	case err != nil && provider.AsError(err).Kind == events.KindNotFound:
		return false, provider.CancelNotFound, nil
	case err != nil:
		return false, "", err
	case snap.State == provider.Queued:
		return true, "", nil
	case snap.State == provider.Cancelled:
		return false, provider.CancelDone, nil
	default:
		return false, provider.CancelTooLate, nil
	}
}

// v2Cancelled reads the answer to a DELETE.
func v2Cancelled(d *Driver, r provider.Reply) (provider.CancelOutcome, error) {
	var a struct {
		Action text `json:"action"`
	}
	if json.Unmarshal(r.Body, &a) != nil {
		a.Action = ""
	}
	switch a.Action {
	case "cancelled":
		return provider.CancelDone, nil
	case "deleted":
		err := d.newError(events.KindInternal, "record_deleted",
			"the task ended while it was being cancelled, and MiniMax deleted its record: a result that may have been paid "+
				"for is lost", r)
		err.Charge = events.ChargePossible
		return "", err
	default:
		return "", d.newError(events.KindInternal, "unreadable", fmt.Sprintf("cancel was answered with action %q", a.Action),
			r)
	}
}
