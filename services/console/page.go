package console

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"html/template"
	"net/http"
	"time"

	"reelay/events"
	"reelay/events/client"
)

//go:embed pages/*.html
var pageFiles embed.FS

// A page is something to be read at an address.
type page struct {
	// name is that of the template of its body; it is also where the page stands in the navigation.
	name string
	// parts are the templates of what is kept up to date. Each makes one element, whose id is the template's name.
	parts []string
	// wants says which events may change the page; nil for a page that stays as it is.
	wants func(*http.Request) func(events.Event) bool
	// load asks for what the page shows, and names the page.
	load func(context.Context, *http.Request) (title string, data any, err error)
}

// pages are all pages by address.
func (s *Service) pages() map[string]page {
	return map[string]page{
		"/{$}":                    {name: "now", parts: nowParts(), wants: everything, load: s.now},
		"/tasks":                  {name: "tasks", parts: []string{"tasks-rows"}, wants: ofProject, load: s.tasks},
		"/tasks/{project}/{task}": {name: "task", parts: taskParts(), wants: ofTask, load: s.task},
		"/batches/{project}/{batch}": {
			name: "batch", parts: []string{"batch-head", "tree-made", "tree-tasks"}, wants: ofBatch, load: s.batch,
		},
		"/tasks/{project}/{task}/parts": {
			name: "parts", parts: []string{"parts-head", "tree-made", "tree-tasks"}, wants: besideTask, load: s.parts,
		},
		"/quality":        {name: "quality", load: s.quality},
		"/lanes":          {name: "lanes", parts: []string{"lanes-state"}, wants: everything, load: s.lanes},
		"/try":            {name: "try", load: s.try},
		"/spend":          {name: "spend", load: s.spend},
		"/dead":           {name: "dead", load: s.dead},
		"/dead/{id}":      {name: "dead", load: s.dead},
		"/callbacks":      {name: "callbacks", load: s.callbacks},
		"/callbacks/{id}": {name: "callbacks", load: s.callbacks},
	}
}

func everything(*http.Request) func(events.Event) bool {
	return func(events.Event) bool { return true }
}

// ofProject wants the events of the project that a form names, or of all.
func ofProject(r *http.Request) func(events.Event) bool {
	project := r.FormValue("project")
	return func(e events.Event) bool { return project == "" || e.Project == project }
}

func ofTask(r *http.Request) func(events.Event) bool {
	k := taskKey(r)
	return func(e events.Event) bool { return e.Key() == k && e.Batch == nil }
}

// besideTask wants the events of a task's project: what it waits for may be any of them.
func besideTask(r *http.Request) func(events.Event) bool {
	project := r.PathValue("project")
	return func(e events.Event) bool { return e.Project == project }
}

func ofBatch(r *http.Request) func(events.Event) bool {
	project, batch := r.PathValue("project"), r.PathValue("batch")
	return func(e events.Event) bool { return e.Project == project && e.BatchID == batch }
}

func taskKey(r *http.Request) events.Key {
	return events.Key{Project: r.PathValue("project"), ID: r.PathValue("task")}
}

// A view is what a template is given.
type view struct {
	Title string
	Page  string
	User  User
	// MustSignIn says that there is somebody to sign out.
	MustSignIn bool
	Sandbox    bool
	Now        time.Time
	// Path is the address of the page, for forms that lead back to it.
	Path string
	// Live says that the page is kept up to date, Sequence how new it is.
	Live     bool
	Sequence uint64
	// Done says what an action has done, Problem what went wrong.
	Done    string
	Problem string
	Data    any
}

var templates = template.Must(template.New("").Funcs(functions()).ParseFS(pageFiles, "pages/*.html"))

// page serves p, or its changes.
func (s *Service) page(p page) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("live") != "" && p.wants != nil {
			s.live(w, r, p)
			return
		}
		v := view{Page: p.name, Live: p.wants != nil, Sequence: s.feed.sequence(), Done: doneText(r.FormValue("done"))}
		var err error
		if v.Title, v.Data, err = p.load(r.Context(), r); err != nil {
			s.failed(w, r, err)
			return
		}
		s.render(w, r, http.StatusOK, p.name, v)
	})
}

// render writes a page.
func (s *Service) render(w http.ResponseWriter, r *http.Request, status int, name string, v view) {
	v.User, v.MustSignIn, v.Sandbox, v.Now, v.Path = userOf(r), s.o.Users != nil, s.o.Sandbox, time.Now(), r.URL.RequestURI()
	body, err := part(name, v)
	if err == nil {
		v.Data = body
		body, err = part("frame", v)
	}
	if err != nil {
		s.o.Log.Error("a page could not be rendered", "page", name, "error", err)
		http.Error(w, "This page could not be rendered.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeWait))
	_, _ = w.Write([]byte(body)) // whoever has gone does not need it
}

// part renders one template.
func part(name string, v view) (template.HTML, error) {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, v); err != nil {
		return "", err
	}
	return template.HTML(b.String()), nil // made by html/template
}

// problem writes a page that says what is wrong.
func (s *Service) problem(w http.ResponseWriter, r *http.Request, status int, text string) {
	s.render(w, r, status, "problem", view{Title: "Not possible", Problem: text})
}

// failed writes a page that says why the services did not give what was asked for.
func (s *Service) failed(w http.ResponseWriter, r *http.Request, err error) {
	status, text := explain(err)
	if status >= http.StatusInternalServerError {
		s.o.Log.Warn("a page could not be filled", "path", r.URL.Path, "error", err)
	}
	s.problem(w, r, status, text)
}

// explain says in words, and as a status of HTTP, why a service did not do what it was asked.
func explain(err error) (status int, text string) {
	var refused *client.Error
	switch {
	case errors.As(err, &refused) && refused.Status >= 400 && refused.Status < 600:
		return refused.Status, refused.Error()
	case errors.Is(err, events.ErrInvalid):
		return http.StatusBadRequest, err.Error()
	case errors.Is(err, client.ErrNoService):
		return http.StatusServiceUnavailable, "No service of reelay answers. Start one with `status` or `reelay up`; " +
			"this page comes back by itself when it is reloaded. (" + err.Error() + ")"
	case errors.Is(err, client.ErrNoAnswer):
		return http.StatusGatewayTimeout, "There was no answer in time. NATS or the services may be starting; reload the " +
			"page in a moment. (" + err.Error() + ")"
	}
	return http.StatusBadGateway, err.Error()
}
