package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/events/operator"
)

func TestLanes(t *testing.T) {
	b := newBench(t)
	b.reelay("lanes", "ls").check(t, 3, "", "no reelay service answers on reelay.api.lanes")
	b.serveStatus()
	kv, err := b.js.KeyValue(t.Context(), bucket.Lanes)
	if err != nil {
		t.Fatal(err)
	}
	read := func(key string) (s bucket.LanePause) {
		t.Helper()
		entry, err := kv.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(entry.Value(), &s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	listed := func(words ...string) {
		t.Helper()
		if r := b.reelay("lanes", "ls"); r.code != 0 || lines(r.stdout, words...) != 1 {
			t.Errorf("not one line with %q:\n%s%s", words, r.stdout, r.stderr)
		}
	}
	listed("fal", "on", "-") // it was never paused; the services know of it

	b.reelay("lanes", "pause", "fal", "--reason", "the bill").check(t, 0, "the bill", "")
	if s := read("fal"); !s.Paused || s.Reason != "the bill" || s.By == "" || time.Since(s.At) > time.Minute {
		t.Errorf("the pause is %+v", s)
	}
	b.reelay("lanes", "pause", "--all", "--reason", "fire").check(t, 0, "fire", "")
	listed("_all", "paused", "fire")
	listed("fal", "paused", "the bill")
	r := b.reelay("doctor")
	if lines(r.stdout, "warn", "lanes", "paused: fal: the bill") != 1 ||
		lines(r.stdout, "-> reelay lanes resume --all") != 1 {
		t.Errorf("the doctor says\n%s", r.stdout)
	}
	b.reelay("lanes", "resume", "fal").check(t, 0, "fal", "")
	b.reelay("lanes", "pause", "fall", "--reason", "mistyped").check(t, 0, "fall is a lane that no service knows", "")
	// the others are known, and _all is no lane
	if r := b.reelay("lanes", "ls"); lines(r.stdout, "no service knows") != 1 {
		t.Errorf("the lanes are\n%s", r.stdout)
	}
	b.reelay("lanes", "resume", "--all", "--reason", "put out").check(t, 0, "put out", "")
	if read("fal").Paused || read(bucket.AllLanes).Paused {
		t.Error("still paused")
	}
	if _, err := kv.Put(t.Context(), "minimax", []byte("stop!")); err != nil {
		t.Fatal(err)
	}
	listed("minimax", "paused", "no readable JSON")
	if _, err := kv.PutString(t.Context(), bucket.LimitsKey("fal"), "?"); err != nil {
		t.Fatal(err)
	}
	r = b.reelay("doctor")
	if lines(r.stdout, "warn", "lanes", "fal is paused: fal.limits: limits: bad JSON") != 1 ||
		lines(r.stdout, "-> back to the defaults: nats kv del reelay_lanes fal.limits") != 1 {
		t.Errorf("the doctor says\n%s", r.stdout)
	}
}

// TestBlocked: what keeps a lane is seen where one looks, whether it is paused or not.
func TestBlocked(t *testing.T) {
	b := newBench(t)
	b.makeStreams()
	var all []events.Blocked
	for _, r := range events.BlockedReasons() {
		all = append(all, events.Blocked{Reason: r, Message: "because of " + string(r)})
	}
	paused := "" // the lane that is, or all
	b.answer(events.VerbQueue, func(string, []byte) any {
		return events.QueueReply{Lanes: []events.LaneQueue{{Lane: "fal", Provider: "fal", Blocked: all}}}
	})
	b.answer(operator.VerbLanes, func(string, []byte) any {
		r := operator.LanesReply{
			Lanes: []operator.LaneState{{Lane: bucket.AllLanes}, {Lane: "fal", Provider: "fal", Blocked: all}},
		}
		for i := range r.Lanes {
			r.Lanes[i].Pause.Paused = r.Lanes[i].Lane == paused
		}
		return r
	})
	b.answer(operator.VerbLanesPause, func(_ string, payload []byte) any {
		r, err := operator.DecodePauseRequest(operator.VerbLanesPause, payload)
		if err != nil {
			t.Error(err)
		}
		paused = r.Lane
		return operator.PauseReply{}
	})
	b.answer(operator.VerbLanesResume, func(string, []byte) any {
		paused = ""
		return operator.PauseReply{}
	})
	r := b.reelay("lanes", "ls")
	r.check(t, 0, "fal   on", "")
	if n := lines(r.stdout, "fal blocked (", "because of "); n != len(all) {
		t.Errorf("%d lines of %d:\n%s", n, len(all), r.stdout)
	}
	if r := b.reelay("lanes", "resume", "fal"); r.code != 0 || lines(r.stdout, "blocked") != 0 {
		t.Errorf("shows what was before the change:\n%s%s", r.stdout, r.stderr)
	}
	diagnose := func(others ...events.BlockedReason) string {
		t.Helper()
		report := b.reelay("doctor").stdout
		for _, r := range events.BlockedReasons() {
			want := 1
			if slices.Contains(others, r) {
				want = 0
			}
			if n := lines(report, "warn", "lane fal",
				fmt.Sprintf("blocked (%s): because of %[1]s, no end known", r)); n != want {
				t.Errorf("%d lines about %s, want %d:\n%s", n, r, want, report)
			}
		}
		return report
	}
	report := diagnose(events.BlockedRequests, events.BlockedInFlight)
	for todo, want := range map[string]int{
		"-> reelay lanes resume fal\n": 2, "then: reelay lanes resume fal\n": 1, "-> start a submitter, or `reelay up`\n": 1,
		"-> see the caps: reelay spend; raise one: reelay spend cap\n": 1,
	} {
		if n := lines(report, todo); n != want {
			t.Errorf("%d lines with %q, want %d:\n%s", n, todo, want, report)
		}
	}
	// A pause that the doctor shows, with the lane to resume, is not shown again.
	for _, lane := range []string{"fal", "--all"} {
		b.reelay("lanes", "pause", lane, "--reason", "x").check(t, 0, "paused", "")
		diagnose(events.BlockedRequests, events.BlockedInFlight, events.BlockedPaused, events.BlockedAccount)
		b.reelay("lanes", "resume", lane).check(t, 0, "on", "")
	}
}

// TestLanesUsage: a lane that is not named clearly is not touched.
func TestLanesUsage(t *testing.T) {
	b := newBench(t)
	b.serveStatus()
	for _, row := range []struct {
		args []string
		want string
	}{
		{[]string{"pause", "--reason", "x"}, "name one lane, or --all"},
		{[]string{"pause", "fal", "--all", "--reason", "x"}, "name one lane, or --all"},
		{[]string{"pause", "a.b", "--reason", "x"}, `"a.b" is no lane`},
		{[]string{"pause", "fal"}, "--reason"},
		{[]string{"resume"}, "name one lane, or --all"},
	} {
		b.reelay(slices.Concat([]string{"lanes"}, row.args)...).check(t, 2, "", row.want)
	}
	b.reelay("lanes", "ls").check(t, 0, "LANE", "")
}

// TestDurability looks at what is known of how the records are kept.
func TestDurability(t *testing.T) {
	for sync, want := range map[string][]string{
		"always": {"ok", "syncs each write"}, "interval": {"warn", "--sync interval"},
	} {
		b := newBench(t)
		b.makeStreams()
		c := jetstream.StreamConfig{
			Name: events.StreamBroker, Subjects: []string{events.BrokerSubject},
			Metadata: map[string]string{events.BrokerSyncKey: sync},
		}
		if _, err := b.js.CreateStream(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if r := b.reelay("doctor"); lines(r.stdout, "warn", "durability", "cannot be asked") != 1 {
			t.Errorf("what nobody has said lately is trusted:\n%s", r.stdout)
		}
		if _, err := b.js.Publish(t.Context(), events.BrokerSubject, nil); err != nil {
			t.Fatal(err)
		}
		if r := b.reelay("doctor"); lines(r.stdout, append(want, "durability")...) != 1 {
			t.Errorf("not one line with %q:\n%s", want, r.stdout)
		}
	}
}

// TestLanesSet sets limits, each apart from the rest and from the pause.
func TestLanesSet(t *testing.T) {
	b := newBench(t)
	b.serveStatus()
	kv, err := b.js.KeyValue(t.Context(), bucket.Lanes)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		args []string
		code int
		out  string
		err  string
	}{
		{[]string{"minimax", "--model", "*", "--requests", "20"}, 0, "minimax models *: 20 requests in 1m0s\n", ""},
		{[]string{
			"minimax", "--model", "MiniMax-H3", "--requests", "300", "--in-flight", "30", "--spacing", "100ms",
			"--window", "2m",
		}, 0, "minimax models MiniMax-H3: 300 requests in 2m0s, 30 in flight, 100ms apart\n", ""},
		{
			[]string{"minimax", "--model", "MiniMax-H3", "--in-flight", "0"},
			0,
			"minimax models MiniMax-H3: 300 requests in 2m0s, 100ms apart\n", "",
		},
		{
			[]string{"minimax", "--project", "demo", "--weight", "3", "--in-flight", "2", "--requests", "5"},
			0,
			"minimax project demo: weight 3, 5 requests in each window, 2 in flight\n", "",
		},
		{[]string{"minimax", "--model", "*", "--reset"}, 0, "models MiniMax-H3", ""},
		{[]string{"minimax", "--requests", "5"}, 2, "", "name --model or --project"},
		{[]string{"minimax", "--model", "*", "--project", "demo", "--requests", "5"}, 2, "", "name --model or --project"},
		{[]string{"minimax", "--model", "*"}, 2, "", "give limits, or --reset"},
		{[]string{"minimax", "--model", "*", "--weight", "3"}, 2, "", "--weight is of a project"},
		{[]string{"minimax", "--project", "demo", "--weight", "0"}, 2, "", "--weight: 0 is less than 1"},
		{[]string{"minimax", "--project", "demo", "--window", "1m"}, 2, "", "--window and --spacing are of a limit group"},
		{[]string{"minimax", "--model", "*", "--requests=-1"}, 2, "", "models.*.requests: -1 is not between 0 and 1000000"},
		{[]string{"mini.max", "--model", "*", "--requests", "1"}, 2, "", "is no lane"},
	} {
		b.reelay(slices.Concat([]string{"lanes", "set"}, row.args)...).check(t, row.code, row.out, row.err)
	}
	r := b.reelay("lanes", "pause", "minimax", "--reason", "the bill")
	r.check(t, 0, "models MiniMax-H3: 300 requests", "")
	if lines(r.stdout, "models *") != 0 || lines(r.stdout, "minimax", "paused", "the bill") != 1 ||
		lines(r.stdout, "project demo: weight 3") != 1 {
		t.Errorf("the lanes are\n%s", r.stdout)
	}
	if _, err := kv.PutString(t.Context(), bucket.LimitsKey("minimax"), `{"models":{"*":{"rpm":1}}}`); err != nil {
		t.Fatal(err)
	}
	b.reelay("lanes", "ls").check(t, 0, `minimax is paused: minimax.limits: limits: bad JSON: json: unknown field "rpm"`,
		"")
	b.reelay("lanes", "set", "minimax", "--model", "*", "--requests", "1").check(t, 1, "", "unknown field")
}

func TestDescribeLimits(t *testing.T) {
	set := events.LaneLimits{Models: map[string]events.ModelLimits{"MiniMax-H3": {Requests: 9}, "M": {}}}
	defaults := map[string]events.ModelLimits{"*": {Requests: 20}, "MiniMax-H3": {Requests: 300, InFlight: 30}}
	for _, row := range []struct {
		name     string
		set      events.LaneLimits
		defaults map[string]events.ModelLimits
		want     []string
	}{
		{"nothing is set", events.LaneLimits{}, defaults, []string{
			"models *: 20 requests in 1m0s (default)", "models MiniMax-H3: 300 requests in 1m0s, 30 in flight (default)",
		}},
		{"something is set", set, defaults, []string{
			"models *: 20 requests in 1m0s (default)", "models M: no limit", "models MiniMax-H3: 9 requests in 1m0s",
		}},
		{"no defaults", set, nil, []string{"models M: no limit", "models MiniMax-H3: 9 requests in 1m0s"}},
		{
			"polls",
			events.LaneLimits{Polls: events.PollLimits{Spacing: events.Duration(30 * time.Second), PerSecond: 5}},
			nil,
			[]string{
				"polls: 30s apart for each task, 5 a second",
			},
		},
		{"a provider that is not known", events.LaneLimits{}, nil, nil},
	} {
		if got := describeLimits(row.set, row.defaults); !slices.Equal(got, row.want) {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
}

// TestLanesDispatcher: lanes ls says who sends, and what was learned of the provider.
func TestLanesDispatcher(t *testing.T) {
	b := newBench(t)
	b.serveStatus()
	kv, err := b.js.KeyValue(t.Context(), bucket.Leases)
	if err != nil {
		t.Fatal(err)
	}
	put := func(key, value string) {
		t.Helper()
		if _, err := kv.PutString(t.Context(), key, value); err != nil {
			t.Fatal(err)
		}
	}
	b.reelay("lanes", "ls").check(t, 0, "fal", "") // nobody holds it
	put("fal", `{"holder":"h1","since":"`+time.Now().Add(-time.Hour).Format(time.RFC3339)+`"}`)
	put(bucket.HandOverKey("fal"), `{"groups":{"*":{"rate":{"limit":17},"concurrency":{"limit":4},"paused_until":"`+
		time.Now().Add(time.Minute).Format(time.RFC3339)+`"}}}`)
	r := b.reelay("lanes", "ls")
	for _, want := range []string{
		"fal sent by h1 for 1h", "fal learned for models *: 17 requests in a window", "fal learned for models *: 4 in flight",
		"fal learned for models *: nothing is sent for ",
	} {
		if r.code != 0 || lines(r.stdout, want) != 1 {
			t.Errorf("not one line with %q:\n%s%s", want, r.stdout, r.stderr)
		}
	}
	put("fal", "?")
	b.reelay("lanes", "ls").check(t, 0, "fal has a lease that cannot be read", "")
}
