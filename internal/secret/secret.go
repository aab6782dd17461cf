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

// Lookup reads the secret called name from the environment, or from the file that name_FILE points to. Both unset is an
// empty Value. Its errors name the variable and never the content, nor the path: somebody may have put the key there.
func Lookup(name string) (Value, error) {
	if text := strings.TrimSpace(os.Getenv(name)); text != "" {
		return New(text), nil
	}
	path := os.Getenv(name + "_FILE")
	if path == "" {
		return Value{}, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return Value{}, fmt.Errorf("%s_FILE: %w", name, pathless(err))
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxBytes+1))
	if err != nil {
		return Value{}, fmt.Errorf("%s_FILE: %w", name, pathless(err))
	}
	text := strings.TrimSpace(string(b))
	if text == "" || len(b) > MaxBytes {
		return Value{}, fmt.Errorf("%s_FILE: the file must hold 1 to %d bytes", name, MaxBytes)
	}
	return New(text), nil
}

// pathless returns the reason of a file error without the path.
func pathless(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
