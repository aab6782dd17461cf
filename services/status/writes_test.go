package status

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"reelay/events"
	"reelay/internal/bus"
)

const body = `{"provider":"fal","model":"m","input":{"seed":12345678901234567890123,"text":"<ü&>"} }`

func digestOf(t testing.TB, body string) string {
	r, err := events.DecodeRequest([]byte(body))
	must(t, err)
	digest, err := r.Digest(events.Video)
	must(t, err)
	return digest
}

func sumOf(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])
}

// intake plays the submitter: it does with each request and command what the test says, a second after it was
// published.
func (l *lab) intake(do func(m *nats.Msg)) {
	l.t.Helper()
	for _, subject := range []string{"reelay.request.>", "reelay.command.>"} {
		_, err := l.client.Subscribe(subject, func(m *nats.Msg) {
			l.mu.Lock()
			l.taken = append(l.taken, m)
			l.mu.Unlock()
			time.AfterFunc(time.Second, func() { do(m) })
		})
		must(l.t, err)
	}
	must(l.t, l.client.Flush())
}

// take returns what intake has seen since the last time.
func (l *lab) take() []*nats.Msg {
	l.mu.Lock()
	defer l.mu.Unlock()
	got := l.taken
	l.taken = nil
	return got
}

// reject publishes a rejected event as the submitter does.
func (l *lab) reject(id, code, field, digest string) {
	err := l.bus.Publish(context.Background(), events.Event{
		Type: events.EventRejected, Project: "a", TaskID: id, Time: time.Now(), RequestDigest: digest,
		Error: &events.Error{
			Code: code, Kind: events.KindInvalid, Field: field, Message: "refused by the test",
			Charge: events.ChargeNone,
		},
	})
	if err != nil {
		l.t.Error(err)
	}
}

func accepted(id, digest string) events.Task {
	t := waiting("a", id, 0)
	t.RequestDigest = digest
	return t
}

func withIDField(id string) string { return `{"id":"` + id + `",` + body[1:] }

func TestSubmit(t *testing.T) {
	inLab(t, Options{}, func(t *testing.T, l *lab) {
		l.intake(func(m *nats.Msg) {
			r, err := events.DecodeRequest(m.Data)
			if err != nil {
				t.Error(err)
			}
			l.write(accepted(r.ID, digestOf(t, body)))
		})
		for _, tt := range []struct {
			name, in string
			header   nats.Header
			id       string // empty: a fresh one
			out      string // with the id for %s
		}{
			{"id in the body", withIDField("own"), nil, "own", strings.ReplaceAll(withIDField("%s"), "%s", "%s")},
			{
				"the body goes before the header", withIDField("own2"),
				nats.Header{"Nats-Msg-Id": {"header"}},
				"own2",
				withIDField("%s"),
			},
			{"id in the header", body, nats.Header{"Nats-Msg-Id": {"header"}}, "header", withIDField("%s")},
			{"no id", body, nats.Header{"traceparent": {"00-ab-cd-01"}}, "", withIDField("%s")},
			{
				"empty id", `{"provider":"fal", "id" : "" ,` + body[len(`{"provider":"fal",`):], nil, "",
				`{"provider":"fal", "id" : "%s" ,` + body[len(`{"provider":"fal",`):],
			},
		} {
			begin := time.Now()
			r := into[events.TaskReply](t,
				l.askMsg(&nats.Msg{Data: []byte(tt.in), Header: tt.header}, events.VerbSubmit, "a", "video"))
			if d := time.Since(begin).Round(100 * time.Millisecond); d != time.Second {
				t.Errorf("%s: answered after %v", tt.name, d)
			}
			got := l.take()
			if len(got) != 1 {
				t.Fatalf("%s: %d requests", tt.name, len(got))
			}
			if tt.id != "" && r.Task.ID != tt.id || !events.ValidToken(r.Task.ID) {
				t.Errorf("%s: id %q", tt.name, r.Task.ID)
			}
			if want := fmt.Sprintf(tt.out, r.Task.ID); got[0].Subject != "reelay.request.a.video" ||
				string(got[0].Data) != want {
				t.Errorf("%s: published %s %s, want %s", tt.name, got[0].Subject, got[0].Data, want)
			}
			if h := got[0].Header; h.Get("traceparent") != tt.header.Get("traceparent") || h.Get("Nats-Msg-Id") != "" {
				t.Errorf("%s: headers %v", tt.name, h)
			}
			if p := r.Task.QueuePosition; p == nil {
				t.Errorf("%s: no position", tt.name)
			}
		}
		l.wantWaiters(0)
	})
}

