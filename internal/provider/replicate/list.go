package replicate

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
	"reelay/internal/provider/jsonapi"
)

// maxListPages bounds one List: 100 predictions a page.
const maxListPages = 50

// List returns the predictions that were created at since or later and that may be the one that the task's input made: of
// the same model, version or deployment. What names another task's callback, or shows another input, is left out. A match
// is exact where it names the callback of this attempt, or shows the same input without naming any; it is not where the
// input was removed. Complete says that the whole list was read: a prediction is in it from its creation on.
//
// List fails with a *provider.Error.
func (d *Driver) List(ctx context.Context, t events.Task, input json.RawMessage,
	since time.Time,
) (found []provider.Found, complete bool, err error) {
	to, err := parseModel(t.Model)
	if err != nil {
		return nil, false, jsonapi.NewError(events.KindInvalid, "bad_model", err.Error(), provider.Reply{})
	}
	query := url.Values{"created_after": {since.UTC().Truncate(time.Second).Format(time.RFC3339)}}
	seen, odd := map[string]bool{}, 0
	for range maxListPages {
		items, next, err := d.listPage(ctx, query)
		if err != nil {
			return nil, false, err
		}
		for _, item := range items {
			id, created := item.Text("id"), item.Time("created_at")
			if !idPattern.MatchString(id) || created.IsZero() {
				odd++
				continue
			}
			if seen[id] || created.Before(since.Truncate(time.Second)) || !to.fits(item) {
				continue
			}
			seen[id] = true
			if fits, exact := matches(&t, item); fits {
				found = append(found, provider.Found{ID: id, CreatedAt: created, Exact: exact})
			}
		}
		if next == "" || next == query.Get("cursor") {
			return found, odd == 0 && next == "", nil
		}
		query.Set("cursor", next)
	}
	return found, false, nil
}

// listPage returns a page and the cursor of the one after it; "" for the last. The link to it is not followed: a link in an
// answer is data.
func (d *Driver) listPage(ctx context.Context, query url.Values) (items []jsonapi.Object, next string, err error) {
	r, err := d.api.Call(ctx, http.MethodGet, predictionsPath, query)
	if err != nil {
		return nil, "", err
	}
	answer := jsonapi.Read(r.Body)
	items, ok := answer.Objects("results")
	if !jsonapi.IsOK(r.Status) || !ok {
		return nil, "", jsonapi.CallError(r)
	}
	if !answer.Has("next") {
		return items, "", nil
	}
	link, err := url.Parse(answer.Text("next"))
	if err != nil || link.Query().Get("cursor") == "" {
		return nil, "", jsonapi.NewError(events.KindRetry, "bad_list", "the list goes on, and does not say where", r)
	}
	return items, link.Query().Get("cursor"), nil
}

// fits reports whether nothing that a prediction shows speaks against its having been made for the target. The version of an
// official model is "hidden".
func (to target) fits(item jsonapi.Object) bool {
	agree := func(a, b string) bool { return a == "" || b == "" || b == "hidden" || a == b }
	return agree(to.model, item.Text("model")) && agree(to.version, item.Text("version")) &&
		agree(to.deployment, item.Text("deployment"))
}

// callback is how the webhook of a prediction names a task, see package callbackurl; the number of the attempt follows.
func callback(t *events.Task) string { return "/" + t.Key().String() + "." }

// isOurs reports whether the callback that a prediction names is that of the attempt: until when it counts follows. An
// attempt that stands for one of which the record knows nothing may have been of any number.
func isOurs(t *events.Task, named string) bool {
	a := t.Attempt()
	switch {
	case a == nil:
		return true
	case a.SentAfter != nil:
		return strings.Contains(named, callback(t))
	}
	return strings.Contains(named, callback(t)+strconv.Itoa(a.N)+".")
}

// matches compares a prediction with the task. A list need not show the callback, so that without one the input decides.
func matches(t *events.Task, item jsonapi.Object) (fits, exact bool) {
	switch named := item.Text("webhook"); {
	case named != "":
		ours := isOurs(t, named)
		return ours, ours && t.Attempt() != nil
	case !item.Has("input") || string(item["data_removed"]) == "true":
		return true, false
	}
	digest, err := events.Digest(item["input"])
	same := err == nil && digest == t.InputDigest
	return same, same
}
