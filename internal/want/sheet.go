package want

import (
	"maps"
	"slices"
	"strings"

	"reelay/events"
)

// Sheet says what m can be told, form by form; by what served returns of an endpoint, else by the table.
func (m Model) Sheet(served Served) events.ModelSheet {
	s := events.ModelSheet{
		Provider: m.Provider, Model: m.ID, Aliases: m.Aliases, TaskTypes: m.TaskTypes, Source: m.Source, AsOf: m.AsOf,
	}
	add := func(to *[]string, values []string) {
		for _, v := range values {
			if !slices.Contains(*to, v) {
				*to = append(*to, v)
			}
		}
	}
	for _, e := range m.Endpoints {
		schema, isServed := Schema{}, false
		if served != nil {
			schema, isServed = served(m.Provider, e.ID)
		}
		if isServed {
			e.Input = schema
		}
		f := e.form()
		f.Served = isServed
		s.Forms = append(s.Forms, f)
		add(&s.SupportedDurations, f.Wants[duration])
		add(&s.SupportedResolutions, f.Wants[resolution])
		add(&s.SupportedAspectRatios, f.Wants[aspectRatio])
		if tells(f, image) {
			add(&s.SupportedFrameImages, []string{"first_frame"})
		}
		if tells(f, lastFrame) {
			add(&s.SupportedFrameImages, []string{"last_frame"})
		}
		s.References = s.References || tells(f, references)
		s.Audio = s.Audio || tells(f, audio)
		s.Seed = s.Seed || tells(f, seed)
		s.NegativePrompt = s.NegativePrompt || tells(f, negativePrompt)
	}
	return s
}

// tells reports whether a form can be told a wish.
func tells(f events.ModelForm, wish string) bool { _, ok := f.Wants[wish]; return ok }

// form says what e can be told. A wish whose field the schema does not have cannot be.
func (e Endpoint) form() events.ModelForm {
	f := events.ModelForm{Model: e.ID, Wants: map[string][]string{}}
	told := map[string]bool{}
	for _, wish := range slices.Sorted(maps.Keys(e.Fields)) {
		t := e.Fields[wish]
		field, _, _ := strings.Cut(t.Field, ".")
		told[field] = true
		property, there := e.Input.Properties[field]
		if !there {
			continue
		}
		p := property.flat()
		f.Wants[wish] = []string{}
		switch wish {
		case duration:
			f.Wants[wish] = append(f.Wants[wish], t.seconds(p)...)
		case aspectRatio, resolution, voice:
			if field == t.Field {
				f.Wants[wish] = append(f.Wants[wish], t.words(p)...)
			}
		}
		if e.needs(wish) || t.As == asTextItem {
			f.Needs = append(f.Needs, wish)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.Input.Properties)) {
		if !told[name] {
			f.Options = append(f.Options, name)
		}
	}
	return f
}

// Sheets returns what every model can be told.
func (p *Planner) Sheets(served Served) []events.ModelSheet {
	var all []events.ModelSheet
	for i := range p.table.families {
		f := &p.table.families[i]
		for j, m := range f.Models {
			s := f.model(m).Sheet(served)
			for _, t := range events.TaskTypes() {
				configured, is := p.defaults[t]
				if is && configured.ID == m.ID && configured.Provider == f.Provider ||
					!(is && configured.Provider == f.Provider) && j == 0 && slices.Contains(f.DefaultFor, t) {
					s.DefaultFor = append(s.DefaultFor, t)
				}
			}
			all = append(all, s)
		}
	}
	return all
}