func (l *lab) wantWaiters(n int) {
	l.t.Helper()
	l.s.index.mu.Lock()
	defer l.s.index.mu.Unlock()
	if len(l.s.index.waiters) != n {
		l.t.Errorf("%d waiters, want %d", len(l.s.index.waiters), n)
	}
}

func TestSubmitHeaderID(t *testing.T) {
	inLab(t, Options{}, func(t *testing.T, l *lab) {
		m := &nats.Msg{Data: []byte(body), Header: nats.Header{"Nats-Msg-Id": {"not a token"}}}
		wantProblem(t, l.askMsg(m, events.VerbSubmit, "a", "video"), "400 invalid_request Nats-Msg-Id")
	})
}

func TestSubmitAgain(t *testing.T) {
	inLab(t, Options{}, func(t *testing.T, l *lab) {
		l.put(accepted("x", digestOf(t, body)))
		if id := into[events.TaskReply](t, l.ask(withIDField("x"), events.VerbSubmit, "a", "video")).Task.ID; id != "x" {
			t.Errorf("the same again: %q", id)
		}
		wantProblem(t, l.ask(`{"id":"x","provider":"fal","model":"other","input":{}}`, events.VerbSubmit, "a", "video"),
			"409 idempotency_conflict id")
		// the task type is part of it
		wantProblem(t, l.ask(withIDField("x"), events.VerbSubmit, "a", "image"), "409 idempotency_conflict id")
		if n := l.stored(); n != 0 {
			t.Errorf("%d requests for a task that exists", n)
		}
	})
}

// TestSubmitRace: somebody else's request with the same id is taken in first.
func TestSubmitRace(t *testing.T) {
	inLab(t, Options{}, func(t *testing.T, l *lab) {
		l.intake(func(*nats.Msg) { l.write(accepted("x", "another")) })
		wantProblem(t, l.ask(withIDField("x"), events.VerbSubmit, "a", "video"), "409 idempotency_conflict id")
	})
}

func TestSubmitRejected(t *testing.T) {
	for _, tt := range []struct{ code, field, want string }{
		{events.CodeUnknownProvider, "provider", "400 unknown_provider provider"},
		{events.CodeNotConfigured, "provider", "400 provider_not_configured provider"},
		{events.CodeInvalidRequest, "input.seed", "400 invalid_request input.seed"},
		{events.CodeIdempotencyConflict, "id", "409 idempotency_conflict id"},
		{events.CodePayloadTooLarge, "payload", "413 payload_too_large payload"},
		{events.CodeOverLimit, "waiting", "429 over_limit waiting"},
	} {
		t.Run(tt.code, func(t *testing.T) {
			inLab(t, Options{}, func(t *testing.T, l *lab) {
				digest := digestOf(t, body)
				if tt.code == events.CodeOverLimit { // nobody has looked at its files
					digest = sumOf(withIDField("x"))
				}
				l.intake(func(*nats.Msg) {
					l.reject("x", events.CodeInvalidRequest, "other", "the digest of another request")
					l.reject("other", events.CodeInvalidRequest, "other", digestOf(t, body))
					l.reject("x", tt.code, tt.field, digest)
				})
				if e := wantProblem(t, l.ask(withIDField("x"), events.VerbSubmit, "a", "video"),
					tt.want); e.Message != "refused by the test" {
					t.Errorf("%+v", e)
				}
			})
		})
	}
}

func TestSubmitNobodyThere(t *testing.T) {
	inLab(t, Options{SubmitWait: 3 * time.Second}, func(t *testing.T, l *lab) {
		begin := time.Now()
		e := wantProblem(t, l.ask(withIDField("x"), events.VerbSubmit, "a", "video"), "504 timeout ")
		if d := time.Since(begin).Round(100 * time.Millisecond); d != 3*time.Second || !e.Retryable {
			t.Errorf("%+v after %v", e, d)
		}
		if !strings.Contains(e.Message, "a.x is stored") || !strings.Contains(e.Message, "when a submitter runs") {
			t.Errorf("it says %q", e.Message)
		}
		if n := l.stored(); n != 1 {
			t.Errorf("%d requests stored", n)
		}
		l.wantWaiters(0)
	})
}

