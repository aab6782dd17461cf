package want

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"reelay/events"
)

// A Planner finds the model of a request and maps what it wants.
type Planner struct {
	table *Table
	// defaults are what is configured, by task type.
	defaults map[events.TaskType]Model
}

// NewPlanner returns a planner with the table of the program and defaults such as video=fal:kling-v3: for a task type
// the provider and the id or alias of the model that is taken where a request names none. Its error names the one that
// is wrong.
func NewPlanner(defaults ...string) (*Planner, error) {
	table, err := Load()
	if err != nil {
		return nil, err
	}
	p := &Planner{table: table, defaults: map[events.TaskType]Model{}}
	for _, d := range defaults {
		of, what, ok := strings.Cut(d, "=")
		provider, name, named := strings.Cut(what, ":")
		t := events.TaskType(of)
		if !ok || !named || !t.Valid() {
			return nil, fmt.Errorf("%q is not TYPE=PROVIDER:MODEL with a type of %v", d, events.TaskTypes())
		}
		m, known := table.Find(provider, name)
		if !known || !m.makes(t) {
			return nil, fmt.Errorf("%q: no model of that provider and name is known that makes %s", d, t)
		}
		p.defaults[t] = m
	}
	return p, nil
}

// Models returns every model that is known.
func (p *Planner) Models() []Model { return p.table.Models() }

// Find is that of the table.
func (p *Planner) Find(provider, name string) (Model, bool) { return p.table.Find(provider, name) }

// makes reports whether tasks of a type are what m makes. Audio is whatever sounds.
func (m Model) makes(t events.TaskType) bool {
	return slices.Contains(m.TaskTypes, t) || t == events.Audio &&
		(slices.Contains(m.TaskTypes, events.Speech) || slices.Contains(m.TaskTypes, events.Music))
}

// Model returns the model for a task type: that of name, an id or alias, of provider or, where it is empty, of any of
// those that are there, also one that is not in the table where a provider serves any; without a name the default. Its error is an events.FieldError of "model".
func (p *Planner) Model(t events.TaskType, provider, name string, there []string) (Model, error) {
	if provider != "" {
		there = []string{provider}
	}
	if name == "" {
		return p.defaultFor(t, there)
	}
	for _, of := range there {
		m, ok := p.table.Find(of, name)
		switch {
		case ok && m.makes(t):
			return m, nil
		case ok:
			return m, events.NewFieldError("model", "%.200q makes no %s", name, t)
		}
	}
	if m, ok := p.table.Find("", name); ok {
		return m, events.NewFieldError("model", "%.200q is one of provider %s", name, m.Provider)
	}
	if others := func(p string) bool { return p != there[0] }; len(there) > 0 && !slices.ContainsFunc(there, others) {
		if m, ok := p.table.Any(there[0], name, t); ok {
			return m, nil
		}
	}
	return Model{}, events.NewFieldError("model",
		"%.200q is none that a want is known for; give input instead, or a model that `reelay models` lists", name)
}

func (p *Planner) defaultFor(t events.TaskType, there []string) (Model, error) {
	if m, ok := p.defaults[t]; ok && slices.Contains(there, m.Provider) {
		return m, nil
	}
	for _, of := range there {
		if m, ok := p.table.Default(of, t); ok {
			return m, nil
		}
	}
	return Model{}, events.NewFieldError("model", "is missing: no default makes %s at %s", t, strings.Join(there, ", "))
}

// A Plan is a want as a provider takes it.
type Plan struct {
	Provider string
	// Model is the id of the endpoint.
	Model    string
	Input    json.RawMessage
	Warnings []string
}

// A Question is what a plan is made from.
type Question struct {
	TaskType events.TaskType
	// Provider and Model may be empty. Configured are the providers that are there.
	Provider   string
	Model      string
	Configured []string
	Want       events.Want
	Lenient    bool
	// Emulated says that every provider is emulated: what the options say to an emulator passes into the input.
	Emulated bool
}

// Served returns the schema that a provider serves of an endpoint, if there is one. A nil one knows of none.
type Served func(provider, id string) (Schema, bool)

// Plan maps a want. Its error is an *Unsupported or an events.FieldError.
func (p *Planner) Plan(q Question, served Served) (Plan, error) {
	m, err := p.Model(q.TaskType, q.Provider, q.Model, q.Configured)
	if err != nil {
		return Plan{}, err
	}
	var script json.RawMessage
	if q.Emulated {
		q.Want.Options, script = takeScript(q.Want.Options)
	}
	e, kept, warnings, err := m.Choose(q.Want, q.Lenient)
	if err != nil {
		return Plan{}, err
	}
	schema := e.Input
	if served != nil {
		if s, ok := served(m.Provider, e.ID); ok {
			schema = s
		}
	}
	input, more, err := e.Fulfil(kept, schema, q.Lenient)
	if err == nil && script != nil {
		input, err = giveScript(input, script)
	}
	return Plan{Provider: m.Provider, Model: e.ID, Input: input, Warnings: append(warnings, more...)}, err
}

// scriptMember is the field of an input by which an emulator is told what to do; no model has it.
const scriptMember = "emulate"

// takeScript takes an emulator's script out of the options of a want.
func takeScript(options json.RawMessage) (rest, script json.RawMessage) {
	var members map[string]json.RawMessage
	if json.Unmarshal(options, &members) != nil || members[scriptMember] == nil {
		return options, nil
	}
	script = members[scriptMember]
	delete(members, scriptMember)
	rest, err := events.Marshal(members)
	if err != nil {
		return options, nil
	}
	return rest, script
}

// giveScript puts it into the input that was made.
func giveScript(input, script json.RawMessage) (json.RawMessage, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(input, &members); err != nil {
		return nil, err
	}
	members[scriptMember] = script
	return events.Marshal(members)
}
