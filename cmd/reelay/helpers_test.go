package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"

	"reelay/events"
	"reelay/internal/media"
)

// buffer is output that a test reads while a command writes it.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// A testbed is a real NATS server and a place for services that answer as a test wants.
type testbed struct {
	tb  testing.TB
	url string
	nc  *nats.Conn
	js  jetstream.JetStream // nil until makeStreams

	mu    sync.Mutex
	asked []string
}

// heard returns what services were asked since the last call, as "<subject> <payload>".
func (b *testbed) heard() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	asked := b.asked
	b.asked = nil
	return asked
}

func newBench(tb testing.TB) *testbed {
	tb.Helper()
	for _, name := range []string{"NATS_URL", "NATS_CONTEXT", "NATS_CREDS", "REELAY_PROJECT", "REELAY_SANDBOX"} {
		if v, ok := os.LookupEnv(name); ok {
			os.Unsetenv(name)
			tb.Cleanup(func() { os.Setenv(name, v) })
		}
	}
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: tb.TempDir(),
	})
	if err != nil {
		tb.Fatal(err)
	}
	s.Start()
	tb.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		tb.Fatal("the server does not start")
	}
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(nc.Close)
	return &testbed{tb: tb, url: "nats://" + s.Addr().String(), nc: nc}
}

// answer lets f answer a verb; it returns a reply, or an events.Error for a refusal. A nil reply is silence.
func (b *testbed) answer(v events.Verb, f func(subject string, payload []byte) any) {
	b.tb.Helper()
	handle := func(m *nats.Msg) {
		b.mu.Lock()
		b.asked = append(b.asked, m.Subject+" "+string(m.Data))
		b.mu.Unlock()
		reply := f(m.Subject, m.Data)
		if reply == nil {
			return
		}
		out := nats.NewMsg(m.Reply)
		if refused, ok := reply.(events.Error); ok {
			out.Header.Set(micro.ErrorHeader, refused.Message)
			out.Header.Set(micro.ErrorCodeHeader, "400")
			reply = events.ErrorReply{Error: refused}
		}
		raw, ok := reply.(json.RawMessage)
		if !ok {
			var err error
			if raw, err = events.Marshal(reply); err != nil {
				b.tb.Error(err)
			}
		}
		out.Data = raw
		if err := m.RespondMsg(out); err != nil {
			b.tb.Error(err)
		}
	}
	for _, subject := range []string{events.APISubject(v), events.APISubject(v, ">")} {
		if _, err := b.nc.Subscribe(subject, handle); err != nil {
			b.tb.Fatal(err)
		}
	}
	if err := b.nc.Flush(); err != nil {
		b.tb.Fatal(err)
	}
}

// publish lets an event be heard: through the stream where there is one, as the services do, else directly.
func (b *testbed) publish(e events.Event) {
	b.tb.Helper()
	raw, err := events.Marshal(e)
	if err != nil {
		b.tb.Fatal(err)
	}
	m := nats.NewMsg(e.Subject())
	for name, value := range e.Header() {
		m.Header.Set(name, value)
	}
	m.Data = raw
	if b.js == nil {
		if err := b.nc.PublishMsg(m); err != nil {
			b.tb.Fatal(err)
		}
		return
	}
	if _, err := b.js.PublishMsg(b.tb.Context(), m); err != nil {
		b.tb.Fatal(err)
	}
}

// A result is what a command did.
type result struct {
	code           int
	stdout, stderr string
}

// reelay runs a command against the testbed.
func (b *testbed) reelay(args ...string) result {
	b.tb.Helper()
	e, stdout, stderr := testEnv()
	code := execute(b.tb.Context(), e, append(args, "--server", b.url))
	return result{code, stdout.String(), stderr.String()}
}

// check compares the exit code and looks for words in the outputs.
func (r result) check(tb testing.TB, code int, stdout, stderr string) {
	tb.Helper()
	if r.code != code || !strings.Contains(r.stdout, stdout) || !strings.Contains(r.stderr, stderr) {
		tb.Errorf("exit code %d\nstdout %q\nstderr %q\nwant %d, %q, %q", r.code, r.stdout, r.stderr, code, stdout, stderr)
	}
}

// testEnv is a process without a terminal, which also downloads from servers of this machine.
func testEnv() (e *env, stdout, stderr *buffer) {
	stdout, stderr = &buffer{}, &buffer{}
	return &env{
		fetcher: func(hosts []string) *media.Fetcher {
			f := media.NewFetcher(append(media.Loopback(), hosts...), media.DefaultMaxBytes)
			f.Pause = 0
			return f
		},
		stdin: strings.NewReader(""), stdout: stdout, stderr: stderr, width: func() int { return 0 },
		screen: func() (int, int) { return 0, 0 }, getenv: func(string) string { return "" },
		log: slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		startSandbox: func(context.Context, *slog.Logger) (*nats.Conn, func(), error) {
			panic("no sandbox in this test")
		},
	}, stdout, stderr
}

var start = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

func ptr[T any](v T) *T { return &v }

// aTask is a task that has just been accepted.
func aTask() events.Task {
	return events.Task{
		Schema: events.TaskSchema, ID: "t1", Project: "demo", TaskType: events.Video, Provider: "fal", Lane: "fal",
		Model: "fal-ai/wan", Status: events.StatusQueued, Phase: events.PhaseWaiting, CreatedAt: start,
		Deadline: start.Add(30 * time.Minute), Version: 1,
	}
}

// with returns t after changes, one version on.
func with(t events.Task, change func(*events.Task)) events.Task {
	t.Version++
	change(&t)
	return t
}

func completed(t events.Task, outputs ...events.Output) events.Task {
	return with(t, func(t *events.Task) {
		t.Status, t.Phase, t.CompletedAt = events.StatusCompleted, events.PhaseDone, ptr(start.Add(65*time.Second))
		t.Result = &events.Result{Outputs: outputs}
	})
}

func failed(t events.Task) events.Task {
	return with(t, func(t *events.Task) {
		t.Status, t.Phase, t.CompletedAt = events.StatusFailed, events.PhaseDone, ptr(start.Add(65*time.Second))
		t.Error = &events.Error{
			Code: "1026", Kind: events.KindModeration, Message: "input new_sensitive",
			Charge: events.ChargeNone,
		}
	})
}

// event tells of t as it is.
func event(t events.Task, kind events.EventType) events.Event {
	e := events.Event{
		Type: kind, Project: t.Project, TaskID: t.ID, TaskType: t.TaskType, Provider: t.Provider, Lane: t.Lane,
		Model: t.Model, Status: t.Status, Phase: t.Phase, Version: t.Version, Time: start, Error: t.Error,
		QueuePosition: t.QueuePosition, ETA: t.ETA, ETAEarliest: t.ETAEarliest, ETALatest: t.ETALatest, Pace: t.Pace,
		ProgressPercentage: t.ProgressPercentage,
	}
	if kind.WithTask() {
		e.Task = &t
	}
	return e
}
