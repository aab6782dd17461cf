package api

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"reelay/events"
	"reelay/internal/test/broker"
)

func TestMain(m *testing.M) { broker.Main(m) }

// serving runs f against endpoints of a server with one slot, and expects that it stops cleanly.
func serving(t *testing.T, version string, endpoints []Endpoint, f func(t testing.TB, conn *nats.Conn)) {
	t.Helper()
	broker.Run(t, func(b *broker.Broker) {
		conn := b.Connect()
		s := New(Options{
			Conn: conn, Service: "odd", Version: version, Description: "a test", MaxRequests: 1,
			Log: slog.New(slog.DiscardHandler),
		})
		b.OK(s.Serve(b.Context(), b.Context(), endpoints))
		f(b, b.Connect())
		b.OK(s.Drain())
	})
}

func ask(t testing.TB, conn *nats.Conn, subject string) *nats.Msg {
	t.Helper()
	m, err := conn.Request(subject, nil, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestPanic: a fault costs one request, and its answer tells nothing of the inside.
func TestPanic(t *testing.T) {
	faults := 1
	get := Endpoint{Verb: events.VerbGet, Tokens: []string{Project, Task}, Handle: func(context.Context, Call) (any, error) {
		if faults--; faults == 0 {
			panic("secret")
		}
		return map[string]bool{"fine": true}, nil
	}}
	serving(t, "", []Endpoint{get}, func(t testing.TB, conn *nats.Conn) {
		subject := events.APISubject(events.VerbGet, "demo", "kite")
		m := ask(t, conn, subject)
		if m.Header.Get(micro.ErrorCodeHeader) != "500" || strings.Contains(string(m.Data), "secret") ||
			!strings.Contains(string(m.Data), "odd service") {
			t.Errorf("%v %s", m.Header, m.Data)
		}
		if m := ask(t, conn, subject); string(m.Data) != `{"fine":true}` {
			t.Errorf("the next one: %v %s", m.Header, m.Data)
		}
	})
}

// TestOddVersion: what is built from no release is still served.
func TestOddVersion(t *testing.T) {
	serving(t, "(devel)", nil, func(t testing.TB, conn *nats.Conn) {
		var p micro.Ping
		if err := json.Unmarshal(ask(t, conn, "$SRV.PING.reelay").Data, &p); err != nil {
			t.Fatal(err)
		}
		if p.Version != NoVersion || p.Metadata["version"] != "(devel)" {
			t.Errorf("%+v", p)
		}
	})
}

// TestErrorBounded: an error is small, whatever it quotes.
func TestErrorBounded(t *testing.T) {
	long := strings.Repeat("ä", events.MaxMessageBytes)
	e := Refused(events.Error{Code: events.CodeInvalidRequest, Message: "x" + long, Field: "x" + long})
	if len(e.Body.Message) != events.MaxMessageBytes-1 || len(e.Body.Field) != maxFieldBytes-1 ||
		!utf8.ValidString(e.Body.Message) {
		t.Errorf("message of %d bytes, field of %d", len(e.Body.Message), len(e.Body.Field))
	}
}

// TestReply: nothing is done for who asks that the answer be put where it would be taken for a message of reelay or of
// the server, a task record among them.
func TestReply(t *testing.T) {
	calls := 0
	get := Endpoint{Verb: events.VerbGet, Tokens: []string{Project, Task}, Handle: func(context.Context, Call) (any, error) {
		calls++
		return map[string]bool{"fine": true}, nil
	}}
	serving(t, "", []Endpoint{get}, func(t testing.TB, conn *nats.Conn) {
		kite := events.Key{Project: "demo", ID: "kite"}
		sub, err := conn.SubscribeSync(">")
		if err != nil {
			t.Fatal(err)
		}
		asked := events.APISubject(events.VerbGet, "demo", "kite")
		for _, reply := range []string{
			events.RecordSubject(kite), events.EventSubject(kite, events.EventCompleted), events.RequestSubject("demo", events.Video),
			events.CommandSubject(kite, events.CommandCancel), events.APISubject(events.VerbGet, "demo", "kite"),
		} {
			if err := conn.PublishRequest(asked, reply, nil); err != nil {
				t.Fatal(err)
			}
			if m, err := sub.NextMsg(time.Second); err != nil || m.Reply != reply {
				t.Fatalf("%v, %v", m, err)
			}
		}
		if m, err := sub.NextMsg(time.Second); err == nil || calls != 0 {
			t.Errorf("%d calls, and an answer: %v", calls, m)
		}
		if m := ask(t, conn, asked); string(m.Data) != `{"fine":true}` || calls != 1 {
			t.Errorf("%s, %d calls", m.Data, calls)
		}
	})
}
