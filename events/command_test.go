package events_test

import (
	"strings"
	"testing"
	"time"

	"reelay/events"
)

type decodeRow struct{ name, data, want string }

func checkDecode[T any](t *testing.T, decode func([]byte) (T, error), rows []decodeRow) {
	t.Helper()
	// What no decoder of the contract accepts.
	rows = append(rows,
		decodeRow{"cut off", `{`, "payload: bad JSON: it ends too early"},
		decodeRow{"array", `[]`, "payload: must be a JSON object"},
		decodeRow{"null", `null`, "payload: must be a JSON object"},
		decodeRow{"text behind", `{}x`, "payload: has text after the JSON object"},
		decodeRow{"unknown field", `{"why":1}`, "why: unknown field"},
		decodeRow{"invalid UTF-8", "{\"\xff\":1}", "payload: bad JSON: it is not UTF-8 text"},
		decodeRow{
			"too large", "{" + strings.Repeat(" ", events.MaxRequestBytes),
			"payload: 983041 bytes are over the limit of 983040",
		},
	)
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			_, err := decode([]byte(row.data))
			wantFieldError(t, err, row.want)
		})
	}
}

func TestDecodeCancel(t *testing.T) {
	checkDecode(t, events.DecodeCancel, []decodeRow{
		{"empty payload", ``, ""},
		{"white space", " \n", ""},
		{"empty object", `{}`, ""},
		{"reason: limit", `{"reason":"` + strings.Repeat("x", 500) + `"}`, ""},
		{
			"reason: over the limit", `{"reason":"` + strings.Repeat("x", 501) + `"}`,
			"reason: 501 bytes are over the limit of 500",
		},
		{"reason: type", `{"reason":1}`, "reason: must be a string, not number"},
		{"reason: twice", `{"reason":"a","reason":"b"}`, "reason: is given twice"},
	})
	if c, err := events.DecodeCancel([]byte(`{"reason":"wrong take"}`)); err != nil || c.Reason != "wrong take" {
		t.Errorf("read %+v, %v", c, err)
	}
}

func TestDecodeResolve(t *testing.T) {
	id := func(n int) string { return `{"action":"adopt","provider_id":"` + strings.Repeat("x", n) + `"}` }
	checkDecode(t, events.DecodeResolve, []decodeRow{
		{"empty payload", ``, "payload: bad JSON: it ends too early"},
		{"no action", `{}`, `action: "" is not adopt, resubmit or write_off`},
		{"unknown action", `{"action":"retry"}`, `action: "retry" is not adopt, resubmit or write_off`},
		{"action: type", `{"action":1}`, "action: must be a string, not number"},
		{"adopt", `{"action":"adopt","provider_id":"019c"}`, ""},
		{"adopt without an id", `{"action":"adopt"}`, "provider_id: must be 1 to 200 bytes for action adopt"},
		{"adopt, longest id", id(200), ""},
		{"adopt, id too long", id(201), "provider_id: must be 1 to 200 bytes for action adopt"},
		{"provider_id: type", `{"action":"adopt","provider_id":19}`, "provider_id: must be a string, not number"},
		{"resubmit", `{"action":"resubmit"}`, ""},
		{"resubmit with an id", `{"action":"resubmit","provider_id":"019c"}`, "provider_id: belongs to action adopt only"},
		{"write_off", `{"action":"write_off","reason":"nobody answers"}`, ""},
		{"write_off with an id", `{"action":"write_off","provider_id":"019c"}`, "provider_id: belongs to action adopt only"},
		{
			"reason: over the limit", `{"action":"resubmit","reason":"` + strings.Repeat("x", 501) + `"}`,
			"reason: 501 bytes are over the limit of 500",
		},
	})
	r, err := events.DecodeResolve([]byte(`{"action":"adopt","provider_id":"019c","reason":"seen"}`))
	if want := (events.Resolve{Action: events.ResolveAdopt, ProviderID: "019c", Reason: "seen"}); err != nil || r != want {
		t.Errorf("read %+v, %v, want %+v", r, err, want)
	}
}

func TestDecodeListRequest(t *testing.T) {
	const aTime = `must be a time such as "2026-01-31T12:00:00Z"`
	checkDecode(t, events.DecodeListRequest, []decodeRow{
		{"empty payload", ``, ""},
		{"empty object", `{}`, ""},
		{"limit: least", `{"limit":1}`, ""},
		{"limit: most", `{"limit":200}`, ""},
		{"limit: over", `{"limit":201}`, "limit: 201 is not between 1 and 200"},
		{"limit: below", `{"limit":-1}`, "limit: -1 is not between 1 and 200"},
		{"limit: type", `{"limit":"10"}`, "limit: must be a whole number, not string"},
		{"status: every", `{"status":["queued","in_progress","completed","failed","cancelled"]}`, ""},
		{
			"status: unknown", `{"status":["queued","running"]}`,
			`status: "running" is not one of queued, in_progress, completed, failed, cancelled`,
		},
		{"status: not a list", `{"status":"queued"}`, "status: must be a list of strings, not string"},
		{"status: list of numbers", `{"status":[1]}`, "status: must be a list of strings, but holds another value: number"},
		{
			"phase: unknown", `{"phase":["queued"]}`,
			`phase: "queued" is not one of waiting, submitting, in_doubt, parked, provider_queued, running, cancelling, ` +
				`fetching, storing, done`,
		},
		{"phase: not a list", `{"phase":{}}`, "phase: must be a list of strings, not object"},
		{"scene_id: type", `{"scene_id":7}`, "scene_id: must be a string, not number"},
		{"provider: type", `{"provider":["fal"]}`, "provider: must be a string, not array"},
		{"model: type", `{"model":true}`, "model: must be a string, not bool"},
		{"since", `{"since":"2026-01-31T12:00:00+01:00"}`, ""},
		{"since: a date", `{"since":"2026-01-31"}`, "since: " + aTime},
		{"since: a number", `{"since":1767225600}`, "since: " + aTime},
		{"cursor: type", `{"cursor":1}`, "cursor: must be a string, not number"},
	})
	for data, want := range map[string]int{``: 50, `{"limit":0}`: 50, `{"limit":7}`: 7} {
		if r, err := events.DecodeListRequest([]byte(data)); err != nil || r.Limit != want {
			t.Errorf("%q: limit %d, %v, want %d", data, r.Limit, err, want)
		}
	}
	_, err := events.DecodeListRequest([]byte(`{"status":["` + strings.Repeat("x", 900_000) + `"]}`))
	wantBounded(t, "huge status", err)
}

func TestDecodeWaitRequest(t *testing.T) {
	checkDecode(t, events.DecodeWaitRequest, []decodeRow{
		{"empty payload", ``, ""},
		{"most", `{"timeout":"5m"}`, ""},
		{"over", `{"timeout":"300001ms"}`, "timeout: 5m0.001s is not between 0 and 5m0s"},
		{"below", `{"timeout":"-1ns"}`, "timeout: -1ns is not between 0 and 5m0s"},
		{"bare number", `{"timeout":30}`, `timeout: 30 is not a duration string such as "30m"`},
	})
	for data, want := range map[string]time.Duration{
		``: 30 * time.Second, `{"timeout":"0s"}`: 30 * time.Second,
		`{"timeout":"1s"}`: time.Second,
	} {
		if r, err := events.DecodeWaitRequest([]byte(data)); err != nil || time.Duration(r.Timeout) != want {
			t.Errorf("%q: timeout %v, %v, want %v", data, time.Duration(r.Timeout), err, want)
		}
	}
}
