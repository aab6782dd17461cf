package sim_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/internal/config"
	"reelay/internal/emulator"
	"reelay/internal/task"
	"reelay/internal/test/sim"
)

const (
	// Every longSeed-th seed lets nobody decide before reelay asks for it, which takes hours.
	longSeed = 10
	// aimsPerSeed crashes are aimed at failpoints in each seed, at the first to the maxNth arrival there.
	aimsPerSeed, maxNth = 4, 3
	// frames is how many files there are that requests name.
	frames = 3
)

// aims gives each seed its failpoints to crash at, so that a few seeds in a row have had all of them, before and after
// the write. Those that few tasks come to are aimed at in every seed.
func aims(seed uint64) []sim.Aim {
	all := points()
	chosen := []sim.Aim{
		{Point: "put/" + string(events.PhaseParked), Nth: 1, After: seed%2 == 0},
		{Point: "publish/" + string(events.EventLateResult), Nth: 1, After: seed%2 == 0},
		{Point: "claim", Nth: 1, After: seed%2 == 0},
		{Point: "publish/resumed", Nth: 1, After: seed%2 == 0},
		{Point: "schema", Nth: 1, After: seed%2 == 0},
		{Point: "upload", Nth: 1, After: seed%2 == 0},
		{Point: "publish/" + string(events.EventCancelled), Nth: 1 + int(seed/2%2), After: seed%2 == 0},
	}
	for i := range uint64(aimsPerSeed) {
		n := seed*aimsPerSeed + i
		turn := n / uint64(len(all))
		chosen = append(chosen, sim.Aim{Point: all[n%uint64(len(all))], Nth: 1 + int(turn/2)%maxNth, After: turn%2 == 1})
	}
	return chosen
}

// oneSeed runs a few tasks under the faults of a seed, and compares ledgers and records at the end. The plan says which
// of them wait for others.
func oneSeed(t *testing.T, seed uint64, tasks int, quiet bool, plan func(*scene)) *tally {
	chaos := sim.NewChaos(seed, aims(seed)...)
	s := &scene{
		chaos: chaos, tally: newTally(), known: map[string]bool{}, waits: map[string][]string{}, patience: chaos.Between(2*time.Minute, 20*time.Minute),
		longest: "40m",
	}
	if seed%longSeed == 0 {
		s.patience, s.longest = 48*time.Hour, "8h"
	}
	sim.Run(t, sim.Options{
		Quiet: quiet, WrapTransport: chaos.Transport, WrapConn: chaos.Conn, Faults: chaos.Plan, WrapBroker: chaos.Broker,
		Webhooks: true, WrapCallbacks: chaos.Callbacks, CallbackFaults: callbackFaults(chaos, seed),
		Pipeline: config.Pipeline{Timeout: 12 * time.Minute},
		Speed: emulator.Speed{
			Queue: chaos.Between(0, time.Minute), Run: chaos.Between(10*time.Second, 3*time.Minute),
			Position: 3,
		},
	}, func(t *testing.T, w *sim.World) {
		s.t, s.w = t, w
		begin := time.Now()
		s.run(seed, tasks, plan)
		s.Minutes += int(time.Since(begin).Minutes())
	})
	for name, n := range chaos.Hits() {
		s.Hits[name] += n
	}
	return s.tally
}

// callbackFaults lets a seed's callbacks come as they should, with every disorder, or not at all.
func callbackFaults(chaos *sim.Chaos, seed uint64) emulator.Faults {
	f := emulator.Faults{Seed: seed, DelayMS: int(chaos.Between(time.Second, 5*time.Minute).Milliseconds())}
	switch chaos.Intn(5) {
	case 0:
	case 1:
		f.Shares = map[emulator.Fault]float64{emulator.Drop: 1}
	default:
		f.Shares = map[emulator.Fault]float64{
			emulator.Drop: 0.1, emulator.Duplicate: 0.1, emulator.Delay: 0.1, emulator.Reorder: 0.1, emulator.BeforeReply: 0.1,
			emulator.BadSignature: 0.05, emulator.OldTimestamp: 0.05, emulator.NullPayload: 0.05, emulator.Truncated: 0.05,
			emulator.Forged: 0.05, emulator.Stranger: 0.05, emulator.NumericChallenge: 0.3,
		}
	}
	return f
}

