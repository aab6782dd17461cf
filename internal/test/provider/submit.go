package providertest

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"reelay/events"
	"reelay/internal/emulator"
	"reelay/internal/provider"
)

func testFeatures(t *testing.T, h Harness) {
	b := newBench(t, h)
	for _, s := range h.Samples {
		if got := b.driver.Features(s.Model); got != h.Features {
			t.Errorf("%s: features %+v, want %+v", s.Model, got, h.Features)
		}
	}
}

func testCheck(t *testing.T, h Harness) {
	b := newBench(t, h)
	s := h.Samples[0]
	if err := b.driver.Check(s.Type, s.Model, []byte(s.Input)); err != nil {
		t.Errorf("the sample: %v", err)
	}
	for _, row := range []struct{ name, model, input, field string }{
		{"empty model", "", s.Input, "model"},
		{"model with a query", s.Model + "?x=1", s.Input, "model"},
		{"model that climbs", "../" + s.Model, s.Input, "model"},
		{"long model", s.Model + strings.Repeat("x", events.MaxModelBytes), s.Input, "model"},
		{"input is no object", s.Model, `[1]`, "input"},
		{"input is no JSON", s.Model, `{"prompt":`, "input"},
	} {
		err := b.driver.Check(s.Type, row.model, []byte(row.input))
		var fe *events.FieldError
		if !errors.As(err, &fe) || fe.Field != row.field {
			t.Errorf("%s: %v, want a FieldError of %q", row.name, err, row.field)
		}
	}
	if n := b.calls.Load(); n != 0 {
		t.Errorf("Check made %d calls", n)
	}
}

func testRender(t *testing.T, h Harness) {
	b := newBench(t, h)
	const callback = "https://callbacks.example.test/cb/lane/k1/default.t1.1/m-a_c?x=1&y=2"
	for _, s := range h.Samples {
		// What decoding and encoding again would spoil: big numbers, their spelling, doubled members, characters of HTML.
		odd := `"seed":17454220438242315174,"scale":1.0e+0,"twice":1,"twice":2,"text":"<a&b>\u00e9"`
		rest := strings.TrimPrefix(strings.TrimSpace(s.Input), "{")
		in := []byte(`{` + odd + `,` + rest)
		for _, callbackURL := range []string{"", callback} {
			first, err := b.driver.Render(task(s), in, callbackURL)
			if err != nil {
				t.Fatalf("%s: %v", s.Type, err)
			}
			second, err := b.driver.Render(task(s), in, callbackURL)
			if err != nil {
				t.Fatalf("%s, second time: %v", s.Type, err)
			}
			if first.URL != second.URL || !bytes.Equal(first.Body, second.Body) ||
				fmt.Sprint(first.Header) != fmt.Sprint(second.Header) {
				t.Errorf("%s: two renderings of one task differ", s.Type)
			}
			if !bytes.Contains(first.Body, []byte(odd)) || !bytes.Contains(first.Body, []byte(strings.TrimSuffix(rest, "}"))) {
				t.Errorf("%s: the input was altered: %s", s.Type, first.Body)
			}
			checkRendered(t, b, s, first, callbackURL)
		}
		bad := s
		bad.Model = "../" + s.Model
		if _, err := b.driver.Render(task(bad), in, ""); err == nil {
			t.Errorf("%s: a model that climbs was rendered", s.Type)
		}
	}
	if n := b.calls.Load(); n != 0 {
		t.Errorf("Render made %d calls", n)
	}
}

func checkRendered(t *testing.T, b *bench, s Sample, r provider.Request, callbackURL string) {
	t.Helper()
	u, err := url.Parse(r.URL)
	if err != nil || !strings.HasPrefix(r.URL, b.url+"/") {
		t.Fatalf("%s: URL %q is not below %s", s.Type, r.URL, b.url)
	}
	if !strings.Contains(r.Header.Get("Authorization"), canary) {
		t.Errorf("%s: the Authorization header lacks the key", s.Type)
	}
	for name, values := range r.Header {
		if name != "Authorization" && strings.Contains(strings.Join(values, "\n"), canary) {
			t.Errorf("%s: the key is in header %s", s.Type, name)
		}
	}
	if r.Header.Get("Idempotency-Key") != "" && !b.h.Features.Repeatable {
		t.Errorf("%s: an Idempotency-Key would let net/http send twice", s.Type)
	}
	if strings.Contains(r.URL, canary) || bytes.Contains(r.Body, []byte(canary)) {
		t.Errorf("%s: the key is in the URL or the body", s.Type)
	}
	var inQuery bool
	for _, values := range u.Query() {
		inQuery = inQuery || len(values) == 1 && values[0] == callbackURL
	}
	inBody := bytes.Contains(r.Body, []byte(`"`+callbackURL+`"`))
	switch {
	case callbackURL == "" &&
		(strings.Contains(r.URL, "webhook") || strings.Contains(r.URL, "callback") ||
			bytes.Contains(r.Body, []byte("callback"))):
		t.Errorf("%s: a callback is named without one: %s", s.Type, r.URL)
	case callbackURL != "" && b.h.Features.Webhook && !inQuery && !inBody:
		t.Errorf("%s: the callback URL is neither in the query nor in the body", s.Type)
	}
}

