package sim_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/allinone"
	"reelay/internal/config"
	"reelay/internal/emulator"
	"reelay/internal/failpoint"
	"reelay/internal/provider/registry"
	"reelay/internal/test/long"
	"reelay/internal/test/sim"
)

// A fate is what becomes of one paid request on its way, whatever its bytes say.
type fate int

const (
	arrives      fate = iota
	losesReply        // it is accepted and its answer lost
	neverArrives      // it leaves in full and is lost
)

// fates gives each paid request its fate in the order in which they leave; the rest arrive.
type fates struct {
	mu  sync.Mutex
	all []fate
}

func (f *fates) wrap(c net.Conn) net.Conn {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.all) == 0 {
		return c
	}
	next := f.all[0]
	f.all = f.all[1:]
	if next == arrives {
		return c
	}
	return &lossyConn{Conn: c, fate: next}
}

type lossyConn struct {
	net.Conn
	fate fate
}

func (c *lossyConn) Write(p []byte) (int, error) {
	if c.fate == neverArrives {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func (c *lossyConn) Read(p []byte) (int, error) {
	if c.fate == neverArrives {
		time.Sleep(5 * time.Second) // until the request has left
	} else {
		_, _ = c.Conn.Read(p)
	}
	_ = c.Conn.Close()
	return 0, syscall.ECONNRESET
}

// doubtful runs a world whose paid requests meet these fates.
func doubtful(t *testing.T, o sim.Options, all []fate, f func(t *testing.T, w *sim.World)) {
	t.Helper()
	o.WrapConn = (&fates{all: all}).wrap
	sim.Run(t, o, f)
}

// v2Asked is a request for MiniMax V2 with a prompt.
func v2Asked(id, prompt, emulate string) string {
	return fmt.Sprintf(`{"id":%q,"provider":"minimax","model":"MiniMax-H3","input":{"content":[{"type":"text",`+
		`"text":%q}],`+
		`"resolution":"768P","duration":5,"ratio":"16:9","emulate":%s}}`, id, prompt, orEmpty(emulate))
}

func isParked(t events.Task) bool { return t.Phase == events.PhaseParked }

func isOut(t events.Task) bool {
	return t.Phase == events.PhaseInDoubt || t.Phase == events.PhaseProviderQueued || t.Phase == events.PhaseRunning
}

func wasInDoubt(t events.Task) bool {
	return slices.ContainsFunc(t.Transitions, func(tr events.Transition) bool { return tr.To == events.PhaseInDoubt })
}

// byList reports whether the list, and nobody else, has brought the id of the task.
func byList(t events.Task) bool {
	return slices.ContainsFunc(t.Attempts, func(a events.Attempt) bool {
		return a.ProviderID != "" && a.ProviderID == t.ProviderID &&
			slices.ContainsFunc(a.Evidence, func(e events.Evidence) bool {
				return e.Source == events.SourceList && e.ProviderID == a.ProviderID &&
					strings.Contains(e.Note, "found in the provider's list as "+a.ProviderID)
			})
	})
}

// evidence is every note on the latest attempt.
func evidence(t events.Task) string {
	var notes []string
	for _, e := range t.Attempt().Evidence {
		notes = append(notes, string(e.Source)+": "+e.Note)
	}
	return strings.Join(notes, "\n")
}

// resolve settles by the emulator's own ledger what is parked, so that the world adds up at its end.
func resolve(w *sim.World, id, resolve string) {
	w.T.Helper()
	var reply events.TaskReply
	if e := w.Ask(&reply, events.VerbResolve, resolve, "demo", id); e != nil {
		w.T.Fatal(e)
	}
}

func adopts(id string) string { return `{"action":"adopt","provider_id":"` + id + `"}` }

// TestAdoptedIsPolled: the poller that has seen a task in doubt polls it as soon as a person has found its job, also where
// the record is too long to come with the poll ticket.
func TestAdoptedIsPolled(t *testing.T) {
	sim.Run(t, sim.Options{}, func(t *testing.T, w *sim.World) {
		long := strings.Repeat("x", 250)
		w.Publish(video, v1Request("a", `{"submit":"accept_then_500"}`, fmt.Sprintf(`,"metadata":{"a":%q,"b":%[1]q,"c":%[1]q,"d":%[1]q,`+
			`"e":%[1]q,"f":%[1]q,"g":%[1]q,"h":%[1]q,"i":%[1]q,"j":%[1]q,"k":%[1]q,"l":%[1]q}`, long)))
		w.Settle(4 * time.Minute) // heartbeats have shown it to the poller
		resolve(w, "a", adopts(lastJob(w, "minimax")))
		w.Settle(10 * time.Second)
		stream, err := w.JS.Stream(t.Context(), events.StreamPolls)
		if err != nil {
			t.Fatal(err)
		}
		if n := stream.CachedInfo().State.Msgs; n != 1 {
			t.Errorf("%d poll tickets, want that of the task", n)
		}
		if task := w.AwaitEnd("demo", "a"); task.Status != events.StatusCompleted {
			t.Errorf("%s: %+v", task.Status, task.Error)
		}
	})
}

// TestResolvedByTheList: a reply that was lost is found in the provider's list, by nobody's hand, and paid for once.
func TestResolvedByTheList(t *testing.T) {
	for name, body := range map[string]string{
		"fal": falRequest("a", ""), "minimax": v2Request("a", ""), "replicate": replicateRequest("a", "p", ""),
		"comfy": comfyRequest("a", "p", ""),
	} {
		t.Run(name, func(t *testing.T) {
			lost := emulator.Faults{Shares: map[emulator.Fault]float64{emulator.Drop: 1}} // the list shows a callback URL all the same
			doubtful(t, sim.Options{Webhooks: name == "replicate", CallbackFaults: lost}, []fate{losesReply}, func(t *testing.T, w *sim.World) {
				w.Publish(video, body)
				task := w.AwaitEnd("demo", "a")
				jobs := w.Stack.Ledger(name).Jobs()
				if task.Status != events.StatusCompleted || !byList(task) || len(jobs) != 1 || task.ProviderID != jobs[0].ID {
					t.Errorf("%s %+v, %d jobs\n%s", task.Status, task.Error, len(jobs), evidence(task))
				}
				want := []events.EventType{events.EventQueued, events.EventInDoubt, events.EventSubmitted, events.EventCompleted}
				if got := sim.Types(w.Story("demo", "a")); !slices.Equal(got, want) {
					t.Errorf("story %v, want %v", got, want)
				}
			})
		})
	}
}

// TestLargeInputIsFoundAgain: an input that is not in the record but beside it is compared as well.
func TestLargeInputIsFoundAgain(t *testing.T) {
	doubtful(t, sim.Options{}, []fate{losesReply}, func(t *testing.T, w *sim.World) {
		w.Publish(video, `{"id":"a","provider":"fal","model":"`+falVideo+
			`","input":{"seed":17454220438242315174,"cfg":1.50,"prompt":"<&> `+
			strings.Repeat("x", 2*events.MaxInlineBytes)+`"}}`)
		if task := w.AwaitEnd("demo", "a"); task.Status != events.StatusCompleted || !byList(task) {
			t.Errorf("%s %+v\n%s", task.Status, task.Error, evidence(task))
		}
	})
}

// TestInputGoneLong: a search that cannot be made concludes nothing and does not block the task.
func TestInputGoneLong(t *testing.T) {
	long.Only(t)
	doubtful(t, sim.Options{}, []fate{losesReply}, func(t *testing.T, w *sim.World) {
		begin := time.Now()
		w.Publish(video, `{"id":"a","provider":"fal","model":"`+falVideo+`","input":{"prompt":"`+
			strings.Repeat("x", 2*events.MaxInlineBytes)+`"}}`)
		task := w.Await("demo", "a", func(t events.Task) bool { return t.Phase == events.PhaseInDoubt })
		objects, err := w.JS.ObjectStore(t.Context(), events.ObjectBucket)
		if err != nil {
			t.Fatal(err)
		}
		if err := objects.Delete(t.Context(), task.InputRef); err != nil {
			t.Fatal(err)
		}
		task = w.Await("demo", "a", isParked)
		if took := time.Since(begin); took < 8*time.Hour || task.Attempt().Listings != 0 ||
			!strings.Contains(evidence(task), "input could not be read") {
			t.Errorf("parked after %v with %d listings\n%s", took, task.Attempt().Listings, evidence(task))
		}
		resolve(w, "a", adopts(w.Stack.Ledger("fal").Jobs()[0].ID))
		w.Settle(10 * time.Minute)
	})
}

// TestNotAcceptedLong: what the provider never got is not made up. The list was read three times in full before a person is
// asked.
func TestNotAcceptedLong(t *testing.T) {
	long.Only(t)
	for name, row := range map[string]struct {
		body    string
		horizon time.Duration
	}{
		"fal": {falRequest("a", ""), 4 * time.Hour}, "minimax": {v2Request("a", ""), time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			doubtful(t, sim.Options{}, []fate{neverArrives}, func(t *testing.T, w *sim.World) {
				begin := time.Now()
				w.Publish(video, row.body)
				task := w.Await("demo", "a", isParked)
				if took := time.Since(begin); took < row.horizon || took > row.horizon+5*time.Minute {
					t.Errorf("parked after %v, want %v", took, row.horizon)
				}
				a := task.Attempt()
				if a.Listings < 3 || len(w.Stack.Ledger(name).Jobs()) != 0 || task.ProviderID != "" {
					t.Errorf("%d listings, %d jobs, id %q\n%s", a.Listings, len(w.Stack.Ledger(name).Jobs()), task.ProviderID,
						evidence(task))
				}
				var timeline events.TimelineReply
				if e := w.Ask(&timeline, events.VerbTimeline, "", "demo", "a"); e != nil {
					t.Fatal(e)
				}
				searches := 0
				for _, tr := range timeline.Transitions {
					if tr.Name == "searched" {
						searches++
					}
				}
				if searches < 3 || searches != a.Searches {
					t.Errorf("%d searches in the timeline, %d in the record", searches, a.Searches)
				}
				resolve(w, "a", `{"action":"write_off"}`)
			})
		})
	}
}

// TestResubmittedAfterSilenceLong: with leave to pay twice, a request that the list does not show is sent again, and not
// before.
func TestResubmittedAfterSilenceLong(t *testing.T) {
	long.Only(t)
	doubtful(t, sim.Options{}, []fate{neverArrives}, func(t *testing.T, w *sim.World) {
		w.Publish(video, falRequest("a", "", `,"on_in_doubt":"resubmit","max_paid_attempts":2,"timeout":"8h"`))
		task := w.AwaitEnd("demo", "a")
		if task.Status != events.StatusCompleted || len(task.Attempts) != 2 || task.Attempts[0].Listings < 3 {
			t.Errorf("%s, %d attempts: %+v", task.Status, len(task.Attempts), task.Error)
		}
		if jobs := w.Stack.Ledger("fal").Jobs(); len(jobs) != 1 {
			t.Errorf("paid for %d times", len(jobs))
		}
	})
}

// TestIdenticalInputsLong: requests that nothing tells apart each get an id of their own.
func TestIdenticalInputsLong(t *testing.T) {
	long.Only(t)
	for name, row := range map[string]struct {
		fates       []fate
		jobs        int
		ended, left int
	}{
		"one reply lost, one fine":          {[]fate{losesReply, arrives}, 2, 2, 0},
		"one fine, one reply lost":          {[]fate{arrives, losesReply}, 2, 2, 0},
		"both replies lost":                 {[]fate{losesReply, losesReply}, 2, 2, 0},
		"one accepted, one not, both lost":  {[]fate{losesReply, neverArrives}, 1, 1, 1},
		"one not accepted, one lost, later": {[]fate{neverArrives, losesReply}, 1, 1, 1},
		"neither accepted":                  {[]fate{neverArrives, neverArrives}, 0, 0, 2},
	} {
		t.Run(name, func(t *testing.T) {
			doubtful(t, sim.Options{}, row.fates, func(t *testing.T, w *sim.World) {
				w.Publish(video, falRequest("a", ""))
				w.Publish(video, falRequest("b", ""))
				ids := map[string]bool{}
				ended, left := 0, 0
				for _, id := range []string{"a", "b"} {
					task := w.Await("demo", id, func(t events.Task) bool { return isParked(t) || t.Status.Terminal() })
					if isParked(task) {
						left++
						resolve(w, id, `{"action":"write_off"}`)
						continue
					}
					ended++
					if ids[task.ProviderID] || task.Status != events.StatusCompleted {
						t.Errorf("%s has %s and ended as %s: %+v", id, task.ProviderID, task.Status, task.Error)
					}
					ids[task.ProviderID] = true
				}
				if jobs := len(w.Stack.Ledger("fal").Jobs()); ended != row.ended || left != row.left || jobs != row.jobs {
					t.Errorf("%d ended, %d left to a person, %d jobs, want %d, %d, %d", ended, left, jobs, row.ended, row.left,
						row.jobs)
				}
			})
		})
	}
}

// TestNeverAGuessLong: where the list shows no input, what may belong to another is left to a person, with the ids.
func TestNeverAGuessLong(t *testing.T) {
	long.Only(t)
	for name, fates := range map[string][]fate{
		"both accepted": {losesReply, losesReply}, "the first accepted": {losesReply, neverArrives},
		"the second accepted": {neverArrives, losesReply},
	} {
		t.Run("two prompts, "+name, func(t *testing.T) {
			doubtful(t, sim.Options{}, fates, func(t *testing.T, w *sim.World) {
				w.Publish(video, v2Asked("a", "a kite", ""))
				w.Publish(video, v2Asked("b", "a heron", ""))
				for _, id := range []string{"a", "b"} {
					task := w.Await("demo", id, isParked)
					for _, job := range w.Stack.Ledger("minimax").Jobs() {
						if !strings.Contains(evidence(task), job.ID) {
							t.Errorf("%s: candidate %s is not named:\n%s", id, job.ID, evidence(task))
						}
					}
					if a := task.Attempt(); a.Listings != 0 {
						t.Errorf("%s: %d listings count as silence although they show candidates", id, a.Listings)
					}
				}
				settle(w, map[string]string{"a": "a kite", "b": "a heron"})
			})
		})
	}
	t.Run("a foreign task of the same shape", func(t *testing.T) {
		doubtful(t, sim.Options{}, []fate{losesReply}, func(t *testing.T, w *sim.World) {
			w.Publish(video, v2Asked("a", "a kite", ""))
			w.Await("demo", "a", isOut)
			foreignV2(t, w)
			task := w.Await("demo", "a", isParked)
			if !strings.Contains(evidence(task), "several may be ours") {
				t.Errorf("parked for another reason:\n%s", evidence(task))
			}
			settle(w, map[string]string{"a": "a kite"})
		})
	})
	t.Run("a foreign task of the same shape alone, at another moment", func(t *testing.T) {
		doubtful(t, sim.Options{}, []fate{neverArrives}, func(t *testing.T, w *sim.World) {
			w.Publish(video, v2Asked("a", "a kite", ""))
			w.Await("demo", "a", func(t events.Task) bool { return t.Phase == events.PhaseInDoubt })
			w.Settle(40 * time.Second)
			foreignV2(t, w)
			task := w.Await("demo", "a", isParked)
			if !strings.Contains(evidence(task), "does not agree to the second") {
				t.Errorf("parked for another reason:\n%s", evidence(task))
			}
			settle(w, map[string]string{"a": "a kite"})
		})
	})
	t.Run("a foreign task of the same shape, minutes later, is none of ours", func(t *testing.T) {
		doubtful(t, sim.Options{}, []fate{neverArrives}, func(t *testing.T, w *sim.World) {
			w.Publish(video, v2Asked("a", "a kite", ""))
			begin := time.Now()
			w.Await("demo", "a", func(t events.Task) bool { return t.Phase == events.PhaseInDoubt })
			w.Settle(4 * time.Minute)
			foreignV2(t, w)
			task := w.Await("demo", "a", isParked)
			if took := time.Since(begin); task.Attempt().Listings < 3 || took > time.Hour+5*time.Minute {
				t.Errorf("parked after %v with %d listings:\n%s", took, task.Attempt().Listings, evidence(task))
			}
			settle(w, map[string]string{"a": "a kite"})
		})
	})
	t.Run("once a person has settled one, the other is found", func(t *testing.T) {
		doubtful(t, sim.Options{}, []fate{losesReply, losesReply}, func(t *testing.T, w *sim.World) {
			w.Publish(video, v2Asked("a", "a kite", ""))
			w.Publish(video, v2Asked("b", "a heron", ""))
			w.Await("demo", "a", isParked)
			w.Await("demo", "b", isParked)
			settle(w, map[string]string{"a": "a kite"})
			task := w.AwaitEnd("demo", "b")
			if task.Status != events.StatusCompleted || !byList(task) ||
				!strings.Contains(jobOf(w, "minimax", task.ProviderID), "a heron") {
				t.Errorf("%s %+v\n%s", task.Status, task.Error, evidence(task))
			}
		})
	})
}

// TestClaimedBeforeACrash: an attempt that has claimed an id and could not write its record takes the same id when it
// comes again, and nobody else takes it meanwhile.
func TestClaimedBeforeACrash(t *testing.T) {
	for name, lost := range map[string]failpoint.Outcome{"before": {Lose: true}, "after": {LoseAnswer: true}} {
		for _, point := range []string{"claim", "put/" + string(events.PhaseProviderQueued)} {
			t.Run(point+" is lost "+name, func(t *testing.T) {
				var left atomic.Int32
				left.Store(3)
				o := sim.Options{Faults: func(service string) failpoint.Plan {
					return func(at string) failpoint.Outcome {
						if service == allinone.Poller && at == point && left.Add(-1) >= 0 {
							return lost
						}
						return failpoint.Outcome{}
					}
				}}
				doubtful(t, o, []fate{losesReply, losesReply, losesReply}, func(t *testing.T, w *sim.World) {
					ids := map[string]bool{}
					for _, id := range []string{"a", "b", "c"} {
						w.Publish(video, falRequest(id, ""))
					}
					for _, id := range []string{"a", "b", "c"} {
						task := w.AwaitEnd("demo", id)
						if task.Status != events.StatusCompleted || !byList(task) || ids[task.ProviderID] {
							t.Errorf("%s: %s as %s\n%s", id, task.Status, task.ProviderID, evidence(task))
						}
						ids[task.ProviderID] = true
					}
					if left.Load() > 0 {
						t.Errorf("%d faults were not met", left.Load())
					}
					stream, err := w.JS.Stream(t.Context(), events.StreamClaims)
					if err != nil {
						t.Fatal(err)
					}
					if n := stream.CachedInfo().State.Msgs; n != 3 {
						t.Errorf("%d claims for three requests", n)
					}
				})
			})
		}
	}
}

// TestListDownLong: a list that cannot be read is no evidence. Nothing is concluded, and a person is asked at twice the
// time.
func TestListDownLong(t *testing.T) {
	long.Only(t)
	down := func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/requests/by-endpoint") {
				return &http.Response{
					StatusCode: http.StatusForbidden, Request: r, Header: http.Header{},
					Body: io.NopCloser(strings.NewReader(`{"detail":"this key may not do this"}`)),
				}, nil
			}
			return next.RoundTrip(r)
		})
	}
	doubtful(t, sim.Options{WrapTransport: down}, []fate{losesReply}, func(t *testing.T, w *sim.World) {
		begin := time.Now()
		w.Publish(video, falRequest("a", "", `,"on_in_doubt":"resubmit","max_paid_attempts":2`))
		task := w.Await("demo", "a", isParked)
		if took := time.Since(begin); took < 8*time.Hour || took > 8*time.Hour+5*time.Minute {
			t.Errorf("parked after %v, want eight hours", took)
		}
		if a := task.Attempt(); a.Listings != 0 || a.Searches < 8 || len(task.Attempts) != 1 ||
			!strings.Contains(evidence(task), "list could not be read") {
			t.Errorf("%d listings, %d searches, %d attempts\n%s", a.Listings, a.Searches, len(task.Attempts), evidence(task))
		}
		resolve(w, "a", adopts(w.Stack.Ledger("fal").Jobs()[0].ID))
	})
}

