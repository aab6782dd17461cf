package minimax

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
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

// A Found is a task in MiniMax's list.
type Found struct {
	ID    string
	Model string
	// CreatedAt is by MiniMax's clock, in whole seconds; zero if the list does not tell.
	CreatedAt time.Time
	State     provider.State
	// Word is MiniMax's own word for the state.
	Word string
	// Resolution, such as "768P", Ratio and TaskType ("generation" for a create) are MiniMax's words.
	Resolution string
	Ratio      string
	TaskType   string
	// Duration is the length of the video that was asked for.
	Duration time.Duration
}

// List returns the account's tasks of a V2 model that were created at since or later, as far back as MiniMax lists them (7 days). It is
// how the outcome of a create is found out whose answer was lost.
//
// Complete says that all pages were read and every entry was understood. Without it, and while tasks come and go between the pages, a task that is
// missing from the list may still exist. List fails with a *provider.Error, KindInvalid for a V1 model: V1 has no list.
func (d *Driver) List(ctx context.Context, model string, since time.Time) (found []Found, complete bool, err error) {
	g := generationOf(model)
	if g == nil || !g.features().List {
		return nil, false, d.newError(events.KindInvalid, "no_list", "MiniMax has no list of tasks for model "+model, provider.Reply{})
	}
	seen := map[string]bool{}
	read, odd := 0, 0
	since = since.Truncate(time.Second) // created_at has no fractions
	for page := 1; page <= maxListPages; page++ {
		items, total, err := d.listPage(ctx, model, page)
		if err != nil {
			return nil, false, err
		}
		for _, t := range items {
			f := d.found(t)
			switch {
			case !t.ID.isID():
				odd++
			case seen[f.ID] || !f.CreatedAt.IsZero() && f.CreatedAt.Before(since):
			default:
				seen[f.ID] = true
				found = append(found, f)
			}
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
		return nil, 0, d.lookError(v2Saying(r.Body), r)
	}
	return a.Items, *a.Total, nil
}

func (d *Driver) found(t v2Task) Found {
	f := Found{
		ID: string(t.ID), Model: d.clean(string(t.Model.v), events.MaxModelBytes),
		State: stateOf(t.Status), Word: d.clean(string(t.Status), maxWordBytes),
		Resolution: d.clean(string(t.Resolution.v), maxWordBytes), Ratio: d.clean(string(t.Ratio.v), maxWordBytes),
		TaskType: d.clean(string(t.TaskType.v), maxWordBytes), Duration: time.Duration(t.Duration.v) * time.Second,
	}
	if s := t.CreatedAt.v; s > 0 {
		f.CreatedAt = time.Unix(s, 0)
	}
	return f
}
