package console

import (
	"cmp"
	"context"
	"crypto/rand"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"reelay/events"
)

// tryData is what the page shows on which something can be asked for.
type tryData struct {
	// ID is the id that the task will have: a form that is sent twice is one task, and paid once.
	ID, Project string
	TaskType    events.TaskType
	Models      []events.ModelSheet
	Sheet       *events.ModelSheet
	Fields      []tryField
	// Rest are the fields of the form that do not come from the sheet, by name.
	Options, MaxCost string
	Quote            *events.QuoteReply
	// Refused is why the request would be refused as it is.
	Refused string
}

// A tryField is one field of a want, with the values that the model takes; none for any.
type tryField struct {
	Name, Label, Value string
	Values             []string
	Needed, Long       bool
}

// wantFields are the fields of a want that the form has, in order.
func wantFields() []string {
	return []string{
		"prompt", "text", "negative_prompt", "voice", "image", "last_frame", "duration", "aspect_ratio", "resolution", "audio",
		"seed",
	}
}

func (s *Service) try(ctx context.Context, r *http.Request) (string, any, error) {
	q := r.URL.Query()
	d := tryData{
		ID: strings.ToLower(rand.Text()), Project: cmp.Or(q.Get("project"), events.DefaultProject),
		TaskType: events.TaskType(q.Get("task_type")), Options: q.Get("options"), MaxCost: q.Get("max_cost_usd"),
	}
	if !events.ValidToken(d.Project) {
		return "", nil, events.NewFieldError("project", "must be 1 to %d characters of A-Z a-z 0-9 _ -", events.MaxTokenBytes)
	}
	all, err := s.client.Models(ctx, d.Project, events.ModelsRequest{})
	if err != nil {
		return "", nil, err
	}
	d.Models = all.Models
	if q.Get("model") == "" {
		return "Try it", d, nil
	}
	one, err := s.client.Models(ctx, d.Project, events.ModelsRequest{Model: q.Get("model")})
	if err != nil || len(one.Models) == 0 {
		return "Try it", d, err
	}
	d.Sheet = &one.Models[0]
	if types := d.Sheet.TaskTypes; len(types) > 0 && !slices.Contains(types, d.TaskType) {
		d.TaskType = types[0]
	}
	d.Fields = tryFields(*d.Sheet, q)
	if q.Get("ask") == "" {
		return "Try it", d, nil
	}
	request, err := tryRequest(q, d.Sheet.Model)
	if err == nil {
		var quote events.QuoteReply
		if quote, err = s.client.Quote(ctx, d.Project, events.QuoteRequest{TaskType: d.TaskType, Request: request}); err == nil {
			d.Quote = &quote
		}
	}
	if err != nil {
		status, why := explain(err)
		if status >= http.StatusInternalServerError {
			return "", nil, err
		}
		d.Refused = why
	}
	return "Try it", d, nil
}

// tryFields are the fields that any form of a model can be told.
func tryFields(sheet events.ModelSheet, q url.Values) (fields []tryField) {
	for _, name := range wantFields() {
		f := tryField{Name: name, Label: word(name), Value: q.Get(name), Long: name == "prompt" || name == "text"}
		known, any := false, false
		for i, form := range sheet.Forms {
			values, ok := form.Wants[name]
			known = known || ok
			any = any || ok && len(values) == 0
			for _, v := range values {
				any = any || strings.Contains(v, " to ") // a span
				if !slices.Contains(f.Values, v) {
					f.Values = append(f.Values, v)
				}
			}
			f.Needed = slices.Contains(form.Needs, name) && (i == 0 || f.Needed)
		}
		if name == "audio" && !any && len(f.Values) == 0 {
			f.Values = []string{"true", "false"}
		}
		if any && len(f.Values) > 0 {
			f.Label, f.Values = f.Label+": "+strings.Join(f.Values, ", "), nil
		}
		if known {
			fields = append(fields, f)
		}
	}
	return fields
}

// tryRequest is what a form asks for. Its error is a FieldError.
func tryRequest(q url.Values, model string) (r events.Request, err error) {
	get := func(name string) string { return strings.TrimSpace(q.Get(name)) }
	w := &events.Want{
		Prompt: get("prompt"), Text: get("text"), NegativePrompt: get("negative_prompt"), AspectRatio: get("aspect_ratio"),
		Resolution: get("resolution"), Voice: events.WantValue(get("voice")), Image: events.WantValue(get("image")),
		LastFrame: events.WantValue(get("last_frame")),
	}
	r = events.Request{Model: model, Want: w}
	number := func(name string, into *float64) {
		if text := get(name); text != "" && err == nil {
			if *into, err = strconv.ParseFloat(text, 64); err != nil {
				err = events.NewFieldError(name, "is no number")
			}
		}
	}
	number("duration", &w.Duration)
	number("max_cost_usd", &r.MaxCostUSD)
	if text := get("seed"); text != "" && err == nil {
		seed, bad := strconv.ParseInt(text, 10, 64)
		if w.Seed = &seed; bad != nil {
			err = events.NewFieldError("seed", "is no whole number")
		}
	}
	if text := get("audio"); text != "" && err == nil {
		audio, bad := strconv.ParseBool(text)
		if w.Audio = &audio; bad != nil {
			err = events.NewFieldError("audio", "is neither true nor false")
		}
	}
	if err == nil {
		w.Options, err = object("options", get("options"))
	}
	return r, err
}

// submit hands in what a form asks for, with the id that its page has given it.
func (s *Service) submit(ctx context.Context, r *http.Request, _ User) (string, string, error) {
	request, err := tryRequest(r.PostForm, text(r, "model"))
	if err != nil {
		return "", "", err
	}
	project, kind := text(r, "project"), events.TaskType(text(r, "task_type"))
	if !events.ValidToken(project) || !kind.Valid() {
		return "", "", events.NewFieldError("project", "or task_type is not one")
	}
	request.ID = text(r, "id")
	t, err := s.client.Submit(ctx, project, kind, request)
	return "submitted", taskPath(t.Project, t.ID), err
}

// again is the form filled with what a task has asked for; empty where its request was in the provider's own words.
func again(t events.Task) string {
	w := t.Want
	if w == nil {
		return ""
	}
	q := url.Values{"project": {t.Project}, "task_type": {string(t.TaskType)}, "model": {t.Model}}
	set := func(name, value string) {
		if value != "" {
			q.Set(name, value)
		}
	}
	set("prompt", w.Prompt)
	set("text", w.Text)
	set("negative_prompt", w.NegativePrompt)
	set("aspect_ratio", w.AspectRatio)
	set("resolution", w.Resolution)
	set("options", string(w.Options))
	for name, v := range map[string]events.WantValue{"voice": w.Voice, "image": w.Image, "last_frame": w.LastFrame} {
		if !v.IsReference() && len(v) <= maxShownLink {
			set(name, string(v))
		}
	}
	if w.Duration != 0 {
		set("duration", strconv.FormatFloat(w.Duration, 'f', -1, 64))
	}
	if w.Seed != nil {
		set("seed", strconv.FormatInt(*w.Seed, 10))
	}
	if w.Audio != nil {
		set("audio", strconv.FormatBool(*w.Audio))
	}
	return "/try?" + q.Encode()
}
