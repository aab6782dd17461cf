package sim_test

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"reelay/events"
	"reelay/internal/sim"
	"reelay/internal/stack"
)

var (
	seeds     = flag.Int("sim.seeds", 4, "how many seeds TestSeeds runs")
	firstSeed = flag.Uint64("sim.seed", 1, "the first seed of TestSeeds; with -sim.seeds=1 it replays one")
	perSeed   = flag.Int("sim.tasks", 6, "tasks of each seed")
)

// tally is what a campaign has seen.
type tally struct {
	lives, crashes    int
	inDoubt, byItself int // submits that were in doubt; those settled without a person
	jobs              int
	hits              map[string]int
	status            map[events.Status]int
}

// TestSeeds lives many task lives under random faults: a third of the calls to the providers fail, services crash at any write,
// two replicas of each compete. After each seed the world is compared with the emulators' ledgers.
func TestSeeds(t *testing.T) {
	if testing.Short() {
		*seeds = min(*seeds, 5)
	}
	sum := tally{hits: map[string]int{}, status: map[events.Status]int{}}
	begin := time.Now()
	for seed := *firstSeed; seed < *firstSeed+uint64(*seeds); seed++ {
		if !t.Run(fmt.Sprint("seed", seed), func(t *testing.T) { oneSeed(t, seed, &sum) }) {
			t.Fatalf("replay with: go test ./internal/sim -run TestSeeds -sim.seeds=1 -sim.seed=%d -sim.tasks=%d", seed, *perSeed)
		}
	}
	t.Logf("%d task lives in %v of real time: %v; %d paid jobs, %d crashes; %d submits in doubt, %d of them settled without a person",
		sum.lives, time.Since(begin).Round(time.Second), sum.status, sum.jobs, sum.crashes, sum.inDoubt, sum.byItself)
	fired := 0
	for _, name := range slices.Sorted(maps.Keys(sum.hits)) {
		fired += sum.hits[name]
		t.Logf("%6d  %s", sum.hits[name], name)
	}
	t.Logf("%d faults fired", fired)
}

func oneSeed(t *testing.T, seed uint64, sum *tally) {
	chaos := sim.NewChaos(seed)
	sim.Run(t, sim.Options{
		Quiet: *seeds > 1, WrapTransport: chaos.Transport, WrapConn: chaos.Conn, Faults: chaos.Plan,
	}, func(t *testing.T, w *sim.World) {
		for _, extra := range []string{stack.Submitter + "-2", stack.Poller + "-2"} {
			if err := w.Stack.StartService(t.Context(), extra); err != nil {
				t.Fatal(err)
			}
		}
		ids := make([]string, *perSeed)
		for i := range ids {
			ids[i] = fmt.Sprintf("s%d-%d", seed, i)
			body := randomRequest(chaos, ids[i])
			for range 1 + chaos.Intn(4)/3 {
				w.Publish(video, body)
			}
			w.Settle(chaos.Between(0, time.Minute))
			if chaos.Intn(6) == 0 {
				w.Publish("reelay.command.demo."+ids[chaos.Intn(i+1)]+".cancel", "")
			}
			if chaos.Intn(2) == 0 {
				crash(t, w, chaos, sum)
			}
		}
		for range 3 {
			w.Settle(chaos.Between(10*time.Second, 5*time.Minute))
			crash(t, w, chaos, sum)
		}
		chaos.Heal()
		for _, id := range ids {
			endOf(t, w, id, sum)
		}
		w.Settle(10 * time.Minute)
		checkMarked(t, w, ids, sum)
		sum.lives += len(ids)
		for name, n := range chaos.Hits() {
			sum.hits[name] += n
		}
	})
}

// crash kills one replica of a service and starts it again after a while.
func crash(t *testing.T, w *sim.World, chaos *sim.Chaos, sum *tally) {
	t.Helper()
	name := chaos.Pick(stack.Submitter, stack.Submitter+"-2", stack.Poller, stack.Poller+"-2")
	chaos.Crash(name)
	w.Stack.CrashService(name)
	w.Settle(chaos.Between(0, time.Minute))
	chaos.Revive(name)
	if err := w.Stack.StartService(t.Context(), name); err != nil {
		t.Fatalf("restart of %s: %v", name, err)
	}
	sum.crashes++
}

