package events_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"reelay/events"
)

// aLetter is a dead request.
func aLetter(change ...func(*events.DeadLetter)) events.DeadLetter {
	l := events.DeadLetter{
		Stream: events.StreamRequests, Consumer: events.ConsumerIntake, Sequence: 7, Deliveries: 5,
		Reason: "handler panicked", Subject: "reelay.request.demo.video",
		StoredAt: time.Date(2026, 1, 31, 12, 0, 0, 5, time.UTC),
		Header:   map[string][]string{"Nats-Msg-Id": {"m1"}, "traceparent": {"00-1"}, "X": {"a", "b"}},
		Body:     []byte(`{"model":"m"}`),
	}
	for _, f := range change {
		f(&l)
	}
	return l
}

func TestDeadLetterRoundTrip(t *testing.T) {
	for name, l := range map[string]events.DeadLetter{
		"whole":      aLetter(),
		"cut":        aLetter(func(l *events.DeadLetter) { l.CutFrom = 1 << 20 }),
		"gone":       {Stream: "S", Consumer: "c", Sequence: 1, Reason: "ended"},
		"no headers": aLetter(func(l *events.DeadLetter) { l.Header = nil }),
		"hostile": aLetter(func(l *events.DeadLetter) {
			l.Header = map[string][]string{
				"Reelay-Dead-Subject": {"reelay.event.x"}, "reelay-dead-stream": {"X"}, "Reelay-Dead-Kept-Nats-Rollup": {"all"},
				"nats-rollup": {"sub"},
			}
		}),
	} {
		h := l.Encode()
		got, err := events.DecodeDeadLetter(h, l.Body)
		if err != nil || !reflect.DeepEqual(got, l) {
			t.Errorf("%s: %+v, %v\nwant %+v", name, got, err, l)
		}
		for header := range h {
			if strings.HasPrefix(strings.ToLower(header), "nats-") {
				t.Errorf("%s: the server would obey %s", name, header)
			}
		}
	}
	if got := aLetter().ID(); got != "REELAY_REQUESTS:7" {
		t.Errorf("id %s", got)
	}
	long := aLetter(func(l *events.DeadLetter) { l.Reason = "a\r\nNats-Rollup: all" + strings.Repeat("x", 1<<20) })
	if r := long.Encode()[events.HeaderDeadReason][0]; len(r) > events.MaxMessageBytes || strings.ContainsAny(r, "\r\n") {
		t.Errorf("a reason of %d bytes, %.30q", len(r), r)
	}
}

func TestDecodeDeadLetterErrors(t *testing.T) {
	for _, row := range []struct{ header, value, want string }{
		{events.HeaderDeadStream, "", "Reelay-Dead-Stream or"},
		{events.HeaderDeadConsumer, "", "Reelay-Dead-Consumer is missing"},
		{events.HeaderDeadSequence, "x", "invalid syntax"},
		{events.HeaderDeadDeliveries, "-1", "invalid syntax"},
		{events.HeaderDeadStored, "yesterday", "parsing time"},
		{events.HeaderDeadBytes, "many", "invalid syntax"},
	} {
		h := aLetter().Encode()
		h[row.header] = []string{row.value}
		if _, err := events.DecodeDeadLetter(h, nil); !errors.Is(err, events.ErrDeadLetter) ||
			!strings.Contains(err.Error(), row.want) {
			t.Errorf("%s %q: %v, want %q", row.header, row.value, err, row.want)
		}
	}
}

func TestDeadLetterKey(t *testing.T) {
	derived := events.DerivedTaskID(7, aLetter().StoredAt)
	for _, row := range []struct {
		subject, msgID, body, want string
	}{
		{"reelay.request.demo.video", "m1", `{"id":"own"}`, "demo.own"},
		{"reelay.request.demo.video", "m1", `{"id":7}`, "demo.m1"},
		{"reelay.request.demo.video", "m1", `{"id":"not a token"}`, "demo.m1"},
		{"reelay.request.demo.video", "not a token", `no JSON`, "demo." + derived},
		{"reelay.request.demo.movie", "", `{}`, "demo." + derived},
		{"reelay.request.de$mo.video", "", `{}`, "_invalid." + derived},
		{"reelay.command.demo.t1.cancel", "m1", `{}`, "demo.t1"},
		{"reelay.command.demo.t1.nonsense", "", `{}`, "demo.t1"},
		{"reelay.command.demo", "", `{}`, "_invalid." + derived},
		{"reelay.poll.fal.demo.t1", "m1", ``, ""},
		{"", "m1", ``, ""},
	} {
		k, ok := aLetter(func(l *events.DeadLetter) {
			l.Subject, l.Header, l.Body = row.subject, map[string][]string{"Nats-Msg-Id": {row.msgID}}, []byte(row.body)
		}).Key()
		if ok != (row.want != "") || ok && k.String() != row.want {
			t.Errorf("%s with id %q and body %s: %v, %v, want %q", row.subject, row.msgID, row.body, k, ok, row.want)
		}
	}
}

func TestDeadLetterBatch(t *testing.T) {
	for _, row := range []struct {
		subject, body, id string
		size              int
	}{
		{"reelay.request.demo.video", `{"batch_id":"film","batch_size":3}`, "film", 3},
		{"reelay.request.demo.video", `{"id":7,"batch_id":"film","batch_size":"3"}`, "film", 0},
		{"reelay.request.demo.video", `{"batch_id":"fi.lm","batch_size":3}`, "", 0},
		{"reelay.request.demo.video", `{"batch_id":"film","batch_si`, "", 0},
		{"reelay.command.demo.t1.cancel", `{"batch_id":"film"}`, "", 0},
		{"", `{"batch_id":"film"}`, "", 0},
	} {
		id, size := aLetter(func(l *events.DeadLetter) { l.Subject, l.Body = row.subject, []byte(row.body) }).Batch()
		if id != row.id || size != row.size {
			t.Errorf("%s on %q: batch %q of %d, want %q of %d", row.body, row.subject, id, size, row.id, row.size)
		}
	}
}

