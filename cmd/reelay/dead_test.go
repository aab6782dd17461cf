package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"reelay/events"
	"reelay/events/operator"
)

// aLetter is a dead request.
func aLetter(change ...func(*events.DeadLetter)) events.DeadLetter {
	l := events.DeadLetter{
		Stream: events.StreamRequests, Consumer: events.ConsumerIntake, Sequence: 7, Deliveries: 5,
		Reason: "handler panicked\x1b[2J", Subject: "reelay.request.demo.video", StoredAt: start,
		Header: map[string][]string{"Nats-Msg-Id": {"m1"}, "traceparent": {"00-1"}}, Body: []byte(`{"model":"m"}`),
	}
	for _, f := range change {
		f(&l)
	}
	return l
}

// deadLetter stores letters, the first as message 1.
func (b *testbed) deadLetter(all ...events.DeadLetter) {
	b.tb.Helper()
	for _, l := range all {
		msg := &nats.Msg{Subject: events.DeadSubject(l.Stream, l.Consumer), Header: l.Encode(), Data: l.Body}
		if _, err := b.js.PublishMsg(b.tb.Context(), msg); err != nil {
			b.tb.Fatal(err)
		}
	}
}

func TestDeadLs(t *testing.T) {
	b := newBench(t)
	b.reelay("dead", "ls").check(t, exitUnreachable, "", "no reelay service answers on reelay.api.dead")
	b.serveStatus()
	b.reelay("dead", "ls").check(t, 0, "ID  TIME", "")
	b.deadLetter(aLetter(), aLetter(func(l *events.DeadLetter) { l.Subject = "reelay.callback.fal.demo.t1" }),
		aLetter(func(l *events.DeadLetter) { l.Consumer = "x" }))
	if _, err := b.js.Publish(t.Context(), "reelay.dead.a.b", nil); err != nil { // not one of ours
		t.Fatal(err)
	}
	stream, err := b.js.Stream(t.Context(), events.StreamDead)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.DeleteMsg(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	ids := func(args ...string) string {
		t.Helper()
		r := b.reelay(append([]string{"dead", "ls", "--json"}, args...)...)
		r.check(t, 0, "", "message 4: not a dead letter")
		var out operator.DeadReply
		if err := json.Unmarshal([]byte(r.stdout), &out); err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, l := range out.Letters {
			got += fmt.Sprint(l.ID, " ", l.Stream, "/", l.Consumer, " ", l.Bytes, "; ")
		}
		return got
	}
	if got, want := ids(), "3 REELAY_REQUESTS/x 13; 1 REELAY_REQUESTS/intake 13; "; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := ids("--limit", "1"), "3 REELAY_REQUESTS/x 13; "; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	for _, limit := range []string{"0", "1001", "-1"} {
		b.reelay("dead", "ls", "--limit="+limit).check(t, 2, "", "is not between 1 and 1000")
	}
}

// stored is a letter as the service shows it.
func stored(l events.DeadLetter, id uint64, at time.Time) operator.StoredLetter {
	return operator.StoredLetter{
		ID: id, Time: at, Stream: l.Stream, Consumer: l.Consumer, Sequence: l.Sequence, Subject: l.Subject,
		StoredAt: l.StoredAt, Deliveries: l.Deliveries, Reason: l.Reason,
		StoredMessage: operator.StoredMessage{Bytes: len(l.Body), Header: l.Header, Text: string(l.Body)},
	}
}

func TestPrintDead(t *testing.T) {
	var b bytes.Buffer
	gone := events.DeadLetter{
		Stream: events.StreamPolls, Consumer: "poller-fal", Sequence: 1, Deliveries: 12,
		Reason: "ended by a client",
	}
	if err := printDead(&b, []operator.StoredLetter{stored(gone, 12, start.Add(time.Hour)), stored(aLetter(), 3, start)},
		time.UTC); err != nil {
		t.Fatal(err)
	}
	golden(t, b.String(), `ID  TIME                 FROM                     SUBJECT                    TRIES  REASON
12  2026-01-31 13:00:00  REELAY_POLLS/poller-fal  -                          12     ended by a client
3   2026-01-31 12:00:00  REELAY_REQUESTS/intake   reelay.request.demo.video  5      handler panicked [2J
`)
}

func TestPrintLetter(t *testing.T) {
	var b bytes.Buffer
	if err := printLetter(&b, stored(aLetter(), 3, start.Add(time.Hour)), time.UTC); err != nil {
		t.Fatal(err)
	}
	golden(t, b.String(), `id        3
given up  2026-01-31 13:00:00
reason    handler panicked [2J
from      REELAY_REQUESTS/intake, message 7, 5 deliveries
subject   reelay.request.demo.video
stored    2026-01-31 12:00:00
header    Nats-Msg-Id: m1
header    traceparent: 00-1

{
  "model": "m"
}
`)
	for body, want := range map[string]string{
		"": "(no body)", "a\x1b\nb": "a \nb", "\xff\x00": "(2 bytes that are not text)",
		`{"seed":12345678901234567890}`: "{\n  \"seed\": 12345678901234567890\n}",
	} {
		if got := printable([]byte(body)); got != want {
			t.Errorf("%q is printed as %q, want %q", body, got, want)
		}
	}
}

func TestDeadShow(t *testing.T) {
	b := newBench(t)
	b.serveStatus()
	b.deadLetter(aLetter(func(l *events.DeadLetter) { l.CutFrom = 1 << 20 }))
	b.reelay("dead", "show", "1").check(t, 0, "only 13 of about 1048576 bytes are here:\n{\n", "")
	b.reelay("dead", "show", "2").check(t, 1, "", "there is no dead message 2 (not_found); see: reelay dead ls")
	b.reelay("dead", "show", "x").check(t, 2, "", "id")
	if _, err := b.js.Publish(t.Context(), "reelay.dead.a.b", nil); err != nil {
		t.Fatal(err)
	}
	b.reelay("dead", "show", "2").check(t, 1, "", "dead message 2: not a dead letter")
}

// TestDeadReplay publishes nothing that was not asked for, and the same task however often it is done.
func TestDeadReplay(t *testing.T) {
	b := newBench(t)
	b.serveStatus()
	b.deadLetter(aLetter(), aLetter(func(l *events.DeadLetter) { l.Subject = "reelay.callback.fal.demo.t1" }),
		aLetter(func(l *events.DeadLetter) { l.Subject = "reelay.heartbeat.demo.t1" }))
	count := func(stream string) uint64 {
		t.Helper()
		s, err := b.js.Stream(t.Context(), stream)
		if err != nil {
			t.Fatal(err)
		}
		return s.CachedInfo().State.Msgs
	}
	answer := func(stdin string, args ...string) result {
		e, stdout, stderr := testEnv()
		e.stdin = strings.NewReader(stdin)
		code := execute(t.Context(), e, append(append([]string{"dead", "replay"}, args...), "--server", b.url))
		return result{code, stdout.String(), stderr.String()}
	}
	for _, no := range []string{"", "\n", "n\n", "nope\n", "yikes\n"} {
		answer(no, "1").check(t, 1, "",
			"publish 13 bytes again on reelay.request.demo.video, a request that may be paid for? [y/N] reelay: nothing was "+
				"published")
	}
	answer("", "3", "--yes").check(t, 1, "", "message 3: cannot be replayed: the server sends the next heartbeat")
	answer("", "9", "--yes").check(t, 1, "", "there is no dead message 9")
	if n := count(events.StreamRequests) + count(events.StreamCallbacks); n != 0 {
		t.Fatalf("%d messages were published", n)
	}
	answer("y\n", "1").check(t, 0, "published again on reelay.request.demo.video, now message 1 of REELAY_REQUESTS\n",
		"reelay watch demo.m1")
	r := answer("", "2", "--yes")
	r.check(t, 0, "now message 1 of REELAY_CALLBACKS\n", "")
	if strings.Contains(r.stderr, "?") {
		t.Errorf("asked in spite of --yes: %s", r.stderr)
	}
	for stream, want := range map[string]string{events.StreamRequests: "m1 00-1 ", events.StreamCallbacks: " 00-1 "} {
		s, err := b.js.Stream(t.Context(), stream)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := s.GetMsg(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		got := raw.Header.Get("Nats-Msg-Id") + " " + raw.Header.Get("traceparent") + " " +
			raw.Header.Get(events.HeaderDeadStream)
		if got != want || string(raw.Data) != `{"model":"m"}` {
			t.Errorf("%s: headers %q, body %s, want %q", stream, got, raw.Data, want)
		}
	}
	if n := count(events.StreamDead); n != 3 {
		t.Errorf("%d letters are left of 3", n)
	}
}
