package status

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/events/operator"
	"reelay/internal/provider"
)

// TestBySubjectOnly: a client that has nothing but NATS pauses a lane, sets a cap and learns what came of it. Its
// subjects and its JSON are written out, as those of a program in any language.
func TestBySubjectOnly(t *testing.T) {
	inLabAt(t, time.Now().Round(0), Options{Lanes: []provider.Lane{{Name: "fal", Provider: "fal"}}},
		func(t *testing.T, l *lab) {
			ask := func(subject, payload string) string {
				t.Helper()
				m, err := l.client.Request(subject, []byte(payload), time.Minute)
				must(t, err)
				if code := m.Header.Get("Nats-Service-Error-Code"); code != "" {
					return code + " " + m.Header.Get("Nats-Service-Error")
				}
				return string(m.Data)
			}
			got := ask("reelay.api.lanes-pause", `{"lane":"fal","reason":"the bill of May","by":"anna"}`)
			if !strings.HasPrefix(got, `{"lane":"fal","pause":{"paused":true,"reason":"the bill of May","by":"anna","at":"`) {
				t.Errorf("pause: %s", got)
			}
			var paused struct {
				Lanes []struct {
					Lane  string
					Pause struct{ Paused bool }
				}
			}
			must(t, json.Unmarshal([]byte(ask("reelay.api.lanes", "")), &paused))
			if len(paused.Lanes) != 1 || paused.Lanes[0].Lane != "fal" || !paused.Lanes[0].Pause.Paused {
				t.Errorf("the lanes are %+v", paused)
			}
			got = ask("reelay.api.caps-set", `{"scope":"project.demo","daily_usd":20,"by":"anna"}`)
			if !strings.HasPrefix(got,
				`{"scope":"project.demo","cap":{"scope":"project.demo","daily_usd":20,"unknown_usd":1,"reserved_usd":0,"since":"`) {
				t.Errorf("cap: %s", got)
			}
			l.until("the cap is known",
				func() bool { return strings.Contains(ask("reelay.api.caps.demo", ""), `"daily_usd":20`) })
			if got := ask("reelay.api.caps.other", ""); got != `{"caps":[]}` {
				t.Errorf("caps of another project: %s", got)
			}
			// A tenant's subjects read, whatever is sent there.
			if got := ask("reelay.api.caps.demo", `{"scope":"project.demo","daily_usd":1000}`); !strings.Contains(got,
				`"daily_usd":20`) {
				t.Errorf("a tenant has lifted its cap: %s", got)
			}
			if got := ask("reelay.api.caps-unset", `{"scope":"project.demo"}`); got != `{"scope":"project.demo","cap":null}` {
				t.Errorf("unset: %s", got)
			}
			if got := ask("reelay.api.lanes-pause", `{"lane":"fal"}`); got != "400 reason: must say why the lane is paused" {
				t.Errorf("without a reason: %s", got)
			}
		})
}

// TestNoTenantWrites: no endpoint that a tenant may be given, reelay.api.*.<project> and below, changes a setting.
func TestNoTenantWrites(t *testing.T) {
	s := &Service{}
	for _, e := range s.operatorEndpoints() {
		reads := slices.Contains([]events.Verb{
			operator.VerbLanes, operator.VerbCaps, operator.VerbDead,
			operator.VerbCallbacks,
		}, e.Verb)
		if len(e.Tokens) > 0 && (!reads || e.Verb != operator.VerbCaps) {
			t.Errorf("%s has tokens", e.Verb)
		}
	}
}

// TestSettings: a setting is compared and set, and the bucket remembers who did what.
func TestSettings(t *testing.T) {
	inLabAt(t, time.Now().Round(0), Options{}, func(t *testing.T, l *lab) {
		pause := func(v events.Verb, reason string, revision *uint64) answer {
			return l.ask(operator.PauseRequest{Lane: "fal", Reason: reason, By: "anna", Revision: revision}, v)
		}
		first := into[operator.PauseReply](t, pause(operator.VerbLanesPause, "one", new(uint64(0))))
		wantProblem(t, pause(operator.VerbLanesPause, "too late", new(uint64(0))), "409 conflict revision")
		second := into[operator.PauseReply](t, pause(operator.VerbLanesResume, "two", &first.Revision))
		wantProblem(t, pause(operator.VerbLanesResume, "too late", &first.Revision), "409 conflict revision")
		into[operator.PauseReply](t, pause(operator.VerbLanesPause, "three", nil))
		if second.Revision <= first.Revision || second.Pause.Paused {
			t.Errorf("%+v after %+v", second, first)
		}
		kv, err := l.bus.JetStream().KeyValue(context.Background(), bucket.Lanes)
		must(t, err)
		history, err := kv.History(context.Background(), "fal")
		must(t, err)
		var told []string
		for _, entry := range history {
			p := bucket.DecodeLanePause(entry.Value())
			told = append(told, fmt.Sprintf("%v %s %s", p.Paused, p.Reason, p.By))
		}
		if got := strings.Join(told, ", "); got != "true one anna, false two anna, true three anna" {
			t.Errorf("the history is %s", got)
		}

		limits := operator.LimitsRequest{
			Lane: "fal", Limits: events.LaneLimits{Models: map[string]events.ModelLimits{"*": {Requests: 20}}},
		}
		set := into[operator.LimitsReply](t, l.ask(limits, operator.VerbLanesLimit))
		limits.Revision = new(set.Revision - 1)
		wantProblem(t, l.ask(limits, operator.VerbLanesLimit), "409 conflict revision")
		wantProblem(t, l.ask(`{"lane":"fal","limits":{"models":{"*":{"requests":-1}}}}`, operator.VerbLanesLimit),
			"400 invalid_request models.*.requests")
		must(t, kv.Delete(context.Background(), bucket.LimitsKey("fal")))
		state := into[operator.LanesReply](t, l.ask(nil, operator.VerbLanes)).Lanes[0]
		if state.Limits.Models != nil || !state.Pause.Paused || state.LimitsRevision != 0 {
			t.Errorf("after the deletion of its limits the lane is %+v", state)
		}
		limits.Revision = &state.LimitsRevision
		into[operator.LimitsReply](t, l.ask(limits, operator.VerbLanesLimit))
		_, err = kv.Put(context.Background(), bucket.LimitsKey("fal"), []byte("?"))
		must(t, err)
		if state := into[operator.LanesReply](t,
			l.ask(nil, operator.VerbLanes)).Lanes[0]; !strings.HasPrefix(state.LimitsError, "limits: bad JSON") {
			t.Errorf("unreadable limits are told as %+v", state)
		}

		limit := operator.CapRequest{
			Scope: bucket.AllScope, DailyUSD: new(5.0), UnknownUSD: new(0.25), By: "anna",
			Revision: new(uint64(0)),
		}
		shown := into[operator.CapReply](t, l.ask(limit, operator.VerbCapsSet)).Cap
		if shown == nil || shown.DailyUSD != 5 || shown.UnknownUSD != 0.25 || shown.By != "anna" || shown.Revision == 0 {
			t.Errorf("the cap is %+v", shown)
		}
		wantProblem(t, l.ask(limit, operator.VerbCapsSet), "409 conflict revision")
		wantProblem(t, l.ask(operator.CapRequest{Scope: bucket.AllScope, Revision: new(shown.Revision + 1)},
			operator.VerbCapsUnset), "409 conflict revision")
		into[operator.CapReply](t,
			l.ask(operator.CapRequest{Scope: bucket.AllScope, Revision: &shown.Revision}, operator.VerbCapsUnset))
		into[operator.CapReply](t, l.ask(limit, operator.VerbCapsSet)) // in the place of the one that was taken away
	})
}

