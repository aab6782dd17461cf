package sim_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/events/operator"
	"reelay/events/rights"
	"reelay/internal/accounts"
	"reelay/internal/emulator"
	"reelay/internal/test/long"
	"reelay/internal/test/sim"
)

// TestQuotas: a tenant that hands in and asks for more than its quota is told which and how much, keeps what it has, and
// takes nothing of another. Of its rejections the newest are kept.
func TestQuotas(t *testing.T) {
	r := sim.NewRights(t, accounts.Tenant{Project: "flood", Role: rights.Tenant},
		accounts.Tenant{Project: "calm", Role: rights.Tenant})
	sim.Run(t, sim.Options{Speed: emulator.Speed{Queue: time.Second, Run: 20 * time.Second}, Rights: r}, func(t *testing.T, w *sim.World) {
		flood, calm := tenant(t, w, r, "flood"), tenant(t, w, r, "calm")
		set := func(project, quota string) {
			t.Helper()
			var reply operator.QuotaReply
			if e := w.Ask(&reply, operator.VerbQuotasSet, fmt.Sprintf(`{"project":%q,"quota":%s}`, project, quota)); e != nil {
				t.Fatal(e)
			}
		}
		set("_all", `{"rejections":30}`)
		set("flood", `{"waiting":50,"waits":3}`)
		setLane(t, w, "fal", `{"paused":true,"reason":"nothing is sent"}`)
		w.Settle(time.Second)

		var mine operator.QuotasReply
		if err := json.Unmarshal(ask(t, flood, "reelay.api.quotas.flood", ""), &mine); err != nil {
			t.Fatal(err)
		}
		want := bucket.Quota{Waiting: 50, Waits: 3, Rejections: 30}.Over(bucket.DefaultQuota())
		if len(mine.Quotas) != 1 || mine.Quotas[0].Quota != want {
			t.Errorf("the tenant reads %+v, want %+v", mine, want)
		}

		for i := range 80 {
			ask(t, flood, "reelay.request.flood.video", falRequest(fmt.Sprint("f", i), "", ""))
			w.Settle(100 * time.Millisecond) // what waits is counted as it is stored
		}
		begun := time.Now()
		ask(t, calm, "reelay.request.calm.video", falRequest("c", "", ""))
		task := w.Await("calm", "c", func(events.Task) bool { return true })
		if took := task.Transitions[0].At.Sub(begun); took > time.Second {
			t.Errorf("the request of the other is queued after %v", took)
		}
		story := w.Story("flood", "*")
		count := map[events.EventType]int{}
		for _, e := range story {
			if count[e.Type]++; e.Type == events.EventRejected &&
				(e.Error.Code != events.CodeOverLimit || e.Error.Field != bucket.QuotaWaiting || !e.Error.Retryable) {
				t.Errorf("rejected by %+v", e.Error)
			}
		}
		if count[events.EventQueued] != 50 || count[events.EventRejected] != 30 {
			t.Errorf("of 80 requests came %v", count)
		}
		ask(t, flood, "reelay.request.flood.video", falRequest("f0", "", ""))
		w.Settle(time.Second)
		if n := len(w.Story("flood", "*")); n != len(story) {
			t.Errorf("what is queued was refused when it was asked for again: %d events, then %d", len(story), n)
		}

		for i := range 100 {
			ask(t, flood, "reelay.request.flood.video", fmt.Sprintf(`{"id":"bad%d"}`, i))
		}
		w.Settle(time.Second)
		kept := 0
		for _, e := range w.Story("flood", "*") {
			if e.Type == events.EventRejected {
				kept++
			}
		}
		if kept < 30 || kept > 34 {
			t.Errorf("%d rejections are kept of 130", kept)
		}

		inbox, err := flood.SubscribeSync("inbox")
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			if err := flood.PublishRequest("reelay.api.wait.flood.f0", "inbox", []byte(`{"timeout":"1m"}`)); err != nil {
				t.Fatal(err)
			}
		}
		w.Settle(time.Second)
		for range 2 {
			var reply events.ErrorReply
			if m := next(t, inbox); m.Header.Get("Nats-Service-Error-Code") != "429" ||
				json.Unmarshal(m.Data, &reply) != nil || reply.Error.Code != events.CodeOverLimit || reply.Error.Field != bucket.QuotaWaits {
				t.Errorf("a wait over the quota is answered with %s", m.Data)
			}
		}
		if n, _, _ := inbox.Pending(); n != 0 {
			t.Errorf("%d more were answered", n)
		}
		ask(t, calm, "reelay.api.get.calm.c", "")
		setLane(t, w, "fal", `{"paused":false}`)
		w.Settle(time.Minute) // the waits are over
		for i := range 50 {
			w.AwaitEnd("flood", fmt.Sprint("f", i))
		}
		r.Check(t)
	})
}

