//go:build unix

package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// leaked searches every file of the run, logs, journals, streams, buckets and ledgers, and the metrics for keys, and
// for the MACs of callback URLs, which only the providers may know. The marker, which has to be in the streams, shows
// that what is in a file can be found.
func (c *cluster) leaked(ctx context.Context, macs map[string]bool) []string {
	var found []string
	marked := false
	search := func(where string, text []byte, err error) {
		switch {
		case errors.Is(err, fs.ErrNotExist): // a running broker removes files
			return
		case err != nil:
			found = append(found, fmt.Sprintf("secret: %s: %v", where, err))
		}
		marked = marked || strings.HasPrefix(where, filepath.Join(c.dir, "broker")) && bytes.Contains(text, []byte(marker))
		for _, key := range []string{canaryFal, canaryMinimax, canaryCallback, callbackKey()} {
			if bytes.Contains(text, []byte(key)) {
				found = append(found, "secret: "+key+" in "+where)
			}
		}
		if !strings.HasPrefix(where, filepath.Join(c.dir, ledgers)) {
			if mac := firstOf(text, macs); mac != "" {
				found = append(found, "secret: "+mac+" of a callback URL in "+where)
			}
		}
	}
	for _, url := range c.metrics {
		body, err := read(ctx, url)
		search(url, body, err)
	}
	if err := filepath.WalkDir(c.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			var text []byte
			text, err = os.ReadFile(path)
			search(path, text, err)
			return nil
		}
		search(path, nil, err)
		return nil
	}); err != nil {
		found = append(found, "secret: "+err.Error())
	}
	if !marked || len(macs) == 0 {
		found = append(found, "void: the streams could not be searched for secrets, or no provider ever got a callback URL")
	}
	return found
}

// firstOf returns the first of some MACs that is in a text, empty for none.
func firstOf(text []byte, macs map[string]bool) string {
	for word := range bytes.FieldsFuncSeq(text, func(r rune) bool { return !ofBase64(r) }) {
		for ; len(word) >= macLength; word = word[1:] {
			if macs[string(word[:macLength])] {
				return string(word[:macLength])
			}
		}
	}
	return ""
}

// macLength is that of 32 bytes in base64url.
const macLength = 43

func ofBase64(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'
}
