package fal

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"reelay/events"
	"reelay/internal/provider"
)

func testCallbackBody(status, fault, payload string) []byte {
	return fmt.Appendf(nil, `{"error": %s, "gateway_request_id": "g-1", "payload": %s, "request_id": %q, "status": %q}`,
		fault, payload, sampleID, status)
}

// A callback that is trusted says exactly what a poll at the same result would have said; every other has no snapshot.
func TestReadCallbackAgreesWithPoll(t *testing.T) {
	t.Parallel()
	const (
		file = `{"seed": 17454220438242315174, "video": {"content_type": "video/mp4", "file_name": "o.mp4", ` +
			`"file_size": 42, "url": "https://v3b.fal.media/o.mp4"}}`
		missing  = `{"detail": [{"loc": ["body", "prompt"], "msg": "field required", "type": "missing"}]}`
		refused  = `{"detail": [{"msg": "flagged", "type": "content_policy_violation"}]}`
		internal = `{"detail": "the runner died", "error_type": "runner_server_error"}`
	)
	for _, row := range []struct {
		name   string
		body   []byte
		result canned // of the poll that must agree
		trust  bool
	}{
		{"a result", testCallbackBody("OK", "null", file), canned{status: 200, body: file}, true},
		{
			"no error at all", []byte(`{"payload":` + file + `,"request_id":"` + sampleID + `","status":"OK"}`),
			canned{status: 200, body: file},
			true,
		},
		{
			"invalid", testCallbackBody("ERROR", `"Invalid status code: 422"`, missing),
			canned{status: 422, body: missing},
			true,
		},
		{
			"moderated", testCallbackBody("ERROR", `"Invalid status code: 422"`, refused),
			canned{status: 422, body: refused},
			true,
		},
		{
			"broken", testCallbackBody("ERROR", `"Invalid status code: 500"`, internal),
			canned{status: 500, body: internal},
			true,
		},
		{
			"cancelled", testCallbackBody("ERROR", `"Invalid status code: 499"`,
				`{"detail":"gone","error_type":"client_cancelled"}`),
			canned{status: 499, body: `{"detail":"gone","error_type":"client_cancelled"}`},
			true,
		},
		{"no payload", testCallbackBody("OK", "null", "null"), canned{}, false},
		{"an error without a payload", testCallbackBody("ERROR", `"Invalid status code: 404"`, "null"), canned{}, false},
		{
			"a payload that could not be written",
			[]byte(`{"payload":` + file + `,"payload_error":"too large","request_id":"` + sampleID + `","status":"OK"}`),
			canned{},
			false,
		},
		{"no file in it", testCallbackBody("OK", "null", `{"text":"done"}`), canned{}, false},
		{"a failure called OK", testCallbackBody("OK", "null", `{"status":"IN_PROGRESS"}`), canned{}, false},
		{"an error without a code", testCallbackBody("ERROR", `"it broke"`, missing), canned{}, false},
		{
			"an error with the code of a success", testCallbackBody("ERROR", `"Invalid status code: 200"`, file),
			canned{},
			false,
		},
		{
			"our key, not the work", testCallbackBody("ERROR", `"Invalid status code: 401"`, `{"detail":"no"}`),
			canned{},
			false,
		},
		{"a page", testCallbackBody("ERROR", `"Invalid status code: 404"`, `"<html>"`), canned{}, false},
		{"another word", testCallbackBody("PENDING", "null", file), canned{}, false},
	} {
		cb, err := newDriver(t, "").ReadCallback("fal-ai/flux", row.body)
		if err != nil {
			t.Errorf("%s: %v", row.name, err)
			continue
		}
		if cb.ID != sampleID || string(cb.Ref) != string(sampleRef()) || !cb.Ended {
			t.Errorf("%s: id %q, handle %s", row.name, cb.ID, cb.Ref)
		}
		if !row.trust || cb.Snapshot == nil {
			if row.trust || cb.Snapshot != nil {
				t.Errorf("%s: %+v, want trusted: %v", row.name, cb.Snapshot, row.trust)
			}
			continue
		}
		row.result.header = map[string]string{"X-Fal-Request-Id": "g-1"}
		want, err := pollWith(t, done(), row.result)
		if err != nil {
			t.Fatal(err)
		}
		got := *cb.Snapshot
		if want.Err != nil && got.Err != nil && got.Err.TraceID == "" {
			want.Err.TraceID = ""
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n%+v, the poll says\n%+v", row.name, got, want)
		}
	}
}

// A callback must not be taken for one about another request, nor its key be repeated.
func TestReadCallbackRefuses(t *testing.T) {
	t.Parallel()
	d := newDriver(t, "")
	for name, body := range map[string]string{
		"no id":           `{"status":"OK","payload":{}}`,
		"an id of a path": `{"status":"OK","request_id":"../x"}`,
		"a number":        `{"status":"OK","request_id":7}`,
		"cut":             string(testCallbackBody("OK", "null", `{"a":1}`)[:40]),
		"the key":         `{"request_id":"no id ` + testKey + `"}`,
		"a list":          `[{"request_id":"` + sampleID + `"}]`,
	} {
		cb, err := d.ReadCallback("fal-ai/flux", []byte(body))
		e := provider.AsError(err)
		if err == nil || e.Code != codeBadCallback || e.Kind != events.KindInternal || strings.Contains(e.Error(), testKey) {
			t.Errorf("%s: %v (%+v)", name, err, cb)
		}
	}
}

// Whatever a stranger sends: a verdict has what a verdict needs, and the id is one that can stand in a path.
func FuzzReadCallback(f *testing.F) {
	f.Add([]byte(`{}`))
	f.Add(testCallbackBody("OK", "null", `{"video":{"url":"https://a.test/b.mp4"}}`))
	f.Add(testCallbackBody("ERROR", `"Invalid status code: 422"`, `{"detail":[{"type":"missing","msg":"m"}]}`))
	f.Add(testCallbackBody("OK", "null", "null"))
	d := newDriver(f, "")
	f.Fuzz(func(t *testing.T, body []byte) {
		cb, err := d.ReadCallback("fal-ai/flux", body)
		if err != nil {
			if e := provider.AsError(err); e.Code == "" || len(e.Message) > events.MaxMessageBytes {
				t.Errorf("%+v", e)
			}
			return
		}
		if !validID(cb.ID) || !json.Valid(cb.Ref) {
			t.Errorf("id %q, handle %s", cb.ID, cb.Ref)
		}
		s := cb.Snapshot
		switch {
		case s == nil:
		case s.State == provider.Succeeded && (len(s.Outputs) == 0 || !json.Valid(s.Raw)),
			s.State == provider.Failed && s.Err == nil,
			s.State != provider.Succeeded && s.State != provider.Failed && s.State != provider.Cancelled:
			t.Errorf("%+v", s)
		}
	})
}
