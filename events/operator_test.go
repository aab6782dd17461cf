package events_test

import (
	"slices"
	"strings"
	"testing"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/events/operator"
)

func TestDecodePauseRequest(t *testing.T) {
	pause := func(data []byte) (operator.PauseRequest, error) {
		return operator.DecodePauseRequest(operator.VerbLanesPause, data)
	}
	checkDecode(t, pause, []decodeRow{
		{"a lane", `{"lane":"fal","reason":"the bill"}`, ""},
		{"all lanes, if nobody else was faster", `{"lane":"_all","reason":"fire","by":"anna","revision":0}`, ""},
		{"nothing", ``, "payload: bad JSON: it ends too early"},
		{"no lane", `{"reason":"the bill"}`, `lane: "" is not 1 to 64 characters of A-Z a-z 0-9 _ -`},
		{
			"lane: no token", `{"lane":"fal.limits","reason":"x"}`,
			`lane: "fal.limits" is not 1 to 64 characters of A-Z a-z 0-9 _ -`,
		},
		{"no reason", `{"lane":"fal"}`, "reason: must say why the lane is paused"},
		{
			"reason: over the limit", `{"lane":"fal","reason":"` + strings.Repeat("x", 501) + `"}`,
			"reason: 501 bytes are over the limit of 500",
		},
		{
			"by: over the limit", `{"lane":"fal","reason":"x","by":"` + strings.Repeat("x", 101) + `"}`,
			"by: 101 bytes are over the limit of 100",
		},
		{"revision: type", `{"lane":"fal","reason":"x","revision":"7"}`, "revision: must be a whole number, not string"},
		{
			"revision: negative", `{"lane":"fal","reason":"x","revision":-7}`,
			"revision: must be a whole number, not number -7",
		},
		{"unknown", `{"lane":"fal","reason":"x","paused":false}`, "paused: unknown field"},
	})
	if _, err := operator.DecodePauseRequest(operator.VerbLanesResume, []byte(`{"lane":"fal"}`)); err != nil {
		t.Errorf("a lane is resumed without a reason: %v", err)
	}
}

func TestDecodeLimitsRequest(t *testing.T) {
	checkDecode(t, operator.DecodeLimitsRequest, []decodeRow{
		{"limits", `{"lane":"fal","limits":{"models":{"*":{"requests":20}},"by":"anna"},"revision":7}`, ""},
		{"defaults", `{"lane":"fal","limits":{}}`, ""},
		{"no limits", `{"lane":"fal"}`, "limits: is missing; {} is the provider's defaults"},
		{"null", `{"lane":"fal","limits":null}`, "limits: is missing; {} is the provider's defaults"},
		{"all lanes", `{"lane":"_all","limits":{}}`, `lane: "_all" is not 1 to 64 characters of A-Z a-z 0-9 _ -`},
		{"a typing error", `{"lane":"fal","limits":{"model":{}}}`, `limits: bad JSON: json: unknown field "model"`},
		{
			"over", `{"lane":"fal","limits":{"models":{"*":{"requests":1000001}}}}`,
			"models.*.requests: 1000001 is not between 0 and 1000000",
		},
		{
			"by: over", `{"lane":"fal","limits":{"by":"` + strings.Repeat("x", 101) + `"}}`,
			"by: 101 bytes are over the limit of 100",
		},
	})
}

func TestDecodeCapRequest(t *testing.T) {
	set := func(data []byte) (operator.CapRequest, error) {
		return operator.DecodeCapRequest(operator.VerbCapsSet, data)
	}
	unset := func(data []byte) (operator.CapRequest, error) {
		return operator.DecodeCapRequest(operator.VerbCapsUnset, data)
	}
	const scopes = "is not all, project.<project> or lane.<lane>"
	checkDecode(t, set, []decodeRow{
		{"a project", `{"scope":"project.demo","daily_usd":20}`, ""},
		{"nothing may be spent", `{"scope":"all","daily_usd":0,"unknown_usd":0,"by":"anna","revision":0}`, ""},
		{"most", `{"scope":"lane.fal","daily_usd":1e9,"unknown_usd":1e9}`, ""},
		{"no scope", `{"daily_usd":20}`, `scope: "" ` + scopes},
		{"a bare project", `{"scope":"demo","daily_usd":20}`, `scope: "demo" ` + scopes},
		{"no amount", `{"scope":"all"}`, "daily_usd: is missing"},
		{"over", `{"scope":"all","daily_usd":1000000001}`, "daily_usd: 1.000000001e+09 is not between 0 and 1e+09"},
		{"below", `{"scope":"all","daily_usd":-0.01}`, "daily_usd: -0.01 is not between 0 and 1e+09"},
		{
			"unknown_usd: below", `{"scope":"all","daily_usd":1,"unknown_usd":-1}`,
			"unknown_usd: -1 is not between 0 and 1e+09",
		},
		{"daily_usd: type", `{"scope":"all","daily_usd":"20"}`, "daily_usd: must be a number, not string"},
		{
			"by: over", `{"scope":"all","daily_usd":1,"by":"` + strings.Repeat("x", 101) + `"}`,
			"by: 101 bytes are over the limit of 100",
		},
	})
	checkDecode(t, unset, []decodeRow{
		{"a project", `{"scope":"project.demo"}`, ""},
		{"with an amount", `{"scope":"project.demo","daily_usd":0}`, "daily_usd: is not taken: the cap goes away"},
	})
	r, err := set([]byte(`{"scope":"all","daily_usd":3}`))
	if want := (bucket.Cap{DailyUSD: 3, UnknownUSD: bucket.DefaultUnknownUSD}); err != nil || r.Cap() != want {
		t.Errorf("the cap is %+v, %v, want %+v", r.Cap(), err, want)
	}
}