func TestSubmitStreamFull(t *testing.T) {
	inLab(t, Options{}, func(t *testing.T, l *lab) {
		stream, err := l.bus.JetStream().Stream(t.Context(), events.StreamRequests)
		must(t, err)
		c := stream.CachedInfo().Config
		c.MaxBytes = 1 << 10
		_, err = l.bus.JetStream().UpdateStream(t.Context(), c)
		must(t, err)
		large := strings.Replace(body, "<", strings.Repeat("x", 1<<10), 1)
		wantProblem(t, l.ask(large, events.VerbSubmit, "a", "video"), "503 unavailable ")
		must(t, l.bus.JetStream().DeleteStream(t.Context(), events.StreamRequests))
		wantProblem(t, l.ask(body, events.VerbSubmit, "a", "video"), "503 unavailable ")
	})
}

func TestCancel(t *testing.T) {
	inLab(t, Options{SubmitWait: 3 * time.Second}, func(t *testing.T, l *lab) {
		noted := in(waiting("a", "noted", 0), events.PhaseSubmitting, events.StatusQueued)
		l.put(in(waiting("a", "done", 0), events.PhaseDone, events.StatusCompleted), waiting("a", "waits", 0),
			waiting("a", "silent", 0), noted)
		if s := into[events.TaskReply](t,
			l.ask(nil, events.VerbCancel, "a", "done")).Task.Status; s != events.StatusCompleted || l.stored() != 0 {
			t.Errorf("an ended task is %s, %d commands", s, l.stored())
		}
		l.intake(func(m *nats.Msg) {
			switch {
			case strings.Contains(m.Subject, "waits"):
				l.write(in(waiting("a", "waits", 0), events.PhaseDone, events.StatusCancelled))
			case strings.Contains(m.Subject, "noted"):
				noted.Cancel = &events.CancelState{By: "client", Reason: "enough"}
				l.write(noted)
			}
		})
		if s := into[events.TaskReply](t,
			l.ask(nil, events.VerbCancel, "a", "waits")).Task.Status; s != events.StatusCancelled {
			t.Errorf("a waiting task is %s", s)
		}
		m := &nats.Msg{Data: []byte(`{"reason":"enough"}`), Header: nats.Header{"traceparent": {"00-ab-cd-01"}}}
		if c := into[events.TaskReply](t, l.askMsg(m, events.VerbCancel, "a", "noted")).Task.Cancel; c == nil {
			t.Error("answered before it was noted")
		}
		e := wantProblem(t, l.ask(nil, events.VerbCancel, "a", "silent"), "504 timeout ")
		if !strings.Contains(e.Message, "a.silent is stored") {
			t.Errorf("%+v", e)
		}
		var got []string
		for _, m := range l.take() {
			got = append(got, m.Subject+" "+string(m.Data)+" "+m.Header.Get("traceparent"))
		}
		want := []string{
			"reelay.command.a.waits.cancel  ", `reelay.command.a.noted.cancel {"reason":"enough"} 00-ab-cd-01`,
			"reelay.command.a.silent.cancel  ",
		}
		if fmt.Sprint(got) != fmt.Sprint(want) || l.stored() != 3 {
			t.Errorf("got %q and %d stored, want %q", got, l.stored(), want)
		}
	})
}

