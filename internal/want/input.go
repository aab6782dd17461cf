package want

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"reelay/events"
)

// Fulfil returns the input of e that fulfils w by a schema, e.Input or one that was served for e, and, if lenient, what
// of w could not be fulfilled, a sentence each. Its error is an *Unsupported, or an events.FieldError of something that
// is missing or contradicts itself.
func (e Endpoint) Fulfil(w events.Want, s Schema, lenient bool) (input json.RawMessage, warnings []string, err error) {
	b := body{e: e, s: s, lenient: lenient, input: map[string]any{}, of: map[string]string{}}
	for _, step := range []func(events.Want) error{b.wishes, b.options, b.defaults, b.rules, b.check} {
		if err := step(w); err != nil {
			return nil, nil, err
		}
	}
	input, err = events.Marshal(b.input)
	return input, b.warnings, err
}

// A body is an input in the making.
type body struct {
	e       Endpoint
	s       Schema
	lenient bool
	input   map[string]any
	// of is the wish that a field of the input fulfils.
	of       map[string]string
	warnings []string
}

// refuse returns u, or makes a warning of it.
func (b *body) refuse(u *Unsupported) error {
	if !b.lenient {
		return u
	}
	b.warnings = append(b.warnings, u.Error())
	return nil
}

// wishes puts every wish into its field.
func (b *body) wishes(w events.Want) error {
	names, values := wished(w)
	for _, name := range names {
		t, ok := b.e.Fields[name]
		if !ok {
			if err := b.refuse(unsupported(name, nil, "%s cannot be told this", b.e.ID)); err != nil {
				return err
			}
			continue
		}
		field, _, _ := strings.Cut(t.Field, ".")
		p, ok := b.s.Properties[field]
		if !ok {
			return unsupported(name, nil, "%s no longer has the field %s by the schema that its provider serves", b.e.ID, field)
		}
		v, u := t.value(name, values[name], p.flat())
		if u != nil {
			if err := b.refuse(u); err != nil {
				return err
			}
			continue
		}
		b.put(t, field, v)
		b.of[field] = name
	}
	return nil
}

// put stores a value in its field; a list goes behind what is in it already.
func (b *body) put(t Target, field string, v any) {
	if _, member, ok := strings.Cut(t.Field, "."); ok {
		b.input[field] = map[string]any{member: v}
		return
	}
	if list, ok := v.([]any); ok {
		before, _ := b.input[field].([]any)
		v = append(before, list...)
	}
	b.input[field] = v
}

// options adds the fields that a want gives in the provider's own words.
func (b *body) options(w events.Want) error {
	if len(bytes.TrimSpace(w.Options)) == 0 {
		return nil
	}
	var options map[string]any
	if err := json.Unmarshal(w.Options, &options); err != nil {
		return events.NewFieldError("want.options", "bad JSON: %v", err)
	}
	for _, name := range slices.Sorted(maps.Keys(options)) {
		if _, ok := b.s.Properties[name]; !ok {
			known := slices.Sorted(maps.Keys(b.s.Properties))
			if err := b.refuse(unsupported("options."+name, known, "%s has no such field", b.e.ID)); err != nil {
				return err
			}
			continue
		}
		if err := b.option(name, options[name], w); err != nil {
			return err
		}
	}
	return nil
}

// option adds one, which may add to an object or say what a wish says already, but nothing else.
func (b *body) option(name string, v any, w events.Want) error {
	field := "want.options." + name
	if d := b.e.Fields[duration]; d.FPSField == name && w.Duration > 0 && v != d.FPS {
		return events.NewFieldError(field, "contradicts want.duration, which counts %v frames a second", d.FPS)
	}
	is, there := b.input[name]
	if !there {
		b.input[name] = v
		return nil
	}
	object, ok := is.(map[string]any)
	more, both := v.(map[string]any)
	if !ok || !both {
		if !reflect.DeepEqual(plain(is), v) {
			return events.NewFieldError(field, "contradicts want.%s", b.of[name])
		}
		return nil
	}
	for member, v := range more {
		if old, there := object[member]; there && !reflect.DeepEqual(plain(old), v) {
			return events.NewFieldError(field+"."+member, "contradicts want.%s", b.of[name])
		}
		object[member] = v
	}
	return nil
}

