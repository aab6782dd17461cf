package status

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/prometheus/client_golang/prometheus"

	"reelay/events"
	"reelay/internal/api"
	"reelay/internal/bus"
	"reelay/internal/natsd"
	"reelay/internal/provider"
	"reelay/internal/test/long"
)

func TestGet(t *testing.T) {
	inLab(t, Options{}, func(t *testing.T, l *lab) {
		l.put(waiting("a", "first", 0), waiting("a", "second", 1),
			in(waiting("a", "runs", 0), events.PhaseRunning, events.StatusInProgress))
		r := into[events.TaskReply](t, l.ask(nil, events.VerbGet, "a", "second"))
		if p := r.Task.QueuePosition; r.Task.ID != "second" || p == nil || *p.Ours != 1 || *p.Total != 1 ||
			p.Provider != nil {
			t.Errorf("second: %+v, position %+v", r.Task, p)
		}
		if p := into[events.TaskReply](t, l.ask("anything", events.VerbGet, "a", "runs")).Task.QueuePosition; p != nil {
			t.Errorf("a running task is in line: %+v", p)
		}
	})
}

// TestRefusals: every verb names what is wrong with a request.
func TestRefusals(t *testing.T) {
	long := strings.Repeat("x", events.MaxTokenBytes+1)
	const good = `{"provider":"fal","model":"m","input":{}}`
	inLab(t, Options{}, func(t *testing.T, l *lab) {
		l.put(waiting("a", "x", 0))
		for _, tt := range []struct {
			verb   events.Verb
			tokens []string
			in     string
			want   string
		}{
			{events.VerbGet, []string{"a", "none"}, "", "404 not_found "},
			{events.VerbGet, []string{"ä", "x"}, "", "400 invalid_request project"},
			{events.VerbGet, []string{"a", long}, "", "400 invalid_request task"},
			{events.VerbTimeline, []string{"a", "none"}, "", "404 not_found "},
			{events.VerbTimeline, []string{"a", "x!"}, "", "400 invalid_request task"},
			{events.VerbList, []string{"a+"}, "", "400 invalid_request project"},
			{events.VerbList, nil, "[]", "400 invalid_request payload"},
			{events.VerbList, nil, `{"limit":201}`, "400 invalid_request limit"},
			{events.VerbList, nil, `{"cursor":"x"}`, "400 invalid_request cursor"},
			{events.VerbList, nil, `{"status":["done"]}`, "400 invalid_request status"},
			{
				events.VerbList, nil, `{"` + strings.Repeat("y", 1<<19) + `":1}`,
				"400 invalid_request " + strings.Repeat("y", 128),
			},
			{events.VerbList, nil, `{"` + strings.Repeat("y", 1<<20) + `":1}`, "413 payload_too_large payload"},
			{events.VerbQueue, []string{"+"}, "", "400 invalid_request project"},
			{events.VerbWait, []string{"a", "x"}, `{"timeout":"6m"}`, "400 invalid_request timeout"},
			{events.VerbWait, []string{"+", "x"}, "", "400 invalid_request project"},
			{events.VerbSubmit, []string{"+", "video"}, good, "400 invalid_request project"},
			{events.VerbSubmit, []string{"a", "film"}, good, "400 invalid_request task_type"},
			{events.VerbSubmit, []string{"a", "video"}, "", "400 invalid_request payload"},
			{
				events.VerbSubmit,
				[]string{"a", "video"},
				`{"provider":"fal","model":"m","input":{},"colour":1}`,
				"400 invalid_request colour",
			},
			{
				events.VerbSubmit,
				[]string{"a", "video"},
				`{"id":"a.b","provider":"fal","model":"m","input":{}}`,
				"400 invalid_request id",
			},
			{
				events.VerbSubmit,
				[]string{"a", "video"},
				strings.Repeat(" ", events.MaxRequestBytes) + good,
				"413 payload_too_large payload",
			},
			{
				events.VerbSubmit,
				[]string{"a", "video"},
				good + strings.Repeat(" ", events.MaxRequestBytes-len(good)),
				"413 payload_too_large payload", // together with the id that it gets
			},
			{events.VerbCancel, []string{"a", "none"}, "", "404 not_found "},
			{events.VerbCancel, []string{"a", "x"}, `{"why":""}`, "400 invalid_request why"},
			{events.VerbCancel, []string{"a", "+"}, "", "400 invalid_request task"},
			{events.VerbResolve, []string{"a", "none"}, `{"action":"resubmit"}`, "404 not_found "},
			{events.VerbResolve, []string{"a", "x"}, "", "400 invalid_request payload"},
			{events.VerbResolve, []string{"a", "x"}, `{"action":"adopt"}`, "400 invalid_request provider_id"},
			{events.VerbResolve, []string{"a", "x"}, `{"action":"resubmit"}`, "409 conflict "},
			{events.VerbResolve, []string{"+", "x"}, `{"action":"resubmit"}`, "400 invalid_request project"},
		} {
			wantProblem(t, l.ask(tt.in, tt.verb, tt.tokens...), tt.want)
		}
		if n := l.stored(); n != 0 {
			t.Errorf("%d messages were published for requests that are wrong", n)
		}
	})
}

