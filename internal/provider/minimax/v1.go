package minimax

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"reelay/events"
	"reelay/internal/provider"
)

// v1URLLife is how long a V1 download_url lives, by MiniMax's download page.
const v1URLLife = time.Hour

// v1 is the API of the Hailuo, T2V, I2V and S2V models. Its answers are HTTP 200; base_resp has the verdict.
type v1 struct{}

type baseResp struct {
	StatusCode text      `json:"status_code"`
	StatusMsg  lax[text] `json:"status_msg"`
}

// envelope reads the envelope; without a code there is none.
func (b *baseResp) envelope() envelope {
	if b == nil || b.StatusCode == "" {
		return envelope{}
	}
	return envelope{own: true, code: string(b.StatusCode), message: string(b.StatusMsg.v)}
}

func (v1) name() string { return "v1" }

func (v1) features() provider.Features { return provider.Features{Webhook: true} }

func (v1) createPath() string { return "/v1/video_generation" }

func (v1) refuses(httpStatus int) bool { return httpStatus == http.StatusOK }

func (v1) readCreate(body []byte) (text, envelope) {
	var a struct {
		TaskID   text      `json:"task_id"`
		BaseResp *baseResp `json:"base_resp"`
	}
	if json.Unmarshal(body, &a) != nil {
		return "", envelope{}
	}
	return a.TaskID, a.BaseResp.envelope()
}

func (v1) poll(ctx context.Context, d *Driver, id string) (provider.Snapshot, error) {
	r, err := d.call(ctx, http.MethodGet, "/v1/query/video_generation", url.Values{"task_id": {id}})
	if err != nil {
		return provider.Snapshot{}, err
	}
	var a v1Query
	if json.Unmarshal(r.Body, &a) != nil {
		a = v1Query{}
	}
	snap, fileID, err := a.read(d, id, r)
	if err != nil || fileID == "" {
		return snap, err
	}
	outputs, file, err := v1Output(ctx, d, fileID)
	if err != nil && transient(err) {
		return d.pending(a.Status), nil
	}
	if err != nil {
		return provider.Snapshot{}, err
	}
	snap.Outputs = outputs
	snap.Raw = d.redactRaw([]byte(`{"query":` + string(r.Body) + `,"file":` + string(file) + `}`))
	return snap, nil
}

// v1Query is the answer to a status query.
type v1Query struct {
	TaskID   text      `json:"task_id"`
	Status   text      `json:"status"`
	FileID   text      `json:"file_id"`
	BaseResp *baseResp `json:"base_resp"`
}

// read returns what the answer says about the task, and the id of its file once there is one.
//
// The status comes before the code: a moderated task has status Fail and code 1027, while a code without a verdict
// tells of a failed query.
func (a v1Query) read(d *Driver, id string, r provider.Reply) (snap provider.Snapshot, fileID string, err error) {
	says := a.BaseResp.envelope()
	state := stateOf(a.Status)
	if r.Status != http.StatusOK || a.Status == "" {
		return snap, "", v1QueryError(d, says, r)
	}
	if err := d.wrongTask(id, a.TaskID, r); err != nil {
		return snap, "", err
	}
	m, _ := says.meaning()
	switch {
	case state == provider.Failed:
		return d.failed(a.Status, says, r), "", nil
	case state == provider.Cancelled:
		return d.snapshot(a.Status), "", nil
	case state == provider.Succeeded && a.FileID.isID():
		return d.snapshot(a.Status), string(a.FileID), nil
	case state == provider.Succeeded && m.kind == events.KindModeration:
		return d.failed(a.Status, says, r), "", nil
	case says.own && !says.ok():
		return snap, "", v1QueryError(d, says, r)
	case state == provider.Succeeded:
		return d.pending(a.Status), "", nil
	default:
		return d.snapshot(a.Status), "", nil
	}
}

// v1QueryError is a failed poll. Which answer V1 gives for a task it does not know is not documented; it is assumed
// to be 2013, the code for bad parameters, with words that say so.
func v1QueryError(d *Driver, says envelope, r provider.Reply) *provider.Error {
	err := d.callError(says, r)
	if r.Status == http.StatusOK && says.code == "2013" && says.unknownTask() {
		err.Kind = events.KindNotFound
	}
	return err
}

// v1Output asks for the link of a file, a new one each time, and returns the answer beside it.
func v1Output(ctx context.Context, d *Driver, fileID string) ([]events.Output, []byte, error) {
	r, err := d.call(ctx, http.MethodGet, "/v1/files/retrieve", url.Values{"file_id": {fileID}})
	if err != nil {
		return nil, nil, err
	}
	var a struct {
		File struct {
			FileName    lax[text] `json:"filename"`
			DownloadURL text      `json:"download_url"`
		} `json:"file"`
		BaseResp *baseResp `json:"base_resp"`
	}
	if json.Unmarshal(r.Body, &a) != nil || r.Status != http.StatusOK || a.File.DownloadURL == "" {
		return nil, nil, d.callError(a.BaseResp.envelope(), r)
	}
	// The answer's "bytes" is left aside: it is often 0 for a file that is there.
	o, err := d.output(string(a.File.DownloadURL), string(a.File.FileName.v), r)
	if err != nil {
		return nil, nil, err
	}
	expires := time.Now().Add(v1URLLife)
	o.ExpiresAt = &expires
	return []events.Output{o}, r.Body, nil
}

func (v1) cancel(context.Context, *Driver, string) (provider.CancelOutcome, error) {
	return provider.CancelUnsupported, nil
}
