package openai

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"reelay/events"
	"reelay/internal/provider"
	"reelay/internal/provider/jsonapi"
)

const (
	// listPageSize is how many jobs one page is asked for, the most that OpenAI gives.
	listPageSize = 100
	// maxListPages bounds one List.
	maxListPages = 50
)

// List returns the jobs that were created at since or later and that may be the one that the input made: of the same
// model, prompt, size and seconds as far as both tell. A match is exact where the job shows its prompt (vLLM-Omni does,
// SGLang does not) and the input says nothing that no job shows, such as a seed.
//
// Complete says that the whole list was read. A server without a list (404, 405) counts as one whose list is empty: it
// can tell nothing, and to ask it again for a job costs time of a GPU at most. List fails with a *provider.Error.
func (d *Driver) List(ctx context.Context, t events.Task, input json.RawMessage,
	since time.Time,
) (found []provider.Found, complete bool, err error) {
	since = since.Truncate(time.Second) // created_at has no fractions
	asked := jsonapi.Read(input)
	seen, after, odd := map[string]bool{}, "", 0
	for range maxListPages {
		items, more, err := d.listPage(ctx, after)
		if err != nil {
			return nil, false, err
		}
		before := len(seen)
		for _, item := range items {
			id := item.Text("id")
			if !idPattern.MatchString(id) {
				odd++
				continue
			}
			created := item.Seconds("created_at")
			if after = id; seen[id] || !created.IsZero() && created.Before(since) || !fits(asked, item, t.Model) {
				seen[id] = true
				continue
			}
			seen[id] = true
			found = append(found, provider.Found{ID: id, CreatedAt: created, Exact: exact(asked, item)})
		}
		if !more || len(seen) == before { // a server that knows no pages gives the first one again
			return found, odd == 0, nil
		}
	}
	return found, false, nil
}

func (d *Driver) listPage(ctx context.Context, after string) (items []jsonapi.Object, more bool, err error) {
	query := url.Values{"limit": {strconv.Itoa(listPageSize)}, "order": {"desc"}}
	if after != "" {
		query.Set("after", after)
	}
	r, err := d.api.Call(ctx, http.MethodGet, videosPath, query)
	if err != nil {
		return nil, false, err
	}
	answer := jsonapi.Read(r.Body)
	switch {
	case (r.Status == http.StatusNotFound || r.Status == http.StatusMethodNotAllowed) && jsonapi.ReadEnvelope(r).Own:
		return nil, false, nil
	case !jsonapi.IsOK(r.Status) || !answer.Has("data") || json.Unmarshal(answer["data"], &items) != nil:
		return nil, false, callError(r)
	}
	if answer.Has("has_more") {
		return items, string(answer["has_more"]) == "true", nil
	}
	return items, len(items) >= listPageSize, nil
}

// shown are the members of an input that a job may show again.
func shown() []string { return []string{"prompt", "size", "seconds"} }

// fits reports whether nothing that a listed job shows speaks against it.
func fits(asked, item jsonapi.Object, model string) bool {
	agree := func(a, b string) bool { return a == "" || b == "" || a == b }
	for _, name := range shown() {
		if !agree(asked.Text(name), item.Text(name)) {
			return false
		}
	}
	return model == anyModel || agree(model, item.Text("model"))
}

// exact reports whether a listed job that fits shows all that the input says.
func exact(asked, item jsonapi.Object) bool {
	if !item.Has("prompt") {
		return false
	}
	for name := range asked {
		if name != "model" && (!slices.Contains(shown(), name) || !item.Has(name)) {
			return false
		}
	}
	return true
}