// stored counts the requests and commands in the stream.
func (l *lab) stored() uint64 {
	l.t.Helper()
	stream, err := l.bus.JetStream().Stream(context.Background(), events.StreamRequests)
	must(l.t, err)
	return stream.CachedInfo().State.Msgs
}

func TestList(t *testing.T) {
	inLab(t, Options{}, func(t *testing.T, l *lab) {
		scene, model, mm := waiting("a", "scene", 2), waiting("a", "model", 3), waiting("b", "mm", 4)
		scene.SceneID, model.Model = "s1", "m2"
		mm.Provider, mm.Lane = "minimax", "minimax-2"
		l.put(waiting("a", "old", 1), scene, model, mm, in(waiting("b", "done", 5), events.PhaseDone, events.StatusCompleted),
			in(waiting("a", "runs", 5), events.PhaseRunning, events.StatusInProgress))
		for _, tt := range []struct {
			project, in, want string
		}{
			{"", ``, "runs done mm model scene old"}, // runs before done: the project decides
			{"a", ``, "runs model scene old"},
			{"none", ``, ""},
			{"", `{"status":["completed","in_progress"]}`, "runs done"},
			{"", `{"phase":["running"]}`, "runs"},
			{"", `{"scene_id":"s1"}`, "scene"},
			{"", `{"provider":"minimax"}`, "mm"},
			{"", `{"provider":"minimax-2"}`, "mm"},
			{"", `{"model":"m2"}`, "model"},
			{"b", `{"model":"m2"}`, ""},
			{"", `{"since":"2000-01-01T00:00:03Z"}`, "runs done mm model"},
			{"", `{"since":"9999-01-01T00:00:00Z"}`, ""},
			{"", `{"since":"0001-01-01T00:00:00Z"}`, "runs done mm model scene old"},
			{"", `{"limit":2}`, "runs done +"},
			{"", `{"limit":6}`, "runs done mm model scene old"},
		} {
			var tokens []string
			if tt.project != "" {
				tokens = []string{tt.project}
			}
			if got := ids(into[events.ListReply](t, l.ask(tt.in, events.VerbList, tokens...))); got != tt.want {
				t.Errorf("%s %s: got %q, want %q", tt.project, tt.in, got, tt.want)
			}
		}
		if a := l.ask(nil, events.VerbList, "none"); string(a.data) != `{"tasks":[],"next_cursor":""}` {
			t.Errorf("empty list: %s", a.data)
		}
		r := into[events.ListReply](t, l.ask(`{"scene_id":"s1"}`, events.VerbList))
		if p := r.Tasks[0].QueuePosition; p == nil || *p.Ours != 1 || *p.Total != 1 {
			t.Errorf("position in a list: %+v", p)
		}
		var walked []string
		for cursor := ""; ; {
			r := into[events.ListReply](t, l.ask(events.ListRequest{Limit: 1, Cursor: cursor}, events.VerbList))
			walked = append(walked, ids(r))
			if cursor = r.NextCursor; cursor == "" {
				break
			}
		}
		if got := strings.Join(walked, " "); got != "runs + done + mm + model + scene + old" {
			t.Errorf("pages: %s", got)
		}
	})
}

// ids are those of a page; a plus sign means that there is more.
func ids(r events.ListReply) string {
	var all []string
	for _, t := range r.Tasks {
		all = append(all, t.ID)
	}
	if r.NextCursor != "" {
		all = append(all, "+")
	}
	return strings.Join(all, " ")
}

