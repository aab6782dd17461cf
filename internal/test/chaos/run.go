//go:build unix

package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
)

const sigCont = syscall.SIGCONT

// Options configure a run.
type Options struct {
	Seed  uint64
	Tasks int
	Kills int
	// Nodes are how many brokers there are: 1, or 3 for a cluster of nats-servers that keeps everything three times. They
	// are not among those that Kills counts; NodeKills is how many faults they get.
	Nodes, NodeKills int
	// Sync is the broker's: "always" or "interval".
	Sync string
	// Programs is a directory of programs that are built already, such as those of an older version; empty builds them.
	Programs string
	// Keys runs the services with canary keys instead of in the sandbox, and searches everything for them afterwards.
	Keys bool
	// Drain bounds the time without faults until everything has ended.
	Drain time.Duration
	// Short says that tasks may be left that only wait for the NotAfter of their attempt, and messages about tasks that
	// have ended; that a few kinds of fault may not have been met, because another fault has hidden them; and that pollers
	// poll as in a sandbox.
	Short bool
}

const (
	// A fault of a process comes every 100 to 500 ms.
	minFaultGap, maxFaultGap = 100 * time.Millisecond, 500 * time.Millisecond
	minPause, maxPause       = 200 * time.Millisecond, 3 * time.Second
	minStall, maxStall       = 300 * time.Millisecond, 2 * time.Second
	publishWait              = 2 * time.Second
	decidePause              = 500 * time.Millisecond
	// maxMissed is how many kinds of fault a short run may miss.
	maxMissed   = 6
	logInterval = 5 * time.Second
	// doubtPatience is how long a person leaves a task in doubt to reelay: its callback, or the provider's list, may
	// settle it.
	doubtPatience = 5 * time.Second
	// decideAgain is when a decision that shows no effect is published again.
	decideAgain = 20 * time.Second
	// settle is how long the last message may take after the faults have ended.
	settle = 2 * time.Second
)

// A processFault is what happens to one process, or to all connections of one link, at one time.
type processFault string

const (
	kill      processFault = "kill"
	pause     processFault = "pause"
	terminate processFault = "terminate"
	cutAll    processFault = "cut_all"
	stall     processFault = "stall"
)

// processFaults fill the shuffle bag of a run.
func processFaults() []processFault {
	return append(append(repeat(14, kill), repeat(3, pause)...), terminate, cutAll, stall)
}

// victims are the programs that are killed, each as often as it is listed.
func (o Options) victims() []string {
	all := []string{
		emulators, submitterA, submitterA, submitterB, submitterB, pollerA, pollerA, pollerB, pollerB, statusA, statusB,
		webhookA, webhookB,
	}
	if o.Nodes > 1 { // the nodes get faults of their own, see injectNodeFaults
		return all
	}
	return append([]string{broker}, all...)
}

// Figures are what a run has come to.
type Figures struct {
	Tasks, Acceptances, Completed, Failed, Cancelled, Asleep int
	InDoubt, Adopted, WrittenOff, Rejected, Duplicates, Lost int
	Stuck, AnswersRead, Received, ReceivedTwice, Missed      int
	Kills, Pauses, Stops                                     map[string]int
	Faults                                                   map[FaultKind]int
	Scripts                                                  map[Script]int
	Webhooks                                                 WebhookFigures
	NodeFaults                                               map[nodeFault]int
	LongestRecovery                                          time.Duration
	ChaosTime, DrainTime                                     time.Duration
}

// String returns the figures, one kind a line.
func (f Figures) String() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("tasks %d: completed %d, failed %d, cancelled %d, asleep %d", f.Tasks, f.Completed, f.Failed, f.Cancelled,
		f.Asleep)
	line("acceptances %d, duplicates %d, lost %d, stuck %d", f.Acceptances, f.Duplicates, f.Lost, f.Stuck)
	line("in doubt %d: adopted %d, written off %d; commands and repeated requests refused %d; answers of status %d",
		f.InDoubt, f.Adopted, f.WrittenOff, f.Rejected, f.AnswersRead)
	line("events received by a core subscriber %d, of these twice %d, missed %d", f.Received, f.ReceivedTwice, f.Missed)
	line("kills %d %v, pauses %d %v, stops %d %v", sum(f.Kills), f.Kills, sum(f.Pauses), f.Pauses, sum(f.Stops), f.Stops)
	if nodes := f.lineOfNodes(); nodes != "" {
		line("%s", nodes)
	}
	line("faults of connections %d %v", sum(f.Faults), f.Faults)
	line("scripts met %v", f.Scripts)
	line("%v", f.Webhooks)
	line("seconds with faults %.0f, without %.0f", f.ChaosTime.Seconds(), f.DrainTime.Seconds())
	return b.String()
}

