package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/events/operator"
)

const (
	falCallback = `{"error": null, "payload": {"seed": 17454220438242315174, "video": {"url": ` +
		`"https://v3.example.test/o.mp4?Expires=9\u0026Signature=hush"}}, "status": "OK"}`
	minimaxCallback = `{"task":{"id":"4","status":"succeeded","content":{"url":"https://cdn.example.test/4.mp4"}}}`
)

// deliver stores callbacks, the first as callback 1.
func (b *testbed) deliver(bodies ...string) {
	b.tb.Helper()
	for i, body := range bodies {
		h := events.Callback{
			Lane: []string{"fal", "minimax"}[i%2], Task: events.Key{Project: "demo", ID: fmt.Sprintf("t%d", i+1)},
			Attempt: i + 1, Received: start, Body: []byte(body),
		}
		msg := &nats.Msg{Subject: h.Subject(), Header: nats.Header{}, Data: h.Body}
		for name, value := range h.Header() {
			msg.Header.Set(name, value)
		}
		msg.Header.Set("Nats-Msg-Id", fmt.Sprint("id", i))
		if _, err := b.js.PublishMsg(b.tb.Context(), msg); err != nil {
			b.tb.Fatal(err)
		}
	}
}

func TestCallbacksLs(t *testing.T) {
	b := newBench(t)
	b.reelay("callbacks", "ls").check(t, exitUnreachable, "", "no reelay service answers on reelay.api.callbacks")
	b.serveStatus()
	b.reelay("callbacks", "ls").check(t, 0, "ID  RECEIVED", "")
	b.deliver(falCallback, minimaxCallback, `{"status":"OK\u001b[2J"}`, `{"status":7}`)
	if _, err := b.js.Publish(t.Context(), "reelay.callback.fal.demo.t9", nil); err != nil { // without an attempt
		t.Fatal(err)
	}
	stream, err := b.js.Stream(t.Context(), events.StreamCallbacks)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.DeleteMsg(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	says := func(args ...string) string {
		t.Helper()
		r := b.reelay(append([]string{"callbacks", "ls", "--json"}, args...)...)
		r.check(t, 0, "", `message 5: Reelay-Attempt: "" is not the number of an attempt`)
		var out operator.CallbacksReply
		if err := json.Unmarshal([]byte(r.stdout), &out); err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, d := range out.Callbacks {
			all = append(all, fmt.Sprintf("%d %s %s.%s %d %d %s", d.ID, d.Lane, d.Project, d.TaskID, d.Attempt, d.Bytes,
				d.ProviderWord))
		}
		return strings.Join(all, "; ")
	}
	fal1 := fmt.Sprintf("1 fal demo.t1 1 %d OK", len(falCallback))
	mm2, mm4 := fmt.Sprintf("2 minimax demo.t2 2 %d succeeded", len(minimaxCallback)), "4 minimax demo.t4 4 12 "
	for _, row := range []struct {
		args []string
		want string
	}{
		{nil, mm4 + "; " + mm2 + "; " + fal1},
		{[]string{"--limit", "2"}, mm4 + "; " + mm2},
		{[]string{"--lane", "fal"}, fal1},
		{[]string{"--lane", "minimax", "--limit", "1"}, mm4},
		{[]string{"--lane", "veo"}, ""},
	} {
		if got := says(row.args...); got != row.want {
			t.Errorf("%v: %s, want %s", row.args, got, row.want)
		}
	}
	b.reelay("callbacks", "ls", "--limit", "0").check(t, 2, "", "--limit: 0 is not between 1 and 1000")
	b.reelay("callbacks", "ls", "--limit", "1001").check(t, 2, "", "--limit: 1001 is not between 1 and 1000")
}

func TestCallbacksShow(t *testing.T) {
	b := newBench(t)
	b.serveStatus()
	b.deliver(falCallback)
	r := b.reelay("callbacks", "show", "1")
	r.check(t, 0, "demo.t1, attempt 1", "")
	for _, want := range []string{
		"Reelay-Attempt: 1", `"seed": 17454220438242315174`,
		`"url": "https://v3.example.test/o.mp4?[redacted]"`,
	} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("%q is missing:\n%s", want, r.stdout)
		}
	}
	if strings.Contains(r.stdout, "hush") {
		t.Errorf("shows a signature:\n%s", r.stdout)
	}
	b.reelay("callbacks", "show", "2").check(t, 1, "", "there is no callback 2 (not_found); see: reelay callbacks ls")
	b.reelay("callbacks", "show", "x").check(t, 2, "", "id")
}

