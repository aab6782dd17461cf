package callbackurl

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"reelay/events"
	"reelay/internal/secret"
)

// Parse reads <kid>:<base64 of 32 bytes>, comma separated. Its errors count keys and never quote one.
func Parse(text secret.Value) ([]Key, error) {
	if text.Empty() {
		return nil, nil
	}
	var keys []Key
	seen := map[string]bool{}
	for i, part := range strings.Split(text.Reveal(), ",") {
		id, encoded, ok := strings.Cut(strings.TrimSpace(part), ":")
		if !ok || !events.ValidToken(id) {
			// The id is not quoted: without a colon it is the key itself.
			return nil, fmt.Errorf("key %d is not <kid>:<base64 of %d bytes>, kid being 1 to %d characters of A-Z a-z 0-9 _ -",
				i+1, KeyBytes, events.MaxTokenBytes)
		}
		raw, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			return nil, fmt.Errorf("key %d is not base64 after the colon", i+1)
		}
		if len(raw) != KeyBytes {
			return nil, fmt.Errorf("key %d has %d bytes, not %d", i+1, len(raw), KeyBytes)
		}
		if seen[id] {
			return nil, errors.New("two keys have the same kid")
		}
		seen[id] = true
		keys = append(keys, Key{ID: id, Secret: secret.New(string(raw))})
	}
	return keys, nil
}

// KeyFile is the usual name of the file of a key that a machine has made for itself.
const KeyFile = "callback.key"

// Kept returns the keys of a file in the form that Parse reads. A file that is not there is made, with one random key
// in it, for nobody but its owner to read.
func Kept(file string) ([]Key, error) {
	keys, err := readKeys(file)
	if !errors.Is(err, os.ErrNotExist) {
		return keys, err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, fmt.Errorf("callback key: %w", err)
	}
	raw := make([]byte, KeyBytes)
	_, _ = rand.Read(raw) // never fails
	// Written apart and then given its name: who finds the file finds a whole key.
	f, err := os.CreateTemp(filepath.Dir(file), ".callback-*") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("callback key: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = fmt.Fprintf(f, "local:%s\n", base64.StdEncoding.EncodeToString(raw))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, fmt.Errorf("callback key: %w", err)
	}
	if err := os.Link(f.Name(), file); err != nil && !errors.Is(err, os.ErrExist) { // else somebody was faster
		return nil, fmt.Errorf("callback key: %w", err)
	}
	return readKeys(file)
}

func readKeys(file string) ([]Key, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("callback key: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, secret.MaxBytes))
	if err != nil {
		return nil, fmt.Errorf("callback key: %w", err)
	}
	keys, err := Parse(secret.New(strings.TrimSpace(string(text))))
	if err == nil && len(keys) == 0 {
		err = errors.New("the file is empty")
	}
	if err != nil {
		return nil, fmt.Errorf("callback key in %s: %w", file, err)
	}
	return keys, nil
}
