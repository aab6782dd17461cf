package paid

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"reelay/internal/provider"
)

// minSecretBytes is the shortest last segment of a callback URL that is taken for a secret; a shorter one could be any
// word.
const minSecretBytes = 16

// Redact takes the secret of a callback URL out of what came back: a provider that dislikes the URL repeats it, and
// its words go into the journal, the record and events.
func Redact(r provider.Reply, err error, callbackURL string) (provider.Reply, error) {
	if callbackURL == "" {
		return r, err
	}
	r.Body = Hide(r.Body, callbackURL)
	header := make(http.Header, len(r.Header))
	for name, values := range r.Header {
		for _, v := range values {
			header.Add(name, string(Hide([]byte(v), callbackURL)))
		}
	}
	r.Header = header
	if err == nil {
		return r, nil
	}
	text := string(Hide([]byte(err.Error()), callbackURL))
	switch {
	case text == err.Error():
		return r, err
	case errors.Is(err, ErrNotSent):
		return r, fmt.Errorf("%w: %s", ErrNotSent, strings.TrimPrefix(text, ErrNotSent.Error()+": "))
	}
	return r, errors.New(text)
}

// Hide replaces the secret of a callback URL, which no encoding changes.
func Hide(text []byte, callbackURL string) []byte {
	secret := callbackURL[strings.LastIndexByte(callbackURL, '/')+1:]
	if len(secret) < minSecretBytes {
		return text
	}
	return bytes.ReplaceAll(text, []byte(secret), []byte("[redacted]"))
}