// TestListStale: a list shows records as they are, whatever the index thinks.
func TestListStale(t *testing.T) {
	inLab(t, Options{}, func(t *testing.T, l *lab) {
		l.put(waiting("a", "x", 0), waiting("a", "y", 1), waiting("a", "z", 2))
		f := filter{ListRequest: events.ListRequest{Phase: []events.Phase{events.PhaseWaiting}}}
		page := l.s.index.page(f, 10)
		l.delete(events.Key{Project: "a", ID: "x"})
		l.put(in(waiting("a", "y", 1), events.PhaseRunning, events.StatusInProgress))
		for range 2 { // the second time with what is kept
			records, err := l.s.records(t.Context(), f, page)
			must(t, err)
			for i, r := range records {
				if id := page[i].id; (r != nil) != (id == "z") {
					t.Errorf("%s: %+v", id, r)
				}
			}
		}
	})
}

// TestReplicaBehind: a read waits a little for the record that the index has seen already.
func TestReplicaBehind(t *testing.T) {
	inLab(t, Options{}, func(t *testing.T, l *lab) {
		task := waiting("a", "x", 0)
		l.put(task)
		ahead := func(n uint64) {
			l.s.index.apply(bus.SummaryUpdate{Key: task.Key(), Revision: l.revision(task.Key()) + n, Summary: bus.Summarize(&task)})
		}
		ahead(1)
		done := in(task, events.PhaseDone, events.StatusCompleted)
		time.AfterFunc(readPause*3/2, func() { l.write(done) })
		if s := into[events.TaskReply](t, l.ask(nil, events.VerbGet, "a", "x")).Task.Status; s != events.StatusCompleted {
			t.Errorf("the task is %s", s)
		}
		ahead(9)
		begin := time.Now()
		into[events.TaskReply](t, l.ask(nil, events.VerbGet, "a", "x"))
		if d := time.Since(begin).Round(readPause); d != (readTries-1)*readPause {
			t.Errorf("a replica that stays behind is asked for %v", d)
		}
		ghost := waiting("a", "ghost", 0)
		l.s.index.apply(bus.SummaryUpdate{Key: ghost.Key(), Revision: 1, Summary: bus.Summarize(&ghost)})
		wantProblem(t, l.ask(nil, events.VerbGet, "a", "ghost"), "404 not_found ")
		if got := ids(into[events.ListReply](t, l.ask(nil, events.VerbList, "a"))); got != "x" {
			t.Errorf("list: %s", got)
		}
	})
}

// TestBrokerTrouble: what the broker does not answer is unavailable, not missing.
func TestBrokerTrouble(t *testing.T) {
	inLab(t, Options{}, func(t *testing.T, l *lab) {
		l.put(waiting("a", "x", 0))
		must(t, l.bus.JetStream().DeleteStream(t.Context(), events.StreamTasks))
		for _, verb := range []events.Verb{events.VerbGet, events.VerbTimeline, events.VerbCancel, events.VerbWait} {
			wantProblem(t, l.ask(nil, verb, "a", "x"), "503 unavailable ")
		}
		wantProblem(t, l.ask(nil, events.VerbList), "503 unavailable ")
	})
}

// TestTooLargeToAnswer: a record too large for one message is a fault that is told, not silence.
func TestTooLargeToAnswer(t *testing.T) {
	inLab(t, Options{}, func(t *testing.T, l *lab) {
		task := waiting("a", "x", 0)
		task.ProviderWord = strings.Repeat("w", natsd.MaxPayloadBytes-2<<10)
		l.put(task)
		wantProblem(t, l.ask(nil, events.VerbGet, "a", "x"), "500 internal ")
	})
}

// TestNoReply: a request that nobody waits for is carried out all the same.
func TestNoReply(t *testing.T) {
	inLab(t, Options{SubmitWait: time.Second}, func(t *testing.T, l *lab) {
		l.put(waiting("a", "x", 0))
		must(t, l.client.Publish(events.APISubject(events.VerbCancel, "a", "x"), nil))
		l.until("the command is stored", func() bool { return l.stored() == 1 })
	})
}

