package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// MaxInputFiles is how many members Request.InputFiles can have.
const MaxInputFiles = 32

// A FileReference stands in an input for a file of the project that was handed in:
//
//	{"$file":"frame.png"}                     the file of that name as it is when the request is taken in
//	{"$file":"frame.png","sha256":"9f86..."}  the same, and it must have that SHA-256
//	{"$file":"s3://bucket/key.png"}           a copy of an object in a bucket that the operator allows; azblob:// too
//
// The record has the second form, with the name of the copy for an object. Before each paid request the provider is given the file, and what it calls the file, or
// a data: URL, takes the place of the object.
type FileReference struct {
	Name   string
	SHA256 string
	// Path is where the reference stands, such as "input.image_url".
	Path string
}

// fileMark marks a file reference.
const fileMark = "$file"

// Files returns the file references inside a JSON value, in the order of the text. what names the value in errors and
// paths. Its error is a FieldError.
func Files(what string, raw json.RawMessage) ([]FileReference, error) {
	var all []FileReference
	_, err := ReplaceFiles(what, raw, func(f FileReference) (json.RawMessage, error) {
		all = append(all, f)
		return json.RawMessage("null"), nil
	})
	return all, err
}

// ReplaceFiles returns a JSON value with what value gives in place of each file reference. Its error is a FieldError, or
// that of value.
func ReplaceFiles(what string, raw json.RawMessage, value func(FileReference) (json.RawMessage, error)) (
	json.RawMessage, error,
) {
	w := markWalk{whole: what, mark: fileMark, replace: func(raw json.RawMessage, path string) (json.RawMessage, error) {
		f, err := readFileReference(raw, path)
		if err != nil {
			return nil, err
		}
		return value(f)
	}}
	return w.walk(bytes.TrimSpace(raw), what, 0)
}

// readFileReference reads the object of a file reference. Its error is a FieldError.
func readFileReference(raw json.RawMessage, path string) (FileReference, error) {
	f := FileReference{Path: path}
	err := DecodeStrict(raw, fileMark, map[string]any{fileMark: &f.Name, "sha256": &f.SHA256})
	var fe *FieldError
	switch {
	case errors.As(err, &fe):
		return f, fieldError(path+"."+fe.Field, "%s", fe.Message)
	case !namesFile(f.Name):
		return f, fieldError(path, "%s", badInputName)
	case f.SHA256 != "" && !sha256Pattern.MatchString(f.SHA256):
		return f, fieldError(path+".sha256", "is not 64 digits of hex in small letters")
	}
	return f, nil
}

// MarshalJSON writes the object of the reference.
func (f FileReference) MarshalJSON() ([]byte, error) {
	return Marshal(struct {
		Name   string `json:"$file"`
		SHA256 string `json:"sha256,omitempty"`
	}{f.Name, f.SHA256})
}

// PlaceFiles returns a request whose InputFiles are file references in its input or its want, as are the pictures of a
// want that name files. Its error is a FieldError.
func (r Request) PlaceFiles() (Request, error) {
	if len(r.InputFiles) > MaxInputFiles {
		return r, fieldError("input_files", "%d are over the limit of %d", len(r.InputFiles), MaxInputFiles)
	}
	into, err := r.Input, error(nil)
	if r.Want != nil {
		w := r.Want.withFiles()
		inOptions := func(at string) bool { return strings.HasPrefix(at, "/options/") }
		if len(w.Options) == 0 && slices.ContainsFunc(slices.Collect(maps.Keys(r.InputFiles)), inOptions) {
			w.Options = json.RawMessage("{}")
		}
		if into, err = Marshal(w); err != nil {
			return r, fieldError("want", "%v", err)
		}
	}
	for _, at := range slices.Sorted(maps.Keys(r.InputFiles)) {
		name := r.InputFiles[at]
		if !namesFile(name) {
			return r, fieldError("input_files."+at, "%s", badInputName)
		}
		file, err := Marshal(FileReference{Name: name})
		if err != nil {
			return r, fieldError("input_files."+at, "%v", err)
		}
		tokens := []string{at}
		if strings.HasPrefix(at, "/") {
			tokens = pointerTokens(at)
		}
		if into, err = placed(into, tokens, file); err != nil {
			return r, fieldError("input_files."+at, "%v", err)
		}
	}
	r.InputFiles = nil
	if r.Want == nil {
		r.Input = into
		return r, nil
	}
	r.Want, err = decodeWant(into)
	if err == nil {
		err = within("want", r.Want.Validate())
	}
	return r, err
}

// pointerTokens splits a JSON pointer (RFC 6901).
func pointerTokens(pointer string) []string {
	tokens := strings.Split(pointer[1:], "/")
	for i, t := range tokens {
		tokens[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(t)
	}
	return tokens
}

var (
	errNoPlace = errors.New("there is no such place")
	errTaken   = errors.New("something else is there already")
)

// placed returns a JSON value with another at a place in it that is empty: a member, an item of a list, or "-" for one
// behind its last.
func placed(raw json.RawMessage, tokens []string, value json.RawMessage) (json.RawMessage, error) {
	raw = bytes.TrimSpace(raw)
	if len(tokens) == 0 {
		if s := string(raw); s != "" && s != "null" && s != `""` {
			return nil, errTaken
		}
		return value, nil
	}
	if len(tokens) > maxReferenceDepth {
		return nil, errNoPlace
	}
	switch {
	case bytes.HasPrefix(raw, []byte("{")):
		members := map[string]json.RawMessage{}
		if err := json.Unmarshal(raw, &members); err != nil {
			return nil, err
		}
		fresh, err := placed(members[tokens[0]], tokens[1:], value)
		if err != nil {
			return nil, err
		}
		members[tokens[0]] = fresh
		return Marshal(members)
	case bytes.HasPrefix(raw, []byte("[")):
		var items []json.RawMessage
		if err := json.Unmarshal(raw, &items); err != nil {
			return nil, err
		}
		i, err := strconv.Atoi(tokens[0])
		if tokens[0] == "-" {
			i, err = len(items), nil
		}
		switch {
		case err != nil || i < 0 || i > len(items):
			return nil, errNoPlace
		case i == len(items):
			items = append(items, nil)
		}
		if items[i], err = placed(items[i], tokens[1:], value); err != nil {
			return nil, err
		}
		return Marshal(items)
	}
	return nil, errNoPlace
}
