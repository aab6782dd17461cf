package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"
	"github.com/prometheus/client_golang/prometheus"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/events/operator"
	"reelay/internal/bus"
	"reelay/internal/provider"
	"reelay/internal/provider/registry"
	"reelay/services/status"
)

// makeStreams makes what the services make at their start.
func (b *testbed) makeStreams() {
	b.tb.Helper()
	opened, err := bus.Open(b.tb.Context(), b.nc, bus.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.tb.Fatal(err)
	}
	b.js = opened.JetStream()
	for _, c := range []events.Consumer{
		events.IntakeConsumer(), events.HeartbeatConsumer(), events.AdvisoryConsumer(), events.DeadRequestConsumer(),
		events.PollConsumer("fal"),
	} {
		config := jetstream.ConsumerConfig{
			Durable: c.Durable, FilterSubjects: c.Filters,
			AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Minute,
		}
		if _, err := b.js.CreateConsumer(b.tb.Context(), c.Stream, config); err != nil {
			b.tb.Fatal(err)
		}
	}
}

// serveStatus makes the streams and runs a status service that knows the lanes fal and minimax.
func (b *testbed) serveStatus() {
	b.tb.Helper()
	b.makeStreams()
	log := slog.New(slog.DiscardHandler)
	on, err := bus.Open(b.tb.Context(), b.nc, bus.Options{Log: log})
	if err != nil {
		b.tb.Fatal(err)
	}
	s, err := status.New(status.Options{
		Bus: on, Log: log, Registerer: prometheus.NewRegistry(),
		Lanes: []provider.Lane{{Name: "fal", Provider: "fal"}, {Name: "minimax", Provider: "minimax"}},
	})
	if err != nil {
		b.tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	b.tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.tb.Error(err)
		}
	})
	for !s.Ready() {
		time.Sleep(time.Millisecond)
	}
}

// serveAPI is a service with an endpoint for each verb but those left out.
func (b *testbed) serveAPI(without ...events.Verb) {
	b.tb.Helper()
	s, err := micro.AddService(b.nc, micro.Config{Name: "reelay-status", Version: "0.1.0"})
	if err != nil {
		b.tb.Fatal(err)
	}
	for _, v := range operator.Verbs() {
		if len(without) > 0 && v == without[0] {
			continue
		}
		subject := events.APISubject(v, "*", "*")
		if v == events.VerbQueue || v == operator.VerbLanes {
			subject = events.APISubject(v)
		}
		handler := micro.HandlerFunc(func(r micro.Request) {
			_ = r.RespondJSON(events.QueueReply{Total: 2, ActiveCount: 1, Lanes: []events.LaneQueue{
				{Lane: "fal", Provider: "fal", ByPhase: map[events.Phase]int{events.PhaseParked: 1}},
			}})
		})
		if err := s.AddEndpoint(string(v), handler, micro.WithEndpointSubject(subject)); err != nil {
			b.tb.Fatal(err)
		}
	}
	if err := b.nc.Flush(); err != nil {
		b.tb.Fatal(err)
	}
}

// lines finds the lines of a report that hold all words.
func lines(report string, words ...string) int {
	n := 0
next:
	for line := range strings.Lines(report) {
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue next
			}
		}
		n++
	}
	return n
}

// TestDoctorNobodyReads: messages that nobody asks for are worth a word, be it one.
func TestDoctorNobodyReads(t *testing.T) {
	info := func(pending uint64, pulls, inHand int) *jetstream.ConsumerInfo {
		return &jetstream.ConsumerInfo{NumPending: pending, NumWaiting: pulls, NumAckPending: inHand}
	}
	for _, row := range []struct {
		info *jetstream.ConsumerInfo
		want string
	}{
		{info(0, 0, 0), levelOK},
		{info(1, 0, 0), levelWarn},
		{info(1, 1, 0), levelOK},
		{info(1, 0, 3), levelOK},
		{info(muchLag+1, 1, 3), levelWarn},
	} {
		if got := checkConsumer("S", row.info); got.level != row.want || (got.todo != "") != (row.want == levelWarn) {
			t.Errorf("%+v of %d, %d, %d", got, row.info.NumPending, row.info.NumWaiting, row.info.NumAckPending)
		}
	}
}