// A scene is one seed under way.
type scene struct {
	*tally
	t     *testing.T
	w     *sim.World
	chaos *sim.Chaos
	ids   []string
	// known are the tasks that were shown: none of them may be unknown again.
	known map[string]bool
	// patience is how long a person leaves a task in doubt, longest the longest timeout that a request asks for.
	patience time.Duration
	longest  string
	// waits are the tasks that each waits for, order all of them, each behind those that it waits for.
	waits map[string][]string
	order []string
}

// drawWaits draws which of the tasks wait for others, whatever the order in which they are asked for.
func drawWaits(s *scene) {
	s.order = slices.Clone(s.ids)
	for i := range s.order {
		j := s.chaos.Intn(i + 1)
		s.order[i], s.order[j] = s.order[j], s.order[i]
	}
	for i, id := range s.order {
		for range min(i, max(0, s.chaos.Intn(5)-2)) {
			s.wait(id, s.order[s.chaos.Intn(i)])
		}
	}
}

// wait has a task wait for another.
func (s *scene) wait(id, on string) {
	if !slices.Contains(s.waits[id], on) {
		s.waits[id] = append(s.waits[id], on)
	}
}

// dependencies are the fields of a request by which its task waits for others, and a member of its input that refers to
// one of them.
func (s *scene) dependencies(id string) (fields, member string) {
	on := s.waits[id]
	if len(on) == 0 {
		return "", ""
	}
	quoted, err := json.Marshal(on)
	if err != nil {
		s.t.Fatal(err)
	}
	if fields = `,"after":` + string(quoted); s.chaos.Intn(4) == 0 {
		fields += `,"on_dependency":"ignore"`
	}
	if s.chaos.Intn(2) == 0 {
		member = fmt.Sprintf(`,"seen":[{"$from":%q}]`, on[0])
	}
	return fields, member
}