// Bodies that no provider's envelope polls like.
func strayBodies() map[string]string {
	return map[string]string{
		"empty":        "",
		"html":         "<html><head><title>502 Bad Gateway</title></head><body><center>nginx</center></body></html>",
		"text":         "upstream connect error",
		"null":         "null",
		"number":       "17454220438242315174",
		"string":       `"ok"`,
		"array":        `[{"request_id":"a","task_id":"a"}]`,
		"empty object": "{}",
		"truncated":    `{"request_id":"abc`,
		"deep":         strings.Repeat("[", 100_000),
		"nul bytes":    "\x00\x01\xff\xfe",
		"empty ids":    `{"request_id":"","task_id":"","id":""}`,
		"null ids":     `{"request_id":null,"task_id":null,"id":null}`,
		"object ids":   `{"request_id":{},"task_id":{},"id":{}}`,
		"climbing ids": `{"request_id":"../x","task_id":"../x","task":{"id":"../x"}}`,
	}
}

func testClassifyIsTotal(t *testing.T, h Harness) {
	b := newBench(t, h)
	model := h.Samples[0].Model
	for name, body := range strayBodies() {
		for status := -1; status <= 1000; status++ {
			if name == "deep" && status%100 != 0 {
				continue // the same for every status, and slow
			}
			a := b.driver.Classify(model, nil, provider.Reply{Status: status, Body: []byte(body)})
			if a.Outcome == provider.Refused && refusedByAnyone(status) && a.Err != nil && a.ID == "" && a.Ref == nil &&
				a.Err.Charge == events.ChargeNone {
				continue
			}
			if a.Outcome != provider.InDoubt || a.Err == nil || a.Err.Kind != events.KindAmbiguous {
				t.Errorf("%s with status %d: %s, %v, want in_doubt and kind ambiguous", name, status, a.Outcome, a.Err)
				break
			}
			if a.ID != "" || a.Ref != nil {
				t.Errorf("%s with status %d: in doubt with id %q", name, status, a.ID)
			}
			if status == 500 {
				checkError(t, name, a.Err)
			}
		}
	}
}

// refusedByAnyone reports whether a status proves that nothing was bought, whoever answers: a redirect, too many
// requests, or a client error. 408, 409 and 499 prove nothing.
func refusedByAnyone(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	case http.StatusRequestTimeout, http.StatusConflict, 499:
		return false
	}
	return status >= 400 && status <= 499
}

func testClassifyRefusal(t *testing.T, h Harness) {
	b := newBench(t, h)
	model := h.Samples[0].Model
	reply := h.Refusal("the reason why")
	a := b.driver.Classify(model, nil, reply)
	if a.Outcome != provider.Refused || a.Err == nil || a.ID != "" || a.Ref != nil {
		t.Fatalf("%d %s: %+v, want refused", reply.Status, reply.Body, a)
	}
	if a.Err.Kind != h.RefusalKind || a.Err.Charge != events.ChargeNone ||
		!strings.Contains(a.Err.Message, "the reason why") {
		t.Errorf("%d %s: kind %s, charge %q, message %q, want kind %s, charge none and the provider's own words",
			reply.Status, reply.Body, a.Err.Kind, a.Err.Charge, a.Err.Message, h.RefusalKind)
	}
	checkError(t, "refusal", a.Err)

	for _, status := range []int{303, 408, 409, 500, 502, 503, 504, 529} {
		r := h.Refusal("the reason why")
		r.Status = status
		if a := b.driver.Classify(model, nil, r); a.Outcome != provider.InDoubt {
			t.Errorf("the refusal's envelope with status %d is %s, want in_doubt", status, a.Outcome)
		}
	}
}

func testLostAnswers(t *testing.T, h Harness) {
	for _, row := range []struct {
		submit string
		paid   int
	}{
		{"accept_then_reset", 1},
		{"accept_then_500", 1},
		{"accept_then_502_html", 1},
		{"accept_then_empty", 1},
		{"reset_before", 0},
	} {
		t.Run(row.submit, func(t *testing.T) {
			b := newBench(t, h)
			s := h.Samples[0]
			reply, err := b.send(t, s, emulator.Script{Submit: row.submit})
			if strings.HasSuffix(row.submit, "reset") || row.paid == 0 {
				if err == nil {
					t.Errorf("the connection was not broken: %d %s", reply.Status, reply.Body)
				}
			} else if a := b.driver.Classify(s.Model, nil, reply); err != nil || a.Outcome != provider.InDoubt {
				t.Errorf("%d %s, error %v: %s, want in_doubt", reply.Status, reply.Body, err, a.Outcome)
			}
			jobs := b.ledger.Jobs()
			if len(jobs) != row.paid {
				t.Fatalf("the ledger has %d jobs, want %d", len(jobs), row.paid)
			}
			if row.paid == 1 && jobs[0].Answered {
				t.Error("the ledger says that the answer with the id was written")
			}
		})
	}
}

// raw answers every call with that status and body.
func raw(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}