// TestListBytes: a page is cut where the server would not carry it, and the cursor leads on.
func TestListBytes(t *testing.T) {
	inLab(t, Options{}, func(t *testing.T, l *lab) {
		var want []string
		for i := range 45 { // 200 KiB each, together over the 8 MiB of the embedded server
			task := waiting("a", fmt.Sprintf("t%02d", i), -i)
			task.ProviderWord = strings.Repeat("w", 200<<10)
			l.put(task)
			want = append(want, task.ID)
		}
		var got []string
		pages := 0
		for cursor := ""; ; pages++ {
			r := into[events.ListReply](t, l.ask(events.ListRequest{Cursor: cursor}, events.VerbList))
			for _, task := range r.Tasks {
				got = append(got, task.ID)
			}
			if cursor = r.NextCursor; cursor == "" {
				break
			}
		}
		if !slices.Equal(got, want) || pages != 1 {
			t.Errorf("%d pages: %v", pages+1, got)
		}
	})
}

func TestQueue(t *testing.T) {
	lanes := []provider.Lane{{Name: "fal", Provider: "fal"}, {Name: "idle", Provider: "fal"}}
	inLab(t, Options{Lanes: lanes}, func(t *testing.T, l *lab) {
		seen := waiting("b", "seen", 0)
		seen.Lane, seen.Provider = "mm-2", "minimax"
		long := in(waiting("a", "long-ago", 0), events.PhaseDone, events.StatusCompleted)
		past := time.Now().Add(-time.Hour - time.Second)
		long.CompletedAt = &past
		l.put(
			waiting("a", "w1", -60), waiting("a", "w2", 0),
			in(waiting("a", "q", 0), events.PhaseProviderQueued, events.StatusQueued),
			in(waiting("b", "r", 0), events.PhaseRunning, events.StatusInProgress),
			in(seen, events.PhaseCancelling, events.StatusQueued),
			in(waiting("a", "d", 0), events.PhaseDone, events.StatusCompleted),
			in(waiting("a", "f", 0), events.PhaseDone, events.StatusFailed),
			in(waiting("a", "c", 0), events.PhaseDone, events.StatusCancelled), long,
		)
		q := into[events.QueueReply](t, l.ask(nil, events.VerbQueue))
		if want := map[events.Status]int{
			"queued": 4, "in_progress": 1, "completed": 2, "failed": 1,
			"cancelled": 1,
		}; !maps.Equal(q.ByStatus, want) {
			t.Errorf("by status %v, want %v", q.ByStatus, want)
		}
		if q.Total != 9 || q.ActiveCount != 5 || len(q.Lanes) != 3 {
			t.Fatalf("%+v", q)
		}
		fal, idle, mm := q.Lanes[0], q.Lanes[1], q.Lanes[2]
		if fal.Lane != "fal" || fal.Active != 4 || fal.AtProvider != 2 || fal.CompletedLastHour != 1 ||
			fal.FailedLastHour != 1 ||
			fal.OldestWaitingS < 60 || fal.OldestWaitingS > 65 || fal.ByPhase[events.PhaseWaiting] != 2 ||
			fal.ByPhase[events.PhaseDone] != 4 {
			t.Errorf("fal: %+v", fal)
		}
		if idle.Lane != "idle" || idle.Provider != "fal" || idle.Active != 0 || idle.ByPhase == nil {
			t.Errorf("idle: %+v", idle)
		}
		if mm.Lane != "mm-2" || mm.Provider != "minimax" || mm.Active != 1 || mm.AtProvider != 1 {
			t.Errorf("mm-2: %+v", mm)
		}
		q = into[events.QueueReply](t, l.ask(nil, events.VerbQueue, "b"))
		if q.Total != 2 || q.ActiveCount != 2 || q.Lanes[0].Active != 1 || q.Lanes[2].Active != 1 {
			t.Errorf("project b: %+v", q)
		}
		if q = into[events.QueueReply](t, l.ask(nil, events.VerbQueue, "none")); q.Total != 0 || len(q.Lanes) != 2 {
			t.Errorf("no project: %+v", q)
		}
	})
}

func TestTimeline(t *testing.T) {
	inLab(t, Options{}, func(t *testing.T, l *lab) {
		task := waiting("a", "x", 0)
		task.Attempts = []events.Attempt{{N: 1, Outcome: events.AttemptOpen}}
		bare := waiting("a", "bare", 0)
		bare.Transitions = nil
		l.put(task, bare)
		r := into[events.TimelineReply](t, l.ask(nil, events.VerbTimeline, "a", "x"))
		if r.TaskID != "x" || len(r.Transitions) != 1 || r.Transitions[0].Name != "accept" || len(r.Attempts) != 1 {
			t.Errorf("%+v", r)
		}
		if a := l.ask(nil, events.VerbTimeline, "a", "bare"); string(a.data) != `{"task_id":"bare","transitions":[]}` {
			t.Errorf("%s", a.data)
		}
	})
}

