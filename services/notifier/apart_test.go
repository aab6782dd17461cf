package notifier

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/test/broker"
)

// hanging are web services of which that of studio.example never answers.
type hanging struct {
	mu    sync.Mutex
	calls map[string]int
}

func (h *hanging) RoundTrip(req *http.Request) (*http.Response, error) {
	h.mu.Lock()
	h.calls[req.URL.Host]++
	h.mu.Unlock()
	if req.URL.Host == "studio.example" {
		<-req.Context().Done()
		return nil, req.Context().Err()
	}
	return &http.Response{StatusCode: http.StatusNoContent, Header: http.Header{}, Body: http.NoBody}, nil
}

// TestApart: an endpoint that hangs has no more than its deliveries under way, takes no place of another's, and holds up
// no stop. A delivery that comes late, when a later event of the task may have been sent, is not sent again.
func TestApart(t *testing.T) {
	broker.Run(t, func(b *broker.Broker) {
		h := &hanging{calls: map[string]int{}}
		w := newWorld(b, strings.Replace(studio, "{", "{in_flight: 2, ", 1)+
			strings.NewReplacer("studio", "quick").Replace(studio))
		w.transport = h
		on, stop := w.start()
		time.Sleep(time.Second)
		for i := range 5 {
			w.ended(on, fmt.Sprint("kite-", i))
		}
		time.Sleep(postWait - 5*time.Second)
		h.mu.Lock()
		if h.calls["studio.example"] != 2 || h.calls["quick.example"] != 10 {
			b.Errorf("%v, want 2 and 10 calls", h.calls)
		}
		h.mu.Unlock()
		begin := time.Now()
		b.OK(stop())
		if took := time.Since(begin); took > postWait {
			b.Errorf("the stop took %v", took)
		}
		k := events.Key{Project: "demo", ID: "kite-0"}
		o := w.service.deliver(b.Context(), b.Context(), "studio", bus.Message{
			Subject: events.NotifySubject("studio", k, events.EventCompleted), Data: []byte("{}"), Time: time.Now(),
		})
		if o != bus.Done() {
			b.Errorf("of a delivery that is behind another: %+v", o)
		}
	})
}

// TestSentTo: an endpoint is sent nothing of a project that it is not for, also where it was defined after the event was
// routed.
func TestSentTo(t *testing.T) {
	s := &Service{}
	set, err := parse([]byte("endpoints: {a: {url: 'https://h.example', secret: "+goodSecret+", projects: [demo], events: [failed]}}"), nil)
	if err != nil {
		t.Fatal(err)
	}
	s.settings.Store(set)
	for _, c := range []struct {
		endpoint, project string
		event             events.EventType
		late              bool
		want              bus.Outcome
	}{
		{"a", "demo", events.EventFailed, true, bus.Outcome{}},
		{"a", "other", events.EventFailed, false, bus.Terminate("the endpoint a is not for project other")},
		{"a", "demo", events.EventCompleted, false, bus.Done()},
		{"b", "demo", events.EventFailed, false, bus.RetryAfter(undefinedAgain)},
		{"b", "demo", events.EventFailed, true, bus.Terminate("REELAY_NOTIFY_FILE defines no endpoint b")},
	} {
		_, o, ok := s.sentTo(c.endpoint, events.Key{Project: c.project, ID: "k"}, c.event, func() bool { return c.late })
		if o != c.want || ok != (c.want == bus.Outcome{}) {
			t.Errorf("%+v: %+v, %v", c, o, ok)
		}
	}
}

// TestStrays: however many names requests make up, the same few are looked after until nothing waits for them.
func TestStrays(t *testing.T) {
	s := &Service{strays: map[string]bool{}}
	s.settings.Store(&settings{endpoints: map[string]*endpoint{"known": {}}})
	k := events.Key{Project: "demo", ID: "kite"}
	stored := map[string]uint64{events.NotifySubject("known", k, events.EventFailed): 1}
	for i := range maxStrays {
		stored[events.NotifySubject(fmt.Sprint("name-", i), k, events.EventFailed)] = 1
	}
	s.addStrays(stored)
	before := strings.Join(s.names(), " ")
	for i := range maxStrays {
		stored[events.NotifySubject(fmt.Sprint("more-", i), k, events.EventFailed)] = 1
	}
	s.addStrays(stored)
	if after := strings.Join(s.names(), " "); after != before || len(s.strays) != maxStrays {
		t.Errorf("%d: %s, want %s", len(s.strays), after, before)
	}
}

// TestGate: a burst that fails closes the gate for seconds, not for its size; an endpoint may ask for an hour at most; and
// a changed file ends the wait.
func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		for range maxInFlight {
			g.leave("no", 0)
		}
		if wait, _, closed := g.enter(); !closed || wait != minClosed {
			t.Errorf("after a burst: %v, %v", wait, closed)
		}
		g.leave("no", 1000*time.Hour)
		if wait, _, closed := g.enter(); !closed || wait != maxRetryAfter {
			t.Errorf("when asked for it: %v, %v", wait, closed)
		}
		begin := time.Now()
		time.AfterFunc(time.Second, g.reopen)
		if !g.await(t.Context(), func() bool { return false }) || time.Since(begin) != time.Second {
			t.Errorf("a changed file did not end the wait: %v", time.Since(begin))
		}
	})
}
