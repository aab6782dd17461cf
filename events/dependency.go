package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// DependencyPolicy says what becomes of a task when one that it depends on ends without a result.
type DependencyPolicy string

// The policies for a dependency that fails or is cancelled.
const (
	DependencyFail   DependencyPolicy = "fail"   // the task fails as dependency_failed, free of charge (default)
	DependencyIgnore DependencyPolicy = "ignore" // the task is sent all the same, unless it has a reference to it
)

const (
	// MaxDependencies is how many tasks one task can depend on, those of its references included.
	MaxDependencies = 64
	// MaxReferences is how many references one input can have.
	MaxReferences = 256
	// MaxNotBefore is how far ahead not_before can be. A task is sent and has ended while its first event is still kept.
	MaxNotBefore = 14 * 24 * time.Hour

	maxReferenceDepth  = 64
	maxReferenceOutput = 999
	maxReferenceField  = 200
)

// A Reference stands in an input for a value that another task of the project makes:
//
//	{"$from":"shot-1"}                          the URL of its first output
//	{"$from":"shot-1","output":2}               the URL of its third output
//	{"$from":"voice-1","field":"voice_id"}      a member of its result.raw
//	{"$from":"voice-1","field":"/data/0/url"}   a value anywhere in its result.raw, by its JSON pointer (RFC 6901)
//
// It may stand anywhere inside an input, but not in place of the whole. The task depends on the one that is named. When
// that has ended, the value takes the place of the object, and every other byte of the input stays as it was.
type Reference struct {
	// From is the id of the other task.
	From string
	// Output counts outputs from 0. It is 0 where Field is not empty.
	Output int
	Field  string
	// Path is where the reference stands, such as "input.images[0]".
	Path string
}

// References returns the references inside a JSON value, in the order of the text. what names the value in errors and
// paths. Its error is a FieldError.
func References(what string, raw json.RawMessage) ([]Reference, error) {
	var all []Reference
	_, err := ReplaceReferences(what, raw, func(r Reference) (json.RawMessage, error) {
		all = append(all, r)
		return json.RawMessage("null"), nil
	})
	return all, err
}

// ReplaceReferences returns a JSON value with what value gives in place of each reference. Its error is a FieldError, or
// that of value.
func ReplaceReferences(what string, raw json.RawMessage, value func(Reference) (json.RawMessage, error)) (
	json.RawMessage, error,
) {
	w := markWalk{whole: what, mark: "$from", replace: func(raw json.RawMessage, path string) (json.RawMessage, error) {
		r, err := readReference(raw, path)
		if err != nil {
			return nil, err
		}
		return value(r)
	}}
	return w.walk(bytes.TrimSpace(raw), what, 0)
}

// readReference reads the object of a reference. Its error is a FieldError.
func readReference(raw json.RawMessage, path string) (Reference, error) {
	r := Reference{Path: path}
	var output *int
	err := DecodeStrict(raw, "$from", map[string]any{"$from": &r.From, "output": &output, "field": &r.Field})
	var fe *FieldError
	switch {
	case errors.As(err, &fe):
		return r, fieldError(path+"."+fe.Field, "%s", fe.Message)
	case !ValidToken(r.From):
		return r, fieldError(path+".$from", "must be a task id: 1 to %d characters of A-Z a-z 0-9 _ -", MaxTokenBytes)
	case output != nil && r.Field != "":
		return r, fieldError(path, "has both output and field")
	case output != nil && (*output < 0 || *output > maxReferenceOutput):
		return r, fieldError(path+".output", "%d is not between 0 and %d", *output, maxReferenceOutput)
	case len(r.Field) > maxReferenceField:
		return r, fieldError(path+".field", "%d bytes are over the limit of %d", len(r.Field), maxReferenceField)
	case output != nil:
		r.Output = *output
	}
	return r, nil
}

// A markWalk replaces the objects inside a JSON value that have a member mark. A name that spells it with escapes is none.
type markWalk struct {
	whole, mark string
	replace     func(raw json.RawMessage, path string) (json.RawMessage, error)
	found       int
}

// walk returns a value, which has no white space around it, with its marked objects replaced.
func (w *markWalk) walk(raw []byte, path string, depth int) ([]byte, error) {
	switch {
	case !bytes.Contains(raw, []byte(`"`+w.mark+`"`)) || raw[0] != '{' && raw[0] != '[':
		return raw, nil
	case depth > maxReferenceDepth:
		return nil, fieldError(path, "has a reference deeper than %d levels", maxReferenceDepth)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	open, err := d.Token()
	if err != nil {
		return nil, syntaxError(path, err)
	}
	var out []byte
	done := int64(0)
	for i := 0; d.More(); i++ {
		at := path + "[" + strconv.Itoa(i) + "]"
		if open == json.Delim('{') {
			name, err := d.Token()
			if err != nil {
				return nil, syntaxError(path, err)
			}
			if name == w.mark {
				return w.marked(raw, path)
			}
			at = fmt.Sprintf("%s.%v", path, name)
		}
		var member json.RawMessage
		if err := d.Decode(&member); err != nil {
			return nil, syntaxError(at, err)
		}
		fresh, err := w.walk(member, at, depth+1)
		if err != nil {
			return nil, err
		}
		out = append(append(out, raw[done:d.InputOffset()-int64(len(member))]...), fresh...)
		done = d.InputOffset()
	}
	if _, err := d.Token(); err != nil {
		return nil, syntaxError(path, err)
	}
	return append(out, raw[done:]...), nil
}

// marked replaces one marked object.
func (w *markWalk) marked(raw []byte, path string) ([]byte, error) {
	if w.found++; w.found > MaxReferences {
		return nil, fieldError(w.whole, "has more than %d references", MaxReferences)
	}
	if path == w.whole {
		return nil, fieldError(path, "must not be a reference as a whole")
	}
	return w.replace(raw, path)
}

// Dependencies returns the ids of the tasks that a request depends on, each once: those of After, then those of its
// references. Its error is a FieldError.
func (r Request) Dependencies() ([]string, error) {
	refs, err := References("input", r.Input)
	if err == nil && r.Want != nil {
		refs, err = r.Want.references()
	}
	if err != nil {
		return nil, err
	}
	var ids []string
	add := func(field, id string) error {
		switch {
		case !ValidToken(id):
			return fieldError(field, "must be task ids: 1 to %d characters of A-Z a-z 0-9 _ -", MaxTokenBytes)
		case id == r.ID:
			return fieldError(field, "names the task itself")
		case slices.Contains(ids, id):
			return nil
		case len(ids) == MaxDependencies:
			return fieldError(field, "more than %d tasks to depend on", MaxDependencies)
		}
		ids = append(ids, id)
		return nil
	}
	for _, id := range r.After {
		if err := add("after", id); err != nil {
			return nil, err
		}
	}
	for _, ref := range refs {
		if err := add(ref.Path, ref.From); err != nil {
			return nil, err
		}
	}
	return ids, nil
}