func TestWait(t *testing.T) {
	inLab(t, Options{}, func(t *testing.T, l *lab) {
		l.put(waiting("a", "x", 0), in(waiting("a", "done", 0), events.PhaseDone, events.StatusFailed))
		took := func(in string, id string) (answer, time.Duration) {
			begin := time.Now()
			a := l.ask(in, events.VerbWait, "a", id)
			return a, time.Since(begin).Round(100 * time.Millisecond)
		}
		if a, d := took("", "done"); into[events.TaskReply](t, a).Task.Status != events.StatusFailed || d != 0 {
			t.Errorf("an ended task after %v", d)
		}
		if a, d := took("", "x"); into[events.TaskReply](t, a).Task.Phase != events.PhaseWaiting || d != events.DefaultWait {
			t.Errorf("no end by default after %v", d)
		}
		if a, d := took(`{"timeout":"70s"}`, "none"); d != 0 {
			t.Errorf("a task that nobody has asked for, after %v", d)
		} else {
			wantProblem(t, a, "404 not_found ")
		}
		asked := l.handIn()
		if a, d := took(`{"timeout":"70s"}`, "none"); d != 70*time.Second {
			t.Errorf("no task after %v", d)
		} else {
			wantProblem(t, a, "404 not_found ")
		}
		time.AfterFunc(10*time.Second,
			func() { l.write(in(waiting("a", "x", 0), events.PhaseRunning, events.StatusInProgress)) })
		time.AfterFunc(20*time.Second, func() { l.write(in(waiting("a", "x", 0), events.PhaseDone, events.StatusCompleted)) })
		if a, d := took(`{"timeout":"5m"}`, "x"); into[events.TaskReply](t, a).Task.Status != events.StatusCompleted ||
			d != 20*time.Second {
			t.Errorf("an end after %v", d)
		}
		time.AfterFunc(10*time.Second, func() { l.write(waiting("a", "new", 0)) })
		time.AfterFunc(20*time.Second,
			func() { l.write(in(waiting("a", "new", 0), events.PhaseDone, events.StatusCancelled)) })
		if a, d := took("", "new"); into[events.TaskReply](t, a).Task.Status != events.StatusCancelled ||
			d != 20*time.Second {
			t.Errorf("a new task's end after %v", d)
		}
		time.AfterFunc(3*time.Second, func() { l.takeIn(asked) })
		if a, d := took(`{"timeout":"70s"}`, "rejected"); d != unknownTick {
			t.Errorf("the last request was taken in, and nothing came of it, after %v", d)
		} else {
			wantProblem(t, a, "404 not_found ")
		}
	})
}

// handIn stores a request that nobody takes in, and returns its sequence.
func (l *lab) handIn() uint64 {
	l.t.Helper()
	ack, err := l.bus.JetStream().Publish(context.Background(), events.RequestSubject("a", events.Video), []byte("{}"))
	must(l.t, err)
	return ack.Sequence
}

// takeIn removes a request, as a submitter does that has taken it in.
func (l *lab) takeIn(sequence uint64) {
	stream, err := l.bus.JetStream().Stream(context.Background(), events.StreamRequests)
	must(l.t, err)
	must(l.t, stream.DeleteMsg(context.Background(), sequence))
}

