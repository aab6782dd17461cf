package comfy

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"

	"reelay/events"
	"reelay/internal/provider"
	"reelay/internal/provider/jsonapi"
)

const maxWordBytes = 40

// Poll asks where a job is. Its error is a *provider.Error, KindNotFound when the server itself says that it does not know
// the job: it was restarted, and has lost it.
func (d *Driver) Poll(ctx context.Context, ref json.RawMessage) (provider.Snapshot, error) {
	id, err := readRef(ref)
	if err != nil {
		return provider.Snapshot{}, err
	}
	if d.v2 {
		o, r, err := d.v2Job(ctx, id)
		if err != nil {
			return provider.Snapshot{}, err
		}
		return d.v2Snapshot(o, r), nil
	}
	j, err := d.job(ctx, id)
	switch {
	case err != nil && provider.AsError(err).Kind == events.KindNotFound && d.gone.Has(id):
		return provider.Snapshot{State: provider.Cancelled, Word: "deleted"}, nil
	case err != nil:
		return provider.Snapshot{}, err
	}
	s := provider.Snapshot{State: provider.Unknown, Word: provider.Clip(j.word, maxWordBytes)}
	if state, ok := states[j.word]; ok {
		s.State = state
	}
	switch s.State {
	case provider.Queued:
		if q, err := d.queue(ctx); err == nil { // it is only good to know
			s.Position = q.position(id)
		}
	case provider.Succeeded:
		s.Raw = jsonapi.Raw(j.reply.Body)
		d.readOutputs(&s, j.outputs)
	case provider.Failed:
		s.Err, s.Raw = failureOf(j.failure, j.reply), jsonapi.Raw(j.reply.Body)
	}
	return s, nil
}

// position is how many jobs begin before one that waits; nil for one that does not.
func (q queue) position(id string) *int {
	i := slices.IndexFunc(q.pending, func(j job) bool { return j.id == id })
	if i < 0 {
		return nil
	}
	return &i
}

// inOrder sorts what waits by its number, the least first.
func inOrder(items []json.RawMessage) []json.RawMessage {
	number := func(raw json.RawMessage) (n float64) {
		var item []json.RawMessage
		if json.Unmarshal(raw, &item) == nil && len(item) > 0 {
			_ = json.Unmarshal(item[0], &n) // 0 for what is no number
		}
		return n
	}
	slices.SortStableFunc(items, func(a, b json.RawMessage) int { return cmp.Compare(number(a), number(b)) })
	return items
}

const (
	// maxOutputs bounds the files that are taken from one job.
	maxOutputs = 256
	// typeOutput is where a core keeps what is to stay; previews are "temp".
	typeOutput = "output"
	valueText  = "text"
)

// readOutputs reads what the nodes of a job have made, {"9":{"images":[{"filename","subfolder","type"}]}}, in the order of
// the nodes, whatever the lists are called. Previews count only where nothing else was made. The first text is a value.
func (d *Driver) readOutputs(s *provider.Snapshot, raw json.RawMessage) {
	var kept, previews []events.Output
	for _, id := range ordered(raw) {
		node := jsonapi.Read(raw)[id]
		for _, list := range ordered(node) {
			var items []json.RawMessage
			if json.Unmarshal(jsonapi.Read(node)[list], &items) != nil {
				continue // such as "animated"
			}
			for _, item := range items {
				file := jsonapi.Read(item)
				var text string
				switch name, kind := file.Text("filename"), file.Text("type"); {
				case name != "" && kind == typeOutput:
					kept = append(kept, d.view(file))
				case name != "" && kind == "temp":
					previews = append(previews, d.view(file))
				case list == valueText && json.Unmarshal(item, &text) == nil && text != "" && len(text) <= events.MaxValueBytes &&
					s.Values == nil:
					s.Values = map[string]string{valueText: text}
				}
			}
		}
	}
	if len(kept) == 0 {
		kept = previews
	}
	s.Outputs = kept[:min(len(kept), maxOutputs)]
	if len(kept) > maxOutputs {
		s.Notes = append(s.Notes, "The job has made more files than are kept; they are in raw only.")
	}
}

// view is a file that a core has.
func (d *Driver) view(file jsonapi.Object) events.Output {
	query := url.Values{}
	for _, name := range []string{"filename", "subfolder", "type"} {
		query.Set(name, file.Text(name))
	}
	return events.Output{URL: d.api.Base() + "/view?" + query.Encode(), FileName: provider.Clip(file.Text("filename"), maxNameBytes)}
}

const maxNameBytes = 200

// The words of v2.
var v2States = map[string]provider.State{
	"queued": provider.Queued, "running": provider.Running, "canceling": provider.Running, "succeeded": provider.Succeeded,
	"failed": provider.Failed, "expired": provider.Failed, "canceled": provider.Cancelled,
}

// v2Job asks for a job. Its error is a *provider.Error.
func (d *Driver) v2Job(ctx context.Context, id string) (jsonapi.Object, provider.Reply, error) {
	r, err := d.api.Call(ctx, http.MethodGet, v2Path+"/jobs/"+url.PathEscape(id), nil)
	if err != nil {
		return nil, r, err
	}
	o := jsonapi.Read(r.Body)
	switch {
	case !jsonapi.IsOK(r.Status) || o.Text("status") == "":
		return nil, r, callError(r)
	case o.Text("id") != id:
		return nil, r, newError(events.KindInternal, "wrong_task", "asked for "+id+", answered about "+o.Text("id"), r)
	}
	return o, r, nil
}

func (d *Driver) v2Snapshot(o jsonapi.Object, r provider.Reply) provider.Snapshot {
	word := o.Text("status")
	s := provider.Snapshot{State: provider.Unknown, Word: provider.Clip(word, maxWordBytes)}
	if state, ok := v2States[word]; ok {
		s.State = state
	}
	if n, ok := o.Number("queue_position"); ok && n >= 0 && n < 1<<31 && s.State == provider.Queued {
		at := int(n)
		s.Position = &at
	}
	if p, ok := o.Object("progress").Number("value"); ok && p >= 0 && p <= 1 {
		p *= 100
		s.Progress = &p
	}
	switch s.State {
	case provider.Succeeded:
		s.Raw = jsonapi.Raw(r.Body)
		outputs, _ := o.Objects("outputs") // none of what is no list
		for _, file := range outputs[:min(len(outputs), maxOutputs)] {
			if link := d.api.Absolute(file.Text("url")); link != "" {
				size, _ := file.Number("size_bytes") // 0 where it is not told
				out := events.Output{
					URL: link, ContentType: provider.Clip(file.Text("content_type"), maxNameBytes), Size: int64(max(0, size)),
					FileName: provider.Clip(file.Text("name"), maxNameBytes),
				}
				if at := file.Time("url_expires_at"); !at.IsZero() {
					out.ExpiresAt = &at
				}
				s.Outputs = append(s.Outputs, out)
			}
		}
	case provider.Failed:
		code, message := jsonapi.Reason(o["error"])
		kind := events.KindInternal
		if word == "expired" {
			kind = events.KindDeadline
		}
		s.Err = newError(kind, cmp.Or(code, word), cmp.Or(message, "the server gave no reason"), r)
		s.Raw = jsonapi.Raw(r.Body)
	}
	return s
}