func TestReplay(t *testing.T) {
	on := func(subject string) func(*events.DeadLetter) {
		return func(l *events.DeadLetter) { l.Subject = subject }
	}
	plain := map[string][]string{"traceparent": {"00-1"}, "X": {"a", "b"}}
	with := func(id string) map[string][]string {
		return map[string][]string{"traceparent": {"00-1"}, "X": {"a", "b"}, "Nats-Msg-Id": {id}}
	}
	for _, row := range []struct {
		name   string
		change func(*events.DeadLetter)
		header map[string][]string
		why    string
	}{
		{"request", func(*events.DeadLetter) {}, with("m1"), ""},
		{"request that names itself", func(l *events.DeadLetter) { l.Body = []byte(`{"id":"own"}`) }, with("m1"), ""},
		{
			"request without an id", func(l *events.DeadLetter) { delete(l.Header, "Nats-Msg-Id") },
			with(events.DerivedTaskID(7, aLetter().StoredAt)), "",
		},
		{
			"request that expects", func(l *events.DeadLetter) { l.Header["Nats-Expected-Last-Sequence"] = []string{"1"} },
			with("m1"), "",
		},
		{"command", on("reelay.command.demo.t1.cancel"), plain, ""},
		{"callback", on("reelay.callback.fal.demo.t1"), plain, ""},
		{"watch", on("reelay.poll.fal.demo.t1"), nil, "heartbeat of its task makes"},
		{"heartbeat", on("reelay.heartbeat.demo.t1"), nil, "next heartbeat"},
		{"record", on("$KV.reelay_tasks.demo.t1"), nil, "no subject of requests"},
		{"event", on("reelay.event.demo.t1.completed"), nil, "no subject of requests"},
		{"gone", on(""), nil, "gone before it could be copied"},
		{"cut", func(l *events.DeadLetter) { l.CutFrom = 99 }, nil, "only 13 of its about 99 bytes"},
	} {
		l := aLetter(row.change)
		before := l.Encode()
		subject, header, body, err := l.Replay()
		if row.why != "" {
			if !errors.Is(err, events.ErrNotReplayable) || !strings.Contains(err.Error(), row.why) {
				t.Errorf("%s: %v, want %q", row.name, err, row.why)
			}
			continue
		}
		if err != nil || subject != l.Subject || string(body) != string(l.Body) || !reflect.DeepEqual(header, row.header) {
			t.Errorf("%s: %s %v %s, %v, want headers %v", row.name, subject, header, body, err, row.header)
		}
		if !reflect.DeepEqual(l.Encode(), before) {
			t.Errorf("%s: the letter itself was changed", row.name)
		}
	}
}

func TestAdvisorySubjects(t *testing.T) {
	i := slices.IndexFunc(events.Streams(), func(s events.Stream) bool { return s.Name == events.StreamAdvisories })
	taken := events.Streams()[i].Subjects
	for _, kind := range []events.AdvisoryKind{events.AdvisoryMaxDeliveries, events.AdvisoryTerminated} {
		for _, c := range []events.Consumer{events.IntakeConsumer(), events.PollConsumer("fal")} {
			subject := events.AdvisorySubject(kind, c.Stream, c.Durable)
			if !slices.ContainsFunc(taken, func(p string) bool { return inside(subject, p) }) {
				t.Errorf("nobody hears %s", subject)
			}
			if k, s, d, err := events.ParseAdvisorySubject(subject); k != kind || s != c.Stream || d != c.Durable || err != nil {
				t.Errorf("%s is read as %s %s %s, %v", subject, k, s, d, err)
			}
		}
	}
	// Advisories about advisories would have no end.
	loop := events.AdvisorySubject(events.AdvisoryTerminated, events.StreamAdvisories, events.ConsumerAdvisories)
	if slices.ContainsFunc(taken, func(p string) bool { return overlap(loop, p) }) {
		t.Errorf("%s hears of itself", events.StreamAdvisories)
	}
	for _, bad := range []string{
		"", "$JS.EVENT.ADVISORY.CONSUMER.MSG_NAKED.S.c",
		"$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.S", "MSG_TERMINATED.S.c",
	} {
		if _, _, _, err := events.ParseAdvisorySubject(bad); !errors.Is(err, events.ErrSubject) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestDeadConsumers(t *testing.T) {
	for _, c := range []events.Consumer{events.AdvisoryConsumer(), events.DeadRequestConsumer()} {
		if !events.ValidToken(c.Durable) || c.Description == "" || c.AckWait <= 0 || c.MaxAckPending <= 0 {
			t.Errorf("%+v", c)
		}
	}
	// A letter about a letter must not be answered as if it were a request.
	f := events.DeadRequestConsumer().Filters[0]
	if !inside(events.DeadSubject(events.StreamRequests, "any"), f) ||
		inside(events.DeadSubject(events.StreamDead, events.ConsumerDeadRequests), f) {
		t.Errorf("filter %s", f)
	}
	for _, s := range events.Streams() {
		if s.Name == events.StreamDead && s.Duplicates < events.AdvisoryAge {
			t.Errorf("an advisory of %v ago makes a second letter: letters are known again for %v", events.AdvisoryAge,
				s.Duplicates)
		}
	}
}
