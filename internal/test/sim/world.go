// Package sim runs the whole of reelay, the real broker included, inside synctest bubbles: hours of polls, deadlines
// and restarts in milliseconds, against the emulators over real HTTP on pipes. It is for tests only.
package sim

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/internal/accounts"
	"reelay/internal/allinone"
	"reelay/internal/callbackurl"
	"reelay/internal/config"
	"reelay/internal/dependency"
	"reelay/internal/emulator"
	"reelay/internal/failpoint"
	"reelay/internal/group"
	"reelay/internal/natsd"
	"reelay/internal/proc"
	"reelay/internal/provider"
	"reelay/internal/provider/registry"
	"reelay/internal/secret"
	"reelay/internal/test/broker"
	"reelay/internal/test/model"
	"reelay/services/media"
	"reelay/services/submitter"
)

// maxSilence bounds how long the broker or the status service may not answer, as during a restart.
const maxSilence = 30 * time.Minute

// maxAwait bounds a wait in broker time.
const maxAwait = 48 * time.Hour

// Main is the body of TestMain of a package that runs worlds, as broker.Main is where there is but a broker.
//
// A bubble hardly ever has two things to do at once, and its store need not survive: one thread, memory for files and
// less garbage collection make it twice as fast.
func Main(m *testing.M) {
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(400)
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		if err := os.Setenv("TMPDIR", "/dev/shm"); err != nil {
			panic(err) // a fault in this line
		}
	}
	broker.Main(m)
}

// Options configure a World.
type Options struct {
	Speed    emulator.Speed
	Pipeline config.Pipeline
	// WrapTransport stands between the pollers and the emulators, WrapConn around the connections of paid requests.
	WrapTransport func(http.RoundTripper) http.RoundTripper
	WrapConn      func(net.Conn) net.Conn
	// Faults gives each service its failpoints, WrapBroker stands between it and the broker.
	Faults     func(service string) failpoint.Plan
	WrapBroker func(service string, conn net.Conn) net.Conn
	// Callback makes the callback URLs of the submitters; nil for none.
	Callback submitter.Callback
	// Webhooks runs the webhook service, to which the emulators call back through WrapCallbacks and under CallbackFaults.
	Webhooks       bool
	WrapCallbacks  func(http.RoundTripper) http.RoundTripper
	CallbackFaults emulator.Faults
	// Artifacts runs the archiver, with a store below the world's directory.
	Artifacts bool
	// Retention and ProjectBytes are the settings of its store.
	Retention, ProjectBytes string
	// FindWorker finds what does the work of the media service, which runs with the archiver; nil for ffmpeg.
	FindWorker func() (media.Worker, error)
	// LeaseTTL is the lifetime of the lanes' leases; half a minute if 0, as renewing them is what hours of virtual time
	// cost most.
	LeaseTTL time.Duration
	// Rights has the broker ask who connects; nil for one that does not, unless -sim.rights is given.
	Rights *Rights
	// Guard is what the submitters' guard is told.
	Guard config.Guard
	// Lanes are lanes beside those that are named after their providers.
	Lanes []config.Lane
	// Groups are groups of lanes.
	Groups []group.Group
	// Quiet leaves the services' logs out; Log takes them in place of the test's output.
	Quiet bool
	Log   slog.Handler
	// Collector takes what OpenTelemetry exports to CollectorURL, if the variables ask for that; nil for nothing.
	Collector http.Handler
}

// A World is a running reelay in a bubble, with a client beside it.
type World struct {
	T       *testing.T
	Stack   *allinone.Stack
	Network *Network
	NC      *nats.Conn
	JS      jetstream.JetStream

	o         Options
	proc      *proc.Process
	transport *http.Transport
	dir       string
}

// Run calls f in a bubble with everything running, and checks the world when f returns: see Check.
func Run(t *testing.T, o Options, f func(t *testing.T, w *World)) {
	t.Helper()
	broker.Bubble(t, func(t *testing.T) {
		if o.Speed == (emulator.Speed{}) {
			o.Speed = emulator.Speed{Queue: time.Minute, Run: 4 * time.Minute, Position: 3}
		}
		if *allRights && o.Rights == nil {
			o.Rights = NewRights(t)
			defer o.Rights.Check(t)
		}
		w := &World{T: t, Network: &Network{}, o: o, dir: t.TempDir()}
		t.Cleanup(w.Stop) // a bubble whose test has failed must be empty at its end as well
		w.Start()
		f(t, w)
		w.Settle(time.Minute) // a record is written before its event
		w.Check()
	})
}

