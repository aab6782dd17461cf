package submitter_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/internal/bus"
	"reelay/internal/failpoint"
	"reelay/internal/journal"
	"reelay/internal/natsd"
	"reelay/internal/provider"
	"reelay/internal/task"
	"reelay/internal/taskstore"
	"reelay/internal/test/sim"
	"reelay/services/submitter"
)

func TestMain(m *testing.M) { sim.Main(m) }

// A world is a broker, a provider and any number of submitters of the lane acme, in a bubble.
type world struct {
	*testing.T
	srv      *natsd.Server
	log      *slog.Logger
	provider *acme
	limits   map[string]events.ModelLimits
	client   *bus.Bus
	store    *taskstore.Store
	// dial, where set, connects to the provider.
	dial func() (net.Conn, error)
	// slow is how long the submitters take at failpoints of the bus; it is set before they start.
	slow map[string]time.Duration
	// lose, where set, says which writes of the submitters are lost.
	lose func(point string) bool
	// spending, where set, is the guard of the submitters.
	spending submitter.Spending
	// witness, where set, is what the submitters know of a restore.
	witness submitter.Witness
	// ids counts the requests, ended the tasks that the test has ended.
	ids   int
	ended atomic.Int64
}

// inWorld runs f in a bubble. To the broker's own clock, which is outside of it, messages of a bubble's year 2000 are
// expired: so its time is brought forward first.
func inWorld(t *testing.T, limits map[string]events.ModelLimits, f func(w *world)) {
	t.Helper()
	runtime.GC() // nats.go keeps timers in a pool, which two collections empty: one of another bubble is fatal
	runtime.GC()
	today := time.Now().Round(0)
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(today))
		w := &world{T: t, limits: limits, log: slog.New(slog.DiscardHandler), provider: newAcme()}
		if testing.Verbose() {
			w.log = slog.New(slog.NewTextHandler(t.Output(), nil))
		}
		var err error
		w.srv, err = natsd.Start(natsd.Options{
			StoreDir: t.TempDir(), Sync: natsd.SyncInterval,
			Log: slog.New(slog.DiscardHandler),
		})
		w.ok(err)
		t.Cleanup(w.srv.Stop)
		_, w.client = w.connect(nil)
		w.store = taskstore.New(w.client, w.log, prometheus.NewRegistry())
		f(w)
	})
}

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) connect(faults failpoint.Plan) (*nats.Conn, *bus.Bus) {
	w.Helper()
	nc, err := w.srv.Connect("test")
	w.ok(err)
	w.Cleanup(nc.Close)
	b, err := bus.Open(w.Context(), nc, bus.Options{Log: w.log, Faults: faults})
	w.ok(err)
	return nc, b
}

// A replica is one submitter with a disk of its own.
type replica struct {
	w       *world
	nc      *nats.Conn
	cancel  context.CancelFunc
	done    chan struct{}
	journal *journal.Journal
	dir     string
	// cutOff keeps it from reaching the provider.
	cutOff atomic.Bool

	mu     sync.Mutex
	paused time.Time // the whole process stands still until then
	dial   func()    // called when it dials next
	gate   func()    // called when it writes down next that a request leaves
}

// start starts a submitter.
func (w *world) start() *replica {
	w.Helper()
	r := &replica{w: w, dir: w.TempDir()}
	r.restart()
	w.Cleanup(r.stop)
	return r
}

// restart starts a submitter again on its disk.
func (r *replica) restart() {
	r.w.Helper()
	var b *bus.Bus
	r.nc, b = r.w.connect(func(point string) failpoint.Outcome {
		return failpoint.Outcome{Pause: r.pause() + r.w.slow[point], Lose: r.w.lose != nil && r.w.lose(point)}
	})
	var err error
	r.journal, err = journal.Open(r.dir, r.w.log, func(point string) failpoint.Outcome {
		if point == "journal.gate" {
			r.reached(&r.gate)
		}
		return failpoint.Outcome{Pause: r.pause()}
	})
	r.w.ok(err)
	s, err := submitter.New(submitter.Options{
		Bus: b, Journal: r.journal, Log: r.w.log, IgnoredProxy: "HTTPS_PROXY", Registerer: prometheus.NewRegistry(),
		Spending: r.w.spending, Witness: r.w.witness,
		Lanes: []provider.Lane{
			{Name: "acme", Provider: "acme", Driver: driver{}, Limits: r.w.limits, ConcurrencyCodes: []string{"concurrency"}},
		},
		Dial: func(context.Context, string, string) (net.Conn, error) {
			r.reached(&r.dial)
			time.Sleep(r.pause())
			if r.cutOff.Load() {
				return nil, errors.New("no route to host")
			}
			if r.w.dial != nil {
				return r.w.dial()
			}
			return r.w.provider.dial()
		},
	})
	r.w.ok(err)
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel, r.done = cancel, make(chan struct{})
	go func() {
		defer close(r.done)
		if err := s.Run(ctx); err != nil {
			r.w.Errorf("submitter: %v", err)
		}
	}()
}

