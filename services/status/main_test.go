package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server/ats"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/natsd"
)

func TestMain(m *testing.M) {
	ats.Register() // its ticker must not begin inside a bubble
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent())
}

// A lab is a broker, a status service and a client in one bubble.
type lab struct {
	t      testing.TB
	bus    *bus.Bus
	client *nats.Conn
	s      *Service
	reg    *prometheus.Registry
	// untold says that no terminal event follows the record of a task that has ended.
	untold bool
	// stop tells the service to stop; done has the result of its Run.
	stop context.CancelFunc
	done chan error
	// mu guards the rest: revisions are those of the records put, taken what intake has seen.
	mu        sync.Mutex
	revisions map[events.Key]uint64
	taken     []*nats.Msg
}

// inLab runs f against a fresh lab in a bubble; o.Bus, o.Log and o.Registerer are filled in.
func inLab(t *testing.T, o Options, f func(*testing.T, *lab)) {
	t.Helper()
	inLabAt(t, time.Time{}, o, f)
}

// inLabAt begins at a time, not with the year 2000. The broker ages what it stores by a clock outside, so where ages
// count it has to be today, and before anything ticks.
func inLabAt(t *testing.T, begin time.Time, o Options, f func(*testing.T, *lab)) {
	t.Helper()
	// nats.go keeps timers of Flush and Drain in a sync.Pool, and one of an earlier bubble must not be used in this one. A
	// pool is empty after two collections.
	runtime.GC()
	runtime.GC()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(begin))
		srv, err := natsd.Start(natsd.Options{
			StoreDir: t.TempDir(), Sync: natsd.SyncInterval,
			Log: slog.New(slog.DiscardHandler),
		})
		must(t, err)
		defer srv.Stop()
		own, err := srv.Connect("status")
		must(t, err)
		defer own.Close()
		client, err := srv.Connect("client")
		must(t, err)
		defer client.Close()
		l := &lab{
			t: t, client: client, reg: prometheus.NewRegistry(), done: make(chan error, 1),
			revisions: map[events.Key]uint64{},
		}
		l.bus, err = bus.Open(t.Context(), own, bus.Options{Log: slog.New(slog.DiscardHandler)})
		must(t, err)
		o.Bus, o.Log, o.Registerer = l.bus, slog.New(slog.DiscardHandler), l.reg
		l.s, err = New(o)
		must(t, err)
		ctx, stop := context.WithCancel(t.Context())
		l.stop = stop
		go func() { l.done <- l.s.Run(ctx) }()
		defer func() {
			stop()
			select {
			case err := <-l.done:
				if err != nil {
					t.Errorf("Run: %v", err)
				}
			case <-time.After(time.Minute):
				t.Error("Run did not return")
			}
		}()
		l.until("the service is ready", l.s.Ready)
		f(t, l)
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// until waits, in the bubble's time, for something that has no event of its own.
func (l *lab) until(what string, ok func() bool) {
	l.t.Helper()
	for range 1_000 {
		if synctest.Wait(); ok() {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	l.t.Fatalf("it never came to be that %s", what)
}

// epoch is a time of creation; the clock of a bubble begins at the start of the year 2000.
func epoch(s int) time.Time {
	return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(s) * time.Second)
}

// waiting returns the record of a task that waits in lane fal.
func waiting(project, id string, created int) events.Task {
	return events.Task{
		Schema: events.TaskSchema, ID: id, Project: project, TaskType: events.Video, Provider: "fal", Lane: "fal", Model: "m",
		Status: events.StatusQueued, Phase: events.PhaseWaiting, CreatedAt: epoch(created), RequestDigest: "digest of " + id,
		Version: 1, Transitions: []events.Transition{
			{Version: 1, At: epoch(created), Name: "accept", To: events.PhaseWaiting, By: "submitter"},
		},
	}
}

// in returns t in another phase and status.
func in(t events.Task, p events.Phase, s events.Status) events.Task {
	t.Phase, t.Status = p, s
	if s.Terminal() {
		at := time.Now()
		t.CompletedAt = &at
	}
	return t
}

// write stores a record and returns when it is stored.
func (l *lab) write(t events.Task) {
	l.mu.Lock()
	defer l.mu.Unlock()
	revision, err := l.bus.Put(context.Background(), bus.Put{Task: t, Revision: l.revisions[t.Key()]})
	if err != nil {
		l.t.Errorf("put %s: %v", t.Key(), err)
	}
	l.revisions[t.Key()] = revision
	if t.Status.Terminal() && !l.untold {
		l.tell(t)
	}
}

// revision is that of the record last written.
func (l *lab) revision(k events.Key) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.revisions[k]
}

