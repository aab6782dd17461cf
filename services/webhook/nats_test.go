package webhook_test

import (
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/natsd"
	"reelay/internal/sim"
	"reelay/services/webhook"
)

// An edge before a real broker: it starts before the streams are there, stores what comes once they are, the same body once, and
// sends the provider away while the broker is gone, but for handshakes.
func TestBeforeNATS(t *testing.T) {
	sim.Bubble(t, func(t *testing.T) {
		log := slog.New(slog.NewTextHandler(t.Output(), nil))
		srv, err := natsd.Start(natsd.Options{StoreDir: t.TempDir(), Sync: natsd.SyncInterval, Log: log})
		if err != nil {
			t.Fatal(err)
		}
		stop := sync.OnceFunc(srv.Stop)
		defer stop()
		nc, err := srv.Connect("edge")
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		publisher, err := bus.NewHookPublisher(nc)
		if err != nil {
			t.Fatal(err)
		}
		network := &sim.Network{}
		l, err := network.Listen("edge.test:80")
		if err != nil {
			t.Fatal(err)
		}
		e := start(t, func(o *webhook.Options) { o.Listener, o.Publisher = l, publisher })
		e.client.Transport.(*http.Transport).DialContext = network.Dial
		post := func(what, body string, want int, result string) {
			t.Helper()
			before := e.counted("minimax", result)
			if status, _ := e.post(e.path("minimax", 1), jsonHeader(), body); status != want || e.counted("minimax", result) != before+1 {
				t.Errorf("%s: %d, want %d and one more %s", what, status, want, result)
			}
		}
		const challenge = `{"challenge":"x"}`
		post("no streams", update, 503, "unavailable")
		post("no streams", challenge, 200, "challenge")

		other, err := srv.Connect("pipeline")
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		b, err := bus.Open(t.Context(), other, bus.Options{Log: log})
		if err != nil {
			t.Fatal(err)
		}
		post("first", update, 200, "accepted")
		post("again", update, 200, "duplicate")
		post("another", strings.Replace(update, "success", "failed", 1), 200, "accepted")
		synctest.Wait()
		for _, name := range []string{events.StreamHooks, events.StreamDeliveries} {
			s, err := b.JetStream().Stream(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			if n := s.CachedInfo().State.Msgs; n != 2 {
				t.Errorf("%s holds %d", name, n)
			}
			raw, err := s.GetMsg(t.Context(), 1)
			if err != nil {
				t.Fatal(err)
			}
			h, err := events.ParseHook(raw.Subject, raw.Header.Get, raw.Data)
			if err != nil || h.Lane != "minimax" || h.Task != task || h.Attempt != 1 || string(h.Body) != update {
				t.Errorf("%s: %+v, %v", name, h, err)
			}
		}

		stop()
		synctest.Wait()
		begin := time.Now()
		post("broker gone", update, 503, "unavailable")
		post("broker gone", challenge, 200, "challenge")
		if took := time.Since(begin); took > time.Second {
			t.Errorf("took %v to say so", took)
		}
	})
}