// TestReadYourRequests: who has the acknowledgement of a request is shown the task that came of it.
func TestReadYourRequests(t *testing.T) {
	inLab(t, Options{}, func(t *testing.T, l *lab) {
		took := func(f func() answer) (answer, time.Duration) {
			begin := time.Now()
			a := f()
			return a, time.Since(begin).Round(freshTick)
		}
		get := func() answer { return l.ask(nil, events.VerbGet, "a", "new") }
		if a, d := took(get); d != 0 {
			t.Errorf("nothing was asked for, and it took %v", d)
		} else {
			wantProblem(t, a, "404 not_found ")
		}
		asked := l.handIn()
		list := func() answer { return l.ask(events.ListRequest{AfterRequest: asked}, events.VerbList, "a") }
		if a, d := took(get); d != freshWait {
			t.Errorf("a task that does not come: %v", d)
		} else {
			wantProblem(t, a, "404 not_found ")
		}
		if a, d := took(list); d != freshWait || ids(into[events.ListReply](t, a)) != "" {
			t.Errorf("a list after a request that nobody takes in: %v %s", d, a.data)
		}
		time.AfterFunc(freshWait/2, func() {
			l.write(waiting("a", "new", 0))
			l.takeIn(asked)
		})
		if a, d := took(list); d < freshWait/2 || d > freshWait/2+maxFreshTick || ids(into[events.ListReply](t, a)) != "new" {
			t.Errorf("a list after a request that is taken in: %v %s", d, a.data)
		}
		if a, d := took(list); d != 0 || ids(into[events.ListReply](t, a)) != "new" {
			t.Errorf("the same list later: %v %s", d, a.data)
		}
		l.delete(events.Key{Project: "a", ID: "new"})
		asked = l.handIn()
		time.AfterFunc(freshWait/2, func() { l.write(waiting("a", "newer", 0)) })
		if a, d := took(func() answer { return l.ask(nil, events.VerbGet, "a", "newer") }); d != freshWait/2 {
			t.Errorf("get of a task that comes: %v %s", d, a.data)
		}
	})
}

// TestSeekersLeaveRoomLong: while one project asks for thousands of tasks that do not come, and lists after requests that
// nobody takes in, others are answered.
func TestSeekersLeaveRoomLong(t *testing.T) {
	long.Only(t)
	inLab(t, Options{}, func(t *testing.T, l *lab) {
		l.put(waiting("b", "x", 0))
		asked := l.handIn()
		inbox := nats.NewInbox()
		for range maxRequests {
			must(t, l.client.PublishRequest(events.APISubject(events.VerbGet, "a", "unknown"), inbox, nil))
			must(t, l.client.PublishRequest(events.APISubject(events.VerbList, "a"), inbox,
				fmt.Appendf(nil, `{"after_request":%d}`, asked)))
		}
		must(t, l.client.Flush())
		<-time.After(freshTick)
		if a := l.ask(nil, events.VerbGet, "b", "x"); into[events.TaskReply](t, a).Task.ID != "x" {
			t.Errorf("another project got %s", a.data)
		}
		<-time.After(2 * freshWait)
	})
}

// TestBusy: what is over the limits is refused at once, waits and other requests each by their own limit.
func TestBusy(t *testing.T) {
	inLab(t, Options{}, func(t *testing.T, l *lab) {
		l.put(waiting("a", "x", 0), waiting("b", "x", 0), in(waiting("a", "done", 0), events.PhaseDone, events.StatusFailed))
		inbox := nats.NewInbox()
		answers, err := l.client.SubscribeSync(inbox)
		must(t, err)
		send := func(n int, in string, verb events.Verb, tokens ...string) {
			for range n {
				must(t, l.client.PublishRequest(events.APISubject(verb, tokens...), inbox, []byte(in)))
			}
		}
		const ofOne = maxWaits / 2 // a project's, while there is no other
		send(ofOne, "", events.VerbWait, "a", "x")
		l.until("all waits are under way", func() bool { return l.s.api.UnderWay() == ofOne })
		e := wantProblem(t, l.ask("", events.VerbWait, "a", "x"), "429 over_limit waits")
		if !e.Retryable {
			t.Errorf("%+v", e)
		}
		into[events.TaskReply](t, l.ask("", events.VerbWait, "a", "done")) // does not wait
		into[events.TaskReply](t, l.ask(`{"timeout":"1s"}`, events.VerbWait, "b", "x"))
		into[events.TaskReply](t, l.ask("", events.VerbGet, "a", "x")) // is not kept from working

		for i := range maxRequests / 2 {
			send(1, fmt.Sprintf(`{"id":"s%d","provider":"fal","model":"m","input":{}}`, i), events.VerbSubmit, "a", "video")
		}
		l.until("all submits are under way", func() bool { return l.s.api.UnderWay() == ofOne+maxRequests/2 })
		wantProblem(t, l.ask("", events.VerbGet, "a", "x"), "429 over_limit calls")
		into[events.TaskReply](t, l.ask("", events.VerbGet, "b", "x"))

		codes := map[string]int{}
		for range ofOne + maxRequests/2 {
			m, err := answers.NextMsgWithContext(t.Context())
			must(t, err)
			codes[m.Header.Get(micro.ErrorCodeHeader)]++
		}
		if want := map[string]int{"": ofOne, "504": maxRequests / 2}; !maps.Equal(codes, want) {
			t.Errorf("answers %v, want %v", codes, want)
		}
		into[events.TaskReply](t, l.ask("", events.VerbGet, "a", "x"))
		into[events.TaskReply](t, l.ask("", events.VerbWait, "a", "done"))
	})
}