func TestResolve(t *testing.T) {
	attempt := func(n int) []events.Attempt { return []events.Attempt{{N: n, Outcome: events.AttemptInDoubt}} }
	parked := in(waiting("a", "x", 0), events.PhaseParked, events.StatusQueued)
	parked.Attempts = attempt(1)
	doubt := parked
	doubt.Phase = events.PhaseInDoubt
	again := doubt
	again.Attempts = attempt(2)
	noise := doubt
	noise.SceneID = "changed"
	queued := in(parked, events.PhaseProviderQueued, events.StatusQueued)
	givenUp := in(parked, events.PhaseDone, events.StatusFailed)
	adopted := givenUp
	adopted.ProviderRef = json.RawMessage(`{"id":"p1"}`)
	const adopt, resubmit, writeOff = `{"action":"adopt","provider_id":"p1"}`, `{"action":"resubmit"}`, `{"action":"write_off"}`
	for _, tt := range []struct {
		name, in    string
		first, then events.Task
		reject      string // the code, with the digest of the command
		want        string // empty: the task as it then is
	}{
		{"adopt", adopt, parked, queued, "", ""},
		{"resubmit", resubmit, doubt, waiting("a", "x", 0), "", ""},
		{"in doubt again", resubmit, doubt, again, "", ""},
		{"write off", writeOff, parked, givenUp, "", ""},
		{"adopted late", adopt, givenUp, adopted, "", ""},
		{"a change that settles nothing", writeOff, doubt, noise, "", "504 timeout "},
		{"a late change that settles nothing", adopt, givenUp, givenUp, "", "504 timeout "},
		{"refused", adopt, parked, parked, events.CodeConflict, "409 conflict f"},
		{"refused id", adopt, parked, parked, events.CodeInvalidRequest, "400 invalid_request f"},
		{"gone", writeOff, parked, parked, events.CodeNotFound, "404 not_found f"},
		{"refused late", adopt, givenUp, givenUp, events.CodeConflict, "409 conflict f"},
		{"not in doubt", adopt, queued, queued, "", "409 conflict "},
		{"no resubmit of the dead", resubmit, givenUp, givenUp, "", "409 conflict "},
		{"no adoption twice", adopt, adopted, adopted, "", "409 conflict "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inLab(t, Options{}, func(t *testing.T, l *lab) {
				l.put(tt.first)
				l.intake(func(m *nats.Msg) {
					if m.Subject != "reelay.command.a.x.resolve" || string(m.Data) != tt.in {
						t.Errorf("published %s %s", m.Subject, m.Data)
					}
					l.reject("x", events.CodeIdempotencyConflict, "id", "the digest of a request") // speaks of something else
					if tt.reject != "" {
						l.reject("x", tt.reject, "f", sumOf(tt.in))
					}
					l.write(tt.then)
				})
				a := l.ask(tt.in, events.VerbResolve, "a", "x")
				if tt.want != "" {
					wantProblem(t, a, tt.want)
					return
				}
				if got := into[events.TaskReply](t, a).Task; got.Phase != tt.then.Phase ||
					len(got.Attempts) != len(tt.then.Attempts) {
					t.Errorf("answered with %+v", got)
				}
			})
		})
	}
}

// TestResolveBehind: an index that has not yet seen the doubt must not take it for settled.
func TestResolveBehind(t *testing.T) {
	inLab(t, Options{}, func(t *testing.T, l *lab) {
		before := in(waiting("a", "x", 0), events.PhaseSubmitting, events.StatusQueued)
		parked := in(before, events.PhaseParked, events.StatusQueued)
		l.put(before)
		old := l.revision(before.Key())
		l.put(parked)
		l.s.index.apply(bus.SummaryUpdate{Key: before.Key(), Revision: old, Summary: bus.Summarize(&before)})
		l.intake(func(*nats.Msg) { l.write(in(parked, events.PhaseDone, events.StatusFailed)) })
		if p := into[events.TaskReply](t,
			l.ask(`{"action":"write_off"}`, events.VerbResolve, "a", "x")).Task.Phase; p != events.PhaseDone {
			t.Errorf("answered while it was %s", p)
		}
	})
}

func TestWithID(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{`{"provider":"fal"}`, `{"id":"x","provider":"fal"}`},
		{" \n{ \"n\" : 1e400 }\t", " \n{\"id\":\"x\", \"n\" : 1e400 }\t"},
		{`{"id":"","n":12345678901234567890}`, `{"id":"x","n":12345678901234567890}`},
		{`{"n":1,"id" : null }`, `{"n":1,"id" : "x" }`},
		{`{"n":1,"id":null}`, `{"n":1,"id":"x"}`},
		{`{"n":{"id":""},"\u0069d": "" ,"o":[1]}`, `{"n":{"id":""},"\u0069d": "x" ,"o":[1]}`},
	} {
		if got := withID([]byte(tt.in), "x"); string(got) != tt.want {
			t.Errorf("%s: got %s, want %s", tt.in, got, tt.want)
		}
	}
}

// FuzzWithID: whatever request is accepted, with an id it asks for the same under that id.
func FuzzWithID(f *testing.F) {
	f.Add([]byte(body))
	f.Add([]byte(`{"id":null,` + body[1:]))
	f.Fuzz(func(t *testing.T, in []byte) {
		before, err := events.DecodeRequest(in)
		if err != nil || before.ID != "" {
			return
		}
		out := withID(bytes.Clone(in), "x")
		after, err := events.DecodeRequest(out)
		if err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		if after.ID != "x" || !bytes.Equal(after.Input, before.Input) {
			t.Errorf("%s became %s", in, out)
		}
	})
}