// stop stops the submitter as its process would be stopped.
func (r *replica) stop() {
	r.cancel()
	<-r.done
	r.nc.Close()
	if err := r.journal.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		r.w.Error(err)
	}
}

// crash cuts the submitter off in the middle of whatever it does.
func (r *replica) crash() {
	r.nc.Close()
	r.stop()
}

// stand makes the submitter stand still for a time: it neither writes nor dials, and does not know of it.
func (r *replica) stand(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.paused = time.Now().Add(d)
}

// onDial calls f when the submitter dials the next time.
func (r *replica) onDial(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dial = f
}

// onGate calls f when the submitter writes down the next time that a request leaves.
func (r *replica) onGate(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gate = f
}

func (r *replica) reached(next *func()) {
	r.mu.Lock()
	f := *next
	*next = nil
	r.mu.Unlock()
	if f != nil {
		f()
	}
}

func (r *replica) pause() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return max(time.Until(r.paused), 0)
}

// set puts a value into the bucket of the lanes.
func (w *world) set(key, value string) {
	w.Helper()
	kv, err := w.client.JetStream().KeyValue(w.Context(), bucket.Lanes)
	w.ok(err)
	_, err = kv.PutString(w.Context(), key, value)
	w.ok(err)
}

// ask publishes n requests of a project and returns the last one's key.
func (w *world) ask(project string, n int, fields string) (k events.Key) {
	w.Helper()
	for range n {
		w.ids++
		k = events.Key{Project: project, ID: fmt.Sprintf("t%05d", w.ids)}
		_, err := w.client.JetStream().Publish(w.Context(), events.RequestSubject(project, events.Video),
			fmt.Appendf(nil, `{"id":%q,"provider":"acme","model":"m1","input":{"id":%q},"timeout":"24h"%s}`, k.ID, k.ID, fields))
		w.ok(err)
	}
	return k
}

// positions asks the lane's dispatcher for queue positions, by task id, and for what blocks the lane.
func (w *world) positions(keys ...events.Key) (map[string]events.Position, []events.Blocked) {
	w.Helper()
	var r events.PositionsRequest
	for _, k := range keys {
		r.Tasks = append(r.Tasks, k.String())
	}
	question, err := events.Marshal(r)
	w.ok(err)
	answer, err := w.client.Conn().RequestWithContext(w.Context(), events.LanePositionsSubject("acme"), question)
	w.ok(err)
	var reply events.PositionsReply
	w.ok(json.Unmarshal(answer.Data, &reply))
	stands := map[string]events.Position{}
	for text, place := range reply.Positions {
		k, err := events.ParseKey(text)
		w.ok(err)
		stands[k.ID] = place
	}
	return stands, reply.Blocked
}

// ahead is how many tasks go before each, by task id.
func (w *world) ahead(keys ...events.Key) map[string]int {
	w.Helper()
	stands, _ := w.positions(keys...)
	places := map[string]int{}
	for id, p := range stands {
		places[id] = p.Ahead
	}
	return places
}

// end makes the provider finish a task.
func (w *world) end(k events.Key) {
	w.Helper()
	_, err := w.store.Apply(w.Context(), k,
		task.PollResult{Meta: task.Meta{At: time.Now().UTC(), By: "test"}, Snapshot: provider.Snapshot{
			State: provider.Succeeded, Outputs: []events.Output{{URL: "https://acme.test/v.mp4"}}, Raw: json.RawMessage("{}"),
		}})
	w.ok(err)
}

// laneEvents returns the types of the lane's events, in order.
func (w *world) laneEvents() (types []events.EventType) {
	w.Helper()
	s, err := w.client.JetStream().Stream(w.Context(), events.StreamEvents)
	w.ok(err)
	last := s.CachedInfo().State.LastSeq
	for seq := uint64(1); seq <= last; seq++ {
		msg, err := s.GetMsg(w.Context(), seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		w.ok(err)
		if e, err := events.DecodeEvent(msg.Header.Get(events.HeaderType), msg.Data); err == nil &&
			e.Project == events.LanesProject {
			if e.Lane != "acme" || e.Version == 0 {
				w.Errorf("event of lane %q, version %d", e.Lane, e.Version)
			}
			types = append(types, e.Type)
		}
	}
	return types
}

// A call is one paid request as the provider saw it.
type call struct {
	at   time.Time
	task string
	code string // "" for one that was taken
}

// acme is a provider in memory. It takes a request or refuses it by a code.
type acme struct {
	conns chan net.Conn

	mu     sync.Mutex
	calls  []call
	decide func(now time.Time, taken []call) (code string)
	delay  time.Duration
	// result, if there is one, is what requests are answered with in place of an id.
	result *provider.Snapshot
}

func newAcme() *acme {
	return &acme{conns: make(chan net.Conn), decide: func(time.Time, []call) string { return "" }}
}

func (a *acme) dial() (net.Conn, error) {
	client, server := net.Pipe()
	go a.serve(server)
	return client, nil
}

// serve answers the one request of a connection.
func (a *acme) serve(c net.Conn) {
	defer c.Close()
	answered := make(chan struct{})
	once := sync.OnceFunc(func() { close(answered) })
	srv := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		var in struct{ ID string }
		_ = json.Unmarshal(body, &in)
		status, answer := a.take(in.ID)
		time.Sleep(a.delay)
		rw.WriteHeader(status)
		_, _ = rw.Write(answer)
	})}
	_ = srv.Serve(&oneConn{conn: c, once: once, done: answered})
}

