package want

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"reelay/events"
)

// An Unsupported says which wish a model cannot fulfil, and what it can.
type Unsupported struct {
	// Field is the wish, as Want has it.
	Field   string
	Message string
	// Allowed are the values that could be wished for; none if the model knows no such thing.
	Allowed []string
}

// Error returns "want.<field>: <message>".
func (u *Unsupported) Error() string { return "want." + u.Field + ": " + u.Message }

func unsupported(field string, allowed []string, format string, args ...any) *Unsupported {
	u := &Unsupported{Field: field, Message: events.NewFieldError("", format, args...).Message, Allowed: allowed}
	if len(allowed) > 0 {
		u.Message += "; allowed: " + strings.Join(allowed, ", ")
	}
	return u
}

// The wishes, as Want has them, in the order in which they are fulfilled.
const (
	prompt         = "prompt"
	negativePrompt = "negative_prompt"
	text           = "text"
	image          = "image"
	lastFrame      = "last_frame"
	references     = "references"
	duration       = "duration"
	aspectRatio    = "aspect_ratio"
	resolution     = "resolution"
	seed           = "seed"
	audio          = "audio"
	voice          = "voice"
)

// wished returns the wishes of w and their values.
func wished(w events.Want) (names []string, values map[string]any) {
	values = map[string]any{}
	add := func(name string, is bool, v any) {
		if is {
			names, values[name] = append(names, name), v
		}
	}
	add(prompt, w.Prompt != "", w.Prompt)
	add(negativePrompt, w.NegativePrompt != "", w.NegativePrompt)
	add(text, w.Text != "", w.Text)
	add(image, w.Image != "", w.Image)
	add(lastFrame, w.LastFrame != "", w.LastFrame)
	add(references, len(w.References) > 0, w.References)
	add(duration, w.Duration > 0, w.Duration)
	add(aspectRatio, w.AspectRatio != "", w.AspectRatio)
	add(resolution, w.Resolution != "", w.Resolution)
	if w.Seed != nil {
		add(seed, true, *w.Seed)
	}
	if w.Audio != nil {
		add(audio, true, *w.Audio)
	}
	add(voice, w.Voice != "", w.Voice)
	return names, values
}

// pictures are the wishes that choose the endpoint, those that are left out first in front.
func pictures() []string { return []string{references, lastFrame, image} }

// Choose returns the endpoint of m for what is wished, and, if lenient, w without the pictures for which there is none,
// with a warning for each. Its error is an *Unsupported, or an events.FieldError of a picture that is missing.
func (m Model) Choose(w events.Want, lenient bool) (e Endpoint, kept events.Want, warnings []string, err error) {
	for {
		e, u, err := m.choose(w)
		if u == nil || err != nil || !lenient {
			if u != nil {
				err = u
			}
			return e, w, warnings, err
		}
		warnings = append(warnings, u.Error())
		switch u.Field {
		case references:
			w.References = nil
		case lastFrame:
			w.LastFrame = ""
		default:
			w.Image = ""
		}
	}
}

// choose returns the endpoint, or the picture to leave out, or which one is missing.
func (m Model) choose(w events.Want) (Endpoint, *Unsupported, error) {
	_, values := wished(w)
	var options map[string]any
	_ = json.Unmarshal(w.Options, &options) // what is wrong with them is told by Fulfil
	missing := ""
	for _, e := range m.Endpoints {
		fits, lacks := e.takes(values, options)
		switch {
		case fits && lacks == "":
			return e, nil, nil
		case fits && missing == "":
			missing = lacks
		}
	}
	if missing != "" {
		return Endpoint{}, nil, events.NewFieldError("want."+missing, "is missing: %s needs it%s", m.ID, beside(values))
	}
	for _, p := range pictures() {
		if _, is := values[p]; is && !slices.ContainsFunc(m.Endpoints, func(e Endpoint) bool { return e.has(p) }) {
			return Endpoint{}, unsupported(p, nil, "%s takes none", m.ID), nil
		}
	}
	for _, p := range pictures() {
		if _, is := values[p]; is {
			return Endpoint{}, unsupported(p, nil, "%s does not take it together with %s", m.ID, others(values, p)), nil
		}
	}
	return Endpoint{}, nil, fmt.Errorf("want: %s has no endpoint", m.ID)
}

// takes reports whether an endpoint has a place for every picture, and which one it lacks that it needs, which options
// may give it in the provider's own words.
func (e Endpoint) takes(values, options map[string]any) (fits bool, lacks string) {
	for _, p := range pictures() {
		_, is := values[p]
		_, given := options[e.Fields[p].Field]
		if is && !e.has(p) {
			return false, ""
		}
		if !is && !given && e.needs(p) {
			lacks = p
		}
	}
	return true, lacks
}

func (e Endpoint) has(wish string) bool { _, ok := e.Fields[wish]; return ok }

// needs reports whether the endpoint is of no use without a picture. One that is a part of the required content is not
// required itself.
func (e Endpoint) needs(picture string) bool {
	t := e.Fields[picture]
	return slices.Contains(e.Needs, picture) ||
		e.has(picture) && slices.Contains(e.Input.Required, t.Field) && !t.As.isContent()
}

// others names the pictures that are wished beside one.
func others(values map[string]any, but string) string {
	var names []string
	for _, p := range pictures() {
		if _, is := values[p]; is && p != but {
			names = append(names, p)
		}
	}
	return strings.Join(names, " and ")
}

func beside(values map[string]any) string {
	if names := others(values, ""); names != "" {
		return " beside " + names
	}
	return ""
}