// TestStop: requests under way are finished, waits are answered with what is, and nobody is left who would answer.
func TestStop(t *testing.T) {
	inLab(t, Options{SubmitWait: 5 * time.Second}, func(t *testing.T, l *lab) {
		l.put(waiting("a", "x", 0))
		answers := make(chan answer, 3)
		go func() { answers <- l.ask(nil, events.VerbWait, "a", "x") }()
		l.until("the wait is under way", func() bool { return l.s.api.UnderWay() == 1 })
		l.handIn() // of the other task, for all that is known
		go func() { answers <- l.ask(nil, events.VerbWait, "a", "none") }()
		l.until("the other wait is under way", func() bool { return l.s.api.UnderWay() == 2 })
		go func() { answers <- l.ask(nil, events.VerbCancel, "a", "x") }()
		l.until("the cancel is under way", func() bool { return l.s.api.UnderWay() == 3 })
		begin := time.Now()
		l.stop()
		l.until("the service is no longer ready", func() bool { return !l.s.Ready() })
		if d := time.Since(begin); d != 0 {
			t.Errorf("ready for another %v", d)
		}
		byCode := map[string]answer{}
		for range 2 {
			a := <-answers
			byCode[a.header.Get(micro.ErrorCodeHeader)] = a
		}
		if into[events.TaskReply](t, byCode[""]).Task.Phase != events.PhaseWaiting ||
			time.Since(begin) > 200*time.Millisecond {
			t.Errorf("waits go on for %v", time.Since(begin))
		}
		wantProblem(t, byCode["503"], "503 unavailable ")
		time.AfterFunc(2*time.Second, func() {
			task := waiting("a", "x", 0)
			task.Cancel = &events.CancelState{By: "client"}
			l.write(task)
		})
		if into[events.TaskReply](t, <-answers).Task.Cancel == nil {
			t.Error("the cancel was not finished")
		}
		l.until("the service is gone", func() bool { return len(l.done) == 1 })
		if a := l.ask(nil, events.VerbGet, "a", "x"); !errors.Is(a.err, nats.ErrNoResponders) {
			t.Errorf("after the end: %+v", a)
		}
	})
}