// plain returns a value as encoding/json decodes it.
func plain(v any) any {
	raw, err := events.Marshal(v)
	if err != nil {
		return v
	}
	var out any
	if json.Unmarshal(raw, &out) != nil {
		return v
	}
	return out
}

// defaults adds what the model has to be told, and finds what only the sender can say.
func (b *body) defaults(events.Want) error {
	for name, v := range b.e.Defaults {
		if _, there := b.input[name]; !there {
			b.input[name] = v
		}
	}
	for _, wish := range slices.Sorted(maps.Keys(b.e.Fields)) {
		field, _, _ := strings.Cut(b.e.Fields[wish].Field, ".")
		_, there := b.input[field]
		content := b.e.Fields[wish].As == asTextItem && b.of[field] != prompt && !b.hasText(field)
		if content || !there && (slices.Contains(b.s.Required, field) || slices.Contains(b.e.Needs, wish)) {
			return events.NewFieldError("want."+wish, "is missing: %s needs it", b.e.ID)
		}
	}
	return nil
}

// hasText reports whether a list of MiniMax V2's content has a text.
func (b *body) hasText(field string) bool {
	items, _ := b.input[field].([]any)
	return slices.ContainsFunc(items, func(item any) bool {
		object, _ := item.(map[string]any)
		return object["type"] == "text"
	})
}

// rules finds values that do not go together.
func (b *body) rules(events.Want) error {
	for _, r := range b.e.Rules {
		v, there := b.input[r.Field]
		if !there || !b.applies(r) || slices.Contains(r.Values, textOf(plain(v))) {
			continue
		}
		var when []string
		for _, name := range slices.Sorted(maps.Keys(r.When)) {
			when = append(when, fmt.Sprintf("%s %s", name, textOf(plain(b.input[name]))))
		}
		wish, ok := b.of[r.Field]
		if !ok {
			wish = "options." + r.Field
		}
		u := unsupported(wish, r.Values, "%s does not take %s with %s", b.e.ID, textOf(plain(v)), strings.Join(when, ", "))
		if err := b.refuse(u); err != nil {
			return err
		}
		delete(b.input, r.Field)
	}
	return nil
}

func (b *body) applies(r Rule) bool {
	for name, values := range r.When {
		if !slices.Contains(values, textOf(plain(b.input[name]))) {
			return false
		}
	}
	return true
}

// check has the schema look at the whole.
func (b *body) check(events.Want) error {
	whole, _ := plain(b.input).(map[string]any)
	err := b.s.Check(whole)
	var fe *events.FieldError
	if !errors.As(err, &fe) {
		return err
	}
	if wish, ok := b.of[fe.Field]; ok {
		return unsupported(wish, b.s.Properties[fe.Field].values(), "%s: %s", b.e.ID, fe.Message)
	}
	field := "options." + fe.Field
	if _, there := whole[fe.Field]; there {
		return unsupported(field, b.s.Properties[fe.Field].values(), "%s: %s", b.e.ID, fe.Message)
	}
	return events.NewFieldError("want."+field, "%s: %s", b.e.ID, fe.Message)
}

// value spells a wish as the field wants it.
func (t Target) value(wish string, v any, p Property) (any, *Unsupported) {
	switch v := v.(type) {
	case float64:
		return t.duration(v, p)
	case []events.WantValue:
		return t.pictures(wish, v, p)
	case events.WantValue:
		if wish == voice {
			return t.word(wish, v, p)
		}
		return t.picture(v), nil
	case string:
		if wish != aspectRatio && wish != resolution {
			return t.text(wish, v, p)
		}
		return t.word(wish, events.WantValue(v), p)
	default: // a seed, a truth
		return v, nil
	}
}

func (t Target) text(wish, v string, p Property) (any, *Unsupported) {
	if n := utf8.RuneCountInString(v); p.MaxLength > 0 && n > p.MaxLength {
		return nil, unsupported(wish, []string{fmt.Sprintf("at most %d characters", p.MaxLength)}, "%d characters", n)
	}
	if t.As == asTextItem {
		return []any{map[string]any{"type": "text", "text": v}}, nil
	}
	return v, nil
}