func sum[K comparable](m map[K]int) int {
	n := 0
	for _, v := range m {
		n += v
	}
	return n
}

// Run makes one run and fails the test on every breach.
func Run(t testing.TB, o Options) {
	t.Helper()
	t.Logf("seed %d, %d tasks, %d kills", o.Seed, o.Tasks, o.Kills)
	asks := plan(t, o.Seed, o.Tasks)
	c := start(t, build(t, o), o)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	f := Figures{
		Tasks: o.Tasks, Kills: map[string]int{}, Pauses: map[string]int{}, Stops: map[string]int{},
		NodeFaults: map[nodeFault]int{},
	}
	p := &operator{
		c: c, asks: asks, decided: map[events.Key]time.Time{}, adopted: map[events.Key]bool{},
		writtenOff: map[events.Key]bool{},
	}
	w := &statusWatcher{c: c, asks: asks, ended: map[events.Key]events.Status{}}

	subscribed, err := subscribe(c.direct, events.EventSubject(events.Key{Project: "*", ID: "*"}, "*"))
	if err != nil {
		t.Fatal(err)
	}

	begin := time.Now()
	var watching, adopting, injecting sync.WaitGroup
	watching.Go(func() { w.watch(ctx) })
	chaotic, calm := context.WithCancel(ctx)
	adopting.Go(func() { p.adoptDuringFaults(chaotic) })
	nodesDone := make(chan struct{})
	injecting.Go(func() {
		defer close(nodesDone)
		if o.Nodes <= 1 {
			return
		}
		if err := c.awaitHealthy(ctx); err != nil {
			t.Errorf("nodes: the cluster was not healthy within %v of its start: %v", maxRecovery, err)
			return
		}
		c.injectNodeFaults(ctx, &f)
	})
	published := make(chan struct{})
	go func() {
		defer close(published)
		c.publish(ctx, asks)
	}()
	c.injectFaults(ctx, &f, published, nodesDone)
	injecting.Wait()
	f.ChaosTime = time.Since(begin)
	calm()
	adopting.Wait()
	c.heal()

	begin = time.Now()
	<-published
	time.Sleep(settle)
	e := p.drain(ctx, o)
	f.DrainTime = time.Since(begin)
	cancel()
	watching.Wait()

	found := append(Judge(e, o.Short), w.breaches...)
	wrong, received, missed := subscribed.judge(e.Stored)
	found, f.Received, f.Missed, f.ReceivedTwice = append(found, wrong...), received, missed, subscribed.twice
	found = append(found, c.unwanted()...)
	f.judge(e, p, w, o)
	f.Faults, f.Scripts, f.Webhooks = c.fired(), e.Met(), e.WebhookFigures()
	t.Logf("%v", f)
	if o.Keys {
		found = append(found, c.leaked(t.Context(), e.macs())...)
	}
	void := f.void(o)
	if o.Short && len(void) <= maxMissed {
		t.Logf("not met: %q", void)
		void = nil
	}
	for _, line := range append(found, void...) {
		t.Error(line)
	}
	for _, line := range c.troubles() {
		t.Errorf("process: %s", line)
	}
	if t.Failed() {
		for _, name := range slices.Sorted(maps.Keys(c.programs)) {
			t.Logf("the log of %s ends with\n%s", name, c.programs[name].tail())
		}
	}
}

