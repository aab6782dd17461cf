package minimax

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

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

func (v2) taskTypes() []events.TaskType { return []events.TaskType{events.Video} }

func (v2) wireModel(model string) string { return model }

// v2Task is a task in the answers to query and list.
type v2Task struct {
	ID     text      `json:"id"`
	Model  lax[text] `json:"model"`
	Status text      `json:"status"`
	// CreatedAt is in Unix seconds, Duration in seconds.
	CreatedAt  lax[int64]      `json:"created_at"`
	Duration   lax[int]        `json:"duration"`
	Resolution lax[text]       `json:"resolution"`
	Ratio      lax[text]       `json:"ratio"`
	TaskType   lax[text]       `json:"task_type"`
	Error      json.RawMessage `json:"error"`
	Content    lax[v2Content]  `json:"content"`
	Usage      lax[v2Usage]    `json:"usage"`
}

type v2Content struct {
	URL lax[text] `json:"url"`
}

type v2Usage struct {
	TotalSeconds *float64 `json:"total_seconds"`
}

func (v2) poll(ctx context.Context, d *Driver, id string) (provider.Snapshot, error) {
	r, err := d.call(ctx, http.MethodGet, v2QueryPath+"/"+url.PathEscape(id), nil)
	if err != nil {
		return provider.Snapshot{}, err
	}
	var a struct {
		Task json.RawMessage `json:"task"`
	}
	var task v2Task
	r.Body = unwrapped(r.Body, "task")
	if json.Unmarshal(r.Body, &a) != nil || json.Unmarshal(a.Task, &task) != nil || r.Status != http.StatusOK ||
		task.Status == "" {
		return provider.Snapshot{}, d.queryError(readEnvelope(r.Body), r)
	}
	if err := d.wrongTask(id, task.ID, r); err != nil {
		return provider.Snapshot{}, err
	}
	return task.read(d, a.Task, r), nil
}

// read returns what the answer says about the task, whose text in it is raw.
func (t v2Task) read(d *Driver, raw json.RawMessage, r provider.Reply) provider.Snapshot {
	snap := d.snapshot(t.Status)
	why := reasonOf(t.Error)
	switch snap.State {
	case provider.Failed:
		snap = d.failed(t.Status, why.orReason(raw).orReason(r.Body), r)
	case provider.Cancelled:
		snap = d.cancelled(t.Status, why.orReason(raw).orReason(r.Body), r)
	case provider.Unknown:
		if why.bad() {
			snap = d.oddWord(t.Status, why, r)
		}
	case provider.Succeeded:
		// The link is "time-limited", the docs do not say to when; each query gives a new one.
		link := string(t.Content.v.URL.v)
		snap.Raw = d.rawJSON(r.Body)
		if o, ok := d.output(link, ""); ok {
			snap.Outputs = []events.Output{o}
		} else if snap.Outputs, snap.Notes = d.findOutputs(raw); len(snap.Outputs) == 0 {
			snap = d.noOutput(t.Status, "", link, snap.Raw, r)
		}
	}
	if s := t.Usage.v.TotalSeconds; s != nil && *s >= 0 {
		snap.Units, snap.Unit = s, "second"
		if *s > 0 && snap.State == provider.Failed && stateOf(t.Status) == provider.Succeeded {
			snap.Err.Charge = events.ChargeConfirmed
		}
	}
	return snap
}

func (g v2) cancel(ctx context.Context, d *Driver, id string) (provider.CancelOutcome, error) {
	queued, outcome, err := g.stillQueued(ctx, d, id)
	if err != nil || !queued {
		return outcome, err
	}
	r, err := d.call(ctx, http.MethodDelete, "/v2/video_generation/"+url.PathEscape(id), nil)
	if err != nil {
		return "", err
	}
	if isOK(r.Status) {
		return v2Cancelled(d, r)
	}
	refusal := d.queryError(readEnvelope(r.Body), r)
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
	case "cancelled", "canceled":
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