// TestStored: pages of a stream are gone through without a gap, what cannot be read is named, and one message is shown
// whole.
func TestStored(t *testing.T) {
	inLabAt(t, time.Now().Round(0), Options{}, func(t *testing.T, l *lab) {
		js := l.bus.JetStream()
		for i := range 5 {
			letter := events.DeadLetter{
				Stream: events.StreamRequests, Consumer: events.ConsumerIntake, Sequence: uint64(i + 1), Deliveries: 5,
				Reason: "handler panicked", Subject: "reelay.request.demo.video", StoredAt: time.Now(),
				Header: map[string][]string{"Nats-Msg-Id": {"m1"}}, Body: []byte(`{"model":"m"}`),
			}
			if i == 1 {
				letter.Body = append([]byte{0xff}, make([]byte, operator.MaxStoredBodyBytes)...)
			}
			_, err := js.PublishMsg(context.Background(),
				&nats.Msg{Subject: events.DeadSubject(letter.Stream, letter.Consumer), Header: letter.Encode(), Data: letter.Body})
			must(t, err)
		}
		_, err := js.Publish(context.Background(), "reelay.dead.a.b", nil) // not one of ours
		must(t, err)
		var ids []uint64
		r := operator.StoredRequest{Limit: 2}
		for {
			page := into[operator.DeadReply](t, l.ask(r, operator.VerbDead))
			for _, letter := range page.Letters {
				ids = append(ids, letter.ID)
				if letter.Text != "" || letter.Header != nil || letter.Bytes == 0 || letter.NotReplayable != "" {
					t.Errorf("a list shows %+v", letter)
				}
			}
			for _, u := range page.Unreadable {
				if u.ID != 6 || !strings.Contains(u.Error, "not a dead letter") {
					t.Errorf("not readable: %+v", u)
				}
			}
			if r.Before = page.NextBefore; r.Before == 0 {
				break
			}
		}
		if !slices.Equal(ids, []uint64{5, 4, 3, 2, 1}) {
			t.Errorf("the pages have %v", ids)
		}
		one := into[operator.DeadReply](t, l.ask(operator.StoredRequest{ID: 1}, operator.VerbDead)).Letters[0]
		if one.Text != `{"model":"m"}` || one.Data != nil || one.Bytes != 13 || one.Header["Nats-Msg-Id"][0] != "m1" {
			t.Errorf("one is shown as %+v", one)
		}
		large := into[operator.DeadReply](t, l.ask(operator.StoredRequest{ID: 2}, operator.VerbDead)).Letters[0]
		if len(large.Data) != operator.MaxStoredBodyBytes || large.Bytes != operator.MaxStoredBodyBytes+1 ||
			large.Text != "" {
			t.Errorf("a large one is shown with %d of %d bytes", len(large.Data), large.Bytes)
		}
		wantProblem(t, l.ask(operator.StoredRequest{ID: 9}, operator.VerbDead), "404 not_found ")
		wantProblem(t, l.ask(operator.StoredRequest{ID: 6}, operator.VerbDead), "409 conflict id")
		wantProblem(t, l.ask(operator.ReplayRequest{ID: 9}, operator.VerbDeadReplay), "404 not_found ")
		wantProblem(t, l.ask(operator.ReplayRequest{ID: 6}, operator.VerbDeadReplay), "409 conflict id")
		again := into[operator.ReplayReply](t, l.ask(operator.ReplayRequest{ID: 1}, operator.VerbDeadReplay))
		if want := (operator.ReplayReply{
			Subject: "reelay.request.demo.video", Stream: events.StreamRequests, Sequence: 1,
			Project: "demo", TaskID: "m1",
		}); again != want {
			t.Errorf("replayed as %+v, want %+v", again, want)
		}
	})
}
