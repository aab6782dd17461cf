package fal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/provider"
)

const sought = `{"prompt":"a <kite> & more","seed":17454220438242315174,"cfg":1.50}`

func seeking(t testing.TB, input string) events.Task {
	t.Helper()
	digest, err := events.Digest([]byte(input))
	if err != nil {
		t.Fatal(err)
	}
	return events.Task{Model: sampleModel, InputDigest: digest}
}

// longAgo is so far back that whatever ran then has ended.
func longAgo() time.Time { return time.Now().Add(-2 * time.Hour).Truncate(time.Second) }

func item(id string, sent time.Time, rest string) string {
	return fmt.Sprintf(`{"request_id":%q,"endpoint_id":%q,"sent_at":%q%s}`, id, sampleModel,
		sent.UTC().Format(time.RFC3339Nano), rest)
}

func listing(t testing.TB, h http.HandlerFunc) *Driver {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return newDriver(t, server.URL)
}

func TestListEntries(t *testing.T) {
	t.Parallel()
	since := longAgo()
	with := func(input string) string { return item("r1", since, `,"json_input":`+input) }
	const (
		none  = "none"
		maybe = "maybe"
		exact = "exact"
	)
	for _, row := range []struct {
		name, items string
		want        string
		complete    bool
	}{
		{"nothing", ``, none, true},
		{"the same", with(sought), exact, true},
		{
			"in another order", with(`{ "cfg":1.50, "seed":17454220438242315174, "prompt":"a \u003ckite\u003e & more" }`), exact,
			true,
		},
		{"as text", with(strconv.Quote(sought)), exact, true},
		{"a number spelt otherwise", with(`{"prompt":"a <kite> & more","seed":17454220438242315174,"cfg":1.5}`), maybe, true},
		{
			"with defaults filled in",
			with(`{"prompt":"a <kite> & more","seed":17454220438242315174,"cfg":1.50,"duration":"5"}`), maybe, true,
		},
		{
			"another seed, alike as a float64", with(`{"prompt":"a <kite> & more","seed":17454220438242315175,"cfg":1.50}`),
			none, true,
		},
		{"another prompt", with(`{"prompt":"a heron","seed":17454220438242315174,"cfg":1.50}`), none, true},
		{"less", with(`{"prompt":"a <kite> & more"}`), none, true},
		{"another kind", with(`[1]`), none, true},
		{"no input", item("r1", since, ``), maybe, true},
		{"null input", with(`null`), maybe, true},
		{"text that is no JSON", with(`"gone"`), maybe, true},
		{"just before", item("r1", since.Add(-time.Millisecond), ``), none, true},
		{"without a zone", strings.Replace(item("r1", since.Add(time.Second), ``), `Z"`, `.123456"`, 1), maybe, true},
		{"twice", with(sought) + "," + with(sought), exact, true},
		{"of another endpoint", strings.Replace(with(sought), sampleModel, "fal-ai/other", 1), none, true},
		{"of no endpoint", `{"request_id":"r1","sent_at":"` + since.UTC().Format(time.RFC3339) + `"}`, maybe, true},
		{"without a time", `{"request_id":"r1"},` + item("r2", since, ``), maybe, false},
		{"with an odd time", `{"request_id":"r1","sent_at":"yesterday"}`, none, false},
		{"with an odd id", item("../r1", since, ``), none, false},
		{"no object", `"r1",null,` + item("r2", since, ``), maybe, false},
	} {
		d := listing(t, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintf(w, `{"items":[%s],"next_cursor":null,"has_more":false}`, row.items)
		})
		found, complete, err := d.List(t.Context(), seeking(t, sought), json.RawMessage(sought), since)
		got := none
		if len(found) > 0 {
			got = map[bool]string{true: exact, false: maybe}[found[0].Exact]
		}
		if err != nil || got != row.want || complete != row.complete || len(found) > 1 {
			t.Errorf("%s: %+v, complete %v, %v, want %s, %v", row.name, found, complete, err, row.want, row.complete)
		}
	}
}

