package minimax

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"reelay/events"
	"reelay/internal/provider"
)

const (
	// listPageSize is how many tasks one page is asked for; the docs name no limit.
	listPageSize = 20
	// maxListPages bounds one List.
	maxListPages = 100
)

// List returns the account's tasks that were created at since or later and that may be the one that the input made: of
// the same model and, as far as both tell, of the same resolution, duration and ratio. MiniMax lists the tasks of the
// last 7 days in every state (https://platform.minimax.io/docs/api-reference), without a prompt or a name of ours: no
// match is Exact. An entry without a time is kept, with the zero time.
//
// Complete says that all pages were read and every entry was understood. Without it, and while tasks come and go
// between the pages, a task that is missing from the list may still exist. List fails with a *provider.Error,
// KindInvalid for a V1 model: V1 has no list.
func (d *Driver) List(ctx context.Context, t events.Task, input json.RawMessage,
	since time.Time,
) (found []provider.Found, complete bool, err error) {
	g := generationOf(t.Model)
	if g == nil || !g.features().List {
		return nil, false, d.newError(events.KindInvalid, "no_list", "MiniMax has no list of tasks for model "+t.Model,
			provider.Reply{})
	}
	asked := shapeOf(input)
	seen := map[string]bool{}
	read, odd := 0, 0
	since = since.Truncate(time.Second) // created_at has no fractions
	for page := 1; page <= maxListPages; page++ {
		items, total, err := d.listPage(ctx, t.Model, page)
		if err != nil {
			return nil, false, err
		}
		for _, item := range items {
			id := string(item.ID)
			if !item.ID.isID() {
				odd++
				continue
			}
			created := item.created()
			if seen[id] || !created.IsZero() && created.Before(since) || !asked.fits(item, t.Model) {
				continue
			}
			seen[id] = true
			found = append(found, provider.Found{ID: id, CreatedAt: created})
		}
		read += len(items)
		if len(items) == 0 || read >= total {
			return found, read >= total && odd == 0, nil
		}
	}
	return found, false, nil
}

func (d *Driver) listPage(ctx context.Context, model string, page int) (items []v2Task, total int, err error) {
	r, err := d.call(ctx, http.MethodGet, v2QueryPath, url.Values{
		"page_num": {strconv.Itoa(page)}, "page_size": {strconv.Itoa(listPageSize)}, "filter.model": {model},
	})
	if err != nil {
		return nil, 0, err
	}
	var a struct {
		Items []v2Task `json:"items"`
		Total *int     `json:"total"`
	}
	if json.Unmarshal(r.Body, &a) != nil || r.Status != http.StatusOK || a.Total == nil {
		return nil, 0, d.callError(readEnvelope(r.Body), r)
	}
	return a.Items, *a.Total, nil
}

// created is by MiniMax's clock, in whole seconds; zero if the list does not tell.
func (t v2Task) created() time.Time {
	if s := t.CreatedAt.v; s > 0 {
		return time.Unix(s, 0)
	}
	return time.Time{}
}

// A shape is what an input says of its video and the list shows again; zero where it says nothing.
type shape struct {
	resolution string
	ratio      string
	duration   int
}

func shapeOf(input json.RawMessage) shape {
	var in struct {
		Resolution lax[text] `json:"resolution"`
		Ratio      lax[text] `json:"ratio"`
		Duration   lax[int]  `json:"duration"`
		Content    lax[[]struct {
			Type lax[text] `json:"type"`
		}] `json:"content"`
	}
	if json.Unmarshal(input, &in) != nil {
		return shape{}
	}
	s := shape{resolution: string(in.Resolution.v), ratio: string(in.Ratio.v), duration: in.Duration.v}
	for _, item := range in.Content.v {
		if item.Type.v != "text" {
			s.ratio = "" // with images MiniMax goes by them
		}
	}
	if s.ratio == "adaptive" {
		s.ratio = ""
	}
	return s
}

// fits reports whether nothing that a listed task shows speaks against it.
func (s shape) fits(t v2Task, model string) bool {
	agree := func(asked, shown string) bool { return asked == "" || shown == "" || strings.EqualFold(asked, shown) }
	return agree(model, string(t.Model.v)) && agree("generation", string(t.TaskType.v)) &&
		agree(s.resolution, string(t.Resolution.v)) && agree(s.ratio, string(t.Ratio.v)) &&
		(s.duration == 0 || t.Duration.v == 0 || s.duration == t.Duration.v)
}
