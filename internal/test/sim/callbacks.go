package sim

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"reelay/events"
)

// URLs makes callback URLs of the form that the webhook service serves. Nobody serves these: a test speaks for the
// provider by CallBack.
type URLs struct{}

// CallbackURL names lane, task and attempt, and ends in 32 characters that nothing else contains.
func (URLs) CallbackURL(lane string, k events.Key, attempt int, _ time.Time) string {
	path := lane + "/k1/" + k.String() + "." + strconv.Itoa(attempt)
	sum := sha256.Sum256([]byte("a key " + path))
	return "https://webhooks.example.test/cb/" + path + "/" + hex.EncodeToString(sum[:16])
}

// CallBack publishes a callback as the webhook service would once it has verified it, received now.
func (w *World) CallBack(lane, project, id string, attempt int, body string) {
	w.T.Helper()
	w.store(events.Callback{
		Lane: lane, Task: events.Key{Project: project, ID: id}, Attempt: attempt, Received: time.Now(), Body: []byte(body),
	})
}

// Refuse publishes that a callback was refused, as the webhook service would, received now.
func (w *World) Refuse(lane, project, id string, attempt int, why events.Unproven) {
	w.T.Helper()
	w.store(events.Callback{
		Lane: lane, Task: events.Key{Project: project, ID: id}, Attempt: attempt, Received: time.Now(), Unproven: why,
	})
}

func (w *World) store(h events.Callback) {
	w.T.Helper()
	msg := &nats.Msg{Subject: h.Subject(), Data: h.Body, Header: nats.Header{}}
	for name, v := range h.Header() {
		msg.Header.Set(name, v)
	}
	if _, err := w.JS.PublishMsg(w.T.Context(), msg); err != nil {
		w.T.Fatal(err)
	}
}

// MetricSum sums the counters and gauges of a name that have all these label values.
func (w *World) MetricSum(name string, values ...string) float64 {
	w.T.Helper()
	families, err := w.proc.Gather()
	if err != nil {
		w.T.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			have := map[string]bool{}
			for _, l := range m.GetLabel() {
				have[l.GetValue()] = true
			}
			all := true
			for _, v := range values {
				all = all && have[v]
			}
			if all {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}