func (a *acme) take(id string) (int, []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	one := call{at: time.Now(), task: id}
	one.code = a.decide(one.at, a.takenLocked())
	a.calls = append(a.calls, one)
	if one.code != "" {
		return http.StatusTooManyRequests, []byte(one.code)
	}
	if a.result != nil {
		made, _ := json.Marshal(made{ID: fmt.Sprintf("job-%d", len(a.calls)), Result: *a.result})
		return http.StatusOK, made
	}
	return http.StatusOK, fmt.Appendf(nil, "job-%d", len(a.calls))
}

// made is an answer that is the result itself.
type made struct {
	ID     string
	Result provider.Snapshot
}

func (a *acme) takenLocked() (taken []call) {
	for _, c := range a.calls {
		if c.code == "" {
			taken = append(taken, c)
		}
	}
	return taken
}

// taken returns the requests that were taken, in order.
func (a *acme) taken() []call {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.takenLocked()
}

// refused counts the requests since a time, and those of them that were refused.
func (a *acme) refused(since time.Time) (refused, all int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.calls {
		if c.at.Before(since) {
			continue
		}
		all++
		if c.code != "" {
			refused++
		}
	}
	return refused, all
}

// rule replaces how the provider decides.
func (a *acme) rule(decide func(now time.Time, taken []call) string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.decide = decide
}

// atMost takes so many requests in any minute.
func atMost(n int) func(now time.Time, taken []call) string {
	return func(now time.Time, taken []call) string {
		if len(taken) >= n && now.Sub(taken[len(taken)-n].at) < time.Minute {
			return "rate"
		}
		return ""
	}
}

// oneConn is a listener of one connection.
type oneConn struct {
	conn net.Conn
	once func()
	done chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	if c := l.conn; c != nil {
		l.conn = nil
		return &closing{c, l.once}, nil
	}
	<-l.done
	return nil, net.ErrClosed
}

func (l *oneConn) Close() error   { return nil }
func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }

// closing tells of its end.
type closing struct {
	net.Conn
	once func()
}

func (c *closing) Close() error {
	c.once()
	return c.Conn.Close()
}

// driver speaks to acme.
type driver struct{ provider.Driver }

func (driver) Check(events.TaskType, string, json.RawMessage) error { return nil }

// FileRule: pictures of up to a kilobyte.
func (driver) FileRule(_, _, _ string) provider.FileRule {
	return provider.FileRule{MaxBytes: 1 << 10, Types: []string{"image/png"}}
}

func (driver) Upload(context.Context, string, provider.File) (provider.Uploaded, error) {
	return provider.Uploaded{}, errors.New("acme takes no uploads")
}

func (driver) Ref(_, id string) (json.RawMessage, error) { return json.Marshal(id) }

func (driver) Render(t events.Task, input json.RawMessage, _ string) (provider.Request, error) {
	r := provider.Request{URL: "http://acme.test/", Header: http.Header{}, Body: input}
	if t.Model != "m1" {
		r.Timeout, r.MaxReplyBytes = 5*time.Minute, 64<<20
	}
	return r, nil
}

// Features: song and voice are answered with what they make, and voice may be asked for again.
func (driver) Features(model string) provider.Features {
	return provider.Features{Synchronous: model != "m1", Repeatable: model == "voice"}
}

func (driver) Classify(_ string, _ []byte, r provider.Reply) provider.Answer {
	body := string(bytes.TrimSpace(r.Body))
	kinds := map[string]events.Kind{
		"rate": events.KindRateLimited, "concurrency": events.KindRateLimited,
		"quota": events.KindQuota, "auth": events.KindAuth, "address": events.KindAddress, "busy": events.KindRetry,
	}
	if body == "doubt" {
		return provider.Answer{
			Outcome: provider.InDoubt,
			Err:     &provider.Error{Kind: events.KindAmbiguous, Code: events.CodeInDoubt, Message: "who knows"},
		}
	}
	if r.Status != http.StatusOK {
		return provider.Answer{
			Outcome: provider.Refused,
			Err:     &provider.Error{Kind: kinds[body], Code: body, Message: "acme says " + body},
		}
	}
	var m made
	if json.Unmarshal(r.Body, &m) == nil {
		return provider.Answer{
			Outcome: provider.Accepted, ID: m.ID, Ref: json.RawMessage(fmt.Sprintf("%q", m.ID)), Result: &m.Result,
		}
	}
	return provider.Answer{Outcome: provider.Accepted, ID: body, Ref: json.RawMessage(fmt.Sprintf("%q", body))}
}
