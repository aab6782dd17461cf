package want

import (
	"bytes"
	_ "embed" // the table
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"reelay/events"
)

//go:embed wants.json
var embedded []byte

// A Table is what is known of models.
type Table struct {
	families []family
}

// A family is models whose endpoints differ in nothing but the beginning of their ids.
type family struct {
	Name      string            `json:"name"`
	Provider  string            `json:"provider"`
	TaskTypes []events.TaskType `json:"task_types"`
	// DefaultFor are the task types for which the provider's first model of the family is taken where none is named.
	DefaultFor []events.TaskType `json:"default_for"`
	// Any is the id of a model that the table does not name, * standing for its name, where the provider serves models of
	// any name; they are told what the family's are.
	Any       string     `json:"any"`
	Models    []named    `json:"models"`
	Source    string     `json:"source"`
	AsOf      string     `json:"as_of"`
	Endpoints []Endpoint `json:"endpoints"`
}

type named struct {
	ID      string   `json:"id"`
	Aliases []string `json:"aliases"`
}

// An Endpoint is one form of a model: at fal an endpoint of its own, elsewhere one way to use it.
type Endpoint struct {
	// ID is what a request names as its model.
	ID string `json:"-"`
	// Path follows the id of the model in ID.
	Path string `json:"path"`
	// Needs are the wishes without which the endpoint is not used, beside those that the schema requires.
	Needs []string `json:"needs"`
	// Fields say where each wish goes.
	Fields map[string]Target `json:"fields"`
	// Defaults are sent where neither a wish nor an option says otherwise.
	Defaults map[string]any `json:"defaults"`
	Rules    []Rule         `json:"rules"`
	// Input is the copy of the schema.
	Input Schema `json:"input"`
}

// A Target is a field of an input that fulfils a wish.
type Target struct {
	// Field may name a member of an object: voice_setting.voice_id.
	Field string `json:"field"`
	As    form   `json:"as"`
	// Values are all that the provider takes, where its schema does not say.
	Values []string `json:"values"`
	// Min and Max bound a number as it is sent, where the schema does not; Max also the pictures of a list.
	Min *float64 `json:"min"`
	Max *float64 `json:"max"`
	// FPS is how many frames a second of video has, FPSField the field that could change it.
	FPS      float64 `json:"fps"`
	FPSField string  `json:"fps_field"`
	// Words translate a value.
	Words map[string]string `json:"words"`
}

// A form is how a value is spelled.
type form string

// The forms. The empty one is a text, a number or a truth as it is.
const (
	asString  form = "string"  // a duration: "5"
	asSeconds form = "seconds" // a duration: "5s"
	asInteger form = "integer" // a duration: 5
	asNumber  form = "number"  // a duration: 5 or 5.5
	asFrames  form = "frames"  // a duration: the frames of it, and one
	asList    form = "list"    // a picture: one more of a list
	asOne     form = "one"     // references: the only one

	// pictures as objects of a list, as MiniMax V1 takes them for videos and for pictures
	asSubject     form = "subject"
	asSubjectFile form = "subject_file"

	// parts of MiniMax V2's content
	asTextItem       form = "text_item"
	asFirstFrame     form = "first_frame"
	asLastFrame      form = "last_frame"
	asReferenceImage form = "reference_image"
)

// isContent reports whether the value is a part of MiniMax V2's content.
func (f form) isContent() bool {
	return f == asTextItem || f == asFirstFrame || f == asLastFrame || f == asReferenceImage
}

// A Rule says what a field may be while others have certain values.
type Rule struct {
	When   map[string][]string `json:"when"`
	Field  string              `json:"field"`
	Values []string            `json:"values"`
}

// Load reads the table that is part of the program.
func Load() (*Table, error) {
	d := json.NewDecoder(bytes.NewReader(embedded))
	d.DisallowUnknownFields()
	var t struct {
		Families []family `json:"families"`
	}
	if err := d.Decode(&t); err != nil {
		return nil, fmt.Errorf("wants.json: %w", err)
	}
	return &Table{t.Families}, nil
}

// A Model is one model with its endpoints.
type Model struct {
	Provider string
	// ID is the common beginning of its endpoints' ids, or that of the one endpoint that was named.
	ID        string
	Aliases   []string
	TaskTypes []events.TaskType
	Endpoints []Endpoint
	Source    string
	AsOf      string
}

// Models returns every model, in the order of the table.
func (t *Table) Models() []Model {
	var all []Model
	for i := range t.families {
		for _, m := range t.families[i].Models {
			all = append(all, t.families[i].model(m))
		}
	}
	return all
}

func (f *family) model(m named) Model {
	out := Model{
		Provider: f.Provider, ID: m.ID, Aliases: m.Aliases, TaskTypes: f.TaskTypes, Source: f.Source, AsOf: f.AsOf,
		Endpoints: slices.Clone(f.Endpoints),
	}
	for i := range out.Endpoints {
		out.Endpoints[i].ID = m.ID + out.Endpoints[i].Path
	}
	return out
}

// Find returns the model of that id or alias, of the provider or, where it is empty, of any. The id of an endpoint is
// that endpoint alone, unless it is also that of a model.
func (t *Table) Find(provider, name string) (Model, bool) {
	all := t.Models()
	of := func(is func(Model) bool) (Model, bool) {
		i := slices.IndexFunc(all, func(m Model) bool { return (provider == "" || m.Provider == provider) && is(m) })
		if i < 0 {
			return Model{}, false
		}
		return all[i], true
	}
	if m, ok := of(func(m Model) bool { return m.ID == name || slices.Contains(m.Aliases, strings.ToLower(name)) }); ok {
		return m, true
	}
	is := func(e Endpoint) bool { return e.ID == name }
	m, ok := of(func(m Model) bool { return slices.ContainsFunc(m.Endpoints, is) })
	if ok {
		m.ID = name
		m.Endpoints = slices.DeleteFunc(m.Endpoints, func(e Endpoint) bool { return !is(e) })
	}
	return m, ok
}

// Any returns a model that a provider may serve, though the table does not name it.
func (t *Table) Any(provider, name string, of events.TaskType) (Model, bool) {
	for i := range t.families {
		if f := &t.families[i]; f.Provider == provider && f.Any != "" && slices.Contains(f.TaskTypes, of) {
			prefix, suffix, _ := strings.Cut(f.Any, "*")
			return f.model(named{ID: prefix + strings.TrimPrefix(name, prefix) + suffix}), true
		}
	}
	return Model{}, false
}

// Default returns the model that is taken for a task type at a provider where a request names none.
func (t *Table) Default(provider string, of events.TaskType) (Model, bool) {
	for i := range t.families {
		if f := &t.families[i]; f.Provider == provider && slices.Contains(f.DefaultFor, of) {
			return f.model(f.Models[0]), true
		}
	}
	return Model{}, false
}