// tell stores the terminal event of a task.
func (l *lab) tell(t events.Task) {
	must(l.t, l.bus.Publish(context.Background(), events.Event{
		Type: events.EventType(t.Status), Project: t.Project, TaskID: t.ID, Version: t.Version, Time: *t.CompletedAt,
		Once: true,
	}))
}

// put stores records and returns when the index has them.
func (l *lab) put(all ...events.Task) {
	l.t.Helper()
	for _, t := range all {
		l.write(t)
		revision := l.revision(t.Key())
		l.until("the index has "+t.Key().String(), func() bool { return l.s.index.revision(t.Key()) == revision })
	}
}

// delete removes a record and returns when the index has noticed.
func (l *lab) delete(k events.Key) {
	l.t.Helper()
	kv, err := l.bus.JetStream().KeyValue(context.Background(), events.TaskBucket)
	must(l.t, err)
	must(l.t, kv.Delete(context.Background(), k.String()))
	l.mu.Lock()
	delete(l.revisions, k)
	l.mu.Unlock()
	l.until("the index has lost "+k.String(), func() bool { return l.s.index.get(k) == nil })
}

// An answer is what a client gets.
type answer struct {
	data   []byte
	header nats.Header
	err    error
}

// ask sends one request; in may be nil, bytes, a string or something to marshal.
func (l *lab) ask(in any, verb events.Verb, tokens ...string) answer {
	return l.askMsg(&nats.Msg{Data: payload(in)}, verb, tokens...)
}

func (l *lab) askMsg(m *nats.Msg, verb events.Verb, tokens ...string) answer {
	m.Subject = events.APISubject(verb, tokens...)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	reply, err := l.client.RequestMsgWithContext(ctx, m)
	if err != nil {
		return answer{err: err}
	}
	return answer{data: reply.Data, header: reply.Header}
}

// request asks on a subject outside the API.
func (l *lab) request(subject string) answer {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	m, err := l.client.RequestWithContext(ctx, subject, nil)
	must(l.t, err)
	return answer{data: m.Data, header: m.Header}
}

func payload(in any) []byte {
	switch in := in.(type) {
	case nil:
		return nil
	case []byte:
		return in
	case string:
		return []byte(in)
	}
	data, err := events.Marshal(in)
	if err != nil {
		panic(err)
	}
	return data
}

// into reads a good answer.
func into[T any](t testing.TB, a answer) (v T) {
	t.Helper()
	if a.err != nil || a.header.Get(micro.ErrorCodeHeader) != "" {
		t.Fatalf("got %v %v %s, want a good answer", a.err, a.header, a.data)
	}
	must(t, json.Unmarshal(a.data, &v))
	return v
}

// problem reads a refusal and checks that headers and body agree.
func problem(t testing.TB, a answer) (code string, e events.Error) {
	t.Helper()
	must(t, a.err)
	var r events.ErrorReply
	must(t, json.Unmarshal(a.data, &r))
	if r.Error.Message == "" || r.Error.Kind == "" || r.Error.Message != a.header.Get(micro.ErrorHeader) {
		t.Errorf("error %+v, header %v", r.Error, a.header)
	}
	return a.header.Get(micro.ErrorCodeHeader), r.Error
}

// wantProblem checks for "<number> <code> <field>".
func wantProblem(t testing.TB, a answer, want string) events.Error {
	t.Helper()
	if a.err == nil && a.header.Get(micro.ErrorCodeHeader) == "" {
		t.Fatalf("got %s, want %s", a.data, want)
	}
	code, e := problem(t, a)
	if got := fmt.Sprintf("%s %s %s", code, e.Code, e.Field); got != want {
		t.Errorf("got %q (%s), want %q", got, e.Message, want)
	}
	return e
}

func TestOptions(t *testing.T) {
	log, b := slog.New(slog.DiscardHandler), &bus.Bus{}
	for _, tt := range []struct {
		o    Options
		want string
	}{
		{Options{Log: log, Registerer: prometheus.NewRegistry()}, "status: option Bus is missing"},
		{Options{Bus: b, Registerer: prometheus.NewRegistry()}, "status: option Log is missing"},
		{Options{Bus: b, Log: log}, "status: option Registerer is missing"},
		{
			Options{Bus: b, Log: log, Registerer: prometheus.NewRegistry(), SubmitWait: -time.Second},
			"status: option SubmitWait: -1s is negative",
		},
	} {
		if _, err := New(tt.o); err == nil || err.Error() != tt.want {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
	reg := prometheus.NewRegistry()
	_, err := New(Options{Bus: b, Log: log, Registerer: reg})
	must(t, err)
	if _, err = New(Options{Bus: b, Log: log, Registerer: reg}); !errors.As(err, new(prometheus.AlreadyRegisteredError)) {
		t.Errorf("second registration: %v", err)
	}
}
