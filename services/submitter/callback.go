package submitter

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"reelay/events"
	"reelay/internal/journal"
	"reelay/internal/paid"
	"reelay/internal/provider"
	"reelay/internal/task"
)

// callbacksDisabledFor is how long the requests of a lane name no callback URL once the provider was seen not to accept
// it. Until then each task would use up two requests, and the provider counts both.
const callbacksDisabledFor = 10 * time.Minute

// callbackGrace is how long callbacks about a task count after it is polled no more, late results included: providers
// repeat those that they could not deliver for hours.
const callbackGrace = 6 * time.Hour

// minSecretBytes is the shortest last segment of a callback URL that is taken for a secret; a shorter one could be any
// word.
const minSecretBytes = 16

// callbackURLFor returns where the provider shall call back about an attempt of t, empty for nowhere: also if it has
// refused one that named such a URL, in words that may be about that.
func (s *Service) callbackURLFor(l *lane, t events.Task, e journal.Entry) string {
	if s.o.Callback == nil || l.NoCallback || !l.Driver.Features(t.Model).Webhook || l.callbacksDisabled(e.At) {
		return ""
	}
	if last := t.Attempt(); l.Handshake && last != nil && task.MayRefuseURL(*last) {
		return ""
	}
	return s.o.Callback.CallbackURL(l.Name, e.Key(), e.Attempt, t.Deadline.Add(task.LatePolling+callbackGrace))
}

// disableCallbacks keeps the requests of a lane from naming a callback URL for callbacksDisabledFor. It reports whether
// they did until now.
func (l *lane) disableCallbacks(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.callbacksDisabledUntil.After(now) {
		return false
	}
	l.callbacksDisabledUntil = now.Add(callbacksDisabledFor)
	return true
}

// callbacksDisabled reports whether requests name no callback URL now.
func (l *lane) callbacksDisabled(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.callbacksDisabledUntil.After(now)
}

// withoutURL takes the secret of a callback URL out of what came back: a provider that dislikes the URL repeats it, and
// its words go into the journal, the record and events.
func withoutURL(r provider.Reply, err error, callbackURL string) (provider.Reply, error) {
	if callbackURL == "" {
		return r, err
	}
	r.Body = hidden(r.Body, callbackURL)
	header := make(http.Header, len(r.Header))
	for name, values := range r.Header {
		for _, v := range values {
			header.Add(name, string(hidden([]byte(v), callbackURL)))
		}
	}
	r.Header = header
	if err == nil {
		return r, nil
	}
	text := string(hidden([]byte(err.Error()), callbackURL))
	switch {
	case text == err.Error():
		return r, err
	case errors.Is(err, paid.ErrNotSent):
		return r, fmt.Errorf("%w: %s", paid.ErrNotSent, strings.TrimPrefix(text, paid.ErrNotSent.Error()+": "))
	}
	return r, errors.New(text)
}

// hidden replaces the secret of a callback URL, which no encoding changes.
func hidden(text []byte, callbackURL string) []byte {
	secret := callbackURL[strings.LastIndexByte(callbackURL, '/')+1:]
	if len(secret) < minSecretBytes {
		return text
	}
	return bytes.ReplaceAll(text, []byte(secret), []byte("[redacted]"))
}