// injectFaults injects faults until as many processes were killed as wanted and every task is handed in.
func (c *cluster) injectFaults(ctx context.Context, f *Figures, published, nodesDone <-chan struct{}) {
	next, victim := newShuffleBag(c.o.Seed, 21, processFaults()), newShuffleBag(c.o.Seed, 22, c.o.victims())
	pauseVictim, stopVictim := newShuffleBag(c.o.Seed, 23, c.o.victims()), newShuffleBag(c.o.Seed, 24, c.o.victims())
	links := append(c.natsLinks(), "fal", "minimax", "webhook")
	if len(c.nodes) == 0 {
		links = append(links, "nats")
	}
	link := newShuffleBag(c.o.Seed, 25, links)
	rng := newShuffleBag(c.o.Seed, 26, []struct{}{{}}).rng
	for sum(f.Kills) < c.o.Kills || !isClosed(published) || !isClosed(nodesDone) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(c.slowness() * float64(between(rng, minFaultGap, maxFaultGap)))):
		}
		switch next.draw() {
		case kill:
			if name := victim.draw(); sum(f.Kills) < c.o.Kills && c.programs[name].kill() {
				f.Kills[name]++
			}
		case pause:
			if name := pauseVictim.draw(); c.programs[name].pause(between(rng, minPause, maxPause)) {
				f.Pauses[name]++
			}
		case terminate:
			if name := stopVictim.draw(); c.programs[name].terminate() {
				f.Stops[name]++
			}
		case cutAll:
			c.links[link.draw()].CutAll()
		case stall:
			c.links[link.draw()].StallAll(between(rng, minStall, maxStall))
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// killInterval is the mean time between two kills of processes.
const killInterval = (minFaultGap + maxFaultGap) / 2 * 20 / 14

// slowness stretches the time between faults of processes where nodes get faults as well, so that both take the same
// time.
func (c *cluster) slowness() float64 {
	if c.o.Nodes <= 1 {
		return 1
	}
	return max(1, float64(time.Duration(c.o.NodeKills)*nodeFaultTime)/
		float64(time.Duration(max(1, c.o.Kills))*killInterval))
}

// publish hands the tasks in, evenly over the time that the faults will take, each until the stream has acknowledged
// it.
func (c *cluster) publish(ctx context.Context, asks []Ask) {
	whole := time.Duration(c.slowness() * float64(time.Duration(c.o.Kills)*killInterval))
	tick := time.NewTicker(max(time.Millisecond, whole*8/10/time.Duration(len(asks))))
	defer tick.Stop()
	for _, a := range asks {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		c.publishUntilAcked(ctx, events.RequestSubject(project, a.Type), a.Body)
		switch a.Script {
		case Twice:
			c.publishUntilAcked(ctx, events.RequestSubject(project, a.Type), a.Body)
		case Cancelled:
			c.publishUntilAcked(ctx, events.CommandSubject(a.Key, events.CommandCancel), nil)
		}
	}
}

// publishUntilAcked publishes until it is acknowledged, as a careful client does: the id in the request makes that
// safe.
func (c *cluster) publishUntilAcked(ctx context.Context, subject string, body []byte) {
	for ctx.Err() == nil {
		err := within(ctx, publishWait, func(ctx context.Context) error {
			_, err := c.clientJS.Publish(ctx, subject, body, jetstream.WithRetryAttempts(0))
			return err
		})
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(reconnectWait):
		}
	}
}

// An operator decides about tasks in doubt by what the providers' ledgers say.
type operator struct {
	c       *cluster
	asks    []Ask
	decided map[events.Key]time.Time

	adopted, writtenOff map[events.Key]bool
}

// adoptDuringFaults adopts during the chaos what is in doubt and was accepted. Nothing is written off there: an
// acceptance may still be on its way.
func (p *operator) adoptDuringFaults(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return
		case <-time.After(4 * decidePause):
		}
		if e, err := p.c.gather(ctx, p.asks); err == nil {
			p.decide(ctx, e, false)
		}
	}
}

func (p *operator) decide(ctx context.Context, e Evidence, final bool) {
	paid := e.paid()
	for _, a := range p.asks {
		t, ok := e.Records[a.Key]
		switch {
		case !ok || t.Phase != events.PhaseInDoubt && t.Phase != events.PhaseParked:
			continue
		case time.Since(p.decided[a.Key]) < decideAgain || time.Since(t.Transitions[len(t.Transitions)-1].At) < doubtPatience:
			continue
		}
		r := events.Resolve{Action: events.ResolveWriteOff, Reason: "the ledger has no such job"}
		if jobs := paid[a.Key.ID]; len(jobs) > 0 {
			r = events.Resolve{Action: events.ResolveAdopt, ProviderID: jobs[0].ID, Reason: "found in the ledger"}
			p.adopted[a.Key] = true
		} else if !final {
			continue
		} else {
			p.writtenOff[a.Key] = true
		}
		body, err := json.Marshal(r)
		if err != nil {
			p.c.t.Error(err)
			return
		}
		p.decided[a.Key] = time.Now()
		p.c.publishUntilAcked(ctx, events.CommandSubject(a.Key, events.CommandResolve), body)
	}
}

// drain waits, deciding, until nothing is open any more or the time is up. Now and then it logs what it waits for.
func (p *operator) drain(ctx context.Context, o Options) Evidence {
	begin := time.Now()
	logged := begin.Add(-logInterval)
	for {
		e, err := p.c.gather(ctx, p.asks)
		open := e.Open(o.Short)
		if err == nil {
			p.decide(ctx, e, true)
			if len(open) == 0 {
				return e
			}
		}
		if time.Since(begin) > o.Drain {
			if err != nil {
				p.c.t.Errorf("the evidence cannot be read: %v", err)
			}
			return e
		}
		if time.Since(logged) > logInterval {
			logged = time.Now()
			// One task in seven loses its answer, so the breaker, which pauses a lane for a minute, is open most of the time. It
			// ends with its process, as a pause after a rate refusal does; both have tests of their own.
			p.c.programs[submitterA].terminate()
			p.c.programs[submitterB].terminate()
			p.c.t.Logf("after %.0f s without faults open: %d, such as %q; error: %v", time.Since(begin).Seconds(), len(open),
				open[:min(len(open), 3)], err)
		}
		time.Sleep(decidePause)
	}
}

