// Package secret holds keys so that they cannot be printed by accident: a Value shows as [redacted] in fmt, slog, JSON
// and errors, and only Reveal gives the text.
package secret

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

const redacted = "[redacted]"

// MaxBytes is the longest key read from a file.
const MaxBytes = 4 << 10

// A Value is a secret text. The zero Value is empty.
type Value struct {
	// A pointer, because fmt prints the unexported fields of a struct around a Value without asking Format.
	text *string
}

// New wraps a secret text.
func New(text string) Value {
	if text == "" {
		return Value{}
	}
	return Value{&text}
}

// Reveal returns the text, for the one place that sends it.
func (v Value) Reveal() string {
	if v.text == nil {
		return ""
	}
	return *v.text
}

// Empty reports whether there is no secret.
func (v Value) Empty() bool { return v.text == nil }

// Format prints [redacted] for every verb.
func (v Value) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, redacted) }

// MarshalText writes [redacted].
func (v Value) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Lookup reads the secret called name from the environment, or from the file that name_FILE points to, without white
// space and a byte order mark around it. Both unset is an empty Value. Its errors name the variable and never the
// content, nor the path: somebody may have put the key there.
func Lookup(name string) (Value, error) {
	v, _, err := lookup(name)
	return v, err
}

// LookupKey is Lookup for the key of a provider, which is one word of printable ASCII. What else people put there is
// refused with words that name the variable and say what to do: a provider would only say that the key is wrong.
func LookupKey(name string) (Value, error) {
	v, source, err := lookup(name)
	if err != nil || v.Empty() {
		return v, err
	}
	if wrong := wrongKey(v.Reveal()); wrong != "" {
		return Value{}, fmt.Errorf("%s: %s", source, wrong)
	}
	return v, nil
}

// lookup returns also the name of the variable that was read.
func lookup(name string) (v Value, source string, err error) {
	text, path := trim(os.Getenv(name)), os.Getenv(name+"_FILE")
	if text != "" && path != "" { // after a rotation one of them is old, and nobody can tell which
		return Value{}, name, fmt.Errorf("%s: %[1]s_FILE is set as well; unset one of them", name)
	}
	if text != "" {
		return New(text), name, nil
	}
	if path == "" {
		return Value{}, name, nil
	}
	source = name + "_FILE"
	f, err := os.Open(path)
	if err != nil {
		return Value{}, source, fmt.Errorf("%s: %w", source, pathless(err))
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxBytes+1))
	if err != nil {
		return Value{}, source, fmt.Errorf("%s: %w", source, pathless(err))
	}
	text = trim(string(b))
	if text == "" || len(b) > MaxBytes {
		return Value{}, source, fmt.Errorf("%s: the file must hold 1 to %d bytes", source, MaxBytes)
	}
	return New(text), source, nil
}

// trim takes off what editors and shells leave around a text.
func trim(text string) string {
	return strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(text), "\ufeff"))
}

// wrongKey says what is wrong with a key, without showing it; empty if nothing is to be seen.
func wrongKey(key string) string {
	word, _, two := strings.Cut(key, " ")
	variable, _, assigned := strings.Cut(key, "=")
	switch {
	case strings.ContainsAny(key, "\"'`\u2018\u2019\u201c\u201d"):
		return "the quotes are part of the key; set it without them"
	case two && (strings.EqualFold(word, "Key") || strings.EqualFold(word, "Bearer")):
		return "set the key alone, without the word " + word
	case strings.ContainsAny(key, "\r\n"):
		return "it has more than one line; set the key alone"
	case strings.ContainsAny(key, " \t"):
		return "it has a blank inside; set the key alone"
	case assigned && isVariable(variable):
		return "it begins as the assignment of a variable; set the key alone, without the name and the ="
	case strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "it has a character that is not printable ASCII; type the key, or copy it again"
	}
	return ""
}

// isVariable reports whether a text looks like the name of an environment variable of a key, such as FAL_KEY.
func isVariable(text string) bool {
	return strings.Contains(text, "_") && !strings.ContainsFunc(text, func(r rune) bool {
		return r != '_' && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
	})
}

// pathless returns the reason of a file error without the path.
func pathless(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
