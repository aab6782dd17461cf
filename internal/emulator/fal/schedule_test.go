package fal

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"reelay/internal/emulator"
)

var epoch = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

// A story is what happens to a schedule, in order.
type story struct {
	jobs   []emulator.Job
	limits []emulator.Concurrency
}

func drawStory(t *rapid.T) story {
	var s story
	now := epoch
	seconds := func(name string, most int) time.Duration {
		return time.Duration(rapid.IntRange(0, most).Draw(t, name)) * time.Second
	}
	for i := range rapid.IntRange(1, 25).Draw(t, "steps") {
		// No two steps at one moment, for either might be the first.
		now = now.Truncate(time.Second).Add(seconds("gap", 8) + time.Duration(i)*time.Millisecond)
		switch rapid.IntRange(0, 9).Draw(t, "kind") {
		case 0:
			s.limits = append(s.limits, emulator.Concurrency{At: now, Limit: rapid.IntRange(0, 3).Draw(t, "limit")})
		case 1:
			if open := slices.DeleteFunc(slices.Clone(s.jobs),
				func(j emulator.Job) bool { return j.CancelledAt != nil }); len(open) > 0 {
				id := rapid.SampledFrom(open).Draw(t, "cancelled").ID
				at := now
				k := slices.IndexFunc(s.jobs, func(j emulator.Job) bool { return j.ID == id })
				s.jobs[k].CancelledAt = &at
			}
		default:
			script, err := json.Marshal(map[string]any{"emulate": emulator.Script{
				QueueMS: new(rapid.IntRange(0, 15).Draw(t, "queue") * 1000),
				RunMS:   new(rapid.IntRange(0, 20).Draw(t, "run") * 1000),
				Stall:   rapid.SampledFrom([]string{"", "", "", "", "", "queued", "running"}).Draw(t, "stall"),
			}})
			if err != nil {
				t.Fatal(err)
			}
			j := emulator.Job{ID: fmt.Sprint(i), At: now, Input: script, Extra: map[string]string{}}
			if rapid.IntRange(0, 4).Draw(t, "patient") == 0 {
				j.Extra[extraStart] = fmt.Sprint(rapid.IntRange(1, 30).Draw(t, "patience"))
			}
			s.jobs = append(s.jobs, j)
		}
	}
	return s
}

func scripted(j emulator.Job) emulator.Speed {
	return emulator.Speed{}.Of(emulator.ReadScript(j.Input))
}

// limitAt is the limit that holds at a moment.
func (s story) limitAt(at time.Time) int {
	n := 0
	for _, l := range s.limits {
		if !l.At.After(at) {
			n = l.Limit
		}
	}
	return n
}

// known is what was known of the story at a moment.
func (s story) known(at time.Time) story {
	var k story
	for _, j := range s.jobs {
		if j.At.After(at) {
			continue
		}
		if j.CancelledAt != nil && j.CancelledAt.After(at) {
			j.CancelledAt = nil
		}
		k.jobs = append(k.jobs, j)
	}
	for _, l := range s.limits {
		if !l.At.After(at) {
			k.limits = append(k.limits, l)
		}
	}
	return k
}

func (s story) play(until time.Time) map[string]run {
	p := newSchedule(s.jobs, s.limits, scripted)
	p.advance(until)
	runs := map[string]run{}
	for id, r := range p.runs {
		runs[id] = *r
	}
	return runs
}

// Whatever happens: a job starts only where there is room, it waits only where there is none, nobody is passed by who
// was accepted later, and what is to come never changes what has been.
func TestScheduleIsFairAndNeverChangesThePast(t *testing.T) {
	t.Parallel()
	end := epoch.Add(time.Hour)
	rapid.Check(t, func(t *rapid.T) {
		s := drawStory(t)
		runs := s.play(end)
		// Half seconds lie between all events.
		for at := epoch.Add(time.Second / 2); at.Before(epoch.Add(5 * time.Minute)); at = at.Add(time.Second) {
			under, waits := 0, false
			for _, j := range s.jobs {
				r := runs[j.ID]
				if !r.started.After(at) && r.ended.After(at) {
					under++
				}
				if !r.ready.After(at) && r.started.After(at) && r.ended.After(at) &&
					emulator.ReadScript(j.Input).Stall != "queued" {
					waits = true
				}
			}
			limit := s.limitAt(at)
			if waits && (limit == 0 || under < limit) {
				t.Fatalf("at %v %d of %d run and somebody waits", at.Sub(epoch), under, limit)
			}
		}
		for _, j := range s.jobs {
			r := runs[j.ID]
			if r.started.Equal(forever) {
				continue
			}
			beside := 0
			for _, other := range s.jobs {
				o := runs[other.ID]
				if other.ID != j.ID && (o.started.Before(r.started) || o.started.Equal(r.started) && o.order < r.order) &&
					o.ended.After(r.started) {
					beside++
				}
				if o.order < r.order && o.ready.Before(r.started) && o.started.After(r.started) && o.ended.After(r.started) &&
					emulator.ReadScript(other.Input).Stall != "queued" {
					t.Fatalf("job %s started %v before %s", j.ID, r.started.Sub(epoch), other.ID)
				}
			}
			if limit := s.limitAt(r.started); limit > 0 && beside >= limit {
				t.Fatalf("job %s started at %v as number %d of %d", j.ID, r.started.Sub(epoch), beside+1, limit)
			}
		}
		moment := epoch.Add(time.Duration(rapid.IntRange(0, 240).Draw(t, "moment"))*time.Second + time.Second/2)
		for id, then := range s.known(moment).play(moment) {
			now := runs[id]
			if !then.started.After(moment) && !now.started.Equal(then.started) ||
				!then.ended.After(moment) && !now.ended.Equal(then.ended) && then.stage == over {
				t.Fatalf("job %s at %v: started %v, ended %v, and later it had started %v, ended %v", id, moment.Sub(epoch),
					then.started, then.ended, now.started, now.ended)
			}
		}
	})
}