// next returns the next message of a subscription.
func next(t *testing.T, s *nats.Subscription) *nats.Msg {
	t.Helper()
	m, err := s.NextMsgWithContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestFloodLong: while a tenant has 2,600 calls wait, hands in hundreds of requests and has thousands rejected, another's
// request is queued within a second and its calls are answered at once.
func TestFloodLong(t *testing.T) {
	long.Only(t)
	r := sim.NewRights(t, accounts.Tenant{Project: "flood", Role: rights.Tenant},
		accounts.Tenant{Project: "calm", Role: rights.Tenant})
	o := sim.Options{Speed: emulator.Speed{Queue: time.Second, Run: 20 * time.Second}, Rights: r, Quiet: true}
	sim.Run(t, o, func(t *testing.T, w *sim.World) {
		flood, calm := tenant(t, w, r, "flood"), tenant(t, w, r, "calm")
		setLane(t, w, "fal", `{"paused":true,"reason":"nothing is sent"}`)
		ask(t, flood, "reelay.request.flood.video", falRequest("f", "", ""))
		w.Settle(time.Second)
		const waits, requests, rejections = 2_600, 400, 3_000
		inbox, err := flood.SubscribeSync("inbox")
		if err != nil {
			t.Fatal(err)
		}
		send := func(subject, reply, body string) {
			if err := flood.PublishMsg(&nats.Msg{Subject: subject, Reply: reply, Data: []byte(body)}); err != nil {
				t.Fatal(err)
			}
		}
		for range waits {
			send("reelay.api.wait.flood.f", "inbox", `{"timeout":"1m"}`)
		}
		for i := range requests {
			send("reelay.request.flood.video", "", falRequest(fmt.Sprint("f", i), "", ""))
		}
		for i := range rejections {
			send("reelay.request.flood.video", "", fmt.Sprintf(`{"id":"bad%d"}`, i))
		}
		begun := time.Now()
		ask(t, calm, "reelay.request.calm.video", falRequest("c", "", ""))
		task := w.Await("calm", "c", func(events.Task) bool { return true })
		if took := task.Transitions[0].At.Sub(begun); took > time.Second {
			t.Errorf("the request of the other is queued after %v", took)
		}
		for range 50 {
			called := time.Now()
			ask(t, calm, "reelay.api.get.calm.c", "")
			ask(t, calm, "reelay.api.list.calm", "")
			ask(t, calm, "reelay.api.wait.calm.c", `{"timeout":"10ms"}`)
			if took := time.Since(called); took > 100*time.Millisecond {
				t.Errorf("three calls took %v", took)
			}
		}
		w.Settle(30 * time.Second)
		refused, _, _ := inbox.Pending()
		if want := waits - int(bucket.DefaultQuota().Waits); refused != want {
			t.Errorf("%d waits were refused, want %d", refused, want)
		}
		if m := next(t, inbox); m.Header.Get("Nats-Service-Error-Code") != "429" {
			t.Errorf("a wait over the quota is answered with %s", m.Data)
		}
		setLane(t, w, "fal", `{"paused":false}`)
		w.AwaitEnd("calm", "c")
		r.Check(t)
	})
}
