//go:build unix

package chaos

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"reelay/events"
	"reelay/events/bucket"
	"reelay/internal/emulator/fal"
	"reelay/internal/provider/registry"
)

// The programs of a cluster. Every service has two replicas.
const (
	broker     = "natsd"
	emulators  = "emulator"
	submitterA = "submitter-a"
	submitterB = "submitter-b"
	pollerA    = "poller-a"
	pollerB    = "poller-b"
	statusA    = "status-a"
	statusB    = "status-b"
	webhookA   = "webhook-a"
	webhookB   = "webhook-b"
)

// ledgers is the directory of what the providers know.
const ledgers = "ledgers"

const (
	// providerQuiet is after how long a silent connection to a provider is closed; an answer that never comes costs this
	// long.
	providerQuiet = 3 * time.Second
	reconnectWait = 100 * time.Millisecond
	// maxStart is how long the services may take to lay out the streams.
	maxStart = time.Minute
	// laneRequests in a minute are what each lane lets through, laneInFlight at once what that of MiniMax does; so does
	// the emulator.
	laneRequests, laneInFlight = 900, 300
	// callbackFaults are the shares of webhooks that meet a fault at random; tasks ask for the other faults. In a short
	// run so many are lost that pollers do not rely on them: it has no time for the rare polls of tasks whose webhook is
	// lost.
	callbackFaults, shortCallbackFaults = "drop=0.1,duplicate=0.1", "drop=0.5,duplicate=0.2"
)

// The keys that a run without the sandbox gives to the services. They must turn up nowhere.
const (
	canaryFal     = "canary-fal-5b1f0c7e9a"
	canaryMinimax = "canary-minimax-83d2e4f610"
	// canaryCallback is the secret of the callback URLs, of the 32 bytes that it must have.
	canaryCallback = "canary-callback-71c96d08be24a35f"
)

// callbackKey is canaryCallback as the setting has it.
func callbackKey() string { return base64.StdEncoding.EncodeToString([]byte(canaryCallback)) }

// A cluster is a running reelay in processes, its faulty network and a client beside it.
type cluster struct {
	t        testing.TB
	o        Options
	dir      string // stores and logs; kept when the test fails
	programs map[string]*program
	links    map[string]*Link
	// ledgers are the URLs of the emulators' ledgers.
	ledgers []string
	// metrics are the URLs of the metrics of a run with keys.
	metrics []string
	// nodes are the brokers of a cluster; empty for a single one.
	nodes []node
	// direct goes to the broker itself, client through the faulty network.
	direct, client *nats.Conn
	js, clientJS   jetstream.JetStream
}

// build builds the programs into a directory that is removed at the end of the test.
func build(t testing.TB, o Options) string {
	t.Helper()
	if o.Programs != "" {
		return o.Programs
	}
	dir := t.TempDir()
	root := moduleRoot(t)
	statSources(t, root)
	args := []string{"build", "-o", dir}
	for _, name := range []string{"natsd", "emulator", "submitter", "poller", "status", "webhook"} {
		args = append(args, "./cmd/"+name)
	}
	if o.Nodes > 1 { // of the version that go.mod names
		args = append(args, "github.com/nats-io/nats-server/v2")
	}
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return dir
}