// Start starts the stack on the world's store. It takes up what a former Stop left.
func (w *World) Start() {
	w.T.Helper()
	log := slog.New(slog.NewTextHandler(w.T.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
	if w.o.Log != nil {
		log = slog.New(w.o.Log)
	}
	if w.o.Quiet {
		log = slog.New(slog.DiscardHandler)
	}
	dial := w.Network.Dial
	if w.o.WrapConn != nil {
		dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := w.Network.Dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return w.o.WrapConn(c), nil
		}
	}
	w.proc = proc.New(log)
	w.transport = provider.NewTransport()
	w.transport.DialContext = w.Network.Dial
	var transport http.RoundTripper = w.transport
	if w.o.WrapTransport != nil {
		transport = w.o.WrapTransport(transport)
	}
	var callbacks http.RoundTripper = w.transport
	if w.o.WrapCallbacks != nil {
		callbacks = w.o.WrapCallbacks(callbacks)
	}
	if w.o.Collector != nil {
		w.startExport()
	}
	providers := config.Resolved{Sandbox: true, Lanes: w.o.Lanes, Groups: w.o.Groups}
	if w.o.Webhooks {
		providers.CallbackKeys = []callbackurl.Key{{ID: "k1", Secret: secret.New(strings.Repeat("k", callbackurl.KeyBytes))}}
	}
	var artifacts config.Artifacts
	if w.o.Artifacts {
		artifacts = config.Artifacts{
			Store: "file://" + filepath.Join(w.dir, "artifacts"), Listen: config.ArchiverListen, MaxBytes: 1 << 30,
			Retention: w.o.Retention, ProjectMaxBytes: w.o.ProjectBytes,
		}
	}
	var err error
	w.Stack, err = allinone.Start(w.T.Context(), w.proc, allinone.Options{
		// Power cuts are not simulated, so the broker need not wait for a disk.
		StoreDir: w.dir, Sync: natsd.SyncInterval, Providers: providers, Pipeline: w.o.Pipeline, Speed: w.o.Speed,
		SandboxInterval: 10 * time.Second, LeaseTTL: cmp.Or(w.o.LeaseTTL, 30*time.Second),
		ListenEmulator: w.Network.Listen, Dial: dial, Transport: transport, Faults: w.o.Faults, WrapBroker: w.o.WrapBroker,
		Log: log, Callback: w.o.Callback, ListenWebhook: w.Network.Listen, WebhookTransport: callbacks,
		WebhookFaults: w.o.CallbackFaults, Artifacts: artifacts, ListenArchiver: w.Network.Listen,
		BrokerConfig: w.o.Rights.config(), Credentials: w.o.Rights.Credentials,
		FindWorker: w.o.FindWorker, Guard: w.o.Guard,
	})
	if err != nil {
		w.T.Fatal(err)
	}
	if w.NC, err = w.Stack.Connect("client", w.o.Rights.Credentials(accounts.Operator)...); err != nil {
		w.T.Fatal(err)
	}
	if w.JS, err = jetstream.New(w.NC); err != nil {
		w.T.Fatal(err)
	}
}

// CollectorURL is where the world's collector is.
const CollectorURL = "http://" + collectorAddress

const collectorAddress = "127.0.0.1:4318"

// startExport starts the collector, which outlives what exports to it, and the export.
func (w *World) startExport() {
	w.T.Helper()
	l, err := w.Network.Listen(collectorAddress)
	if err != nil {
		w.T.Fatal(err)
	}
	w.proc.Serve("collector", l, w.o.Collector)
	if err := w.proc.Export(w.T.Context(), &http.Client{Transport: w.transport}); err != nil {
		w.T.Fatal(err)
	}
}

// Dir is the directory of everything that outlives Stop.
func (w *World) Dir() string { return w.dir }

// Stop stops everything, as the end of `reelay up` does.
func (w *World) Stop() {
	w.T.Helper()
	if w.NC != nil {
		w.NC.Close()
	}
	w.transport.CloseIdleConnections()
	if err := w.proc.Stop(); err != nil {
		w.T.Error(err)
	}
	w.transport.CloseIdleConnections()
}

// Publish publishes a request as a user would with nats pub, and fails the test if the stream does not take it.
func (w *World) Publish(subject string, body string) {
	w.T.Helper()
	if _, err := w.JS.Publish(w.T.Context(), subject, []byte(body)); err != nil {
		w.T.Fatal(err)
	}
}

// PublishUntilAcked publishes until the stream has acknowledged it, as a careful client does, and returns its sequence.
// What is published may be stored twice.
func (w *World) PublishUntilAcked(subject string, body string) uint64 {
	w.T.Helper()
	for begin := time.Now(); ; time.Sleep(time.Second) {
		ack, err := w.JS.Publish(w.T.Context(), subject, []byte(body))
		if err == nil {
			return ack.Sequence
		}
		if time.Since(begin) > maxSilence {
			w.T.Fatalf("%s: %v", subject, err)
		}
	}
}

// Ask calls an endpoint of the API and decodes its answer into out, again and again while nobody answers. It returns
// the error the API gave, if any.
func (w *World) Ask(out any, v events.Verb, payload string, tokens ...string) *events.Error {
	w.T.Helper()
	msg := w.request(events.APISubject(v, tokens...), payload)
	if msg.Header.Get("Nats-Service-Error") != "" {
		var reply events.ErrorReply
		if err := json.Unmarshal(msg.Data, &reply); err != nil {
			w.T.Fatalf("error %s with body %s: %v", msg.Header.Get("Nats-Service-Error"), msg.Data, err)
		}
		return &reply.Error
	}
	if err := json.Unmarshal(msg.Data, out); err != nil {
		w.T.Fatalf("%s: %v", msg.Data, err)
	}
	return nil
}

func (w *World) request(subject, payload string) *nats.Msg {
	w.T.Helper()
	for begin := time.Now(); ; time.Sleep(time.Second) {
		// With a context: Request by timeout takes its timer from a pool that all bubbles of the process share.
		ctx, cancel := context.WithTimeout(w.T.Context(), events.MaxWait+time.Minute)
		msg, err := w.NC.RequestWithContext(ctx, subject, []byte(payload))
		cancel()
		if err == nil {
			return msg
		}
		if time.Since(begin) > maxSilence {
			w.T.Fatalf("%s: %v", subject, err)
		}
	}
}

// Get reads a task by the API.
func (w *World) Get(project, id string) events.Task {
	w.T.Helper()
	var reply events.TaskReply
	if e := w.Ask(&reply, events.VerbGet, "", project, id); e != nil {
		w.T.Fatal(e)
	}
	return reply.Task
}

// AwaitEnd waits until a task has ended, for two days at most, and returns it.
func (w *World) AwaitEnd(project, id string) events.Task {
	w.T.Helper()
	for range int(maxAwait / events.MaxWait) {
		var reply events.TaskReply
		e := w.Ask(&reply, events.VerbWait, `{"timeout":"5m"}`, project, id)
		if e == nil && reply.Task.Status.Terminal() {
			w.Settle(5 * time.Second) // the event follows the record
			return reply.Task
		}
	}
	w.T.Fatalf("task %s/%s has not ended after %v: %+v", project, id, maxAwait, w.Get(project, id))
	return events.Task{}
}

// Await reads a task until it is as wanted, for two days at most: every second for ten minutes, then every minute.
func (w *World) Await(project, id string, wanted func(events.Task) bool) events.Task {
	w.T.Helper()
	deadline := time.Now().Add(maxAwait)
	for {
		var reply events.TaskReply
		e := w.Ask(&reply, events.VerbGet, "", project, id)
		if e == nil && wanted(reply.Task) {
			return reply.Task
		}
		if time.Now().After(deadline) {
			w.T.Fatalf("task %s/%s is %s %s after %v: %v", project, id, reply.Task.Status, reply.Task.Phase, maxAwait, e)
		}
		step := time.Second
		if time.Until(deadline) < maxAwait-10*time.Minute {
			step = time.Minute
		}
		time.Sleep(step)
	}
}

// Settle lets d pass, so that what must not happen has had its time to happen.
func (w *World) Settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// Story replays every event of a task, or of all with "*", in the order of the stream.
func (w *World) Story(project, id string) []events.Event {
	w.T.Helper()
	ctx, cancel := context.WithTimeout(w.T.Context(), time.Minute)
	defer cancel()
	consumer, err := w.JS.CreateConsumer(ctx, events.StreamEvents, jetstream.ConsumerConfig{
		FilterSubject: events.EventSubject(events.Key{Project: project, ID: id}, "*"), AckPolicy: jetstream.AckNonePolicy,
	})
	if err != nil {
		w.T.Fatal(err)
	}
	pending := int(consumer.CachedInfo().NumPending)
	var all []events.Event
	for len(all) < pending {
		batch, err := consumer.Fetch(min(pending-len(all), 500))
		if err != nil {
			w.T.Fatal(err)
		}
		for msg := range batch.Messages() {
			e, err := events.DecodeEvent(msg.Headers().Get(events.HeaderType), msg.Data())
			if err != nil {
				w.T.Fatal(err)
			}
			all = append(all, e)
		}
		if batch.Error() != nil {
			w.T.Fatal(batch.Error())
		}
	}
	if err := w.JS.DeleteConsumer(ctx, events.StreamEvents, consumer.CachedInfo().Name); err != nil {
		w.T.Fatal(err)
	}
	return all
}

// Types returns the types of events, progress left out.
func Types(all []events.Event) []events.EventType {
	var types []events.EventType
	for _, e := range all {
		if e.Type != events.EventProgress {
			types = append(types, e.Type)
		}
	}
	return types
}

// Tasks returns every record.
func (w *World) Tasks() []events.Task {
	w.T.Helper()
	var all []events.Task
	cursor := ""
	for {
		payload, err := json.Marshal(events.ListRequest{Limit: events.MaxListLimit, Cursor: cursor})
		if err != nil {
			w.T.Fatal(err)
		}
		var reply events.ListReply
		if e := w.Ask(&reply, events.VerbList, string(payload)); e != nil {
			w.T.Fatal(e)
		}
		all = append(all, reply.Tasks...)
		if cursor = reply.NextCursor; cursor == "" {
			return all
		}
	}
}

// Check compares the emulators' ledgers with the records and the events. It must hold at any time: every job that was
// paid for belongs to the task that says so, none more often than allowed; a task that has ended has exactly one
// terminal event and it is the last but for a late result; batch_done comes after those of its tasks; the story of a
// task begins with queued; the steps of every record are ones that the explored model of the machine can take.
func (w *World) Check() {
	w.T.Helper()
	claimed := map[string]string{}
	stories := map[events.Key][]events.Event{}
	all, tasks := w.Story("*", "*"), w.Tasks()
	w.checkBatches(tasks, all)
	for _, e := range all {
		stories[e.Key()] = append(stories[e.Key()], e)
	}
	for _, t := range tasks {
		accepted := 0
		for _, a := range t.Attempts {
			if a.Outcome == events.AttemptAccepted {
				accepted++
				claimed[a.ProviderID] = t.Key().String()
			}
		}
		if accepted > t.MaxPaidAttempts {
			w.T.Errorf("%s was paid for %d times, %d allowed", t.Key(), accepted, t.MaxPaidAttempts)
		}
		w.checkDependencies(t, tasks)
		if err := model.Replay(t.Transitions); err != nil {
			w.T.Errorf("%s went a way that the machine does not have: %v", t.Key(), err)
		}
		w.checkStory(t, stories[t.Key()])
	}
	if w.o.WrapConn != nil {
		return // the emulators cannot know which of their answers have arrived
	}
	for _, p := range registry.All() {
		if p.SelfHosted {
			continue // nothing is paid for
		}
		for _, job := range w.Stack.Ledger(p.Name).Jobs() {
			if claimed[job.ID] == "" && job.Answered {
				w.T.Errorf("job %s at %s was paid for and answered, and no task knows it", job.ID, p.Name)
			}
		}
	}
}

// checkDependencies finds for each task that was sent the ends of all that it depends on, before the first intent.
func (w *World) checkDependencies(t events.Task, all []events.Task) {
	w.T.Helper()
	if len(t.After) > 0 && len(t.Attempts) == 0 && t.Cost != nil && t.Cost.ActualUSD != nil && *t.Cost.ActualUSD > 0 {
		w.T.Errorf("%s was never sent and cost %v dollars", t.Key(), *t.Cost.ActualUSD)
	}
	if len(t.Attempts) == 0 {
		return
	}
	if len(t.WaitsFor) > 0 || len(t.After) > 0 && strings.Contains(string(t.Input), `"$from"`) {
		w.T.Errorf("%s was sent, waits for %v, and its input is %.500s", t.Key(), t.WaitsFor, t.Input)
	}
	for _, id := range t.After {
		i := slices.IndexFunc(all, func(d events.Task) bool { return d.Key() == events.Key{Project: t.Project, ID: id} })
		if i < 0 {
			w.T.Errorf("%s was sent, and %s, which it depends on, has no record", t.Key(), id)
			continue
		}
		if d := all[i]; d.CompletedAt == nil || d.CompletedAt.After(t.Attempts[0].IntentAt) {
			w.T.Errorf("%s was sent at %v; %s, which it depends on, is %s since %v", t.Key(), t.Attempts[0].IntentAt, id,
				d.Status, d.CompletedAt)
		} else if !dependency.HasResult(d) && t.OnDependency != events.DependencyIgnore {
			w.T.Errorf("%s was sent although %s, which it depends on, is %s", t.Key(), id, d.Status)
		}
	}
}

// checkBatches finds before each batch_done the terminal events of as many tasks as it says have ended.
func (w *World) checkBatches(tasks []events.Task, all []events.Event) {
	w.T.Helper()
	batches := map[events.Key]events.Key{}
	for _, t := range tasks {
		batches[t.Key()] = events.Key{Project: t.Project, ID: t.BatchID}
	}
	ended := map[events.Key]int{}
	for _, e := range all {
		switch {
		case e.Type.Terminal():
			ended[batches[e.Key()]]++
		case e.Type == events.EventBatchDone && ended[e.Key()] < e.Batch.Ended:
			w.T.Errorf("batch_done of %s tells of %d ends and is stored after %d of them", e.Key(), e.Batch.Ended,
				ended[e.Key()])
		}
	}
}

// mayFollow reports whether rest may come after the end of a task: a late result after what is no result, and after
// either that the archiver is done with its outputs.
func mayFollow(end events.EventType, rest []events.EventType) bool {
	if end != events.EventCompleted {
		if len(rest) == 0 {
			return true
		}
		if rest[0] != events.EventLateResult {
			return false
		}
		rest = rest[1:]
	}
	return len(rest) == 0 || len(rest) == 1 && rest[0] == events.EventStored
}

func (w *World) checkStory(t events.Task, story []events.Event) {
	w.T.Helper()
	story = slices.DeleteFunc(story, func(e events.Event) bool { return e.Type == events.EventRejected })
	if t.ErasedAt != nil {
		if len(story) > 0 {
			w.T.Errorf("%s is erased, and there is %v", t.Key(), Types(story))
		}
		return
	}
	if len(story) == 0 || story[0].Type != events.EventQueued {
		w.T.Errorf("%s: the story begins with %v", t.Key(), Types(story))
		return
	}
	terminal := 0
	version := uint64(0)
	for i, e := range story {
		if e.Version < version && e.Type != events.EventProgress {
			w.T.Errorf("%s: %s of version %d after version %d", t.Key(), e.Type, e.Version, version)
		}
		version = max(version, e.Version)
		if e.Type.Terminal() {
			terminal++
			if rest := Types(story[i+1:]); !mayFollow(e.Type, rest) {
				w.T.Errorf("%s: %v after the terminal event", t.Key(), rest)
			}
		}
	}
	if want := t.Status.Terminal(); want != (terminal == 1) || terminal > 1 {
		w.T.Errorf("%s is %s and has %d terminal events", t.Key(), t.Status, terminal)
	}
}
