package want

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"reelay/events"
)

// A Schema says what an input may hold, as far as OpenAPI's words for it are known here. What is not known is not
// refused.
type Schema struct {
	Required   []string            `json:"required"`
	Properties map[string]Property `json:"properties"`
}

// A Property is what one field may be.
type Property struct {
	Type      string     `json:"type"`
	Enum      []any      `json:"enum"`
	Items     *Property  `json:"items"`
	Default   any        `json:"default"`
	Minimum   *float64   `json:"minimum"`
	Maximum   *float64   `json:"maximum"`
	MinLength int        `json:"minLength"`
	MaxLength int        `json:"maxLength"`
	MaxItems  int        `json:"maxItems"`
	AnyOf     []Property `json:"anyOf"`
}

// ErrSchema says that a served document has no schema of the endpoint's input.
var ErrSchema = errors.New("no schema of the input")

// ParseOpenAPI reads the schema of an endpoint's input from the OpenAPI document that fal serves for it
// (https://fal.ai/api/openapi/queue/openapi.json?endpoint_id=<id>).
func ParseOpenAPI(id string, document []byte) (Schema, error) {
	type ref struct {
		Ref string `json:"$ref"`
	}
	var doc struct {
		Paths map[string]struct {
			Post struct {
				RequestBody struct {
					Content map[string]struct {
						Schema ref `json:"schema"`
					} `json:"content"`
				} `json:"requestBody"`
			} `json:"post"`
		} `json:"paths"`
		Components struct {
			Schemas map[string]json.RawMessage `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(document, &doc); err != nil {
		return Schema{}, fmt.Errorf("%w: %w", ErrSchema, err)
	}
	name := doc.Paths["/"+id].Post.RequestBody.Content["application/json"].Schema.Ref
	raw, ok := doc.Components.Schemas[strings.TrimPrefix(name, "#/components/schemas/")]
	if !ok {
		return Schema{}, fmt.Errorf("%w of %.200q", ErrSchema, id)
	}
	var s Schema
	if err := json.Unmarshal(raw, &s); err != nil {
		return Schema{}, fmt.Errorf("%w: %w", ErrSchema, err)
	}
	if len(s.Properties) == 0 {
		return Schema{}, fmt.Errorf("%w of %.200q: it has no properties", ErrSchema, id)
	}
	return s, nil
}

// flat returns the branch of p that says most.
func (p Property) flat() Property {
	for _, b := range p.AnyOf {
		if len(b.Enum) > 0 || b.Minimum != nil || b.Maximum != nil {
			b.Default = p.Default
			return b
		}
	}
	for _, b := range p.AnyOf {
		if b.Type != "null" && b.Type != "" {
			b.Default = p.Default
			return b
		}
	}
	return p
}

// values are the texts of the enumeration.
func (p Property) values() []string {
	var all []string
	for _, v := range p.flat().Enum {
		all = append(all, textOf(v))
	}
	return all
}

// textOf writes a value as it would stand in a list for people.
func textOf(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		return number(v)
	}
	return fmt.Sprint(v)
}

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// Check returns why an input, as encoding/json decodes it, is refused, nil if it is not: an events.FieldError that names
// the input's own field.
func (s Schema) Check(input map[string]any) error {
	for _, name := range slices.Sorted(maps.Keys(input)) {
		p, ok := s.Properties[name]
		if !ok {
			return events.NewFieldError(name, "is no field of the model's input")
		}
		if err := p.check(name, input[name]); err != nil {
			return err
		}
	}
	for _, name := range s.Required {
		if _, ok := input[name]; !ok {
			return events.NewFieldError(name, "is missing")
		}
	}
	return nil
}

func (p Property) check(name string, v any) error {
	if len(p.AnyOf) > 0 {
		var err error
		for _, b := range p.AnyOf {
			if err = b.check(name, v); err == nil {
				return nil
			}
		}
		return err
	}
	if isReference(v) {
		return nil // what it stands for is not known yet
	}
	if !p.hasType(v) {
		return events.NewFieldError(name, "must be of type %s", p.Type)
	}
	if len(p.Enum) > 0 && !slices.ContainsFunc(p.Enum, func(e any) bool { return e == v }) {
		return events.NewFieldError(name, "%.80q is not one of %s", textOf(v), strings.Join(p.values(), ", "))
	}
	switch v := v.(type) {
	case float64:
		if p.Minimum != nil && v < *p.Minimum || p.Maximum != nil && v > *p.Maximum {
			return events.NewFieldError(name, "%v is out of range: %s", v, span(p.Minimum, p.Maximum, 1))
		}
	case string:
		if n := utf8.RuneCountInString(v); p.MaxLength > 0 && n > p.MaxLength || n < p.MinLength {
			return events.NewFieldError(name, "%d characters are not between %d and %d", n, p.MinLength, p.MaxLength)
		}
	case []any:
		if p.MaxItems > 0 && len(v) > p.MaxItems {
			return events.NewFieldError(name, "%d are over the limit of %d", len(v), p.MaxItems)
		}
		for _, item := range v {
			if p.Items != nil {
				if err := p.Items.check(name, item); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// hasType reports whether a value is of p's type; one that is not known has every value.
func (p Property) hasType(v any) bool {
	switch p.Type {
	case "string":
		_, ok := v.(string)
		return ok
	case "number":
		_, ok := v.(float64)
		return ok
	case "integer":
		f, ok := v.(float64)
		return ok && f == math.Trunc(f)
	case "boolean":
		_, ok := v.(bool)
		return ok
	case "array":
		_, ok := v.([]any)
		return ok
	case "object":
		_, ok := v.(map[string]any)
		return ok
	case "null":
		return v == nil
	}
	return true
}

// isReference reports whether a value is an events.Reference or an events.FileReference.
func isReference(v any) bool {
	object, _ := v.(map[string]any)
	_, task := object["$from"]
	_, file := object["$file"]
	return task || file
}

// span says in words what lies between two bounds, either of which may be absent, each divided by unit.
func span(low, high *float64, unit float64) string {
	switch {
	case low != nil && high != nil:
		return number(*low/unit) + " to " + number(*high/unit)
	case low != nil:
		return "at least " + number(*low/unit)
	case high != nil:
		return "at most " + number(*high/unit)
	}
	return "any"
}

// Diff says, a line each, in what a served schema differs from the copy s, for the fields that both or either have.
func (s Schema) Diff(served Schema) []string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		old, is := s.Properties[name].flat(), served.Properties[name].flat()
		if _, ok := served.Properties[name]; !ok {
			lines = append(lines, "- "+name+" is gone")
			continue
		}
		if a, b := old.Type, is.Type; a != b && !(a == "number" && b == "integer") {
			lines = append(lines, fmt.Sprintf("~ %s: type %s is now %s", name, a, b))
		}
		if a, b := strings.Join(old.values(), ", "), strings.Join(is.values(), ", "); a != b {
			lines = append(lines, fmt.Sprintf("~ %s: values [%s] are now [%s]", name, a, b))
		}
		if a, b := textOf(old.Default), textOf(is.Default); old.Default != nil && a != b {
			lines = append(lines, fmt.Sprintf("~ %s: default %s is now %s", name, a, b))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(served.Properties)) {
		if _, ok := s.Properties[name]; !ok {
			lines = append(lines, "+ "+name+" is new")
		}
	}
	for _, name := range slices.Sorted(slices.Values(served.Required)) {
		if !slices.Contains(s.Required, name) {
			lines = append(lines, "~ "+name+" is now required")
		}
	}
	return lines
}