// word finds a value among those that are allowed, in the provider's spelling.
func (t Target) word(wish string, v events.WantValue, p Property) (any, *Unsupported) {
	if v.IsReference() {
		return v, nil
	}
	allowed := t.words(p)
	if len(allowed) == 0 {
		return string(v), nil
	}
	i := slices.IndexFunc(allowed, func(a string) bool { return strings.EqualFold(a, string(v)) })
	if i < 0 {
		return nil, unsupported(wish, allowed, "%q is not supported", string(v))
	}
	if native, ok := t.Words[allowed[i]]; ok {
		return native, nil
	}
	return allowed[i], nil
}

// words are the values that may be wished for; none if every one may.
func (t Target) words(p Property) []string {
	if len(t.Words) > 0 {
		return slices.Sorted(maps.Keys(t.Words))
	}
	values := p.values()
	if len(t.Values) == 0 {
		return values
	}
	if len(values) == 0 {
		return t.Values
	}
	return slices.DeleteFunc(values, func(v string) bool { return !slices.Contains(t.Values, v) })
}

// duration spells a length. What a model takes as frames is the nearest whole frame.
func (t Target) duration(v float64, p Property) (any, *Unsupported) {
	low, high := bound(t.Min, p.Minimum, math.Max), bound(t.Max, p.Maximum, math.Min)
	sent := v
	if t.As == asFrames {
		sent = math.Round(v*t.FPS) + 1
	}
	allowed := t.seconds(p)
	within := (low == nil || sent >= *low) && (high == nil || sent <= *high)
	whole := t.As == asNumber || t.As == asFrames || v == math.Trunc(v)
	enum := p.values()
	if len(enum) == 0 && within && whole {
		switch t.As {
		case asString:
			return number(v), nil
		case asSeconds:
			return number(v) + "s", nil
		}
		return sent, nil
	}
	for _, e := range p.flat().Enum {
		if strings.TrimSuffix(textOf(e), "s") == number(v) {
			return e, nil
		}
	}
	if len(allowed) == 0 {
		allowed = []string{"whole seconds"}
	}
	return nil, unsupported(duration, allowed, "%s seconds are not supported", number(v))
}

// seconds are the lengths that may be wished for.
func (t Target) seconds(p Property) []string {
	var all []string
	for _, v := range p.values() {
		if s := strings.TrimSuffix(v, "s"); strings.Trim(s, "0123456789.") == "" {
			all = append(all, s)
		}
	}
	low, high := bound(t.Min, p.Minimum, math.Max), bound(t.Max, p.Maximum, math.Min)
	switch {
	case len(all) > 0:
		return all
	case low == nil && high == nil:
		return nil
	case t.As == asFrames:
		less := func(f *float64) *float64 { return new(*f - 1) }
		return []string{span(less(low), less(high), t.FPS)}
	}
	return []string{span(low, high, 1)}
}

// bound returns the tighter of two bounds.
func bound(a, b *float64, tighter func(a, b float64) float64) *float64 {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return new(tighter(*a, *b))
}

// picture spells one picture.
func (t Target) picture(v events.WantValue) any {
	switch t.As {
	case asList:
		return []any{v}
	case asFirstFrame, asLastFrame, asReferenceImage:
		return []any{map[string]any{
			"type": "image_url", "image_url": map[string]any{"url": v}, "role": string(t.As),
		}}
	case asSubject:
		return []any{map[string]any{"type": "character", "image": []any{v}}}
	case asSubjectFile:
		return []any{map[string]any{"type": "character", "image_file": v}}
	}
	return v
}

// pictures spells a list of them.
func (t Target) pictures(wish string, all []events.WantValue, p Property) (any, *Unsupported) {
	if t.As == asOne {
		switch {
		case len(all) != 1:
			return nil, unsupported(wish, []string{"1"}, "%d are too many", len(all))
		case p.Type == "integer" && !all[0].IsReference(): // the provider's id of an upload
			return nil, unsupported(wish, []string{"the name of a file that was handed in"}, "a link is not supported")
		}
		return all[0], nil
	}
	if t.Max != nil && float64(len(all)) > *t.Max {
		return nil, unsupported(wish, []string{span(nil, t.Max, 1)}, "%d are too many", len(all))
	}
	var list []any
	for _, v := range all {
		if one, ok := t.picture(v).([]any); ok {
			list = append(list, one...)
		} else {
			list = append(list, v)
		}
	}
	return list, nil
}