func (s *scene) run(seed uint64, tasks int, plan func(*scene)) {
	for _, name := range sim.Replicas() {
		if strings.HasSuffix(name, "-2") {
			if err := s.w.Stack.StartService(s.t.Context(), name); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	for i := range frames {
		putFrame(s.t, s.w, fmt.Sprintf("frame-%d.png", i), i)
	}
	heal, end := s.chaos.Disrupt(s.w)
	stop := s.chaos.Intn(2 * tasks) // the task before which a person pauses a lane, if there are so many
	lane := s.chaos.Pick("fal", "minimax", bucket.AllLanes)
	for i := range tasks {
		s.ids = append(s.ids, fmt.Sprintf("s%d-%d", seed, i))
	}
	plan(s)
	for i, id := range s.ids {
		if i == stop {
			s.pauseLane(lane, true)
		}
		s.request(id)
		s.w.Settle(s.chaos.Between(0, time.Minute))
		if s.chaos.Intn(5) == 0 {
			s.w.PublishUntilAcked("reelay.command.demo."+s.ids[s.chaos.Intn(i+1)]+".cancel", "")
		}
	}
	if stop < tasks {
		s.pauseLane(lane, false)
	}
	if s.chaos.Intn(2) == 0 {
		s.publishGarbage(seed)
	}
	s.w.Settle(s.chaos.Between(time.Minute, 10*time.Minute))
	heal()
	for _, id := range s.order { // none is waited for before those that it waits for
		s.end(id)
	}
	s.w.Settle(10 * time.Minute) // a late result may come
	end()
	s.w.Settle(10 * time.Minute)
	s.compare()
	s.Lives += len(s.ids)
}

// flip pauses a lane, or lets it go on, as a person does.
func (s *scene) pauseLane(lane string, paused bool) {
	s.w.PublishUntilAcked("$KV."+bucket.Lanes+"."+lane,
		fmt.Sprintf(`{"paused":%t,"reason":"a person says so","by":"ann"}`, paused))
}

// request hands a task in, by the API or by the subject, once or twice.
func (s *scene) request(id string) {
	fields, member := s.dependencies(id)
	taskType, body := randomRequest(s.chaos, id, s.longest, fields, member)
	if s.chaos.Intn(4) == 0 {
		var reply events.TaskReply
		// The answer may be that nobody knows yet; its message may not be stored then.
		if e := s.w.Ask(&reply, events.VerbSubmit, body, "demo", string(taskType)); e == nil {
			s.known[id] = true
			return
		}
	}
	for range 1 + s.chaos.Intn(4)/3 {
		s.w.PublishUntilAcked(events.RequestSubject("demo", taskType), body)
	}
}

// trash publishes what nobody can use: requests to reject, and messages to give up.
func (s *scene) publishGarbage(seed uint64) {
	refused := `"provider":"nobody","model":"m","input":{}`
	if seed%3 == 0 { // no model of that name makes a second; to say so its schema is asked for and kept
		refused = `"model":"kling-v3","want":{"prompt":"p","duration":1}`
	}
	s.w.PublishUntilAcked(video, fmt.Sprintf(`{"id":"r%d",%s}`, seed, refused))
	for _, subject := range []string{
		"reelay.poll.fal.demo.b@d", "reelay.poll.minimax.demo.b@d", "reelay.heartbeat.demo.b@d",
		events.DeadSubject(events.StreamRequests, "y"),
		events.AdvisorySubject(events.AdvisoryMaxDeliveries, events.StreamPolls, "y"),
	} {
		s.w.PublishUntilAcked(subject, "trash")
	}
	s.w.PublishUntilAcked("reelay.callback.nobody.demo.x", "trash")
	unknownLane := s.w.PublishUntilAcked("reelay.poll.nobody.demo.x", "trash")
	s.w.PublishUntilAcked(events.AdvisorySubject(events.AdvisoryMaxDeliveries, events.StreamPolls, "y"),
		fmt.Sprintf(`{"stream_seq":%d,"deliveries":3}`, unknownLane))
}

// randomRequest draws a provider, an emulator script and a policy. The prompt carries the task's id, so that the ledger
// can be compared without asking the pipeline.
func randomRequest(chaos *sim.Chaos, id, longest, fields, member string) (events.TaskType, string) {
	script := chaos.Pick(
		`{}`, `{}`, `{}`, `{}`, `{}`, `{}`, `{}`,
		`{"submit":"accept_then_reset"}`, `{"submit":"accept_then_500"}`, `{"submit":"accept_then_502_html"}`,
		`{"submit":"accept_then_empty"}`, `{"submit":"accept_then_hang"}`, `{"submit":"reset_before"}`,
		`{"submit":"refuse_429"}`, `{"submit":"refuse_1002"}`, `{"polls":"500","poll_faults":5}`,
		`{"polls":"unknown","poll_faults":4}`, `{"polls":"not_found","poll_faults":2}`,
		`{"polls":"refuse_429","poll_faults":4}`, `{"polls":"refuse_1002","poll_faults":4}`,
		`{"polls":"502_html","poll_faults":3}`, `{"polls":"regress","poll_faults":3}`, `{"polls":"reset","poll_faults":3}`,
		`{"result_faults":4}`, `{"result":"500","result_faults":3}`, `{"result":"404","result_faults":2}`,
		`{"result":"503_html","result_faults":3}`, `{"result":"no_file"}`, `{"result":"nsfw"}`, `{"result":"data_1500"}`,
		`{"polls":"gzip"}`, `{"polls":"bom"}`, `{"polls":"redirect"}`, `{"polls":"log_window"}`,
		`{"submit":"refuse_429_html"}`, `{"submit":"refuse_529"}`, `{"fail":"500"}`, `{"stall":"running"}`, `{"stall":"queued"}`, `{"cancel":"ignored"}`,
		`{"run_ms":900000,"cancel":"ignored"}`, `{"run_ms":900000}`,
	)
	policy := chaos.Pick(``, ``, ``, `,"on_in_doubt":"fail"`,
		`,"on_in_doubt":"resubmit","max_paid_attempts":2,"timeout":"`+longest+`"`, `,"timeout":"4m"`) + fields
	text := "a kite marked " + id + ";"
	if chaos.Intn(8) == 0 {
		text += strings.Repeat(" and a cloud", events.MaxInlineBytes/10) // too long for its record
	}
	prompt := fmt.Sprintf("%q", text)
	script += member
	first := ""
	if chaos.Intn(4) == 0 {
		first = fmt.Sprintf(`{"$file":"frame-%d.png"}`, chaos.Intn(frames))
	}
	switch chaos.Intn(7) {
	case 0, 1:
		if first != "" {
			script += `,"image_url":` + first
		}
		return events.Video, fmt.Sprintf(`{"id":%q,"provider":"fal","model":%q,"input":{"prompt":%s,"emulate":%s}%s}`, id, falVideo, prompt,
			script, policy)
	case 2, 3:
		return events.Video, fmt.Sprintf(`{"id":%q,"provider":"minimax","model":"MiniMax-Hailuo-2.3","input":{"prompt":%s,"emulate":%s}%s}`,
			id, prompt, script, policy)
	case 4: // answered with its result
		return events.Music, fmt.Sprintf(`{"id":%q,"provider":"minimax","model":"music-2.6","input":{"prompt":%s,"emulate":%s}%s}`,
			id, prompt, script, policy)
	}
	if first != "" {
		prompt += `},{"type":"image_url","role":"first_frame","image_url":{"url":` + first + `}`
	}
	return events.Video, fmt.Sprintf(`{"id":%q,"provider":"minimax","model":"MiniMax-H3","input":{"content":[{"type":"text",`+
		`"text":%s}],"resolution":"768P",`+
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

// end waits for the end of a task. One that is parked, or in doubt for longer than a person's patience, is decided by
// one who has seen the provider's ledger.
func (s *scene) end(id string) {
	deadline := time.Now().Add(48 * time.Hour)
	decided := time.Time{}
	var t events.Task
	for {
		now := time.Now()
		var reply events.TaskReply
		if e := s.w.Ask(&reply, events.VerbGet, "", "demo", id); e != nil {
			// A request that was acknowledged becomes a task, but not at once: its message may wait to be delivered again.
			if e.Code != events.CodeNotFound || s.known[id] || now.After(deadline) {
				s.t.Fatalf("%s: %v", id, e)
			}
			s.Hits["request not taken in yet"]++
			s.w.Settle(15 * time.Second)
			continue
		}
		t, s.known[id] = reply.Task, true
		if t.Status.Terminal() {
			break
		}
		if now.After(deadline) {
			s.t.Fatalf("%s is stuck: %s %s, version %d: %+v", id, t.Status, t.Phase, t.Version, t.Transitions)
		}
		open := t.Phase == events.PhaseParked || t.Phase == events.PhaseInDoubt && now.Sub(t.Attempt().IntentAt) > s.patience
		if open && now.Sub(decided) > time.Minute {
			decided = now
			action := `{"action":"write_off"}`
			if jobs := jobsOf(s.w, id); len(jobs) > 0 && t.TaskType != events.Music { // else nobody can be asked about it
				action = `{"action":"adopt","provider_id":"` + jobs[len(jobs)-1] + `"}`
			}
			s.w.PublishUntilAcked("reelay.command.demo."+id+".resolve", action)
		}
		s.w.Settle(15 * time.Second)
	}
	if wasInDoubt(t) {
		s.InDoubt++
		if decided.IsZero() {
			s.ByItself++
		}
		if acceptedByCallback(t) {
			s.ByCallback++
		}
	}
}

// calledBack reports whether a callback is evidence that an attempt was accepted.
func acceptedByCallback(t events.Task) bool {
	return slices.ContainsFunc(t.Attempts, func(a events.Attempt) bool {
		return slices.ContainsFunc(a.Evidence, func(e events.Evidence) bool { return e.Source == events.SourceCallback })
	})
}

// compare compares each task with the jobs that carry its mark, and searches for messages that nobody will handle.
func (s *scene) compare() {
	t := s.t
	for _, id := range s.ids {
		task, jobs := s.w.Get("demo", id), jobsOf(s.w, id)
		s.Jobs += len(jobs)
		s.Status[task.Status]++
		if len(task.After) > 0 {
			s.Hits["waited for others, "+string(task.Status)]++
		}
		if len(jobs) > task.MaxPaidAttempts {
			t.Errorf("%s was paid for %d times, %d allowed: %+v", id, len(jobs), task.MaxPaidAttempts, task.Attempts)
		}
		free := task.Status == events.StatusCancelled && len(task.ProviderRef) == 0 ||
			task.Status == events.StatusFailed && task.Error.Charge == events.ChargeNone && len(task.ProviderRef) == 0
		if free && len(jobs) > 0 {
			t.Errorf("%s ended as %s, free of charge, and was paid for: %v %+v", id, task.Status, jobs, task.Error)
		}
		noFile := slices.ContainsFunc(jobs, func(job string) bool { return script(s.w, job).Result == "no_file" })
		if task.Status == events.StatusCompleted && (len(jobs) == 0 || len(task.Result.Outputs) == 0 && !noFile) {
			t.Errorf("%s completed with %d jobs: %+v", id, len(jobs), task.Result)
		}
		if s.falseVerdict(task) && !noFile {
			t.Errorf("%s failed, and its job was made: %+v %+v", id, task.Error, task.Transitions)
		}
		s.money(task)
		if task.ProviderID != "" && !slices.Contains(jobs, task.ProviderID) {
			t.Errorf("%s holds the job %s of somebody else", id, task.ProviderID)
		}
	}
	for _, p := range []string{"fal", "minimax"} {
		for _, j := range s.w.Stack.Ledger(p).Jobs() {
			for _, d := range j.Deliveries {
				s.Hits["callbacks accepted"] += d.Accepted
				if p == "fal" && d.Fooled > 0 { // MiniMax signs nothing
					t.Errorf("the webhook service accepted %d callbacks about %s that its provider has not sent", d.Fooled, j.ID)
				}
			}
		}
	}
	for _, m := range s.messages(events.StreamRequests) {
		t.Errorf("stuck in %s: %s", events.StreamRequests, m.Subject)
	}
	for _, m := range s.messages(events.StreamPolls) {
		_, k, err := events.ParsePollSubject(m.Subject)
		if err != nil || !task.Needs(s.w.Get(k.Project, k.ID)).PollTicket {
			t.Errorf("stuck in %s: %s", events.StreamPolls, m.Subject)
		}
	}
	for _, m := range s.messages(events.StreamDead) {
		if string(m.Data) != "trash" {
			t.Errorf("given up: %v %s", m.Header, m.Data)
		}
	}
}

// falseVerdict reports whether a task failed whose job was made, although neither a deadline nor a person ended it and
// the provider did not say so.
func (s *scene) falseVerdict(t events.Task) bool {
	if t.Status != events.StatusFailed || t.ProviderID == "" || t.Error.Kind == events.KindDeadline ||
		t.Error.Code == events.CodeWrittenOff {
		return false
	}
	ledger := s.w.Stack.Ledger(t.Provider)
	j, ok := ledger.Job(t.ProviderID)
	return ok && ledger.Charged(j) > 0 && emulator.ReadScript(j.Input).Fail == ""
}

// script returns the script of a job.
func script(w *sim.World, job string) emulator.Script {
	for _, p := range []string{"fal", "minimax"} {
		if j, ok := w.Stack.Ledger(p).Job(job); ok {
			return emulator.ReadScript(j.Input)
		}
	}
	return emulator.Script{}
}

// money compares what a task cost with what its provider has charged for it.
func (s *scene) money(t events.Task) {
	if t.Cost == nil || t.Cost.ActualUSD == nil || t.ProviderID == "" {
		return
	}
	bill := 0.0
	for _, p := range []string{"fal", "minimax"} {
		ledger := s.w.Stack.Ledger(p)
		if j, ok := ledger.Job(t.ProviderID); ok {
			bill += ledger.Charged(j)
		}
	}
	s.Hits["priced as billed"]++
	if len(t.Attempts) == 1 && cents(*t.Cost.ActualUSD) != cents(bill) {
		s.t.Errorf("%s is %s and cost %v, the provider charges %v: %+v", t.ID, t.Status, *t.Cost.ActualUSD, bill, t.Attempts)
	}
}

// messages returns what is in a stream.
func (s *scene) messages(stream string) []*jetstream.RawStreamMsg {
	s.t.Helper()
	str, err := s.w.JS.Stream(s.t.Context(), stream)
	if err != nil {
		s.t.Fatal(err)
	}
	var all []*jetstream.RawStreamMsg
	for seq := str.CachedInfo().State.FirstSeq; uint64(len(all)) < str.CachedInfo().State.Msgs; seq++ {
		m, err := str.GetMsg(s.t.Context(), seq)
		switch {
		case err == nil:
			all = append(all, m)
		case !errors.Is(err, jetstream.ErrMsgNotFound):
			s.t.Fatal(err)
		}
	}
	return all
}

// tally counts what the seeds have met.
type tally struct {
	Seeds, Lives, Minutes int
	// InDoubt counts the submits that were in doubt, ByItself those settled without a person, ByCallback those that a
	// callback reported.
	InDoubt, ByItself, ByCallback int
	Jobs                          int
	Hits                          map[string]int
	Status                        map[events.Status]int
}

func newTally() *tally { return &tally{Hits: map[string]int{}, Status: map[events.Status]int{}} }

func (a *tally) add(b *tally) {
	a.Seeds, a.Lives, a.Minutes, a.Jobs = a.Seeds+b.Seeds, a.Lives+b.Lives, a.Minutes+b.Minutes, a.Jobs+b.Jobs
	a.InDoubt, a.ByItself, a.ByCallback = a.InDoubt+b.InDoubt, a.ByItself+b.ByItself, a.ByCallback+b.ByCallback
	for k, n := range b.Hits {
		a.Hits[k] += n
	}
	for k, n := range b.Status {
		a.Status[k] += n
	}
}

func (a *tally) encode() []byte {
	text, err := json.Marshal(a)
	if err != nil {
		panic(err) // ints and strings
	}
	return text
}
