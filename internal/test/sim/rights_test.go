package sim_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/events/operator"
	"reelay/events/rights"
	"reelay/internal/accounts"
	"reelay/internal/allinone"
	"reelay/internal/emulator"
	"reelay/internal/test/sim"
)

// TestLeastRights: the services do all of their work with the rights of their rows, for a tenant in an account of its
// own, and nothing is denied to any of them.
func TestLeastRights(t *testing.T) {
	r := sim.NewRights(t, accounts.Tenant{Project: "demo", Role: rights.Tenant})
	doubtful(t, sim.Options{
		Webhooks: true, Artifacts: true, Speed: emulator.Speed{Queue: time.Second, Run: 20 * time.Second}, Rights: r,
		FindWorker: (&copier{}).find,
	}, []fate{losesReply}, func(t *testing.T, w *sim.World) {
		demo := tenant(t, w, r, "demo")
		heard, err := demo.SubscribeSync("reelay.event.demo.*.completed")
		if err != nil {
			t.Fatal(err)
		}
		early(w)
		setCap(t, w, bucket.ProjectScope("demo"), `{"daily_usd":100}`)
		setLane(t, w, bucket.LimitsKey("fal"), `{"models":{"*":{"in_flight":2}}}`)
		reply := func(v events.Verb, payload string, tokens ...string) []byte {
			return ask(t, demo, events.APISubject(v, append([]string{"demo"}, tokens...)...), payload)
		}
		// Its answer is lost, and found in the provider's list.
		ask(t, demo, "reelay.request.demo.video", v2Asked("lost", "a kite", ""))
		w.Settle(5 * time.Minute)
		r.Check(t) // what is denied is tried for days
		// Too large for a record; part of a batch; in place of an image an uploaded file.
		big := strings.Repeat("kite ", 20_000)
		ask(t, demo, "reelay.request.demo.video", falRequest("big", "", `,"batch_id":"film","batch_size":2,"metadata":{"k":"v"}`))
		ask(t, demo, "reelay.request.demo.image", fmt.Sprintf(`{"id":"long","provider":"fal","model":"fal-ai/flux/dev",`+
			`"input":{"prompt":%q},"batch_id":"film"}`, big))
		reply(events.VerbSubmit, falRequest("sent", "", ""), "video")
		reply(events.VerbUpload, `{"name":"frame.png","size":100}`)
		// After it; cancelled; refused.
		ask(t, demo, "reelay.request.demo.video", falRequest("then", "", `,"after":["big"]`))
		ask(t, demo, "reelay.request.demo.video", `{"id":"both","provider":"local","model":"ffmpeg/concat",`+
			`"input":{"videos":[{"$from":"big"},{"$from":"then"}]}}`)
		ask(t, demo, "reelay.request.demo.video", falRequest("never", `{"run_ms":36000000}`, ""))
		w.Settle(10 * time.Second)
		ask(t, demo, "reelay.command.demo.never.cancel", "")
		ask(t, demo, "reelay.request.demo.video", `{"id":"odd"}`)
		for _, id := range []string{"lost", "big", "long", "sent", "then", "both", "never"} {
			if task := w.AwaitEnd("demo", id); (task.Status == events.StatusCompleted) != (id != "never") {
				t.Errorf("%s is %s: %+v", id, task.Status, task.Error)
			}
		}
		for _, v := range []events.Verb{
			events.VerbList, events.VerbQueue, events.VerbSpend, events.VerbModels, operator.VerbCaps,
		} {
			reply(v, "")
		}
		reply(events.VerbQuote, `{"task_type":"video","provider":"fal","model":"fal-ai/kling-video/v3/pro/text-to-video","input":{"prompt":"x"}}`)
		for _, v := range []events.Verb{events.VerbGet, events.VerbTimeline, events.VerbWait, events.VerbLinks} {
			reply(v, "", "big")
		}
		reply(events.VerbBatch, "", "film")
		w.Settle(time.Minute)
		reply(events.VerbErase, "", "sent")
		if n, _, err := heard.Pending(); n != 6 || err != nil {
			t.Errorf("the tenant has heard of %d ends, %v", n, err)
		}
		for _, v := range []events.Verb{
			operator.VerbLanes, operator.VerbCaps, operator.VerbDead, operator.VerbCallbacks, events.VerbSpend, events.VerbQueue,
			operator.VerbArtifacts, operator.VerbArtifactsVerify, operator.VerbArtifactsGC,
		} {
			var reply json.RawMessage
			if e := w.Ask(&reply, v, ""); e != nil {
				t.Errorf("%s: %v", v, e)
			}
		}
		for _, name := range allinone.Services() {
			if err := w.Stack.StopService(name); err != nil {
				t.Error(err)
			}
			if err := w.Stack.StartService(t.Context(), name); err != nil {
				t.Error(err)
			}
		}
		w.Settle(10 * time.Minute)
		r.Check(t)
	})
}