func TestDecodeStoredRequest(t *testing.T) {
	decode := func(v events.Verb) func([]byte) (operator.StoredRequest, error) {
		return func(data []byte) (operator.StoredRequest, error) { return operator.DecodeStoredRequest(v, data) }
	}
	checkDecode(t, decode(operator.VerbDead), []decodeRow{
		{"empty payload", ``, ""},
		{"a page", `{"limit":200,"before":7}`, ""},
		{"one", `{"id":7}`, ""},
		{"limit: over", `{"limit":201}`, "limit: 201 is not between 1 and 200"},
		{"limit: below", `{"limit":-1}`, "limit: -1 is not between 1 and 200"},
		{"id: type", `{"id":-1}`, "id: must be a whole number, not number -1"},
		{"letters have no lane", `{"lane":"fal"}`, "lane: unknown field"},
	})
	checkDecode(t, decode(operator.VerbCallbacks), []decodeRow{
		{"of a lane", `{"lane":"fal"}`, ""},
		{"lane: no token", `{"lane":"a.b"}`, `lane: "a.b" is not 1 to 64 characters of A-Z a-z 0-9 _ -`},
	})
	if r, err := operator.DecodeStoredRequest(operator.VerbDead, nil); err != nil || r.Limit != events.DefaultListLimit {
		t.Errorf("the limit is %d, %v", r.Limit, err)
	}
	checkDecode(t, operator.DecodeReplayRequest, []decodeRow{
		{"one", `{"id":7}`, ""},
		{"none", `{}`, "id: must be that of a message"},
		{"nothing", ``, "payload: bad JSON: it ends too early"},
	})
}

func TestDecodeGCRequest(t *testing.T) {
	checkDecode(t, operator.DecodeGCRequest, []decodeRow{
		{"empty payload", ``, ""},
		{"whole", `{"project":"demo","limit":10,"older_than":"24h","dry_run":true}`, ""},
		{"young", `{"older_than":"23h"}`, "older_than: 23h0m0s is under the limit of 24h0m0s: a younger file may be of a task " +
			"that is about to name it"},
		{"project: no token", `{"project":"a.b"}`, `project: "a.b" is not 1 to 64 characters of A-Z a-z 0-9 _ -`},
		{"limit: over", `{"limit":1001}`, "limit: 1001 is not between 1 and 1000"},
		{"after: a path", `{"after":"../x"}`, `after: "../x" is no name of a file`},
	})
}

func TestDecodeEraseRequest(t *testing.T) {
	checkDecode(t, events.DecodeEraseRequest, []decodeRow{
		{"everything", ``, ""},
		{"files", `{"only":"outputs"}`, ""},
		{"another part", `{"only":"input"}`, `only: "input" is not outputs; leave it out to erase everything`},
	})
}

// TestOperatorSubjects: whoever may publish what is of one project, under any name, reaches no verb that writes.
func TestOperatorSubjects(t *testing.T) {
	for _, v := range append(operator.Verbs(), operator.VerbArtifacts, operator.VerbArtifactsVerify, operator.VerbArtifactsGC) {
		if strings.Count(events.APISubject(v), ".") != 2 {
			t.Errorf("%s has more than one token", v)
		}
	}
	writing := []events.Verb{
		operator.VerbLanesPause, operator.VerbLanesResume, operator.VerbLanesLimit, operator.VerbCapsSet,
		operator.VerbCapsUnset, operator.VerbDeadReplay, operator.VerbCallbacksReplay,
	}
	for _, v := range writing {
		if !slices.Contains(operator.Verbs(), v) {
			t.Errorf("%s is not among the verbs", v)
		}
	}
}