// TestStopBounded: a request that takes too long is cut off, and told so.
func TestStopBounded(t *testing.T) {
	inLab(t, Options{SubmitWait: time.Minute}, func(t *testing.T, l *lab) {
		l.put(waiting("a", "x", 0))
		answers := make(chan answer, 1)
		go func() { answers <- l.ask(nil, events.VerbCancel, "a", "x") }()
		l.until("the cancel is under way", func() bool { return l.s.api.UnderWay() == 1 })
		begin := time.Now()
		l.stop()
		err := <-l.done
		if err == nil || err.Error() != "status: 1 requests were still under way after 10s" ||
			time.Since(begin).Round(time.Second) != api.DrainWait {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
		l.done <- nil // inLab looks for a clean end
		wantProblem(t, <-answers, "503 unavailable ")
	})
}

// TestNotReady: an index that stands still is said to do so, and reads go on.
func TestNotReady(t *testing.T) {
	inLab(t, Options{}, func(t *testing.T, l *lab) {
		l.put(waiting("a", "x", 0))
		l.s.index.current.Store(false)
		if l.s.Ready() {
			t.Error("ready without a watch")
		}
		into[events.TaskReply](t, l.ask(nil, events.VerbGet, "a", "x"))
		l.s.index.current.Store(true)
		l.bus.Conn().Close()
		if l.s.Ready() {
			t.Error("ready without a connection")
		}
	})
}

func TestStopBeforeReady(t *testing.T) {
	inLab(t, Options{}, func(t *testing.T, l *lab) {
		s, err := New(Options{Bus: l.bus, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
		must(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
}

// TestInfo: `nats micro info reelay` shows each verb, what it does and what goes in and out.
func TestInfo(t *testing.T) {
	inLab(t, Options{Version: "v1.2.3"}, func(t *testing.T, l *lab) {
		info := into[micro.Info](t, l.request("$SRV.INFO.reelay"))
		if info.Version != "1.2.3" {
			t.Errorf("version %q", info.Version)
		}
		got := map[string]string{}
		for _, e := range info.Endpoints {
			got[e.Subject] = e.Name
			if e.QueueGroup != micro.DefaultQueueGroup || e.Metadata["description"] == "" || e.Metadata["request"] == "" ||
				e.Metadata["answer"] == "" {
				t.Errorf("%+v", e)
			}
		}
		want := map[string]string{
			"reelay.api.submit.*.*": "submit", "reelay.api.get.*.*": "get", "reelay.api.list.*": "list",
			"reelay.api.list": "list-all", "reelay.api.queue.*": "queue", "reelay.api.queue": "queue-all",
			"reelay.api.timeline.*.*": "timeline", "reelay.api.wait.*.*": "wait", "reelay.api.cancel.*.*": "cancel",
			"reelay.api.resolve.*.*": "resolve", "reelay.api.spend.*": "spend", "reelay.api.spend": "spend-all",
			"reelay.api.batch.*.*": "batch", "reelay.api.models.*": "models", "reelay.api.quote.*": "quote",
			"reelay.api.lanes": "lanes", "reelay.api.lanes-pause": "lanes-pause",
			"reelay.api.lanes-resume": "lanes-resume", "reelay.api.lanes-limit": "lanes-limit", "reelay.api.caps": "caps-all",
			"reelay.api.caps.*": "caps", "reelay.api.quotas": "quotas-all", "reelay.api.quotas.*": "quotas",
			"reelay.api.quotas-set": "quotas-set", "reelay.api.caps-set": "caps-set", "reelay.api.caps-unset": "caps-unset",
			"reelay.api.dead": "dead", "reelay.api.dead-replay": "dead-replay", "reelay.api.callbacks": "callbacks",
			"reelay.api.callbacks-replay": "callbacks-replay",
		}
		if !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

func TestMetrics(t *testing.T) {
	inLab(t, Options{Lanes: []provider.Lane{{Name: "fal", Provider: "fal"}}}, func(t *testing.T, l *lab) {
		strange, stranger := waiting("a", "x", -90), in(waiting("a", "y", 0), events.PhaseRunning, events.StatusInProgress)
		strange.Lane, stranger.Lane = "lane-1", "lane-2"
		l.put(waiting("a", "w", -30), strange, stranger)
		into[events.TaskReply](t, l.ask(nil, events.VerbGet, "a", "x"))
		wantProblem(t, l.ask(nil, events.VerbGet, "a", "none"), "404 not_found ")
		l.until("the requests are counted", func() bool { return l.s.api.UnderWay() == 0 })
		families, err := l.reg.Gather()
		must(t, err)
		got := map[string]float64{}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				name := f.GetName()
				for _, p := range m.GetLabel() {
					name += " " + p.GetValue()
				}
				switch {
				case m.Gauge != nil:
					got[name] = m.Gauge.GetValue()
				case m.Counter != nil:
					got[name] = m.Counter.GetValue()
				default:
					got[name] = float64(m.Histogram.GetSampleCount())
				}
			}
		}
		for name, want := range map[string]float64{
			"reelay_tasks fal waiting": 1, "reelay_tasks other waiting": 1, "reelay_tasks other running": 1,
			"reelay_tasks fal done": 0, "reelay_index_tasks": 3, "reelay_index_ready": 1, "reelay_api_requests_total 200 get": 1,
			"reelay_api_requests_total 404 get": 1, "reelay_api_duration_seconds get": 2,
		} {
			if v, ok := got[name]; !ok || v != want {
				t.Errorf("%s is %v (%v), want %v", name, v, ok, want)
			}
		}
		for lane, least := range map[string]float64{"fal": 30, "other": 90} {
			if v := got["reelay_oldest_waiting_seconds "+lane]; v < least || v > least+5 {
				t.Errorf("oldest of %s: %v, want %v", lane, v, least)
			}
		}
		if n := len(got); n != 2*len(events.Phases())+2+2+2+1 {
			t.Errorf("%d series: %v", n, got)
		}
	})
}
