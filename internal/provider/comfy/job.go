package comfy

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"reelay/events"
	"reelay/internal/provider"
	"reelay/internal/provider/jsonapi"
)

// The words of a core for the state of a job (comfy_execution/jobs.py).
const (
	wordPending    = "pending"
	wordInProgress = "in_progress"
	wordCompleted  = "completed"
	wordFailed     = "failed"
	wordCancelled  = "cancelled"
)

// A job is what a core says of one.
type job struct {
	id, word string
	created  time.Time
	graph    json.RawMessage
	outputs  json.RawMessage
	failure  jsonapi.Object
	reply    provider.Reply
}

// job asks a core for one. Its error is a *provider.Error, KindNotFound where the core does not know the job.
func (d *Driver) job(ctx context.Context, id string) (job, error) {
	if d.old.Load() {
		return d.oldJob(ctx, id)
	}
	r, err := d.api.Call(ctx, http.MethodGet, "/api/jobs/"+url.PathEscape(id), nil)
	if err != nil {
		return job{}, err
	}
	o := jsonapi.Read(r.Body)
	switch {
	case r.Status == http.StatusNotFound && !o.Has("error"): // no such route
		j, err := d.oldJob(ctx, id)
		if err == nil || provider.AsError(err).Kind == events.KindNotFound {
			d.old.Store(true)
		}
		return j, err
	case !jsonapi.IsOK(r.Status) || o.Text("status") == "":
		return job{}, callError(r)
	case o.Text("id") != id:
		// A cache between us and the server: a result must never land on another task.
		return job{}, newError(events.KindInternal, "wrong_task", "asked for "+id+", answered about "+o.Text("id"), r)
	}
	return job{
		id: id, word: o.Text("status"), created: milliseconds(o, "create_time"), graph: o.Object("workflow")["prompt"],
		outputs: o["outputs"], failure: o.Object("execution_error"), reply: r,
	}, nil
}

// milliseconds reads a time in milliseconds since 1970; zero if there is none.
func milliseconds(o jsonapi.Object, name string) time.Time {
	if ms, ok := o.Number(name); ok && ms > 0 && ms < 1<<50 {
		return time.UnixMilli(int64(ms)).UTC()
	}
	return time.Time{}
}

// oldJob asks a core without /api/jobs: for its history, then for its queue.
func (d *Driver) oldJob(ctx context.Context, id string) (job, error) {
	r, err := d.api.Call(ctx, http.MethodGet, "/history/"+url.PathEscape(id), nil)
	if err != nil {
		return job{}, err
	}
	history := jsonapi.Read(r.Body)
	if !jsonapi.IsOK(r.Status) || history == nil || len(history) > 0 && !history.Has(id) {
		return job{}, callError(r)
	}
	if history.Has(id) {
		return readHistory(id, history.Object(id), r)
	}
	q, err := d.queue(ctx)
	if err != nil {
		return job{}, err
	}
	for _, j := range append(q.running, q.pending...) {
		if j.id == id {
			return j, nil
		}
	}
	return job{}, newError(events.KindNotFound, "job_not_found", "the server does not know the job", r)
}

// readHistory reads one entry of a history: {"prompt":[number,id,graph,extra_data,...],"outputs","status"}.
func readHistory(id string, entry jsonapi.Object, r provider.Reply) (job, error) {
	j, ok := readItem(entry["prompt"], wordCompleted)
	status := entry.Object("status")
	if !ok || j.id != id || status == nil {
		return job{}, callError(r)
	}
	j.outputs, j.reply = entry["outputs"], r
	if status.Text("status_str") != "error" {
		return j, nil
	}
	j.word = wordFailed
	var messages [][]json.RawMessage
	_ = json.Unmarshal(status["messages"], &messages) // what cannot be read gives no reason
	for _, m := range messages {
		var name string
		if len(m) < 2 || json.Unmarshal(m[0], &name) != nil {
			continue
		}
		switch name {
		case "execution_error":
			j.failure = jsonapi.Read(m[1])
		case "execution_interrupted":
			j.word = wordCancelled
		}
	}
	return j, nil
}

// readItem reads a job as queues have it: [number, id, graph, extra_data, ...].
func readItem(raw json.RawMessage, word string) (job, bool) {
	var item []json.RawMessage
	j := job{word: word}
	if json.Unmarshal(raw, &item) != nil || len(item) < 4 || json.Unmarshal(item[1], &j.id) != nil || !idPattern.MatchString(j.id) {
		return job{}, false
	}
	j.graph, j.created = item[2], milliseconds(jsonapi.Read(item[3]), "create_time")
	return j, true
}

// A queue is what a core has to do, in order.
type queue struct{ running, pending []job }

func (d *Driver) queue(ctx context.Context) (q queue, err error) {
	r, err := d.api.Call(ctx, http.MethodGet, "/queue", nil)
	if err != nil {
		return q, err
	}
	o := jsonapi.Read(r.Body)
	var running, pending []json.RawMessage
	if !jsonapi.IsOK(r.Status) || !o.Has("queue_running") || json.Unmarshal(o["queue_running"], &running) != nil ||
		json.Unmarshal(o["queue_pending"], &pending) != nil {
		return q, callError(r)
	}
	for _, raw := range running {
		if j, ok := readItem(raw, wordInProgress); ok {
			j.reply = r
			q.running = append(q.running, j)
		}
	}
	for _, raw := range inOrder(pending) {
		if j, ok := readItem(raw, wordPending); ok {
			j.reply = r
			q.pending = append(q.pending, j)
		}
	}
	return q, nil
}

// graphIs reports whether a job shows the graph that a task's input is.
func (j job) graphIs(digest string) bool {
	got, err := events.Digest(j.graph)
	return err == nil && digest != "" && got == digest
}

var states = map[string]provider.State{
	wordPending: provider.Queued, wordInProgress: provider.Running, wordCompleted: provider.Succeeded,
	wordFailed: provider.Failed, wordCancelled: provider.Cancelled,
}

// failureOf is why a job has failed: {"exception_message","exception_type","node_id","node_type"}.
func failureOf(o jsonapi.Object, r provider.Reply) *provider.Error {
	message, code := strings.TrimSpace(o.Text("exception_message")), o.Text("exception_type")
	if message == "" {
		message = "the server gave no reason"
	}
	if node := o.Text("node_id"); node != "" {
		message = "node " + node + " (" + o.Text("node_type") + "): " + message
	}
	if code == "" {
		code = wordFailed
	}
	return newError(events.KindInternal, code, message, r)
}
