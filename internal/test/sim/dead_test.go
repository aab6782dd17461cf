package sim_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"reelay/events"
	"reelay/internal/allinone"
	"reelay/internal/bus"
	"reelay/internal/journal"
	"reelay/internal/provider"
	"reelay/internal/test/sim"
	"reelay/services/poller"
	"reelay/services/submitter"
)

// poisoned is a driver that cannot bear some inputs and ids.
type poisoned struct{ provider.Driver }

func (p poisoned) Check(t events.TaskType, model string, input json.RawMessage) error {
	if bytes.Contains(input, []byte("poison")) {
		panic("cannot bear it")
	}
	return p.Driver.Check(t, model, input)
}

func (p poisoned) Ref(model, id string) (json.RawMessage, error) {
	if id == "poison" {
		panic("cannot bear it")
	}
	return p.Driver.Ref(model, id)
}

type service interface{ Run(context.Context) error }

// replaced runs a service in place of the stack's own until stop is called.
func replaced(t *testing.T, w *sim.World, build func(*bus.Bus, *slog.Logger) (service, error)) (stop func()) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	nc, err := w.Stack.Connect("replaced")
	if err != nil {
		t.Fatal(err)
	}
	b, err := bus.Open(t.Context(), nc, bus.Options{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	s, err := build(b, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		nc.Close()
	}
}

// deadLetters returns what is in REELAY_DEAD.
func deadLetters(t *testing.T, w *sim.World) []events.DeadLetter {
	t.Helper()
	s, err := w.JS.Stream(t.Context(), events.StreamDead)
	if err != nil {
		t.Fatal(err)
	}
	var all []events.DeadLetter
	for seq := uint64(1); seq <= s.CachedInfo().State.LastSeq; seq++ {
		raw, err := s.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		l, err := events.DecodeDeadLetter(raw.Header, raw.Data)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
	}
	return all
}

// TestPoisonRequests: one request in fifty panics the submitter. The others complete; the poison is parked and its
// sender gets a rejection; nobody pays for it. With the submitter repaired a replay of it completes as the task that
// its sender named.
func TestPoisonRequests(t *testing.T) {
	const tasks = 100
	poison := func(i int) bool { return i%50 == 42 }
	sim.Run(t, sim.Options{}, func(t *testing.T, w *sim.World) {
		if err := w.Stack.StopService(allinone.Submitter); err != nil {
			t.Fatal(err)
		}
		stop := replaced(t, w, func(b *bus.Bus, log *slog.Logger) (service, error) {
			j, err := journal.Open(t.TempDir(), log, nil)
			if err != nil {
				return nil, err
			}
			t.Cleanup(func() { _ = j.Close() })
			lanes := slices.Clone(w.Stack.Lanes())
			for i := range lanes {
				lanes[i].Driver = poisoned{lanes[i].Driver}
			}
			return submitter.New(submitter.Options{
				Bus: b, Lanes: lanes, Known: []string{"fal"}, Journal: j, Dial: w.Network.Dial, Log: log,
				Registerer: prometheus.NewRegistry(),
			})
		})
		good := 0
		for i := range tasks {
			prompt := "a kite"
			if poison(i) {
				prompt = "poison"
			} else {
				good++
			}
			msg := &nats.Msg{Subject: video, Header: nats.Header{"Nats-Msg-Id": {fmt.Sprint("t", i)}}}
			msg.Data = []byte(`{"provider":"fal","model":"` + falVideo + `","input":{"prompt":"` + prompt +
				`"},"batch_id":"zoo","batch_size":` + fmt.Sprint(tasks) + `}`)
			if _, err := w.JS.PublishMsg(t.Context(), msg); err != nil {
				t.Fatal(err)
			}
		}
		w.Await("demo", "t0", func(t events.Task) bool { return t.Phase == events.PhaseRunning })
		w.Publish("reelay.command.demo.t0.resolve", `{"action":"adopt","provider_id":"poison"}`)
		for i := range tasks {
			id := fmt.Sprint("t", i)
			if !poison(i) {
				if task := w.AwaitEnd("demo", id); task.Status != events.StatusCompleted {
					t.Errorf("%s ended as %s: %+v", id, task.Status, task.Error)
				}
				continue
			}
			w.Settle(3 * time.Minute)
			story := w.Story("demo", id)
			if len(story) != 1 || story[0].Type != events.EventRejected || story[0].Error.Code != events.CodeInternal ||
				strings.Contains(story[0].Error.Message, "bear") {
				t.Errorf("%s: %v, want one rejection that says nothing of the panic", id, story)
			}
			var reply events.TaskReply
			if e := w.Ask(&reply, events.VerbGet, "", "demo", id); e == nil || e.Code != events.CodeNotFound {
				t.Errorf("%s became a task: %+v", id, reply.Task)
			}
		}
		if i := slices.IndexFunc(w.Story("demo", "t0"), func(e events.Event) bool {
			return e.Type == events.EventRejected && e.Error.Code == events.CodeInternal
		}); i < 0 {
			t.Error("the sender of the poisonous command got no rejection")
		}
		if story := w.Story("demo", "zoo"); len(story) != 1 || story[0].Batch.Ended != good ||
			story[0].Batch.Rejected != tasks-good {
			t.Errorf("of the batch was published %+v, want its end with %d rejected", story, tasks-good)
		}
		if jobs := w.Stack.Ledger("fal").Jobs(); len(jobs) != good {
			t.Errorf("%d tasks were paid for %d times", good, len(jobs))
		}
		stop()

		if err := w.Stack.StartService(t.Context(), allinone.Submitter); err != nil {
			t.Fatal(err)
		}
		all := deadLetters(t, w)
		if len(all) != tasks-good+1 {
			t.Fatalf("%d dead letters, want %d requests and a command", len(all), tasks-good)
		}
		for range 2 { // an impatient operator
			for _, l := range all {
				if !l.IsRequest() {
					continue
				}
				subject, header, body, err := l.Replay()
				if err != nil {
					t.Fatal(err)
				}
				if _, err := w.JS.PublishMsg(t.Context(), &nats.Msg{Subject: subject, Header: header, Data: body}); err != nil {
					t.Fatal(err)
				}
			}
			w.Settle(time.Second)
		}
		for i := range tasks {
			if poison(i) {
				if task := w.AwaitEnd("demo", fmt.Sprint("t", i)); task.Status != events.StatusCompleted {
					t.Errorf("replayed, %s ended as %s: %+v", task.ID, task.Status, task.Error)
				}
			}
		}
		if jobs := w.Stack.Ledger("fal").Jobs(); len(jobs) != tasks {
			t.Errorf("%d tasks were paid for %d times", tasks, len(jobs))
		}
		s, err := w.JS.Stream(t.Context(), events.StreamRequests)
		if err != nil {
			t.Fatal(err)
		}
		if n := s.CachedInfo().State.Msgs; n != 0 {
			t.Errorf("%d messages are stuck in the stream", n)
		}
	})
}

// pollPanics is a driver that panics when it polls one task.
type pollPanics struct {
	provider.Driver
	at *atomic.Value
}

func (d pollPanics) Poll(ctx context.Context, ref json.RawMessage) (provider.Snapshot, error) {
	if id, _ := d.at.Load().(string); id != "" && bytes.Contains(ref, []byte(id)) {
		panic("cannot bear it")
	}
	return d.Driver.Poll(ctx, ref)
}

// TestPoisonousLooks: a task of which every poll panics ends by its deadline, because its heartbeat goes on. Others do
// not notice.
func TestPoisonousPolls(t *testing.T) {
	sim.Run(t, sim.Options{}, func(t *testing.T, w *sim.World) {
		if err := w.Stack.StopService(allinone.Poller); err != nil {
			t.Fatal(err)
		}
		var at atomic.Value
		stop := replaced(t, w, func(b *bus.Bus, log *slog.Logger) (service, error) {
			lanes := slices.Clone(w.Stack.Lanes())
			for i := range lanes {
				lanes[i].Driver = pollPanics{lanes[i].Driver, &at}
			}
			return poller.New(poller.Options{Bus: b, Lanes: lanes, Log: log, Registerer: prometheus.NewRegistry()})
		})
		w.Publish(video, falRequest("a", "", `,"timeout":"30m"`))
		task := w.Await("demo", "a", func(t events.Task) bool { return t.ProviderID != "" })
		at.Store(task.ProviderID)
		for i := range 5 {
			w.Publish(video, falRequest(fmt.Sprint("b", i), ""))
		}
		for i := range 5 {
			other := w.AwaitEnd("demo", fmt.Sprint("b", i))
			if took := other.CompletedAt.Sub(other.CreatedAt); other.Status != events.StatusCompleted ||
				took > 5*time.Minute+15*time.Second {
				t.Errorf("%s ended as %s after %v", other.ID, other.Status, took)
			}
		}
		task = w.AwaitEnd("demo", "a")
		if task.Error == nil || task.Error.Code != events.CodeDeadlineExceeded || task.Error.Charge == events.ChargeNone {
			t.Fatalf("ended as %s: %+v", task.Status, task.Error)
		}
		if late := task.CompletedAt.Sub(task.Deadline); late < 0 || late > 6*time.Minute {
			t.Errorf("ended %v after its deadline", late)
		}
		all := deadLetters(t, w)
		for _, l := range all {
			if l.Stream != events.StreamPolls || l.Consumer != "poller-fal" || l.Subject != "reelay.poll.fal.demo.a" ||
				!strings.Contains(l.Reason, "cannot bear it") {
				t.Errorf("%+v", l)
			}
		}
		if len(all) < 2 {
			t.Errorf("%d dead letters: its poll ticket was not made again", len(all))
		}
		stop()
		// The repaired poller finds what was made after all.
		if err := w.Stack.StartService(t.Context(), allinone.Poller); err != nil {
			t.Fatal(err)
		}
		w.Settle(time.Hour)
		if story := sim.Types(w.Story("demo", "a")); !slices.Contains(story, events.EventLateResult) {
			t.Errorf("story %v, want the late result", story)
		}
	})
}

// TestDeadRequestsAreAnswered once, unless the request had become a task before it died.
func TestDeadRequestsAreAnswered(t *testing.T) {
	sim.Run(t, sim.Options{}, func(t *testing.T, w *sim.World) {
		w.Publish(video, falRequest("a", ""))
		task := w.Await("demo", "a", func(t events.Task) bool { return t.Phase == events.PhaseRunning })
		request := []byte(falRequest("a", ""))
		gone := "gone"
		for i, row := range []struct {
			name, subject string
			at            time.Time
			rejects       string
		}{
			{"became a task", video, task.CreatedAt, ""},
			{"another with its id", video, task.CreatedAt.Add(time.Second), "demo.a"},
			{"malformed subject", "reelay.request.demo.movie", task.CreatedAt, ""},
			{"bad project", "reelay.request.de$mo.video", task.CreatedAt, "_invalid.a"},
			{"command", "reelay.command.demo.a.cancel", task.CreatedAt, "demo.a"},
			{gone, "", time.Time{}, ""},
		} {
			before := len(w.Story("*", "*"))
			l := events.DeadLetter{
				Stream: events.StreamRequests, Consumer: events.ConsumerIntake, Sequence: uint64(1000 + i), Deliveries: 5,
				Reason: "it panicked", Subject: row.subject, StoredAt: row.at, Body: request,
			}
			if row.name == gone {
				l.Body = nil
			}
			for range 2 { // as if the first answer had been cut off
				if _, err := w.JS.PublishMsg(t.Context(), &nats.Msg{
					Subject: events.DeadSubject(l.Stream, l.Consumer), Header: l.Encode(), Data: l.Body,
				}); err != nil {
					t.Fatal(err)
				}
			}
			w.Settle(time.Second)
			var got []string
			for _, e := range w.Story("*", "*")[before:] {
				if e.Type == events.EventProgress {
					continue
				}
				if e.Type != events.EventRejected || e.Error.Code != events.CodeInternal || e.Error.Kind != events.KindInternal {
					t.Errorf("%s: received %+v", row.name, e)
				}
				got = append(got, e.Key().String())
			}
			if strings.Join(got, " ") != row.rejects {
				t.Errorf("%s: rejected %v, want %q", row.name, got, row.rejects)
			}
			// The next rejection of the same body must not pass for this one.
			request = append(request, ' ')
		}
		if task := w.AwaitEnd("demo", "a"); task.Status != events.StatusCompleted {
			t.Errorf("ended as %s: %+v", task.Status, task.Error)
		}
		stream, err := w.JS.Stream(t.Context(), events.StreamDead)
		if err != nil {
			t.Fatal(err)
		}
		c, err := stream.Consumer(t.Context(), events.ConsumerDeadRequests)
		if err != nil {
			t.Fatal(err)
		}
		if info := c.CachedInfo(); info.NumPending != 0 || info.NumAckPending != 0 {
			t.Errorf("%d dead letters are not answered", info.NumPending+uint64(info.NumAckPending))
		}
	})
}
