package events

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
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

// decodeStrict reads one JSON object into v, a pointer to a struct, field by field, so that each error names its field.
// known holds the accepted member names and where each is stored.
func decodeStrict(data []byte, what string, known map[string]any) error {
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
		if !ok {
			return fieldError(name, "unknown field")
		}
		if seen[name] {
			return fieldError(name, "is given twice")
		}
		seen[name] = true
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return syntaxError(name, err)
		}
		if bytes.Equal(raw, []byte("null")) {
			continue
		}
		if err := json.Unmarshal(raw, target); err != nil {
			return typeError(name, err)
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

func syntaxError(field string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fieldError(field, "bad JSON: it ends too early")
	}
	return fieldError(field, "bad JSON: %v", err)
}

func typeError(field string, err error) error {
	var te *json.UnmarshalTypeError
	if errors.As(err, &te) {
		if te.Field != "" {
			field += "." + te.Field
		}
		return fieldError(field, "must be %s, not %s", typeName(te.Type.String()), te.Value)
	}
	return fieldError(field, "%v", err)
}

func typeName(goType string) string {
	switch goType {
	case "string":
		return "a string"
	case "int":
		return "a whole number"
	case "float64":
		return "a number"
	case "map[string]string":
		return "an object of strings"
	default:
		return goType
	}
}
