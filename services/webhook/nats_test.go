package webhook_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"reelay/events"
	"reelay/internal/bus"
	"reelay/internal/test/broker"
	"reelay/internal/test/sim"
	"reelay/services/webhook"
)

// A webhook service before a real broker: it starts before the streams are there, stores what comes once they are, the
// same body once, and sends the provider away while the broker is gone, but for handshakes.
func TestBeforeNATS(t *testing.T) {
	broker.Run(t, func(b *broker.Broker) {
		publisher, err := bus.NewCallbackPublisher(b.Connect())
		b.OK(err)
		network := &sim.Network{}
		l, err := network.Listen("webhook.test:80")
		b.OK(err)
		e := start(b.T, func(o *webhook.Options) { o.Listener, o.Publisher = l, publisher })
		e.client.Transport.(*http.Transport).DialContext = network.Dial
		post := func(what, body string, want int, result string) {
			b.Helper()
			before := e.counted("minimax", result)
			if status, _ := e.post(e.path("minimax", 1), jsonHeader(), body); status != want ||
				e.counted("minimax", result) != before+1 {
				b.Errorf("%s: %d, want %d and one more %s", what, status, want, result)
			}
		}
		const challenge = `{"challenge":"x"}`
		post("no streams", update, 503, "unavailable")
		post("no streams", challenge, 200, "challenge")

		on := b.Open(bus.Options{})
		post("first", update, 200, "accepted")
		post("again", update, 200, "duplicate")
		post("another", strings.Replace(update, "success", "failed", 1), 200, "accepted")
		s, err := on.JetStream().Stream(b.Context(), events.StreamCallbacks)
		b.OK(err)
		if n := s.CachedInfo().State.Msgs; n != 2 {
			b.Errorf("%d callbacks are stored", n)
		}
		raw, err := s.GetMsg(b.Context(), 1)
		b.OK(err)
		h, err := events.ParseCallback(raw.Subject, raw.Header.Get, raw.Data)
		if err != nil || h.Lane != "minimax" || h.Task != task || h.Attempt != 1 || string(h.Body) != update {
			b.Errorf("%+v, %v", h, err)
		}

		b.Server.Stop()
		synctest.Wait()
		begin := time.Now()
		post("broker gone", update, 503, "unavailable")
		post("broker gone", challenge, 200, "challenge")
		if took := time.Since(begin); took > time.Second {
			b.Errorf("took %v to say so", took)
		}
	})
}
