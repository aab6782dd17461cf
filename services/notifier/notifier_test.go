package notifier

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"reelay/events"
	"reelay/events/client"
	"reelay/events/operator"
	"reelay/internal/bus"
	"reelay/internal/test/broker"
)

const (
	goodSecret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"
	studio     = "  studio: {url: 'https://studio.example/in/token-in-the-path', secret: " + goodSecret + ", projects: [demo], always: true}\n"
)

// A receiver is the web service of a user. It answers in the bubble, without a network.
type receiver struct {
	t  *testing.T
	mu sync.Mutex
	// answer is what it says; 200 for 0. dies is called within the next delivery, which is then lost.
	answer int
	dies   func()
	got    []string
	tried  int
}

func (r *receiver) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tried++
	signed, err := standardwebhooks.NewWebhook(goodSecret)
	if err == nil {
		err = signed.Verify(body, req.Header)
	}
	var e events.Event
	if err == nil {
		err = json.Unmarshal(body, &e)
	}
	if err != nil {
		r.t.Errorf("a delivery is wrong: %v", err)
	}
	id := req.Header.Get("Webhook-Id")
	if e.Type.Valid() && (id != e.ID() || id != req.Header.Get(events.HeaderID)) {
		r.t.Errorf("webhook-id %s of event %s", id, e.ID())
	}
	status := max(r.answer, http.StatusOK)
	if r.answer == 0 {
		r.got = append(r.got, id)
	}
	if die := r.dies; die != nil {
		r.dies = nil
		die()
		return nil, errors.New("the process is gone")
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("no " + req.URL.Path))}, nil
}

