package comfy

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"reelay/events"
	"reelay/internal/provider"
	"reelay/internal/provider/jsonapi"
)

const (
	// maxHistory is how many ended jobs of an older core are read, maxDetails how many of a list are asked for one by one.
	maxHistory = 500
	maxDetails = 50
)

// List looks for the job that the task's attempt may have begun. A core is asked for the id that was chosen for it; where an
// older one has made its own, and at v2, the job is known by its graph. All of them are exact. Complete says that the job
// would have been shown: what is read of a list reaches back behind since, or v2 serves no list, for to send the request
// again runs nothing twice there.
//
// List fails with a *provider.Error.
func (d *Driver) List(ctx context.Context, t events.Task, _ json.RawMessage, since time.Time) (
	found []provider.Found, complete bool, err error,
) {
	if d.v2 {
		return d.v2List(ctx, &t, since)
	}
	a := t.Attempt()
	if a == nil {
		return nil, false, newError(events.KindInternal, "no_attempt", "the task has made no attempt", provider.Reply{})
	}
	j, err := d.job(ctx, requestID(&t, a.N))
	switch {
	case err == nil:
		return []provider.Found{{ID: j.id, CreatedAt: j.created, Exact: true}}, true, nil
	case provider.AsError(err).Kind != events.KindNotFound:
		return nil, false, err
	case !d.old.Load():
		return nil, true, nil
	}
	return d.oldList(ctx, &t, since)
}

// oldList reads the whole queue and the newest of the history. A core does its jobs in the order in which they came.
func (d *Driver) oldList(ctx context.Context, t *events.Task, since time.Time) (found []provider.Found, complete bool, err error) {
	q, err := d.queue(ctx)
	if err != nil {
		return nil, false, err
	}
	all := append(q.running, q.pending...)
	r, err := d.api.Call(ctx, http.MethodGet, "/history", url.Values{"max_items": {strconv.Itoa(maxHistory)}})
	if err != nil {
		return nil, false, err
	}
	history := jsonapi.Read(r.Body)
	if !jsonapi.IsOK(r.Status) || history == nil {
		return nil, false, callError(r)
	}
	complete = len(history) < maxHistory
	for id := range history {
		if j, err := readHistory(id, history.Object(id), r); err == nil {
			all = append(all, j)
			complete = complete || before(j.created, since)
		}
	}
	for _, j := range all {
		if j.graphIs(t.InputDigest) && !before(j.created, since) {
			found = append(found, provider.Found{ID: j.id, CreatedAt: j.created, Exact: true})
		}
	}
	return found, complete, nil
}

// v2List reads the list of the core, newest first, where it is served beside v2.
func (d *Driver) v2List(ctx context.Context, t *events.Task, since time.Time) (found []provider.Found, complete bool, err error) {
	query := url.Values{"sort_by": {"created_at"}, "sort_order": {"desc"}, "limit": {strconv.Itoa(maxDetails)}}
	r, err := d.api.Call(ctx, http.MethodGet, "/api/jobs", query)
	if err != nil {
		return nil, false, err
	}
	answer := jsonapi.Read(r.Body)
	items, ok := answer.Objects("jobs")
	switch {
	case r.Status == http.StatusNotFound || r.Status == http.StatusMethodNotAllowed:
		return nil, true, nil
	case !jsonapi.IsOK(r.Status) || !ok:
		return nil, false, callError(r)
	}
	complete = string(answer.Object("pagination")["has_more"]) != "true"
	for _, item := range items {
		id, created := item.Text("id"), milliseconds(item, "create_time")
		if before(created, since) {
			complete = true // the older ones come behind it
			break
		}
		if !idPattern.MatchString(id) {
			continue
		}
		switch j, err := d.job(ctx, id); {
		case err != nil && provider.AsError(err).Kind == events.KindNotFound: // it was removed since
		case err != nil:
			return nil, false, err
		case j.graphIs(t.InputDigest):
			found = append(found, provider.Found{ID: id, CreatedAt: created, Exact: true})
		}
	}
	return found, complete, nil
}

// before reports whether a job is known to have been made before a time.
func before(created, since time.Time) bool { return !created.IsZero() && created.Before(since) }
