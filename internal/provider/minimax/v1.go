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

func (v1) taskTypes() []events.TaskType { return []events.TaskType{events.Video} }

func (v1) wireModel(model string) string { return model }

func (v1) poll(ctx context.Context, d *Driver, id string) (provider.Snapshot, error) {
	snap, _, err := v1Poll(ctx, d, "/v1/query/video_generation", id, v1URLLife)
	return snap, err
}

// v1Poll asks at a path where a task is and, once it names a file, for the link of that file, which lives for so long.
func v1Poll(ctx context.Context, d *Driver, path, id string,
	life time.Duration,
) (snap provider.Snapshot, fileID string, err error) {
	r, err := d.call(ctx, http.MethodGet, path, url.Values{"task_id": {id}})
	if err != nil {
		return provider.Snapshot{}, "", err
	}
	var a v1Query
	r.Body = unwrapped(r.Body, "status")
	if json.Unmarshal(r.Body, &a) != nil {
		a = v1Query{}
	}
	if snap, fileID, err = a.read(d, id, r); err != nil || fileID == "" {
		return snap, fileID, err
	}
	snap, err = v1Result(ctx, d, a.Status, fileID, r, life)
	return snap, fileID, err
}

// v1Query is the answer to a status query.
type v1Query struct {
	TaskID lax[text] `json:"task_id"`
	Status text      `json:"status"`
	FileID lax[text] `json:"file_id"`
}

// read returns what the answer says about the task, and the id of its file once there is one.
//
// The status comes before the code: a moderated task has status Fail and code 1027, while a code without a verdict
// tells of a failed query.
func (a v1Query) read(d *Driver, id string, r provider.Reply) (snap provider.Snapshot, fileID string, err error) {
	says := readEnvelope(r.Body)
	state := stateOf(a.Status)
	if r.Status != http.StatusOK || a.Status == "" {
		return snap, "", d.queryError(says, r)
	}
	if err := d.wrongTask(id, a.TaskID.v, r); err != nil {
		return snap, "", err
	}
	m, known := says.meaning()
	switch {
	case state == provider.Failed:
		return d.failed(a.Status, says.orReason(r.Body), r), "", nil
	case state == provider.Cancelled:
		return d.cancelled(a.Status, says.orReason(r.Body), r), "", nil
	case state == provider.Succeeded && a.FileID.v.isID():
		return d.snapshot(a.Status), string(a.FileID.v), nil
	case state == provider.Succeeded && m.kind == events.KindModeration:
		return d.failed(a.Status, says, r), "", nil
	case state == provider.Unknown && says.bad() && (!known || m.kind == events.KindModeration ||
		m.kind == events.KindInvalid):
		return d.oddWord(a.Status, says, r), "", nil
	case says.own && !says.ok():
		return snap, "", d.queryError(says, r)
	case state == provider.Succeeded:
		snap = d.snapshot(a.Status)
		snap.Outputs, snap.Notes = d.findOutputs(r.Body)
		snap.Raw = d.rawJSON(r.Body)
		if len(snap.Outputs) == 0 {
			snap = d.noOutput(a.Status, string(a.FileID.v), "", snap.Raw, r)
		}
		return snap, "", nil
	default:
		return d.snapshot(a.Status), "", nil
	}
}

// v1Result asks for the link of a finished task's file, a new one each time. What goes wrong there is no verdict on the
// task: the video exists. An error of MiniMax's own about the file, which will not pass, ends the task once it was seen
// for long enough; a refusal of the key or the account is a failed poll; all else passes.
func v1Result(ctx context.Context, d *Driver, word text, fileID string,
	query provider.Reply, life time.Duration,
) (provider.Snapshot, error) {
	r, err := d.call(ctx, http.MethodGet, "/v1/files/retrieve", url.Values{"file_id": {fileID}})
	if err != nil { // the task has succeeded, whatever became of this call
		return d.pending(word), nil
	}
	var a struct {
		File *struct {
			FileName    lax[text] `json:"filename"`
			DownloadURL lax[text] `json:"download_url"`
		} `json:"file"`
	}
	r.Body = unwrapped(r.Body, "file")
	if json.Unmarshal(r.Body, &a) != nil {
		a.File = nil
	}
	answer := d.redactRaw([]byte(`{"query":` + string(query.Body) + `,"file":` + string(d.rawJSON(r.Body)) + `}`))
	says := readEnvelope(r.Body)
	if r.Status != http.StatusOK || a.File == nil || says.own && !says.ok() && a.File.DownloadURL.v == "" {
		return d.noFile(word, says, answer, r)
	}
	snap := d.snapshot(word)
	snap.Raw = answer
	// The answer's "bytes" is left aside: it is often 0 for a file that is there.
	link := string(a.File.DownloadURL.v)
	if o, ok := d.output(link, string(a.File.FileName.v)); ok {
		snap.Outputs = []events.Output{o}
	} else if snap.Outputs, snap.Notes = d.findOutputs(r.Body); len(snap.Outputs) == 0 {
		return d.noOutput(word, fileID, link, answer, r), nil
	}
	expires := time.Now().Add(life)
	for i := range snap.Outputs {
		snap.Outputs[i].ExpiresAt = &expires
	}
	return snap, nil
}

// noFile reads an answer that has no file.
func (d *Driver) noFile(word text, says envelope, answer json.RawMessage, r provider.Reply) (provider.Snapshot, error) {
	err := d.callError(says, r)
	switch {
	case !says.own || says.ok() || transient(err):
		return d.pending(word), nil
	case err.Kind == events.KindAuth || err.Kind == events.KindQuota:
		return provider.Snapshot{}, err
	}
	err.Message = d.clean("MiniMax finished it and cannot give its file: "+err.Message, events.MaxMessageBytes)
	return d.unconfirmed(word, err, answer), nil
}

func (v1) cancel(context.Context, *Driver, string) (provider.CancelOutcome, error) {
	return provider.CancelUnsupported, nil
}
