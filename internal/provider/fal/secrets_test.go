package fal

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"reelay/internal/provider"
)

// A transport that fails and says what it was given, as some debugging ones do.
type loud struct{}

func (loud) RoundTrip(r *http.Request) (*http.Response, error) {
	return nil, errors.New("cannot send with Authorization " + r.Header.Get("Authorization"))
}

// An answer with the key in it, or half of it, in whatever encoding, is kept without.
func TestEncodedKey(t *testing.T) {
	t.Parallel()
	d := newDriver(t, "")
	_, half, _ := strings.Cut(testKey, ":")
	for _, text := range []string{testKey, half} {
		unicode := ""
		for i := range len(text) {
			unicode += fmt.Sprintf(`\u%04x`, text[i])
		}
		for _, encoded := range []string{
			text, unicode, url.QueryEscape(text), base64.StdEncoding.EncodeToString([]byte(text)),
			base64.RawURLEncoding.EncodeToString([]byte("Key " + text)), hex.EncodeToString([]byte(text)),
		} {
			r := d.redact(provider.Reply{Header: http.Header{"A": {encoded}}, Body: []byte(`{"echo":"` + encoded + `"}`)})
			if shown := string(r.Body) + r.Header.Get("A"); !json.Valid(r.Body) || strings.Contains(shown, encoded[6:len(encoded)-2]) {
				t.Errorf("%s is left of %s", shown, encoded)
			}
		}
	}
}

// No error shows the key, wherever an answer repeats it.
func TestErrorsHideTheKey(t *testing.T) {
	t.Parallel()
	d := newDriver(t, "")
	var errs []error
	for _, body := range []string{
		testKey, `{"detail":"` + testKey + `"}`, `{"detail":["` + testKey + `"]}`, `{"detail":{"a":"` + testKey + `"}}`,
		`{"detail":[{"loc":["` + testKey + `"],"msg":"` + testKey + `","type":"` + testKey + `"}]}`,
		`{"error":"` + testKey + `","error_type":"` + testKey + `"}`, `{"status":"` + testKey + `"}`,
		`{"request_id":"bad id ` + testKey + `"}`, `{"detail":"` + strings.Repeat("x", 1020) + testKey + `"}`,
	} {
		for status := 100; status <= 599; status++ {
			h := http.Header{}
			for _, name := range []string{"X-Fal-Request-Id", "X-Fal-Error-Type", "Retry-After", "Location"} {
				h.Set(name, strings.Repeat("x", 76)+testKey)
			}
			r := provider.Reply{Status: status, Header: h, Body: []byte(body)}
			if a := d.Classify(sampleModel, nil, r); a.Err != nil {
				errs = append(errs, a.Err)
			}
			s, _, err := readStatus(sampleHandle, d.redact(r))
			errs = append(errs, asError(err))
			if strings.Contains(s.Word, testKey) {
				t.Errorf("%d %s: the word shows the key", status, body)
			}
			s, err = readResult(provider.Snapshot{}, envelope{}, d.redact(r))
			errs = append(errs, asError(err), asError(s.Err))
			if bytes.Contains(s.Raw, []byte(testKey)) {
				t.Errorf("%d %s: the raw result shows the key", status, body)
			}
			_, err = readCancel(d.redact(r))
			errs = append(errs, asError(err))
		}
	}
	noisy := newDriver(t, "")
	noisy.client = provider.NewClient(loud{}, DefaultTimeout)
	_, err := noisy.Poll(t.Context(), sampleRef())
	if err == nil {
		t.Fatal("the failing transport did not fail")
	}
	errs = append(errs, err)

	var logs bytes.Buffer
	text, lines := slog.New(slog.NewTextHandler(&logs, nil)), slog.New(slog.NewJSONHandler(&logs, nil))
	checked := 0
	for _, err := range errs {
		if err == nil {
			continue
		}
		checked++
		logs.Reset()
		text.Info("m", "error", err)
		lines.Info("m", "error", err)
		_ = json.NewEncoder(&logs).Encode(err)
		_, _ = fmt.Fprintf(&logs, "%v %+v %#v", err, err, err)
		// Not even the beginning of the key, which a cut after the redaction cannot leave.
		if strings.Contains(logs.String(), testKey[:8]) {
			t.Fatalf("the key shows in %s", logs.String())
		}
	}
	if checked < 1000 {
		t.Errorf("only %d errors were checked", checked)
	}
}
