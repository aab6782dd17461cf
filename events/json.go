package events

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// Marshal writes v as compact JSON and leaves the characters < > & of user input as they are.
func Marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// Digest returns the SHA-256, in hex, of a JSON value in canonical form: members sorted, no white space, numbers
// as they were written. Two texts of the same value with the same spelling of numbers have the same digest.
func Digest(raw []byte) (string, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return "", err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return "", errors.New("text after the JSON value")
	}
	canonical, err := Marshal(v)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:]), nil
}

// A Duration is a time.Duration that reads and writes as Go's notation in a JSON string: "90s", "30m", "1h30m".
type Duration time.Duration

// MarshalJSON writes the duration as a string.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON reads a string such as "30m". It refuses bare numbers, whose unit nobody can know.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("%s is not a duration string such as \"30m\"", b)
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("%q is not a duration such as \"90s\", \"30m\" or \"1h30m\"", s)
	}
	*d = Duration(v)
	return nil
}

// DecodeStrict reads one JSON object of at most MaxRequestBytes field by field, so that each error names its field;
// what names the object itself. Half of a UTF-16 pair in a field is an error, as it is not text: two texts that differ
// only there would be one. known holds the accepted member names and where each is stored. Behind a field that is wrong
// it reads on, to store the others, and returns the first error.
func DecodeStrict(data []byte, what string, known map[string]any) error {
	var first error
	if len(data) > MaxRequestBytes {
		first = fieldError(what, "%d bytes are over the limit of %d", len(data), MaxRequestBytes)
	}
	err := decodeFields(data, what, known, func(err error) { first = cmp.Or(first, err) })
	return cmp.Or(first, err)
}

// decodeFields is DecodeStrict without the size. wrong hears of every field that is not stored; the error is that of
// the text.
func decodeFields(data []byte, what string, known map[string]any, wrong func(error)) error {
	if !utf8.Valid(data) {
		return fieldError(what, "bad JSON: it is not UTF-8 text")
	}
	if bytes.HasPrefix(data, []byte("\ufeff")) {
		return fieldError(what, "bad JSON: it begins with a byte order mark (EF BB BF); save it as UTF-8 without one")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	open, err := d.Token()
	if err != nil {
		return syntaxError(what, err)
	}
	if open != json.Delim('{') {
		return fieldError(what, "must be a JSON object")
	}
	seen := map[string]bool{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return syntaxError(what, err)
		}
		name, _ := token.(string)
		target, ok := known[name]
		switch {
		case !ok:
			wrong(fieldError(name, "unknown field"))
		case seen[name]:
			wrong(fieldError(name, "is given twice"))
			ok = false
		default:
			seen[name] = true
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return syntaxError(name, err)
		}
		if !ok || bytes.Equal(raw, []byte("null")) {
			continue
		}
		if half, at := loneSurrogate(raw); half != "" {
			wrong(fieldError(name, "has half of a character, %s alone, at byte %d", half, at))
			continue
		}
		if err := json.Unmarshal(raw, target); err != nil {
			wrong(typeError(name, target, err))
		}
	}
	if _, err := d.Token(); err != nil {
		return syntaxError(what, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fieldError(what, "has text after the JSON object")
	}
	return nil
}

// loneSurrogate returns the first escape in a JSON value that is one half of a UTF-16 pair alone, and where it begins;
// "" if there is none. Decoders read every one of them as the same character, so that texts which differ would be one.
func loneSurrogate(raw []byte) (half string, at int) {
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		r := escaped(raw[i:])
		switch {
		case utf16.DecodeRune(r, escaped(raw[min(i+6, len(raw)):])) != utf8.RuneError:
			i += 11
		case utf16.IsSurrogate(r):
			return string(raw[i : i+6]), i
		default:
			i++ // what is escaped begins nothing
		}
	}
	return "", 0
}

// escaped returns the number of the \uXXXX that a text begins with, -1 if it begins with none.
func escaped(text []byte) rune {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return -1
	}
	n, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(n)
}

func syntaxError(field string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fieldError(field, "bad JSON: it ends too early")
	}
	return fieldError(field, "bad JSON: %v", err)
}

// typeError says what the field must be in the words of JSON, not of Go. target is where it was to be stored.
func typeError(field string, target any, err error) error {
	if _, ok := target.(*Duration); ok {
		return fieldError(field, "%v", err)
	}
	t := reflect.TypeOf(target).Elem()
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	want := typeName(t)
	var te *json.UnmarshalTypeError
	switch {
	case !errors.As(err, &te):
		return fieldError(field, "must be %s", want)
	case te.Type != t: // an element of it
		return fieldError(field, "must be %s, but holds another value: %s", want, te.Value)
	default:
		return fieldError(field, "must be %s, not %s", want, te.Value)
	}
}

func typeName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.Map:
		return "an object of strings"
	case reflect.Slice:
		return "a list of strings"
	default: // time.Time
		return `a time such as "2026-01-31T12:00:00Z"`
	}
}