var shareTasks = flag.Int("sim.share", 0, "tasks of TestResolvedShare; 60 are enough to show something, 0 skips it")

// TestResolvedShare runs some tasks through a bad day and logs how many of the submits in doubt found their way without
// a person. Not one may find the wrong way.
func TestResolvedShare(t *testing.T) {
	tasks := *shareTasks
	if tasks == 0 {
		t.Skip("half a minute long: run it with -sim.share=60")
	}
	rng := rand.New(rand.NewPCG(7, 11))
	var all []fate
	for range tasks {
		switch n := rng.IntN(20); {
		case n < 5:
			all = append(all, losesReply)
		case n < 8:
			all = append(all, neverArrives)
		default:
			all = append(all, arrives)
		}
	}
	o := sim.Options{
		Quiet: true, Speed: emulator.Speed{Queue: time.Minute, Run: 3 * time.Minute},
		Pipeline: config.Pipeline{Timeout: 24 * time.Hour},
	}
	doubtful(t, o, all, func(t *testing.T, w *sim.World) {
		said := map[string]string{}
		for n := range tasks {
			id := fmt.Sprintf("t%02d", n)
			switch said[id] = "scene " + id; {
			case n%5 == 0:
				w.Publish(video, v2Asked(id, said[id], ""))
			case n%5 == 3:
				w.Publish(video, replicateRequest(id, said[id], ""))
			case n%5 == 4:
				w.Publish(video, comfyRequest(id, said[id], ""))
			case n%5 == 1:
				said[id] = fmt.Sprintf("again %d", n/12) // the same input several times, minutes apart
				fallthrough
			default:
				w.Publish(video, fmt.Sprintf(`{"id":%q,"provider":"fal","model":%q,"input":{"prompt":%q}}`, id, falVideo, said[id]))
			}
			w.Settle(time.Duration(rng.IntN(100)) * time.Second)
		}
		settled := func(t events.Task) bool { return isParked(t) || t.Status.Terminal() }
		share := map[string]int{}
		owner := map[string]string{}
		right, wrong := 0, 0
		for id := range said {
			task := w.Await("demo", id, settled)
			if p := task.ProviderID; p != "" {
				if owner[p] != "" || !strings.Contains(jobOf(w, task.Provider, p), `"`+said[id]+`"`) {
					wrong++
					t.Errorf("%s has %s, which is of %q and not its own: %s", id, p, owner[p], jobOf(w, task.Provider, p))
				}
				owner[p] = id
			}
			switch {
			case !wasInDoubt(task):
				share[task.Provider+", never in doubt"]++
			case byList(task):
				right++
				share[task.Provider+", found in the list"]++
			case isParked(task):
				share[task.Provider+", left to a person"]++
			case task.Status == events.StatusCompleted:
				share[task.Provider+", sent again after silence"]++
			}
		}
		orphans, all := map[string]int{}, 0
		for _, p := range registry.Names() {
			for _, job := range w.Stack.Ledger(p).Jobs() {
				if owner[job.ID] == "" {
					orphans[p]++
					all++
				}
			}
		}
		accepted := right + all
		t.Logf("%d tasks: of %d replies lost after acceptance %d (%d %%) were found without a person, %d wrongly; left to "+
			"one: %v; all: %v",
			tasks, accepted, right, 100*right/accepted, wrong, orphans, share)
		for _, p := range []string{"fal", "replicate", "comfy"} {
			if orphans[p] != 0 || share[p+", found in the list"] == 0 {
				t.Errorf("%d requests that %s lists with what tells them apart were not found, %d were", orphans[p], p,
					share[p+", found in the list"])
			}
		}
		if n := share["comfy, left to a person"]; n != 0 {
			t.Errorf("%d tasks of a server of one's own are left to a person", n)
		}
		if share["fal, found in the list"] < 5 || share["minimax, found in the list"] == 0 ||
			share["fal, left to a person"] == 0 {
			t.Errorf("%v: the scenario shows nothing", share)
		}
		settle(w, said)
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// jobOf is the body of a job, as the emulator got it.
func jobOf(w *sim.World, provider, id string) string {
	for _, job := range w.Stack.Ledger(provider).Jobs() {
		if job.ID == id {
			return string(job.Input)
		}
	}
	return ""
}

// settle does for every parked task what its prompt, which a person can see, says: adopt what was accepted, write off
// the rest.
func settle(w *sim.World, prompts map[string]string) {
	w.T.Helper()
	owned := map[string]bool{}
	for _, t := range w.Tasks() {
		owned[t.ProviderID] = true
	}
	for id, prompt := range prompts {
		task := w.Get("demo", id)
		if !isParked(task) {
			continue
		}
		decision := `{"action":"write_off"}`
		for _, job := range w.Stack.Ledger(task.Provider).Jobs() {
			if !owned[job.ID] && strings.Contains(string(job.Input), `"`+prompt+`"`) {
				decision, owned[job.ID] = adopts(job.ID), true
				break
			}
		}
		resolve(w, id, decision)
	}
	w.Settle(10 * time.Minute)
}

// foreignV2 has another program of the same account make a task of the same shape.
func foreignV2(t *testing.T, w *sim.World) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return w.Network.Dial(ctx, network, address)
		},
	}}
	// Its answer is lost as well, so that the world does not look for the task that it belongs to.
	body := `{"model":"MiniMax-H3","content":[{"type":"text","text":"a foreign dog"}],"resolution":"768P","duration":5,` +
		`"ratio":"16:9",` +
		`"emulate":{"submit":"accept_then_500"}}`
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
		"http://"+registry.Find("minimax").Emulator+"/v2/video_generation", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer someone")
	before := len(w.Stack.Ledger("minimax").Jobs())
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if n := len(w.Stack.Ledger("minimax").Jobs()); n != before+1 {
		t.Fatalf("the foreign task was not accepted: %s", res.Status)
	}
}