func TestWithoutSecrets(t *testing.T) {
	for body, want := range map[string]string{
		`{"a":"https://h/p"}`:                             `{"a":"https://h/p"}`,
		`{"a":"https://h/p?sig=hush"}`:                    `{"a":"https://h/p?[redacted]"}`,
		`{"a":"https:\/\/h\/p?sig=hush"}`:                 `{"a":"https://h/p?[redacted]"}`,
		`{"a":"https://h/p?x=1\u0026sig=hush"}`:           `{"a":"https://h/p?[redacted]"}`,
		`{"a":"\u0068ttps://h/p?sig=hush"}`:               `{"a":"https://h/p?[redacted]"}`,
		`{"a":"HTTPS://h/p?sig=hush"}`:                    `{"a":"https://h/p?[redacted]"}`,
		`{"a":"https://u:hush@h/p"}`:                      `{"a":"https://h/p?[redacted]"}`,
		`{"a":"https://h/p#hush"}`:                        `{"a":"https://h/p?[redacted]"}`,
		`{"a":"two: https://h/1?hush, https://h/2?hush"}`: `{"a":"two: https://h/1?[redacted] https://h/2?[redacted]"}`,
		`{"a":"http://h:x/?hush"}`:                        `{"a":"[unreadable link]"}`,
		`{"https://h/p?sig=hush":1}`:                      `{"https://h/p?[redacted]":1}`,
		`{"a":1.0,"b":17454220438242315174,"c":"?x=1"}`:   `{"a":1.0,"b":17454220438242315174,"c":"?x=1"}`,
		`not json https://h/p?sig=hush`:                   `not json https://h/p?[redacted]`,
	} {
		if got := string(withoutSecrets([]byte(body))); got != want {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
	}
}

// No secret of a link is left, wherever in a body it stands, and JSON stays JSON.
func FuzzWithoutSecrets(f *testing.F) {
	for _, body := range []string{
		falCallback, minimaxCallback, `{"a":"https://h/?s"}`, `https://h?a`,
		`"\"https://h/?s"`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got := withoutSecrets(body)
		if json.Valid(body) && !json.Valid(got) {
			t.Errorf("%q became %q", body, got)
		}
	})
}

func TestCallbacksReplay(t *testing.T) {
	b := newBench(t)
	b.serveStatus()
	b.deliver(falCallback)
	answer := func(stdin string, args ...string) result {
		e, stdout, stderr := testEnv()
		e.stdin = strings.NewReader(stdin)
		code := execute(t.Context(), e, append(append([]string{"callbacks", "replay"}, args...), "--server", b.url))
		return result{code, stdout.String(), stderr.String()}
	}
	callbacks := func() (uint64, *jetstream.RawStreamMsg) {
		t.Helper()
		s, err := b.js.Stream(t.Context(), events.StreamCallbacks)
		if err != nil {
			t.Fatal(err)
		}
		raw, _ := s.GetMsg(t.Context(), s.CachedInfo().State.LastSeq)
		return s.CachedInfo().State.Msgs, raw
	}
	answer("n\n", "1").check(t, 1, "",
		fmt.Sprintf("hand %d bytes about attempt 1 of demo.t1 to the pipeline again? [y/N] reelay: nothing was published",
			len(falCallback)))
	answer("", "7", "--yes").check(t, 1, "", "there is no callback 7")
	if n, _ := callbacks(); n != 1 {
		t.Fatalf("%d messages are stored, want the first alone", n)
	}
	answer("y\n", "1").check(t, 0, "published again on reelay.callback.fal.demo.t1, now message 2 of REELAY_CALLBACKS\n",
		"reelay timeline demo.t1")
	answer("", "1", "--yes").check(t, 0, "now message 3 of REELAY_CALLBACKS\n", "")
	_, raw := callbacks()
	h, err := events.ParseCallback(raw.Subject, raw.Header.Get, raw.Data)
	if err != nil || string(h.Body) != falCallback || h.Attempt != 1 || raw.Header.Get("Nats-Msg-Id") != "" ||
		time.Since(h.Received) > time.Minute {
		t.Errorf("%+v, %v, headers %v", h, err, raw.Header)
	}
}
