package fal

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"reelay/events"
	"reelay/internal/secret"
)

const testKey = "k-3f21:s3cr3t-0a9b"

func newDriver(t testing.TB, baseURL string) *Driver {
	t.Helper()
	d, err := New(Options{BaseURL: baseURL, Key: secret.New(testKey)})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestNew(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, baseURL, key, want string }{
		{"default", "", testKey, ""},
		{"loopback", "http://127.0.0.1:9000/", testKey, ""},
		{"plain http", "http://queue.fal.run", testKey, "must be https"},
		{"query", "https://queue.fal.run/?a=1", testKey, "no user, query or fragment"},
		{"the synchronous host", "https://fal.run", testKey, "REELAY_FAL_URL"},
		{"the host of files", "https://v3.fal.run/", testKey, "REELAY_FAL_URL"},
		{"the platform", "https://API.fal.ai", testKey, "REELAY_FAL_URL"},
		{"the queue", "https://queue.fal.run", testKey, ""},
		{"its other name", "https://queue.falrun.com", testKey, ""},
		{"no key", "", "", "key is empty"},
		{"key of two lines", "", testKey + "\nX: y", "do not belong in a header"},
	} {
		d, err := New(Options{BaseURL: row.baseURL, Key: secret.New(row.key)})
		if row.want == "" {
			if err != nil || strings.HasSuffix(d.baseURL, "/") {
				t.Errorf("%s: %v, base URL of %v", row.name, err, d)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), testKey) {
			t.Errorf("%s: %v, want %q", row.name, err, row.want)
		}
	}
}

func TestParseModel(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ text, app, path string }{
		{"fal-ai/flux", "fal-ai/flux", "fal-ai/flux"},
		{"fal-ai/kling-video/v3/pro/text-to-video", "fal-ai/kling-video", "fal-ai/kling-video/v3/pro/text-to-video"},
		{"wan/v2.6/text-to-video", "wan/v2.6", "wan/v2.6/text-to-video"},
		{"workflows/me/flow/step", "workflows/me/flow", "workflows/me/flow/step"},
		{"comfy/me/flow", "comfy/me/flow", "comfy/me/flow"},
		{"1234-my-app", "1234/my-app", "1234/my-app"},
		{"", "", ""},
		{"flux", "", ""},
		{"workflows/me", "", ""},
		{"fal-ai//flux", "", ""},
		{"/fal-ai/flux", "", ""},
		{"fal-ai/flux/", "", ""},
		{"fal-ai/..", "", ""},
		{"fal-ai/.hidden", "", ""},
		{"fal-ai/fl ux", "", ""},
		{"fal-ai/flux?x=1", "", ""},
		{"fal-ai/flux#x", "", ""},
		{"fal-ai/fl%2fux", "", ""},
		{"fal-ai/flux\n", "", ""},
		{"https://queue.fal.run/fal-ai/flux", "", ""},
		{"fal-ai/flux/requests/019e1951", "", ""},
		{"fal-ai/" + strings.Repeat("x", 193), "fal-ai/" + strings.Repeat("x", 193), "fal-ai/" + strings.Repeat("x", 193)},
		{"fal-ai/" + strings.Repeat("x", 194), "", ""},
	} {
		m, err := parseModel(row.text)
		if m.app != row.app || m.path != row.path {
			t.Errorf("%.80q: app %q, path %q, want %q, %q", row.text, m.app, m.path, row.app, row.path)
		}
		var fe *events.FieldError
		if (err != nil) != (row.app == "") || err != nil && (!errors.As(err, &fe) || fe.Field != "model") {
			t.Errorf("%.80q: %v, want a FieldError of model where there is none", row.text, err)
		}
	}
}

func TestRef(t *testing.T) {
	t.Parallel()
	d := newDriver(t, "")
	ref, err := d.Ref("fal-ai/kling-video/v3/pro", "019e1951-c778-7120-9c82-16efcf40ec82")
	want := `{"app":"fal-ai/kling-video","request_id":"019e1951-c778-7120-9c82-16efcf40ec82"}`
	if err != nil || string(ref) != want {
		t.Errorf("%s, %v, want %s", ref, err, want)
	}
	if _, err := d.Ref("flux", "a"); !errors.Is(err, events.ErrInvalid) {
		t.Errorf("bad model: %v, want a FieldError", err)
	}
	for _, bad := range []string{
		`{"app":"fal-ai/flux/dev","request_id":"a"}`, // not the app alone
		`{"app":"../x","request_id":"a"}`,
		`{"app":"fal-ai/flux","request_id":"a/../../b"}`,
		`{"app":"fal-ai/flux","request_id":"a/cancel"}`,
	} {
		if _, err := parseRef(json.RawMessage(bad)); err == nil || err.Code != "bad_ref" {
			t.Errorf("%s: %v, want bad_ref", bad, err)
		}
	}
}

func TestCheckTaskType(t *testing.T) {
	t.Parallel()
	d := newDriver(t, "")
	for _, taskType := range events.TaskTypes() {
		if err := d.Check(taskType, "fal-ai/anything/new", json.RawMessage(` {"a":1} `)); err != nil {
			t.Errorf("%s: %v", taskType, err)
		}
	}
	var fe *events.FieldError
	if err := d.Check("film", "fal-ai/flux", json.RawMessage(`{}`)); !errors.As(err, &fe) || fe.Field != "task_type" {
		t.Errorf("film: %v, want a FieldError of task_type", err)
	}
}

func TestPrintingADriverHidesTheKey(t *testing.T) {
	t.Parallel()
	d := newDriver(t, "")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		if text := fmt.Sprintf(verb, d); strings.Contains(text, testKey) {
			t.Errorf("%s: %s", verb, text)
		}
	}
}