func moduleRoot(t testing.TB) string {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", "..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// statSources calls stat on every source file. The go command caches a test's result while the files that the test
// itself has read or stat'ed are the same; without this it would repeat a verdict on programs that have changed.
func statSources(t testing.TB, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != root:
			return fs.SkipDir
		case strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go"):
			_, err = os.Stat(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// start starts everything, in no order.
func start(t testing.TB, bin string, o Options) *cluster {
	t.Helper()
	dir, err := os.MkdirTemp("", "reelay-chaos-")
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, o: o, dir: dir, programs: map[string]*program{}, links: map[string]*Link{}}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("stores and logs are kept in %s", dir)
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	falAt, minimaxAt := freeAddress(t), freeAddress(t)
	webhookAt := map[string]string{"-a": freeAddress(t), "-b": freeAddress(t)}
	c.links["fal"] = OpenLink(t, providerQuiet, newShuffleBag(o.Seed, 12, providerFaults()).draw, falAt)
	c.links["minimax"] = OpenLink(t, providerQuiet, newShuffleBag(o.Seed, 13, providerFaults()).draw, minimaxAt)
	c.links["webhook"] = OpenLink(t, providerQuiet, newShuffleBag(o.Seed, 14, providerFaults()).draw, webhookAt["-a"],
		webhookAt["-b"])

	environment := []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH")}
	run := func(name, command string, env []string, args ...string) {
		ops := ""
		if o.Keys {
			ops = freeAddress(t)
			c.metrics = append(c.metrics, "http://"+ops+"/metrics")
		}
		c.programs[name] = launch(t, dir, name, filepath.Join(bin, command), slices.Concat(env, environment),
			slices.Concat(args, []string{"--ops-listen=" + ops})...)
	}
	var brokers []string // addresses
	if o.Nodes > 1 {
		environment = append(environment, fmt.Sprintf("REELAY_REPLICAS=%d", o.Nodes))
		c.startNodes(func(name, command string, args ...string) {
			c.programs[name] = launch(t, dir, name, filepath.Join(bin, command), environment, args...)
		})
		for _, n := range c.nodes {
			brokers = append(brokers, n.client)
		}
	} else {
		brokers = []string{freeAddress(t)}
		c.links["nats"] = OpenLink(t, 0, newShuffleBag(o.Seed, 11, brokerFaults()).draw, brokers[0])
		run(broker, "natsd", nil, "--sandbox", "--listen="+brokers[0], "--store-dir="+filepath.Join(dir, "broker"), "--sync="+o.Sync)
	}
	var linked []string
	for _, name := range c.natsLinks() {
		linked = append(linked, c.links[name].Address())
	}
	shares := callbackFaults
	if o.Short {
		shares = shortCallbackFaults
	}
	flags := []string{
		"--fal-listen=" + falAt, "--minimax-listen=" + minimaxAt,
		"--store-dir=" + filepath.Join(dir, ledgers), fmt.Sprintf("--minimax-rpm=%d", laneRequests),
		fmt.Sprintf("--in-flight=%d", laneInFlight), fmt.Sprintf("--seed=%d", o.Seed), "--webhook-faults=" + shares,
	}
	for _, name := range registry.Names() { // nobody asks the others, but their usual ports may be taken
		if name != "fal" && name != "minimax" {
			flags = append(flags, "--"+name+"-listen=127.0.0.1:0")
		}
	}
	run(emulators, "emulator", nil, flags...)
	c.ledgers = []string{"http://" + falAt + "/_emulator/ledger", "http://" + minimaxAt + "/_emulator/ledger"}

	c.startServices(run, linked, webhookAt)
	c.direct, c.js = connect(t, brokers)
	c.client, c.clientJS = connect(t, linked)
	c.raiseLimits()
	return c
}

// startServices starts two replicas of each service, which reach brokers and providers through the links.
func (c *cluster) startServices(run func(name, command string, env []string, args ...string), brokers []string,
	webhookAt map[string]string,
) {
	server, public := "--server="+brokerURLs(brokers), "--public-url=http://"+c.links["webhook"].Address()
	providers := []string{
		server, "--fal-url=http://" + c.links["fal"].Address(), "--fal-platform-url=http://" + c.links["fal"].Address(),
		"--minimax-url=http://" + c.links["minimax"].Address(), public,
	}
	callbacks := []string{"REELAY_CALLBACK_KEY=chaos:" + callbackKey()}
	keys := slices.Clone(callbacks)
	sandbox := append(slices.Clone(providers), "--sandbox")
	if c.o.Keys {
		keys = append(keys, "FAL_KEY="+canaryFal, "MINIMAX_API_KEY="+canaryMinimax)
		providers = append(providers, "--poll-interval=5s")
	} else {
		providers = sandbox
	}
	polling := providers
	if c.o.Short { // twice a second, not every five: a task whose webhook is lost is soon found
		polling = append(sandbox, "--join-world")
		providers = append(providers, "--join-world")
	}
	// Two submitters of one machine share the directory of their journals, so that one settles what the other left.
	spending := []string{"--store-dir=" + filepath.Join(c.dir, "journals")}
	if c.o.Keys { // a killed broker has left in the kernel what it acknowledged; nobody cuts the power
		spending = append(spending, "--allow-unsynced-spending")
	}
	for _, replica := range []string{"-a", "-b"} {
		run("submitter"+replica, "submitter", keys, slices.Concat(providers, spending)...)
		run("poller"+replica, "poller", keys, polling...)
		run("status"+replica, "status", nil, server)
		run("webhook"+replica, "webhook", callbacks, server, public, "--webhook-listen="+webhookAt[replica],
			"--fal-user-id="+fal.DefaultUserID, "--fal-jwks-url=http://"+c.links["fal"].Address()+"/.well-known/jwks.json")
	}
}

// raiseLimits sets limits of the lanes, as "reelay lanes set" does, that a run does not come to. Those of a real
// MiniMax account would stretch it to hours; its emulator has the same ones as are set here. fal has none, but a lane
// without any that is refused while nothing else is counted goes on with one request a minute: here a task is refused
// that asks for it, and not for what the lane did.
func (c *cluster) raiseLimits() {
	c.t.Helper()
	wide := events.ModelLimits{Requests: laneRequests}
	c.limit("fal", map[string]events.ModelLimits{events.AnyModel: wide})
	c.limit("minimax", map[string]events.ModelLimits{
		events.AnyModel: wide, modelV2: {Requests: laneRequests, InFlight: laneInFlight},
	})
}

// limit sets the limits of one lane as soon as there is a bucket for them.
func (c *cluster) limit(lane string, models map[string]events.ModelLimits) {
	c.t.Helper()
	value, err := events.Marshal(events.LaneLimits{Models: models})
	if err != nil {
		c.t.Fatal(err)
	}
	for begin := time.Now(); ; time.Sleep(reconnectWait) {
		err := within(c.t.Context(), publishWait, func(ctx context.Context) error {
			kv, err := c.js.KeyValue(ctx, bucket.Lanes)
			if err == nil {
				_, err = kv.Create(ctx, bucket.LimitsKey(lane), value)
			}
			return err
		})
		if err == nil || errors.Is(err, jetstream.ErrKeyExists) { // whose first answer was late
			return
		}
		if time.Since(begin) > maxStart {
			c.t.Fatalf("limits of lane %s: %v", lane, err)
		}
	}
}

func connect(t testing.TB, addresses []string) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	nc, err := nats.Connect(brokerURLs(addresses), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return nc, js
}

// brokerFaults are the faults of connections to the broker. They live long, so most faults come late.
func brokerFaults() []Fault {
	return append(
		repeat(3, Fault{}),
		Fault{Kind: Cut, Up: true, After: 2_000}, Fault{Kind: Cut, After: 20_000}, Fault{Kind: Cut, Up: true, After: 60_000},
		Fault{Kind: Reset, Up: true, After: 5_000}, Fault{Kind: Reset, After: 3_000}, Fault{Kind: Reset, After: 90_000},
		Fault{Kind: HalfClose, Up: true, After: 4_000}, Fault{Kind: HalfClose, After: 10_000},
		Fault{Kind: Delay, After: 1_000, For: 40 * time.Millisecond},
		Fault{Kind: Delay, Up: true, After: 1_000, For: 40 * time.Millisecond},
		Fault{Kind: Stall, After: 6_000, For: 1500 * time.Millisecond},
		Fault{Kind: Stall, Up: true, After: 6_000, For: 2500 * time.Millisecond},
	)
}

// providerFaults are the faults of connections to a provider: one in three, within the head, the body and the answer of
// a submit, whose request is about 600 bytes and whose answer is 200 to 700.
func providerFaults() []Fault {
	return append(
		repeat(26, Fault{}),
		Fault{Kind: Cut, Up: true, After: 0}, Fault{Kind: Cut, Up: true, After: 350}, Fault{Kind: Cut, After: 0},
		Fault{Kind: Cut, After: 120}, Fault{Kind: Reset, Up: true, After: 100}, Fault{Kind: Reset, After: 0},
		Fault{Kind: Reset, After: 60}, Fault{Kind: HalfClose, Up: true, After: 200}, Fault{Kind: HalfClose, After: 30},
		Fault{Kind: Delay, After: 0, For: 150 * time.Millisecond},
		Fault{Kind: Delay, Up: true, After: 0, For: 150 * time.Millisecond},
		Fault{Kind: Stall, After: 0, For: 1200 * time.Millisecond},
		Fault{Kind: Stall, Up: true, After: 50, For: 1200 * time.Millisecond},
	)
}

// heal ends all faults.
func (c *cluster) heal() {
	for _, p := range c.programs {
		p.signal(sigCont)
	}
	for _, l := range c.links {
		l.Heal()
	}
}

// fired sums the faults of all links.
func (c *cluster) fired() map[FaultKind]int {
	sum := map[FaultKind]int{}
	for _, l := range c.links {
		for k, n := range l.Fired() {
			sum[k] += n
		}
	}
	return sum
}

// troubles are the ends of processes that nobody asked for.
func (c *cluster) troubles() []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(c.programs)) {
		p := c.programs[name]
		p.mu.Lock()
		all = append(all, p.troubles...)
		p.mu.Unlock()
	}
	return all
}

// within bounds one call.
func within(ctx context.Context, d time.Duration, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return call(ctx)
}