func (r *receiver) set(answer int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

// first returns what was delivered, each once, in the order of its first delivery.
func (r *receiver) first() (ids []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range r.got {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// world is a broker, a file of endpoints and a receiver.
type world struct {
	*broker.Broker
	receiver *receiver
	file     string
	// maxAge and transport are options of the notifiers; transport is the receiver if nil.
	maxAge    time.Duration
	transport http.RoundTripper
	service   *Service
}

func newWorld(b *broker.Broker, endpoints string) *world {
	w := &world{Broker: b, receiver: &receiver{t: b.T}, file: filepath.Join(b.TempDir(), "notify.yaml")}
	w.define(endpoints)
	return w
}

func (w *world) define(endpoints string) {
	w.Helper()
	w.OK(os.WriteFile(w.file, []byte("endpoints:\n"+endpoints), 0o600))
}

// start runs a notifier, and returns what kills it.
func (w *world) start() (on *bus.Bus, stop func() error) {
	w.Helper()
	on = w.Open(bus.Options{})
	o := Options{
		Bus: on, File: w.file, Transport: w.receiver, MaxAge: w.maxAge, Log: w.Logger, Registerer: prometheus.NewRegistry(),
	}
	if w.transport != nil {
		o.Transport = w.transport
	}
	var err error
	w.service, err = New(o)
	w.OK(err)
	return on, broker.Begin(w.T, w.service.Run)
}

// ended publishes the end of a task and that its outputs are stored.
func (w *world) ended(on *bus.Bus, id string, notify ...string) (ids []string) {
	w.Helper()
	for i, t := range []events.EventType{events.EventCompleted, events.EventStored} {
		e := events.Event{
			Type: t, Project: "demo", TaskID: id, Version: uint64(5 + i), Time: time.Now().UTC(), Once: true, Notify: notify,
			Task: &events.Task{Project: "demo", ID: id},
		}
		w.OK(on.Publish(w.Context(), e))
		ids = append(ids, e.ID())
	}
	return ids
}

// TestDelivers: through a kill in the middle of a delivery, minutes in which the endpoint takes nothing, and a file that
// is half written for a while, every event is delivered, under one webhook-id, those of a task in order; and neither URL
// nor secret is told.
func TestDelivers(t *testing.T) {
	broker.Run(t, func(b *broker.Broker) {
		t := b.T
		w := newWorld(b, studio)
		killed, stopKilled := w.start()
		other := w.Open(bus.Options{})
		time.Sleep(time.Second)
		w.receiver.dies = killed.Conn().Close
		var want []string
		for i := range 4 {
			want = append(want, w.ended(other, fmt.Sprint("kite-", i))...)
		}
		time.Sleep(time.Second)
		_ = stopKilled() // what was left of it
		on, stop := w.start()
		defer func() { b.OK(stop()) }()
		time.Sleep(5 * fileTick / 2) // what was under way comes again; between two looks at the file
		w.define("")
		time.Sleep(fileTick)
		w.receiver.set(http.StatusServiceUnavailable)
		for i := range 4 {
			want = append(want, w.ended(on, fmt.Sprint("late-", i))...)
		}
		time.Sleep(time.Second)
		w.define(studio)
		time.Sleep(4 * time.Minute)
		down, err := client.New(on.Conn()).Notify(t.Context())
		b.OK(err)
		if p := down.Endpoints[0]; p.Waiting != 8 || p.Failures == 0 || strings.Contains(fmt.Sprint(down), "token-in-the-path") {
			t.Errorf("while the endpoint is down: %+v", down)
		}
		if w.receiver.tried > 40 {
			t.Errorf("%d tries in four minutes", w.receiver.tried)
		}
		w.receiver.set(0)
		time.Sleep(8 * time.Minute)
		got := w.receiver.first()
		for i := 0; i < len(want); i += 2 {
			if a, z := slices.Index(got, want[i]), slices.Index(got, want[i+1]); a < 0 || z < a {
				t.Errorf("%s is delivered at place %d, %s at %d", want[i], a, want[i+1], z)
			}
		}
		up, err := client.New(on.Conn()).Notify(t.Context())
		b.OK(err)
		if p := up.Endpoints[0]; p.Waiting != 0 || p.Dead != 0 || p.Failures != 0 {
			t.Errorf("after it: %+v", up)
		}
	})
}

// TestUndefined: the events of an endpoint that nobody has defined, and of one that takes none for long, are dead
// letters, and are delivered once they are replayed. A broken file changes nothing. What is shown of an endpoint ends with
// its definition.
func TestUndefined(t *testing.T) {
	broker.Run(t, func(b *broker.Broker) {
		t := b.T
		w := newWorld(b, studio)
		w.maxAge = 3 * time.Minute
		on, stop := w.start()
		defer func() { b.OK(stop()) }()
		c := client.New(on.Conn())
		time.Sleep(time.Second)
		w.receiver.set(http.StatusInternalServerError)
		want := w.ended(on, "kite", "ghost")
		for _, minutes := range []time.Duration{2, 10} {
			time.Sleep(minutes * time.Minute)
			r, err := c.Notify(t.Context())
			b.OK(err)
			for _, p := range r.Endpoints {
				if minutes == 2 && p.Waiting != 2 || minutes != 2 && (p.Waiting != 0 || p.Dead != 2) {
					t.Errorf("after %d minutes: %+v", minutes, p)
				}
			}
		}
		w.define("  ghost: {url: 'http://studio.example', secret: " + goodSecret + "}\n")
		time.Sleep(time.Minute)
		r, err := c.Notify(t.Context())
		b.OK(err)
		if !strings.Contains(r.FileError, "endpoints.ghost.url: must be https") || !r.Endpoints[0].Defined {
			t.Errorf("of a broken file: %+v", r)
		}
		w.define("  ghost: {url: 'https://studio.example', secret: " + goodSecret + "}\n" + studio)
		w.receiver.set(0)
		time.Sleep(time.Minute)
		for _, name := range []string{"ghost", "studio"} {
			r, err := c.ReplayNotifications(t.Context(), operator.NotifyReplayRequest{Endpoint: name})
			b.OK(err)
			if r.Replayed != 2 {
				t.Errorf("%s: %+v", name, r)
			}
		}
		time.Sleep(time.Minute)
		if got := w.receiver.first(); !slices.Equal(slices.Sorted(slices.Values(got)), want) || len(w.receiver.got) != 4 {
			t.Errorf("delivered: %v, want %v twice", w.receiver.got, want)
		}
		tested, err := c.TestNotify(t.Context(), operator.NotifyTestRequest{Endpoint: "studio"})
		b.OK(err)
		if tested.Failure != "" {
			t.Errorf("test: %+v", tested)
		}
		w.define("  ghost: {url: 'https://studio.example', secret: " + goodSecret + "}\n")
		time.Sleep(2 * surveyTick)
		if n := testutil.CollectAndCount(w.service.metrics.oldest); n != 1 {
			t.Errorf("the age of what waits is shown for %d endpoints", n)
		}
	})
}

// TestFile: what is wrong in the file is refused by the name of its field, without what stands there.
func TestFile(t *testing.T) {
	for text, want := range map[string]string{
		"endpoints: {a: {url: 'https://h.example/s3cret', secret: c2hvcnQ=}}":                      "endpoints.a.secret: must be",
		"endpoints: {a: {url: 'http://127.0.0.1:1/s3cret', secret: " + goodSecret + "}}":           "endpoints.a.url: must be https",
		"endpoints: {a: {url: 'https://u:s3cret@h.example', secret: " + goodSecret + "}}":          "endpoints.a.url: takes no user",
		"endpoints: {a: {url: 'https://h.example', secret: [s3cret]}}":                             "cannot unmarshal",
		"endpoints: {a: {url: 'https://h.example', secret: " + goodSecret + ", events: [queued]}}": "endpoints.a.events",
		"endpoints: {a: {url: 'https://h.example', secret: " + goodSecret + ", always: true}}":     "endpoints.a.always",
		"endpoints: {a: {url: 'https://h.example:8443/s3cret', secret: " + goodSecret + "}}":       "endpoints.a.url: a port other",
		"endpoint: {}": "endpoint not found",
	} {
		_, err := parse([]byte(text), nil)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	if _, err := parse([]byte("hosts: ['127.0.0.1:1']\nendpoints: {a: {url: 'http://127.0.0.1:1/x', secret: "+goodSecret+"}}"), nil); err != nil {
		t.Error(err)
	}
}

// TestWithin: an event that is too large goes without its record.
func TestWithin(t *testing.T) {
	body := []byte(`{"type":"completed","task":"` + strings.Repeat("x", maxBodyBytes) + `"}`)
	if got, err := within(body); err != nil || string(got) != `{"type":"completed"}` {
		t.Errorf("%.100s, %v", got, err)
	}
}