// A statusWatcher asks the status service all the time: a task that it has reported as ended must stay ended.
type statusWatcher struct {
	c        *cluster
	asks     []Ask
	answers  int
	ended    map[events.Key]events.Status
	breaches []string
}

func (w *statusWatcher) watch(ctx context.Context) {
	rng := rand.New(rand.NewPCG(w.c.o.Seed, 31))
	for ctx.Err() == nil {
		a := w.asks[rng.IntN(len(w.asks))]
		if err := within(ctx, time.Second, func(ctx context.Context) error { return w.ask(ctx, a.Key) }); err != nil {
			w.breaches = append(w.breaches, "status: "+err.Error())
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// ask returns what is wrong with an answer; none at all is not.
func (w *statusWatcher) ask(ctx context.Context, k events.Key) error {
	m, err := w.c.client.RequestWithContext(ctx, events.APISubject(events.VerbGet, k.Project, k.ID), nil)
	if err != nil || m.Header.Get("Nats-Service-Error") != "" {
		was, ended := w.ended[k]
		if err == nil && ended && strings.HasPrefix(m.Header.Get("Nats-Service-Error-Code"), "404") {
			return fmt.Errorf("%s was %s and is not found", k, was)
		}
		return nil
	}
	var reply events.TaskReply
	if err := json.Unmarshal(m.Data, &reply); err != nil {
		return fmt.Errorf("%s: %w", k, err)
	}
	w.answers++
	if was, ended := w.ended[k]; ended && was != reply.Task.Status {
		return fmt.Errorf("%s was %s and is %s", k, was, reply.Task.Status)
	}
	if reply.Task.Status.Terminal() {
		w.ended[k] = reply.Task.Status
	}
	return nil
}

// unwanted returns what no log of a sound run holds.
func (c *cluster) unwanted() []string {
	var found []string
	for _, name := range slices.Sorted(maps.Keys(c.programs)) {
		text, err := os.ReadFile(c.programs[name].log.Name())
		if err != nil {
			found = append(found, err.Error())
		}
		for line := range strings.Lines(string(text)) {
			for _, bad := range []string{"panic", "no such arrow", "DATA RACE", "unreadable task record", "fatal error"} {
				if strings.Contains(line, bad) {
					found = append(found, "log of "+name+": "+strings.TrimSpace(line))
				}
			}
		}
	}
	return found
}

// judge counts what the evidence shows.
func (f *Figures) judge(e Evidence, p *operator, w *statusWatcher, o Options) {
	f.Acceptances, f.Adopted, f.WrittenOff, f.AnswersRead = len(e.Jobs), len(p.adopted), len(p.writtenOff), w.answers
	for _, jobs := range e.paid() {
		f.Duplicates += len(jobs) - 1
	}
	f.Stuck = len(e.Open(o.Short))
	for _, a := range e.Asks {
		t, ok := e.Records[a.Key]
		switch {
		case !ok:
			f.Lost++
		case t.Status == events.StatusCompleted:
			f.Completed++
		case t.Status == events.StatusFailed:
			f.Failed++
		case t.Status == events.StatusCancelled:
			f.Cancelled++
		case e.sleeps(t):
			f.Asleep++
		}
		for _, ev := range e.Stories[a.Key] {
			switch ev.Type {
			case events.EventInDoubt:
				f.InDoubt++
			case events.EventRejected:
				f.Rejected++
			}
		}
	}
}

// void returns which of the faults that were enabled have not been met: of those the run proves nothing.
func (f Figures) void(o Options) []string {
	var missing []string
	for _, k := range []FaultKind{Cut, Reset, HalfClose, Delay, Stall, Quiet, CutAll, StallAll} {
		if f.Faults[k] == 0 {
			missing = append(missing, "void: no connection met "+string(k))
		}
	}
	for _, s := range append(scripts(), RefusedRate) {
		if f.Scripts[s] == 0 {
			missing = append(missing, "void: no task met "+string(s))
		}
	}
	missing = append(append(missing, f.Webhooks.missed()...), f.missedNodes(o)...)
	for _, name := range o.victims() {
		if f.Kills[name] == 0 {
			missing = append(missing, "void: "+name+" was never killed")
		}
	}
	if n := sum(f.Kills); n < o.Kills {
		missing = append(missing, fmt.Sprintf("void: %d kills, want %d", n, o.Kills))
	}
	if sum(f.Pauses) == 0 || sum(f.Stops) == 0 || f.AnswersRead == 0 {
		missing = append(missing, "void: no pause, no stop or no answer of status")
	}
	slices.Sort(missing)
	return slices.Compact(missing)
}