// randomRequest draws a provider, an emulator script and a policy. The prompt carries the task's id, so that the ledger can be
// compared without asking the pipeline.
func randomRequest(chaos *sim.Chaos, id string) string {
	script := chaos.Pick(
		`{}`, `{}`, `{}`, `{}`, `{}`, `{}`,
		`{"submit":"accept_then_reset"}`, `{"submit":"accept_then_500"}`, `{"submit":"accept_then_502_html"}`, `{"submit":"accept_then_empty"}`,
		`{"submit":"accept_then_hang"}`, `{"submit":"reset_before"}`,
		`{"polls":"500","poll_faults":5}`, `{"polls":"unknown","poll_faults":4}`, `{"polls":"not_found","poll_faults":2}`,
		`{"result_faults":4}`, `{"fail":"500"}`, `{"stall":"running"}`, `{"cancel":"ignored"}`, `{"run_ms":3600000}`,
	)
	policy := chaos.Pick(``, ``, `,"on_in_doubt":"fail"`, `,"on_in_doubt":"resubmit","max_paid_attempts":2,"timeout":"8h"`, `,"timeout":"4m"`)
	prompt := `"a kite marked ` + id + `;"`
	switch chaos.Intn(3) {
	case 0:
		return fmt.Sprintf(`{"id":%q,"provider":"fal","model":%q,"input":{"prompt":%s,"emulate":%s}%s}`, id, falVideo, prompt, script, policy)
	case 1:
		return fmt.Sprintf(`{"id":%q,"provider":"minimax","model":"MiniMax-Hailuo-2.3","input":{"prompt":%s,"emulate":%s}%s}`, id, prompt, script, policy)
	}
	return fmt.Sprintf(`{"id":%q,"provider":"minimax","model":"MiniMax-H3","input":{"content":[{"type":"text","text":%s}],"resolution":"768P",`+
		`"duration":5,"ratio":"16:9","emulate":%s}%s}`, id, prompt, script, policy)
}

// jobsOf returns the jobs that carry a task's mark.
func jobsOf(w *sim.World, id string) []string {
	var all []string
	for _, p := range []string{"fal", "minimax"} {
		for _, j := range w.Stack.Ledger(p).Jobs() {
			if strings.Contains(string(j.Input), "marked "+id+";") {
				all = append(all, j.ID)
			}
		}
	}
	return all
}

// endOf waits for the end of a task. One that is parked is decided by a person who has seen the provider's books.
func endOf(t *testing.T, w *sim.World, id string, sum *tally) {
	t.Helper()
	task := w.Await("demo", id, func(t events.Task) bool { return t.Status.Terminal() || t.Phase == events.PhaseParked })
	doubt := slices.ContainsFunc(task.Transitions, func(tr events.Transition) bool { return tr.To == events.PhaseInDoubt })
	if doubt {
		sum.inDoubt++
	}
	if task.Phase != events.PhaseParked {
		if doubt {
			sum.byItself++
		}
		return
	}
	action := `{"action":"write_off"}`
	if jobs := jobsOf(w, id); len(jobs) > 0 {
		action = `{"action":"adopt","provider_id":"` + jobs[len(jobs)-1] + `"}`
	}
	var reply events.TaskReply
	if e := w.Ask(&reply, events.VerbResolve, action, "demo", id); e != nil {
		t.Fatalf("%s: resolve: %v", id, e)
	}
	w.AwaitEnd("demo", id)
}

// checkMarked compares each task with the jobs that carry its mark.
func checkMarked(t *testing.T, w *sim.World, ids []string, sum *tally) {
	t.Helper()
	for _, id := range ids {
		task, jobs := w.Get("demo", id), jobsOf(w, id)
		sum.jobs += len(jobs)
		sum.status[task.Status]++
		if len(jobs) > task.MaxPaidAttempts {
			t.Errorf("%s was paid for %d times, %d allowed: %+v", id, len(jobs), task.MaxPaidAttempts, task.Attempts)
		}
		free := task.Status == events.StatusCancelled && len(task.ProviderRef) == 0 ||
			task.Status == events.StatusFailed && task.Error.Charge == events.ChargeNone && len(task.ProviderRef) == 0
		if free && len(jobs) > 0 {
			t.Errorf("%s ended as %s, free of charge, and was paid for: %v %+v", id, task.Status, jobs, task.Error)
		}
		if task.Status == events.StatusCompleted && (len(jobs) == 0 || len(task.Result.Outputs) == 0) {
			t.Errorf("%s completed with %d jobs: %+v", id, len(jobs), task.Result)
		}
		if task.ProviderID != "" && !slices.Contains(jobs, task.ProviderID) {
			t.Errorf("%s holds the job %s of somebody else", id, task.ProviderID)
		}
	}
	for _, stream := range []string{events.StreamRequests} {
		s, err := w.JS.Stream(t.Context(), stream)
		if err != nil {
			t.Fatal(err)
		}
		if n := s.CachedInfo().State.Msgs; n != 0 {
			t.Errorf("%d messages are stuck in %s", n, stream)
		}
	}
}