func TestDoctor(t *testing.T) {
	t.Setenv("FAL_KEY", "fal-hush")
	t.Setenv("MINIMAX_API_KEY", "")
	t.Setenv("MINIMAX_API_KEY_FILE", "")
	b := newBench(t)

	t.Run("nothing runs", func(t *testing.T) {
		r := b.reelay("doctor")
		if r.code != 1 || lines(r.stdout, "ok", "nats server", "2.15.") != 1 ||
			lines(r.stdout, "fail", "stream REELAY_REQUESTS", "is missing") != 1 ||
			lines(r.stdout, "fail", "api", "nobody answers reelay.api.submit, reelay.api.get,") != 1 {
			t.Errorf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
		}
	})
	b.makeStreams()
	t.Run("a verb is missing", func(t *testing.T) {
		other := newBench(t)
		other.makeStreams()
		other.serveAPI(events.VerbResolve)
		if r := other.reelay("doctor"); r.code != 1 || lines(r.stdout, "fail") != 1 ||
			lines(r.stdout, "fail", "nobody answers reelay.api.resolve\n") != 1 {
			t.Errorf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
		}
	})
	b.serveAPI()
	b.publish(event(aTask(), events.EventQueued))
	for range muchLag + 1 {
		if _, err := b.js.Publish(t.Context(), events.RequestSubject("demo", events.Video), []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("all runs", func(t *testing.T) {
		r := b.reelay("doctor")
		for _, want := range [][]string{
			{"ok", "nats", "connected to " + b.url},
			{"ok", "jetstream", fmt.Sprintf("%d streams", len(events.Streams())+len(bucket.All()))},
			{"warn", "durability", "cannot be asked"},
			{"ok", "stream REELAY_EVENTS", "1 messages"},
			{"warn", "consumer REELAY_REQUESTS/intake", "101 waiting, 0 in hand"},
			{"ok", "consumer REELAY_POLLS/poller-fal", "0 waiting"},
			{"ok", "service reelay-status", "reelay.api.submit.*.*"},
			{"ok", "api", "all 23 verbs"},
			{"ok", "queue", "1 active of 2 kept"},
			{"warn", "lane fal", "0 waiting"},
			{"-> 1 in doubt need a decision"},
			{"ok", "key FAL_KEY", "set here"},
			{"warn", "key MINIMAX_API_KEY", "not set here"},
		} {
			if lines(r.stdout, want...) != 1 {
				t.Errorf("not one line with %q", want)
			}
		}
		if r.code != 0 || strings.Contains(r.stdout, "fail") || strings.Contains(r.stdout+r.stderr, "hush") {
			t.Errorf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
		}
	})
	t.Run("an operator's acts", func(t *testing.T) {
		until := time.Now().Add(time.Hour)
		if _, err := b.js.PauseConsumer(t.Context(), events.StreamRequests, events.ConsumerIntake, until); err != nil {
			t.Fatal(err)
		}
		stream, err := b.js.Stream(t.Context(), events.StreamTasks)
		if err != nil {
			t.Fatal(err)
		}
		c := stream.CachedInfo().Config
		c.MaxMsgs = 10
		if _, err := b.js.UpdateStream(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		r := b.reelay("doctor", "--json")
		var got []struct{ Level, About, Detail, Todo string }
		if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || r.code != 1 {
			t.Fatalf("exit code %d, %v\n%s%s", r.code, err, r.stdout, r.stderr)
		}
		for _, want := range []struct{ level, about, detail, todo string }{
			{"fail", "consumer REELAY_REQUESTS/intake", "paused for another", "nats consumer resume REELAY_REQUESTS intake"},
			{"warn", "stream KV_reelay_tasks", "max_msgs is 10, and -1 is needed", "mends it"},
		} {
			if !slices.ContainsFunc(got, func(c struct{ Level, About, Detail, Todo string }) bool {
				return c.Level == want.level && c.About == want.about && strings.Contains(c.Detail, want.detail) &&
					strings.Contains(c.Todo, want.todo)
			}) {
				t.Errorf("no check like %+v in\n%s", want, r.stdout)
			}
		}
	})
	t.Run("no NATS", func(t *testing.T) {
		e, stdout, stderr := testEnv()
		code := execute(t.Context(), e, []string{"doctor", "--server", "nats://127.0.0.1:1"})
		result{code, stdout.String(), stderr.String()}.check(t, 1, "cannot reach NATS at nats://127.0.0.1:1", "")
	})
}

// TestDoctorNamesTheClock: callbacks that were refused of late are told with what to do.
func TestDoctorNamesTheClock(t *testing.T) {
	refused := func(age time.Duration, why events.Unproven) operator.StoredCallback {
		return operator.StoredCallback{Lane: "fal", Received: start.Add(-age), Unproven: why}
	}
	all := []operator.StoredCallback{
		refused(time.Minute, ""), refused(time.Minute, events.UnprovenClock), refused(time.Hour, events.UnprovenClock),
		refused(48*time.Hour, events.UnprovenClock), refused(48*time.Hour, events.UnprovenContentType),
	}
	got := refusedCallbacks(all, start)
	if len(got) != 1 || got[0].level != levelWarn || !strings.Contains(got[0].todo, "clock") ||
		!strings.Contains(got[0].detail, "2 of the last 5 were refused, the latest 1m0s ago on lane fal") {
		t.Errorf("%+v", got)
	}
	all = append(all, refused(time.Minute, events.UnprovenExpired))
	if got := refusedCallbacks(all, start); len(got) != 2 || !strings.Contains(got[1].detail, "after their URL had expired") {
		t.Errorf("with a late one: %+v", got)
	}
	if got := refusedCallbacks(all[:1], start); len(got) != 0 {
		t.Errorf("all accepted: %+v", got)
	}
}

// TestCheckClock: clocks that are apart are told.
func TestCheckClock(t *testing.T) {
	for skew, want := range map[time.Duration]int{0: 0, time.Second: 0, -time.Minute: 1, time.Hour: 1} {
		if got := checkClock(start.Add(skew), start); len(got) != want {
			t.Errorf("%v: %+v", skew, got)
		}
	}
}

func TestCheckReplicas(t *testing.T) {
	peers := func(all ...*jetstream.PeerInfo) *jetstream.ClusterInfo {
		return &jetstream.ClusterInfo{Name: "c", Leader: "n1", Replicas: all}
	}
	good := &jetstream.PeerInfo{Name: "n2", Current: true}
	rows := []struct {
		name     string
		replicas int
		cluster  *jetstream.ClusterInfo
		want     string
	}{
		{"single server", 1, nil, "[]"},
		{"single server that tells its name", 1, &jetstream.ClusterInfo{Leader: "n1"}, "[]"},
		{"one of a cluster", 1, peers(), "[warn kept by one server of the cluster, and stands still when that one does]"},
		{"three", 3, peers(good, good), "[]"},
		{"one is down", 3, peers(good, &jetstream.PeerInfo{Name: "n3", Offline: true, Lag: 7}), "[warn n3 is offline]"},
		{
			"one lags", 3, peers(&jetstream.PeerInfo{Name: "n3", Lag: 7, Active: 12 * time.Second}, good),
			"[warn n3 is 7 behind, last seen 12s ago]",
		},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got := []string{}
			for _, c := range checkReplicas(&jetstream.StreamInfo{
				Config: jetstream.StreamConfig{Name: "S", Replicas: row.replicas}, Cluster: row.cluster,
			}) {
				got = append(got, c.level+" "+c.detail)
			}
			if fmt.Sprint(got) != row.want {
				t.Errorf("got %v, want %s", got, row.want)
			}
		})
	}
}

func TestCheckVersion(t *testing.T) {
	for version, want := range map[string]string{
		"2.14.9": levelFail, "1.99.0": levelFail, "2.15.0": levelOK, "2.15.2-RC.1": levelOK, "3.0.0": levelOK,
		"dev": levelWarn,
	} {
		if got := checkVersion(version); got.level != want {
			t.Errorf("%s: got %+v, want %s", version, got, want)
		}
	}
}

// TestCheckKeys: a key is shown to its provider only by who asks for that.
func TestCheckKeys(t *testing.T) {
	for _, p := range registry.All() {
		t.Setenv(p.KeyEnv, "")
	}
	asked := 0
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		_, _ = io.WriteString(w, `{"base_resp":{"status_code":1004,"status_msg":"login fail"}}`)
	}))
	t.Cleanup(refusing.Close)
	p := registry.Find("minimax")
	t.Setenv(p.KeyEnv, "a-key-of-no-account")
	t.Setenv(p.BaseURL().Env, refusing.URL)
	of := func(asking bool) (found check) {
		for _, c := range checkKeys(t.Context(), asking) {
			if c.about == "key "+p.KeyEnv {
				found = c
			}
		}
		return found
	}
	if c := of(false); c.level != levelOK || asked != 0 {
		t.Errorf("without asking: %+v, asked %d times", c, asked)
	}
	if c := of(true); c.level != levelFail || asked != 1 || strings.Contains(c.detail, "a-key-of") {
		t.Errorf("asking: %+v, asked %d times", c, asked)
	}
}
