package providertest

import (
	"bytes"
	"strings"
	"testing"

	"reelay/events"
)

// testCallback: a callback names the request as the answer to its submit did, whatever is cut off is an error or only
// leads to a poll, and no error repeats the key.
func testCallback(t *testing.T, h Harness) {
	b := newBench(t, h)
	if h.Callback == nil {
		cb, err := b.driver.ReadCallback(h.Samples[0].Model, []byte(`{"id":"`+h.UnknownID+`"}`))
		if typed(t, "a callback of a provider that sends none", err); cb.ID != "" || cb.Ref != nil {
			t.Errorf("it is read as %+v", cb)
		}
		return
	}
	for _, s := range h.Samples {
		body := h.Callback(h.UnknownID)
		cb, err := b.driver.ReadCallback(s.Model, body)
		if err != nil {
			t.Fatalf("%s: %v", s.Model, err)
		}
		ref, err := b.driver.Ref(s.Model, h.UnknownID)
		if err != nil {
			t.Fatal(err)
		}
		if cb.ID != h.UnknownID || !bytes.Equal(cb.Ref, ref) || !cb.Ended {
			t.Errorf("%s: id %q, handle %s, ended %v, want %q, %s, true", s.Model, cb.ID, cb.Ref, cb.Ended, h.UnknownID, ref)
		}
		for n := range body {
			if _, err := b.driver.ReadCallback(s.Model, body[:n]); err == nil &&
				!bytes.Equal(bytes.TrimSpace(body[:n]), bytes.TrimSpace(body)) {
				t.Errorf("%s: cut to %d of %d bytes, it is read", s.Model, n, len(body))
			}
		}
		for what, bad := range map[string][]byte{
			"nothing":            nil,
			"no object":          []byte(`[]`),
			"no id":              []byte(`{}`),
			"an id that is none": h.Callback("../" + canary),
			"the key":            []byte(canary),
			"too much":           bytes.Repeat([]byte(" "), events.MaxCallbackBytes+1),
			"a page":             []byte("<html>" + canary + "</html>"),
			"a deep nest":        []byte(strings.Repeat(`{"task":`, 50_000)),
		} {
			cb, err := b.driver.ReadCallback(s.Model, bad)
			typed(t, what, err)
			if cb.ID != "" || cb.Ref != nil || cb.Snapshot != nil {
				t.Errorf("%s: %+v beside an error", what, cb)
			}
		}
	}
}