// Ten thousand jobs at once, each looked at: no step of it may cost the number of jobs.
func TestScheduleOfManyJobs(t *testing.T) {
	t.Parallel()
	const jobs, limit = 10_000, 40
	s := newSchedule(nil, []emulator.Concurrency{{At: epoch, Limit: limit}}, nil)
	begin := time.Now()
	for i := range jobs {
		s.add(emulator.Job{ID: fmt.Sprint(i), At: epoch.Add(time.Duration(i)), Input: json.RawMessage("{}")},
			emulator.Speed{Run: time.Minute})
		s.ahead(s.runs[fmt.Sprint(i)])
	}
	s.advance(epoch.Add(time.Second))
	if s.running != limit || len(s.waiting) != jobs-limit || s.ahead(s.runs["9999"]) != jobs-limit-1 {
		t.Errorf("%d run, %d wait, the last at %d", s.running, len(s.waiting), s.ahead(s.runs["9999"]))
	}
	for i := jobs - 1; i > jobs-1000; i-- {
		s.cancel(fmt.Sprint(i), epoch.Add(2*time.Second))
	}
	s.advance(epoch.Add(24 * time.Hour))
	last := s.runs[fmt.Sprint(jobs-1000)]
	if waves := (jobs - 1000) / limit; last.stage != over || last.ended.Sub(epoch) < time.Duration(waves)*time.Minute {
		t.Errorf("the last ended after %v, with %d waves of a minute", last.ended.Sub(epoch), waves)
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
	s.forget(func(id string) bool { return id == "1" })
	if len(s.runs) != 1 {
		t.Errorf("%d are still known", len(s.runs))
	}
}

type place struct {
	word     string
	position int
}

func places(t testing.TB, s *Server, ids []string) []place {
	t.Helper()
	var all []place
	for _, id := range ids {
		var b statusBody
		if err := json.Unmarshal(do(t, s, "GET", "/fal-ai/kling-video/requests/"+id+"/status", "").Body.Bytes(),
			&b); err != nil {
			t.Fatal(err)
		}
		p := place{word: b.Status}
		if b.QueuePosition != nil {
			p.position = *b.QueuePosition
		}
		all = append(all, p)
	}
	return all
}

// Two run at once, the others wait in order, a change of the limit is followed, and all of that outlives a restart.
func TestConcurrency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := t.TempDir() + "/ledger"
		open := func() *emulator.Ledger {
			l, err := emulator.OpenLedger(path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })
			return l
		}
		rc := &receiver{}
		o := Options{
			Speed: emulator.Speed{Queue: 10 * time.Second, Run: time.Minute}, Concurrency: 2, Ledger: open(),
			Transport: rc,
		}
		s, stop := serving(t, o)
		var ids []string
		for range 6 {
			ids = append(ids, withWebhook(t, s, `{}`))
		}
		check := func(when string, want ...place) {
			t.Helper()
			if got := places(t, s, ids); !slices.Equal(got, want) {
				t.Errorf("%s: %v, want %v", when, got, want)
			}
		}
		runs, ended := place{inProgress, 0}, place{completed, 0}
		waits := func(n int) place { return place{inQueue, n} }
		time.Sleep(11 * time.Second)
		check("at first", runs, runs, waits(0), waits(1), waits(2), waits(3))
		time.Sleep(time.Minute)
		check("after a run", ended, ended, runs, runs, waits(0), waits(1))
		do(t, s, "PUT", "/fal-ai/kling-video/requests/"+ids[4]+"/cancel", "")
		check("after a cancel", ended, ended, runs, runs, ended, waits(0))
		if w := do(t, s, "POST", "/_emulator/limits", `{"concurrency":3}`); w.Code != 204 {
			t.Fatalf("limits: %d %s", w.Code, w.Body)
		}
		check("with more room", ended, ended, runs, runs, ended, runs)
		ids = append(ids, withWebhook(t, s, `{}`)) // ready at 81 s
		synctest.Wait()
		stop()
		time.Sleep(50 * time.Second)
		o.Ledger = open() // two at once again, from 121 s on; what has begun goes on
		s, _ = serving(t, o)
		check("after a restart", ended, ended, runs, runs, ended, runs, waits(0))
		time.Sleep(30 * time.Second)
		check("in the end", ended, ended, ended, ended, ended, ended, runs)
		told := map[string]time.Duration{}
		first, _ := s.Ledger().Job(ids[0])
		for _, p := range rc.got() {
			told[p.RequestID] = p.at.Sub(first.At)
		}
		want := map[string]time.Duration{
			ids[0]: 70 * time.Second, ids[1]: 70 * time.Second, ids[2]: 130 * time.Second, ids[3]: 130 * time.Second,
			ids[4]: 71 * time.Second, ids[5]: 131 * time.Second,
		}
		if !maps.Equal(told, want) {
			t.Errorf("told %v, want %v", told, want)
		}
	})
}

func TestRequestsPerMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ledger := &emulator.Ledger{}
		s := New(Options{RPM: 3, Ledger: ledger})
		try := func(s *Server) int { return do(t, s, "POST", "/"+model, `{}`).Code }
		for i, want := range []int{200, 200, 200, 429, 429} {
			if got := try(s); got != want {
				t.Errorf("submit %d: %d, want %d", i, got, want)
			}
		}
		time.Sleep(30 * time.Second)
		s = New(Options{RPM: 3, Ledger: ledger}) // a restart is no new minute
		if got := try(s); got != 429 {
			t.Errorf("after a restart: %d, want 429", got)
		}
		if w := do(t, s, "POST", "/_emulator/limits", `{"requests_per_minute":4}`); w.Code != 204 {
			t.Fatalf("limits: %d %s", w.Code, w.Body)
		}
		if first, second := try(s), try(s); first != 200 || second != 429 {
			t.Errorf("with one more a minute: %d, %d, want 200, 429", first, second)
		}
		time.Sleep(30 * time.Second) // the first three are a minute old
		if got := try(s); got != 200 {
			t.Errorf("after a minute: %d, want 200", got)
		}
		accepted, refused := 0, 0
		for _, at := range ledger.Submits() {
			if at.Accepted {
				accepted++
			} else if refused++; at.Code != 429 {
				t.Errorf("refused with %d", at.Code)
			}
		}
		if accepted != 5 || refused != 4 || ledger.Calls()["submit_refused"] != 4 {
			t.Errorf("%d accepted, %d refused, %v, want 5 and 4", accepted, refused, ledger.Calls())
		}
		for _, body := range []string{`{"in_flight":3}`, `{"api":"v1"}`, `{"concurrency":-1}`} {
			if w := do(t, s, "POST", "/_emulator/limits", body); w.Code != 400 {
				t.Errorf("%s: %d, want 400", body, w.Code)
			}
		}
	})
}

// Times are drawn for each job, and a script still has the last word.
func TestDraw(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Speed: emulator.Speed{Position: 2}, Draw: func(j emulator.Job) emulator.Speed {
			return emulator.Speed{Queue: time.Minute, Run: time.Duration(j.Seq) * time.Minute}
		}})
		ids := []string{submitted(t, s, `{}`), submitted(t, s, `{}`), submitted(t, s, `{"emulate":{"run_ms":1000}}`)}
		if got := places(t, s, ids[:1]); got[0].position != 2 {
			t.Errorf("position %v, want the speed's", got)
		}
		time.Sleep(2*time.Minute + 30*time.Second)
		var words []string
		for _, p := range places(t, s, ids) {
			words = append(words, p.word)
		}
		if got := strings.Join(words, " "); got != "COMPLETED IN_PROGRESS COMPLETED" {
			t.Errorf("%s", got)
		}
	})
}

// Room that comes otherwise than by time is used, and the webhook of who used it comes in time.
func TestWebhookAfterRoomWasMade(t *testing.T) {
	t.Parallel()
	for name, makeRoom := range map[string]func(t *testing.T, s *Server, first string){
		"cancel": func(t *testing.T, s *Server, first string) {
			do(t, s, "PUT", "/fal-ai/kling-video/requests/"+first+"/cancel", "")
		},
		"limit": func(t *testing.T, s *Server, _ string) {
			if w := do(t, s, "POST", "/_emulator/limits", `{"concurrency":0}`); w.Code != 204 {
				t.Errorf("limits: %d %s", w.Code, w.Body)
			}
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			rc := &receiver{}
			s, _ := serving(t, Options{Concurrency: 1, Speed: emulator.Speed{Run: time.Minute}, Transport: rc})
			first := submitted(t, s, `{"emulate":{"run_ms":3600000}}`)
			second := withWebhook(t, s, `{}`)
			time.Sleep(10 * time.Second)
			makeRoom(t, s, first)
			time.Sleep(time.Minute)
			synctest.Wait()
			if d := delivery(t, s, second); d.Ended != emulator.Delivered {
				t.Errorf("%s: %+v a minute after there was room", name, d)
			}
		})
	}
}