// tenant connects a tenant.
func tenant(t *testing.T, w *sim.World, r *sim.Rights, name string) *nats.Conn {
	t.Helper()
	nc, err := w.Stack.Connect(name, r.Credentials(name)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// ask sends a request, and fails the test where the answer is an error.
func ask(t *testing.T, nc *nats.Conn, subject, payload string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	m, err := nc.RequestWithContext(ctx, subject, []byte(payload))
	if err != nil {
		t.Fatalf("%s: %v", subject, err)
	}
	if text := m.Header.Get("Nats-Service-Error"); text != "" {
		t.Errorf("%s: %s", subject, text)
	}
	return m.Data
}

// TestTenantsApart: whatever a tenant publishes, and wherever it asks the answer to be sent, reaches nothing of another
// tenant and nothing of reelay's own; and it hears nothing of another.
func TestTenantsApart(t *testing.T) {
	r := sim.NewRights(t, accounts.Tenant{Project: "demo", Role: rights.Tenant},
		accounts.Tenant{Project: "other", Role: rights.Resolver})
	sim.Run(t, sim.Options{Speed: emulator.Speed{Queue: time.Second, Run: 20 * time.Second}, Rights: r}, func(t *testing.T, w *sim.World) {
		demo, other := tenant(t, w, r, "demo"), tenant(t, w, r, "other")
		heard, err := other.SubscribeSync(">")
		if err != nil {
			t.Fatal(err)
		}
		ask(t, demo, "reelay.request.demo.video", falRequest("a", "", ""))
		w.AwaitEnd("demo", "a")
		before := w.Get("demo", "a")
		subjects := []string{
			"$KV.reelay_tasks.demo.a", "reelay.event.demo.a.failed", "reelay.event.other.x.completed", "$KV.reelay_lanes.fal",
			"$KV.reelay_leases.fal", "reelay.poll.fal.demo.a", "reelay.callback.fal.demo.a", "reelay.command.demo.a.cancel",
			"reelay.command.demo.a.resolve", "reelay.artifact.demo.a", "reelay.claim.fal.x", "reelay.dead.a.b",
			"reelay.request.demo.video", "reelay.api.cancel.demo.a", "reelay.api.get.demo.a", "reelay.api.lanes-pause",
			"reelay.api.caps-set", "reelay.api.resolve.other.x", "reelay.lane.fal.positions", "$JS.API.STREAM.PURGE.KV_reelay_tasks",
			"$JS.API.STREAM.DELETE.KV_reelay_tasks", "$JS.API.STREAM.LIST", "$O.reelay_objects.C.x", "$SRV.PING",
		}
		// The tenant's own requests, what became of them, the leases that are renewed, and what pollers have learned.
		moving := []string{
			events.StreamRequests, events.StreamEvents, bucket.Stream(bucket.Leases), bucket.Stream(bucket.Health),
		}
		sequence := lastSequences(t, w)
		for _, subject := range subjects {
			m := nats.NewMsg(subject)
			m.Data = []byte(`{"status":"failed"}`)
			m.Header.Set("Nats-Rollup", "sub")
			if err := other.PublishMsg(m); err != nil {
				t.Fatal(err)
			}
			for _, own := range []string{"reelay.request.other.video", "reelay.api.get.other.x", "reelay.api.list.other"} {
				m := nats.NewMsg(own)
				m.Reply, m.Data = subject, []byte(`{"provider":"x"}`)
				m.Header.Set("Nats-Msg-Id", "one")
				if err := other.PublishMsg(m); err != nil {
					t.Fatal(err)
				}
			}
		}
		w.Settle(time.Minute)
		if after := w.Get("demo", "a"); after.Version != before.Version || after.Status != before.Status {
			t.Errorf("the record was %s version %d and is %s version %d", before.Status, before.Version, after.Status, after.Version)
		}
		for stream, last := range lastSequences(t, w) {
			if last != sequence[stream] && !slices.Contains(moving, stream) {
				t.Errorf("%s has taken %d messages", stream, last-sequence[stream])
			}
		}
		if story := sim.Types(w.Story("demo", "*")); !slices.Equal(story, sim.Types(w.Story("demo", "a"))) {
			t.Errorf("the events of demo are %v", story)
		}
		for n, _, _ := heard.Pending(); n > 0; n-- {
			m, err := heard.NextMsgWithContext(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(m.Subject, "demo") && !slices.Contains(subjects, m.Subject) {
				t.Errorf("it hears %s", m.Subject)
			}
		}
	})
}

// TestWhoAsked: the story of a task says who handed it in and who cancelled it by the API, as the server knows them,
// whatever they say of themselves. Of what is published for the stream, which keeps no such word, nobody knows.
func TestWhoAsked(t *testing.T) {
	r := sim.NewRights(t, accounts.Tenant{Project: "demo", Role: rights.Tenant})
	sim.Run(t, sim.Options{Rights: r}, func(t *testing.T, w *sim.World) {
		demo := tenant(t, w, r, "demo")
		send := func(subject, body string) {
			t.Helper()
			m := nats.NewMsg(subject)
			m.Data = []byte(body)
			m.Header.Set(events.HeaderRequestInfo, `{"acc":"REELAY","user":"operator"}`)
			m.Header.Set(events.HeaderRequestedBy, "REELAY operator")
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			answer, err := demo.RequestMsgWithContext(ctx, m)
			if err != nil || answer.Header.Get("Nats-Service-Error") != "" {
				t.Fatalf("%s: %v, %v", subject, answer, err)
			}
		}
		const long = `{"run_ms":36000000}`
		send("reelay.api.submit.demo.video", falRequest("a", long, ""))
		send("reelay.request.demo.video", falRequest("b", long, ""))
		w.Settle(10 * time.Second)
		send("reelay.api.cancel.demo.a", "")
		send("reelay.command.demo.b.cancel", "")
		w.Settle(time.Minute)
		known := "TENANT_demo " + r.Key("demo")
		for id, want := range map[string][]string{"a": {known, known}, "b": {"", events.Unverified}} {
			story := w.Get("demo", id).Transitions
			cancel := slices.IndexFunc(story, func(s events.Transition) bool { return s.Name == "cancel" })
			if cancel < 0 || story[0].RequestedBy != want[0] || story[cancel].RequestedBy != want[1] {
				t.Errorf("%s: the cancel is step %d of %+v, want them by %q", id, cancel, story, want)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		answer, err := demo.RequestWithContext(ctx, events.ByAPISubject("reelay.command.demo.a.cancel"), nil)
		if !errors.Is(err, nats.ErrNoResponders) {
			t.Errorf("a tenant may speak as the status service does: %v, %v", answer, err)
		}
	})
}

// lastSequences are the sequence numbers of the last message of each stream.
func lastSequences(t *testing.T, w *sim.World) map[string]uint64 {
	t.Helper()
	all := map[string]uint64{}
	list := w.JS.ListStreams(t.Context())
	for info := range list.Info() {
		all[info.Config.Name] = info.State.LastSeq
	}
	if list.Err() != nil {
		t.Fatal(list.Err())
	}
	return all
}