func TestListCall(t *testing.T) {
	t.Parallel()
	since := time.Date(2026, time.May, 1, 12, 0, 0, 999, time.FixedZone("CEST", 7200))
	var q map[string][]string
	var path, key string
	d := listing(t, func(w http.ResponseWriter, r *http.Request) {
		path, key, q = r.Method+" "+r.URL.Path, r.Header.Get("Authorization"), r.URL.Query()
		_, _ = w.Write([]byte(`{"items":[]}`))
	})
	if _, _, err := d.List(t.Context(), seeking(t, sought), json.RawMessage(sought), since); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"endpoint_id": sampleModel, "start": "2026-05-01T10:00:00Z", "expand": "payloads",
		"limit": "100",
	}
	for name, v := range want {
		if len(q[name]) != 1 || q[name][0] != v {
			t.Errorf("%s is %q, want %q", name, q[name], v)
		}
	}
	if len(q) != len(want) || path != "GET /v1/models/requests/by-endpoint" || key != "Key "+testKey {
		t.Errorf("%s with %q", path, q)
	}
}

// A request that may still run is not in the list: only an hour later its absence says anything.
func TestListIsCompleteAfterTheLongestRun(t *testing.T) {
	t.Parallel()
	d := listing(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"items":[]}`)) })
	for ago, want := range map[time.Duration]bool{
		0: false, 59 * time.Minute: false, 61 * time.Minute: true,
		-time.Hour: false,
	} {
		_, complete, err := d.List(t.Context(), seeking(t, sought), json.RawMessage(sought), time.Now().Add(-ago))
		if err != nil || complete != want {
			t.Errorf("%v ago: complete %v, %v, want %v", ago, complete, err, want)
		}
	}
}

func TestListPages(t *testing.T) {
	t.Parallel()
	since := longAgo()
	for _, row := range []struct {
		name     string
		next     func(page int) string // the rest of the answer after its items
		calls    int
		complete bool
	}{
		{"three pages", func(p int) string {
			if p == 3 {
				return `,"next_cursor":null,"has_more":false`
			}
			return fmt.Sprintf(`,"next_cursor":"c%d","has_more":true`, p)
		}, 3, true},
		{"no cursor at all", func(int) string { return `` }, 1, true},
		{"more, but no cursor", func(int) string { return `,"has_more":true` }, 1, false},
		{"in a circle", func(int) string { return `,"next_cursor":"c","has_more":true` }, 2, false},
		{"no end", func(p int) string { return fmt.Sprintf(`,"next_cursor":"c%d","has_more":true`, p) }, maxListCalls, false},
	} {
		calls, cursor := 0, ""
		d := listing(t, func(w http.ResponseWriter, r *http.Request) {
			calls++
			if got := r.URL.Query().Get("cursor"); got != cursor {
				t.Errorf("%s: call %d with cursor %q, want %q", row.name, calls, got, cursor)
			}
			body := `{"items":[` + item(fmt.Sprintf("r%d", calls), since, ``) + `]` + row.next(calls) + `}`
			var a struct {
				Next string `json:"next_cursor"`
			}
			_ = json.Unmarshal([]byte(body), &a)
			cursor = a.Next
			_, _ = w.Write([]byte(body))
		})
		found, complete, err := d.List(t.Context(), seeking(t, sought), json.RawMessage(sought), since)
		if err != nil || complete != row.complete || calls != row.calls || len(found) != calls {
			t.Errorf("%s: %d found in %d calls, complete %v, %v, want %d calls, %v", row.name, len(found), calls, complete, err,
				row.calls, row.complete)
		}
	}
}

// Inputs may hold whole images: pages over the limit of an answer are asked for in smaller parts.
func TestListOfLargeInputs(t *testing.T) {
	t.Parallel()
	since := longAgo()
	const entries = 9
	image := strings.Repeat("x", provider.MaxBodyBytes/8)
	d := listing(t, func(w http.ResponseWriter, r *http.Request) {
		limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
		from, _ := strconv.Atoi(r.URL.Query().Get("cursor"))
		var items []string
		for i := from; i < min(from+limit, entries); i++ {
			items = append(items, item(fmt.Sprintf("r%d", i), since, `,"json_input":{"prompt":"p","image_url":"`+image+`"}`))
		}
		next := `null`
		if from+limit < entries {
			next = fmt.Sprintf(`"%d"`, from+limit)
		}
		_, _ = fmt.Fprintf(w, `{"items":[%s],"next_cursor":%s}`, strings.Join(items, ","), next)
	})
	found, complete, err := d.List(t.Context(), seeking(t, `{"prompt":"p"}`), json.RawMessage(`{"prompt":"p"}`), since)
	if err != nil || !complete || len(found) != entries {
		t.Errorf("%d found, complete %v, %v, want %d", len(found), complete, err, entries)
	}
	d = listing(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(bytes.Repeat([]byte(" "), provider.MaxBodyBytes+1))
	})
	_, _, err = d.List(t.Context(), seeking(t, sought), json.RawMessage(sought), since)
	if err == nil || provider.AsError(err).Code != "answer_too_large" {
		t.Errorf("a page that is always too large: %v", err)
	}
}

func TestListErrors(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		status int
		body   string
		kind   events.Kind
	}{
		{"another key is needed", 403, `{"detail":"` + testKey + ` is no admin key"}`, events.KindAuth},
		{"too fast", 429, `{"detail":"slow down ` + testKey + `"}`, events.KindRateLimited},
		{"page of a middlebox", 502, `<html>` + testKey, events.KindRetry},
		{"page with 200", 200, `<html>` + testKey, events.KindRetry},
		{"no items", 200, `{"detail":"` + testKey + `"}`, events.KindRetry},
		{"null items", 200, `{"items":null}`, events.KindRetry},
		{"items are no list", 200, `{"items":{"` + testKey + `":1}}`, events.KindRetry},
		{"cut off", 200, `{"items":[`, events.KindRetry},
	} {
		d := listing(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(row.status)
			_, _ = w.Write([]byte(row.body))
		})
		found, complete, err := d.List(t.Context(), seeking(t, sought), json.RawMessage(sought), longAgo())
		if err == nil || complete || len(found) > 0 {
			t.Errorf("%s: %v, complete %v, no error", row.name, found, complete)
			continue
		}
		if e, ok := errors.AsType[*provider.Error](err); !ok || e.Kind != row.kind || e.Message == "" {
			t.Errorf("%s: %T %v, want kind %s", row.name, err, err, row.kind)
		}
		if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), testKey[:8]) {
			t.Errorf("%s: the key shows in %v", row.name, err)
		}
	}
	d := newDriver(t, "http://127.0.0.1:1")
	if _, _, err := d.List(t.Context(), events.Task{Model: "alone"}, nil,
		longAgo()); provider.AsError(err).Code != "bad_model" {
		t.Errorf("a model that is none: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := d.List(ended, seeking(t, sought), json.RawMessage(sought), longAgo()); err == nil ||
		provider.AsError(err).Kind != events.KindRetry {
		t.Errorf("an ended context: %v", err)
	}
}

func TestPlatformURL(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ base, platform, want string }{
		{"", "", DefaultPlatformURL},
		{"https://proxy.example.test/", "", "https://proxy.example.test"},
		{"https://proxy.example.test", "https://api.example.test/", "https://api.example.test"},
		{"", "https://api.example.test", "https://api.example.test"},
	} {
		d, err := New(Options{BaseURL: row.base, PlatformURL: row.platform, Key: newDriver(t, "").key})
		if err != nil || d.platformURL != row.want {
			t.Errorf("%q and %q: %v, %v, want %s", row.base, row.platform, d, err, row.want)
		}
	}
	if _, err := New(Options{PlatformURL: "http://api.fal.ai", Key: newDriver(t, "").key}); err == nil ||
		!strings.Contains(err.Error(), "platform URL") {
		t.Errorf("plain http: %v", err)
	}
}
