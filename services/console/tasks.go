package console

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"reelay/events"
)

// tasksData is what the list shows: one page, and the filters as the address has them.
type tasksData struct {
	Tasks  []events.Task
	Filter filter
	// Next and First are the addresses of the next page and of the first one; empty where this is the last, or the first.
	Next, First string
}

// A filter is what the address of a list says.
type filter struct {
	Project, SceneID, Provider, Model, BatchID, Since string
	Statuses, Phases                                  []string
	Cursor                                            string
}

// Has reports whether anything is filtered.
func (f filter) Has() bool {
	return f.Project+f.SceneID+f.Provider+f.Model+f.BatchID+f.Since != "" || len(f.Statuses)+len(f.Phases) > 0
}

// Status and Phase report whether one is chosen.
func (f filter) Status(s events.Status) bool { return slices.Contains(f.Statuses, string(s)) }

// Phase reports whether p is chosen.
func (f filter) Phase(p events.Phase) bool { return slices.Contains(f.Phases, string(p)) }

func newFilter(q url.Values) filter {
	word := func(name string) string { return strings.TrimSpace(q.Get(name)) }
	given := func(all []string) []string {
		return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s == "" })
	}
	return filter{
		Project: word("project"), SceneID: word("scene_id"), Provider: word("provider"), Model: word("model"),
		BatchID: word("batch_id"), Since: word("since"), Statuses: given(q["status"]), Phases: given(q["phase"]),
		Cursor: word("cursor"),
	}
}

// request makes the filter the question of the list verb. Its error is a FieldError.
func (f filter) request(now time.Time) (events.ListRequest, error) {
	r := events.ListRequest{
		SceneID: f.SceneID, Provider: f.Provider, Model: f.Model, BatchID: f.BatchID, Cursor: f.Cursor,
		Limit: events.DefaultListLimit,
	}
	for _, s := range f.Statuses {
		r.Status = append(r.Status, events.Status(s))
	}
	for _, p := range f.Phases {
		r.Phase = append(r.Phase, events.Phase(p))
	}
	if f.Since == "" {
		return r, nil
	}
	since, err := time.Parse(time.RFC3339, f.Since)
	if age, bad := time.ParseDuration(f.Since); bad == nil && age >= 0 {
		since, err = now.Add(-age), nil
	}
	if err != nil {
		return r, events.NewFieldError("since", "is neither a time (RFC 3339) nor an age such as 2h")
	}
	r.Since = &since
	return r, nil
}

func (s *Service) tasks(ctx context.Context, r *http.Request) (string, any, error) {
	q := r.URL.Query()
	d := tasksData{Filter: newFilter(q)}
	if p := d.Filter.Project; p != "" && !events.ValidToken(p) {
		return "", nil, events.NewFieldError("project", "must be 1 to %d characters of A-Z a-z 0-9 _ -", events.MaxTokenBytes)
	}
	request, err := d.Filter.request(time.Now())
	if err != nil {
		return "", nil, err
	}
	reply, err := s.client.List(ctx, d.Filter.Project, request)
	if err != nil {
		return "", nil, err
	}
	d.Tasks = reply.Tasks
	q.Del("live")
	if d.Filter.Cursor != "" {
		q.Del("cursor")
		d.First = "/tasks?" + q.Encode()
	}
	if reply.NextCursor != "" {
		q.Set("cursor", reply.NextCursor)
		d.Next = "/tasks?" + q.Encode()
	}
	return "Tasks", d, nil
}

// find leads to the task that is named <project>.<task> or <project>/<task>, or to those of a project.
func (s *Service) find(w http.ResponseWriter, r *http.Request) {
	text := strings.TrimSpace(r.FormValue("task"))
	k, err := events.ParseKey(strings.Replace(text, "/", ".", 1))
	switch {
	case err == nil:
		http.Redirect(w, r, taskPath(k.Project, k.ID), http.StatusSeeOther)
	case events.ValidToken(text):
		http.Redirect(w, r, "/tasks?"+url.Values{"project": {text}}.Encode(), http.StatusSeeOther)
	default:
		s.problem(w, r, http.StatusBadRequest, "Name a task as "+strconv.Quote("project.task")+", or a project.")
	}
}
